/**
 * What one node knows of the rails of one node, its own or a peer's: the columns that rail policies
 * see, and when a rail rests. Both hosts keep theirs here, so that a policy learns the same from
 * the same slices.
 */
import type { Rails } from './policy.ts';

/** Weight of the newest slice in the moving averages. */
const NEWEST = 0.2;
/** Errors in a row after which a rail rests, and how long: Mooncake's transfer engine. */
export const RAIL_ERRORS_MAX = 5;
export const RAIL_REST_NS = 30e9;

export class RailTable implements Rails {
  readonly count: number;
  readonly bytesPerNs: Float64Array;
  readonly queuedBytes: Float64Array;
  readonly observedBytesPerNs: Float64Array;
  readonly observedNs: Float64Array;
  readonly resting: Uint8Array;
  private readonly errors: Int32Array;
  private readonly restUntilNs: Float64Array;

  constructor(bytesPerNs: readonly number[]) {
    const count = bytesPerNs.length;
    this.count = count;
    this.bytesPerNs = Float64Array.from(bytesPerNs);
    this.queuedBytes = new Float64Array(count);
    this.observedBytesPerNs = Float64Array.from(bytesPerNs);
    this.observedNs = new Float64Array(count);
    this.resting = new Uint8Array(count);
    this.errors = new Int32Array(count);
    this.restUntilNs = new Float64Array(count);
  }

  /** Bytes are given to the rail. Answers those that were before them, for `ended`. */
  posted(rail: number, bytes: number): number {
    const ahead = this.queuedBytes[rail];
    this.queuedBytes[rail] = ahead + bytes;
    return ahead;
  }

  /** They are through, or the rail has failed them. */
  ended(rail: number, bytes: number, aheadBytes: number, durationNs: number, ok: boolean): void {
    this.queuedBytes[rail] = Math.max(0, this.queuedBytes[rail] - bytes);
    if (!ok) return;
    this.errors[rail] = 0;
    const { observedBytesPerNs, observedNs } = this;
    const rate = (bytes + aheadBytes) / Math.max(1, durationNs);
    observedBytesPerNs[rail] += NEWEST * (rate - observedBytesPerNs[rail]);
    const first = observedNs[rail] === 0;
    observedNs[rail] += first ? durationNs : NEWEST * (durationNs - observedNs[rail]);
  }

  /** An error of the rail itself; answers whether it rests from now on. */
  failed(rail: number, nowNs: number): boolean {
    if (++this.errors[rail] < RAIL_ERRORS_MAX) return false;
    this.rest(rail, nowNs + RAIL_REST_NS);
    return true;
  }

  /** Not to be used until then; Infinity until `wake`. */
  rest(rail: number, untilNs: number): void {
    this.resting[rail] = 1;
    this.restUntilNs[rail] = untilNs;
  }

  wake(rail: number): void {
    this.resting[rail] = 0;
    this.errors[rail] = 0;
    this.observedBytesPerNs[rail] = this.bytesPerNs[rail];
    this.observedNs[rail] = 0;
  }

  /** Rails whose rest is over come back. To be called before a policy is asked. */
  tick(nowNs: number): void {
    for (let rail = 0; rail < this.count; rail++) {
      if (this.resting[rail] !== 0 && this.restUntilNs[rail] <= nowNs) this.wake(rail);
    }
  }
}
