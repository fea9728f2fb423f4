/**
 * What runs in the machine of vm.sh: moves over `verbs;ofi_rxm` while things break. Prints one JSON
 * line of what happened; the test judges it. Argument: the scenario.
 */
import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import even from '../../../src/policy/rail/even.ts';
import {
  DataPlane,
  type Move,
  type MoveEnd,
  PLANE_DEFAULTS,
  type PlaneSettings,
  type Segment,
} from '../../../src/runtime/data-plane.ts';
import { loadNative, Status } from '../../../src/runtime/native.ts';
import type { Pool } from '../../../src/runtime/native-pool.ts';
import { fill } from '../../support/pattern.ts';
import type { Tally } from './scenarios.ts';

const PROVIDER = 'verbs;ofi_rxm';
/** Small, because a byte costs much under emulation; large enough for 16 slices. */
const SLOT_BYTES = 256 * 1024;
const SLOTS = 8;
const SLICE_BYTES = 16 * 1024;
const [scenario, targetProgram] = process.argv.slice(2);

const { addon, reason } = loadNative();
if (addon === null) throw new Error(reason ?? '');
const native = addon;

interface Here {
  readonly plane: DataPlane;
  readonly pool: Pool;
}

function open(addresses: readonly string[], settings: Partial<PlaneSettings>): Here {
  const policy = even.create({ random: () => 0.5 }, {});
  const merged = { ...PLANE_DEFAULTS, sliceBytes: SLICE_BYTES, ...settings };
  const plane = new DataPlane(native, policy, merged);
  for (const address of addresses) {
    plane.addRail({
      kind: 'fabric',
      bytesPerNs: null,
      options: { provider: PROVIDER, address },
    });
  }
  const shape = { slotBytes: SLOT_BYTES, slots: SLOTS, hugetlb: false, prefault: true };
  return { plane, pool: plane.createPool(shape) };
}

function moveOf(pool: Pool, segment: Segment, over: Partial<Move>): Move {
  return {
    write: false,
    pool,
    slot: 0,
    offset: 0,
    segment,
    remoteSlot: 0,
    generation: 1,
    remoteOffset: 0,
    bytes: SLOT_BYTES,
    crc: null,
    sum: false,
    urgent: false,
    deadlineNs: 40e9,
    ...over,
  };
}

const scratch = new Uint8Array(SLOT_BYTES);

function holds(bytes: Uint8Array, seed: number): boolean {
  fill(scratch, seed);
  return Buffer.compare(bytes, scratch) === 0;
}

/** Reads blocks one after another, `width` at once, until told to stop; checks every one. */
class Reader {
  readonly tally: Tally = { intact: 0, failed: 0, corrupt: 0, late: 0 };
  private stopping = false;
  private readonly lanes: Promise<void>[];

  constructor(here: Here, segment: Segment, width: number, deadlineNs: number) {
    this.lanes = Array.from({ length: width }, (_, lane) =>
      this.run(here, segment, lane, deadlineNs),
    );
  }

  async stop(): Promise<Tally> {
    this.stopping = true;
    await Promise.all(this.lanes);
    return this.tally;
  }

  private async run({ plane, pool }: Here, segment: Segment, lane: number, deadlineNs: number) {
    for (let i = lane; !this.stopping; i++) {
      const remoteSlot = i % SLOTS;
      pool.bytes(lane).fill(0);
      const move = moveOf(pool, segment, { slot: lane, remoteSlot, deadlineNs });
      const end = await moved(plane, move);
      if (end.durationNs > deadlineNs + 10e9) this.tally.late++;
      if (end.status !== Status.ok) this.tally.failed++;
      else if (holds(pool.bytes(lane), remoteSlot)) this.tally.intact++;
      else this.tally.corrupt++;
      // A slot under an operation that is still open is not to be used again.
      if (end.quarantined) return;
      if (end.status !== Status.ok) await sleep(50);
    }
  }
}

function moved(plane: DataPlane, move: Move): Promise<MoveEnd> {
  return new Promise((resolve) => plane.move(move, resolve));
}

/** Waits for it; the error says how the rails were meanwhile. */
async function until(
  what: string,
  seconds: number,
  done: () => boolean,
  rails = (): object => ({}),
) {
  for (let waited = 0; !done(); waited += 0.05) {
    if (waited > seconds) {
      throw new Error(`${what}: not within ${seconds} s; ${JSON.stringify(rails())}`);
    }
    await sleep(50);
  }
}

function report(result: object): void {
  console.log(`result ${JSON.stringify(result)}`);
}

async function targetAt(addresses: readonly string[]): Promise<[ChildProcess, Uint8Array]> {
  const args = [`${SLOT_BYTES}`, `${SLOTS}`, PROVIDER, ...addresses];
  const target = fork(targetProgram, args);
  const [{ descriptor }] = await once(target, 'message');
  return [target, Uint8Array.from(descriptor)];
}

async function intactThere(target: ChildProcess, slot: number, seed: number): Promise<boolean> {
  target.send({ check: slot, seed });
  for (;;) {
    // It tells its descriptor too, when a rail of its opens.
    const [message] = await once(target, 'message');
    if (message.intact !== undefined) return message.intact;
  }
}

