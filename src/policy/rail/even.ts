/** Every transfer in equal parts over all rails that work, whatever they are near to. */
import {
  dealEvenly,
  defineRail,
  EndwiseRails,
  type RailEnd,
  type RailTransfer,
  usableRails,
} from '../../core/policy-kit.ts';

class Even extends EndwiseRails {
  readonly even = true;

  protected override deal(end: RailEnd, { slices }: RailTransfer, out: Int32Array): void {
    usableRails(end, false, this.use);
    dealEvenly(slices, this.use, end.rails.count, 0, out);
  }
}

export default defineRail({
  source: 'striping: FAST25, Figures 12 and 14 measure all NICs of a node together',
  params: {},
  create: () => new Even(),
});
