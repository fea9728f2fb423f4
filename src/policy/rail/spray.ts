/**
 * Slices sprayed by telemetry: each to the rail that is predicted to be through with it first, from
 * what is queued on it and the rate at which it worked off its last slices (a moving average, so
 * that a rail which others load or which is slow gets less). A rail that is far from the memory
 * counts as slower by a factor.
 */
import {
  dealToLevel,
  defineRail,
  EndwiseRails,
  type RailEnd,
  type RailTransfer,
  usableRails,
} from '../../core/policy-kit.ts';

/** A rail is believed to have at least this share of its nominal rate, so that it is tried. */
const LEAST_SHARE = 0.05;

class Spray extends EndwiseRails {
  private rates = new Float64Array(0);
  private busyNs = new Float64Array(0);
  private readonly far: number;

  constructor(far: number) {
    super();
    this.far = far;
  }

  protected override deal(end: RailEnd, transfer: RailTransfer, out: Int32Array): void {
    const { count, queuedBytes, bytesPerNs, observedBytesPerNs } = end.rails;
    if (this.rates.length < count) {
      this.rates = new Float64Array(count);
      this.busyNs = new Float64Array(count);
    }
    const { use, rates, busyNs, far } = this;
    usableRails(end, false, use);
    for (let r = 0; r < count; r++) {
      const least = LEAST_SHARE * bytesPerNs[r];
      const observed = Math.min(bytesPerNs[r], Math.max(least, observedBytesPerNs[r]));
      rates[r] = end.near[r] === 0 ? observed / far : observed;
      busyNs[r] = queuedBytes[r] / rates[r];
    }
    dealToLevel(transfer.slices, transfer.sliceBytes, use, count, rates, busyNs, out);
  }
}

export default defineRail({
  source: "Mooncake's next transfer engine (TENT): predicted completion by EWMA, penalty when far",
  params: {
    far: {
      type: 'number',
      default: 3,
      min: 1,
      max: 1000,
      doc: 'how much slower a far rail counts',
    },
  },
  create: (_context, { far }) => new Spray(far),
});
