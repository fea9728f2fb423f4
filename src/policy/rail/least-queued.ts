/**
 * Each slice to the rail that would be through with it first at its nominal rate, given what is
 * queued on it: join the shortest queue, weighted by rate.
 */
import {
  dealToLevel,
  defineRail,
  EndwiseRails,
  type RailEnd,
  type RailTransfer,
  usableRails,
} from '../../core/policy-kit.ts';

class LeastQueued extends EndwiseRails {
  private busyNs = new Float64Array(0);
  private readonly nearOnly: boolean;

  constructor(nearOnly: boolean) {
    super();
    this.nearOnly = nearOnly;
  }

  protected override deal(end: RailEnd, transfer: RailTransfer, out: Int32Array): void {
    const { count, queuedBytes, bytesPerNs } = end.rails;
    if (this.busyNs.length < count) this.busyNs = new Float64Array(count);
    const { use, busyNs } = this;
    usableRails(end, this.nearOnly, use);
    for (let r = 0; r < count; r++) busyNs[r] = queuedBytes[r] / bytesPerNs[r];
    dealToLevel(transfer.slices, transfer.sliceBytes, use, count, bytesPerNs, busyNs, out);
  }
}

export default defineRail({
  source: 'join the shortest queue, over the rails of one end',
  params: {
    near: { type: 'boolean', default: false, doc: 'only rails near the memory, while one works' },
  },
  create: (_context, { near }) => new LeastQueued(near),
});
