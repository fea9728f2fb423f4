/** Slice after slice to the next rail that works, from transfer to transfer, near or far. */
import {
  dealEvenly,
  defineRail,
  EndwiseRails,
  type RailEnd,
  type RailTransfer,
  usableRails,
} from '../../core/policy-kit.ts';

class RoundRobin extends EndwiseRails {
  /** Rail that is next at the source end, and at the target end. */
  private nextSource = 0;
  private nextTarget = 0;

  protected override deal(end: RailEnd, transfer: RailTransfer, out: Int32Array): void {
    const { slices, source } = transfer;
    const { count } = end.rails;
    usableRails(end, false, this.use);
    if (end === source) {
      this.nextSource = dealEvenly(slices, this.use, count, this.nextSource, out);
    } else this.nextTarget = dealEvenly(slices, this.use, count, this.nextTarget, out);
  }
}

export default defineRail({
  source: 'the baseline of every multi-rail transport (UCX, NIXL)',
  params: {},
  create: () => new RoundRobin(),
});