/** READ and WRITE of every slot, whole and striped over both rails. */
async function readAndWrite(here: Here, segment: Segment, target: ChildProcess) {
  let read = 0;
  let written = 0;
  for (let slot = 0; slot < SLOTS; slot++) {
    const end = await moved(here.plane, moveOf(here.pool, segment, { slot, remoteSlot: slot }));
    if (end.status === Status.ok && holds(here.pool.bytes(slot), slot)) read++;
  }
  const readBytes = here.plane.rails().map(({ movedBytes }) => movedBytes);
  for (let slot = 0; slot < SLOTS; slot++) {
    fill(here.pool.bytes(slot), 100 + slot);
    const over = { write: true, slot, remoteSlot: slot };
    const end = await moved(here.plane, moveOf(here.pool, segment, over));
    if (end.status === Status.ok && (await intactThere(target, slot, 100 + slot))) written++;
    // As it was, for the readers to come.
    fill(here.pool.bytes(slot), slot);
    await moved(here.plane, moveOf(here.pool, segment, over));
  }
  const details = here.plane.rails().map(({ detail }) => detail);
  return { slots: SLOTS, read, written, readBytes, details };
}

/** One link goes down under way and comes back. */
async function flap(here: Here, segment: Segment) {
  const moved0 = () => here.plane.rails()[0].movedBytes;
  const reader = new Reader(here, segment, 4, 40e9);
  await until('reads before', 60, () => reader.tally.intact >= 8);
  const { failures } = here.plane.rails()[0];
  execFileSync('cable', ['a0', 'down']);
  await until('the rail fails', 60, () => here.plane.rails()[0].failures > failures);
  const before = reader.tally.intact;
  await until('reads over the other rail', 60, () => reader.tally.intact >= before + 8);
  const downBytes = moved0();
  execFileSync('cable', ['a0', 'up']);
  const rails = () => here.plane.rails();
  await until('the rail carries again', 60, () => moved0() > downBytes + SLOT_BYTES, rails);
  const { reopened } = here.plane.rails()[0];
  return { ...(await reader.stop()), reopened };
}

/** The target dies under way. */
async function kill(here: Here, segment: Segment, target: ChildProcess) {
  const reader = new Reader(here, segment, 4, 5e9);
  await until('reads before', 60, () => reader.tally.intact >= 4);
  target.kill('SIGKILL');
  await until('failures', 60, () => reader.tally.failed >= 4);
  const tally = await reader.stop();
  const busy = Array.from({ length: SLOTS }, (_, slot) => here.pool.inUse(slot)).filter(Boolean);
  return { ...tally, busySlots: busy.length };
}

async function oneMachine(): Promise<void> {
  const [target, descriptor] = await targetAt(['10.78.0.11', '10.78.0.12']);
  const here = open(['10.78.0.1', '10.78.0.2'], { attemptNs: 20e9 });
  const segment = here.plane.importSegment(descriptor)!;
  const plain = await readAndWrite(here, segment, target);
  report({ plain });
  report({ flap: await flap(here, segment) });
  report({ kill: await kill(here, segment, target) });
  report({ clean: here.plane.close() });
}

const DESCRIPTOR = '/scratch/descriptor';
const DONE = '/scratch/done';

/** Node 1 of two machines: is there until node 0 is done. */
async function lossyTarget(): Promise<void> {
  const [target, descriptor] = await targetAt(['10.77.0.2']);
  writeFileSync(`${DESCRIPTOR}.new`, descriptor);
  renameSync(`${DESCRIPTOR}.new`, DESCRIPTOR);
  await until('node 0', 200, () => existsSync(DONE));
  target.kill('SIGKILL');
}

/** Node 0: the wire drops packets, what arrives must be whole. */
async function lossyReader(): Promise<void> {
  const here = open(['10.77.0.1'], { attemptNs: 20e9, attemptsMax: 2 });
  await until('node 1', 120, () => existsSync(DESCRIPTOR));
  const segment = here.plane.importSegment(readFileSync(DESCRIPTOR))!;
  const reader = new Reader(here, segment, 2, 30e9);
  await until('reads', 90, () => reader.tally.intact + reader.tally.failed >= 16);
  const tally = await reader.stop();
  const writes: Tally = { intact: 0, failed: 0, corrupt: 0, late: 0 };
  for (let slot = 0; slot < SLOTS; slot++) {
    fill(here.pool.bytes(0), 200 + slot);
    const over = { write: true, remoteSlot: slot, deadlineNs: 30e9 };
    const end = await moved(here.plane, moveOf(here.pool, segment, over));
    if (end.quarantined) break;
    here.pool.bytes(0).fill(0);
    const back = await moved(here.plane, moveOf(here.pool, segment, { remoteSlot: slot }));
    if (end.status !== Status.ok || back.status !== Status.ok) writes.failed++;
    else if (holds(here.pool.bytes(0), 200 + slot)) writes.intact++;
    else writes.corrupt++;
  }
  const dropped = execFileSync('tc', ['-s', 'qdisc', 'show', 'dev', 'eth0'], { encoding: 'utf8' });
  report({ reads: tally, writes, dropped: Number(/dropped (\d+)/.exec(dropped)?.[1] ?? 0) });
  report({ clean: here.plane.close() });
  writeFileSync(DONE, '');
}

if (scenario === 'one-machine') await oneMachine();
else if (scenario === 'lossy' && process.env.NODE === '0') await lossyReader();
else if (scenario === 'lossy') await lossyTarget();
process.exit();
