/** A batch of transfers on its way to the engine: doubles in one growing array, one native call. */
import { type NativeEngine, SLICE_DOUBLES, TRANSFER_DOUBLES } from './native.ts';

const READ = 0;
const WRITE = 1;

export class Batch {
  private data = new Float64Array(4_096);
  private used = 0;
  /** Where each transfer starts, to give back those that the engine does not take. */
  private starts: number[] = [];

  get transfers(): number {
    return this.starts.length;
  }

  /** Starts a transfer of `slices`, which must follow. Answers nothing; order is kept. */
  transfer(
    tag: number,
    write: boolean,
    urgent: boolean,
    flags: number,
    crc: number,
    deadlineNs: number,
    slices: number,
  ): void {
    this.reserve(TRANSFER_DOUBLES + slices * SLICE_DOUBLES);
    this.starts.push(this.used);
    const { data } = this;
    const at = this.used;
    data[at] = tag;
    data[at + 1] = write ? WRITE : READ;
    data[at + 2] = urgent ? 1 : 0;
    data[at + 3] = flags;
    data[at + 4] = crc;
    data[at + 5] = deadlineNs;
    data[at + 6] = slices;
    this.used = at + TRANSFER_DOUBLES;
  }

  slice(
    pool: number,
    localSlot: number,
    localOffset: number,
    segment: number,
    remoteSlot: number,
    generation: number,
    remoteOffset: number,
    bytes: number,
    rail: number,
    remoteRail: number,
  ): void {
    const { data } = this;
    const at = this.used;
    data[at] = pool;
    data[at + 1] = localSlot;
    data[at + 2] = localOffset;
    data[at + 3] = segment;
    data[at + 4] = remoteSlot;
    data[at + 5] = generation;
    data[at + 6] = remoteOffset;
    data[at + 7] = bytes;
    data[at + 8] = rail;
    data[at + 9] = remoteRail;
    this.used = at + SLICE_DOUBLES;
  }

  /** Gives all to the engine that it takes; the rest stays for later. Answers what it took. */
  submit(engine: NativeEngine): number {
    if (this.starts.length === 0) return 0;
    const taken = engine.submit(this.data, this.used);
    const from = taken < this.starts.length ? this.starts[taken] : this.used;
    this.data.copyWithin(0, from, this.used);
    this.starts = this.starts.slice(taken).map((start) => start - from);
    this.used -= from;
    return taken;
  }

  private reserve(doubles: number): void {
    if (this.used + doubles <= this.data.length) return;
    const larger = new Float64Array(Math.max(this.data.length * 2, this.used + doubles));
    larger.set(this.data.subarray(0, this.used));
    this.data = larger;
  }
}
