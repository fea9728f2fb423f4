/**
 * The rails near the memory alone, evenly: no byte crosses the link between the sockets while a
 * near rail works.
 */
import {
  dealEvenly,
  defineRail,
  EndwiseRails,
  type RailEnd,
  type RailTransfer,
  usableRails,
} from '../../core/policy-kit.ts';

class Nearest extends EndwiseRails {
  /** Rail that gets the next odd slice. */
  private next = 0;

  protected override deal(end: RailEnd, { slices }: RailTransfer, out: Int32Array): void {
    usableRails(end, true, this.use);
    this.next = dealEvenly(slices, this.use, end.rails.count, this.next, out);
  }
}

export default defineRail({
  source:
    "Mooncake's transfer engine (FAST25, 4.2.1): the preferred NICs of its topology matrix, " +
    'others when these fail; in turn where it draws at random',
  params: {},
  create: () => new Nearest(),
});
