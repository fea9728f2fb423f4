/** arc against Figure 4 of the paper, written down as it stands there. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { CheckedTier, evictionModule, outcome } from './eviction-tier.ts';

/** Lists are written LRU first. */
class Figure4 {
  private readonly c: number;
  private p = 0;
  private readonly t1: number[] = [];
  private readonly t2: number[] = [];
  private readonly b1: number[] = [];
  private readonly b2: number[] = [];

  constructor(c: number) {
    this.c = c;
  }

  request(x: number): boolean {
    const { c, t1, t2, b1, b2 } = this;
    if (take(t1, x) || take(t2, x)) {
      t2.push(x);
      return true;
    }
    if (b1.includes(x)) {
      const delta = b1.length >= b2.length ? 1 : b2.length / b1.length;
      this.p = Math.min(this.p + delta, c);
      this.replace(x);
      take(b1, x);
      t2.push(x);
      return false;
    }
    if (b2.includes(x)) {
      const delta = b2.length >= b1.length ? 1 : b1.length / b2.length;
      this.p = Math.max(this.p - delta, 0);
      this.replace(x);
      take(b2, x);
      t2.push(x);
      return false;
    }
    const all = t1.length + t2.length + b1.length + b2.length;
    if (t1.length + b1.length === c) {
      if (t1.length < c) {
        b1.shift();
        this.replace(x);
      } else {
        t1.shift();
      }
    } else if (all >= c) {
      if (all === 2 * c) b2.shift();
      this.replace(x);
    }
    t1.push(x);
    return false;
  }

  private replace(x: number): void {
    const { t1, t2, b1, b2, p } = this;
    const first = t1.length > 0 && (t1.length > p || (b2.includes(x) && t1.length === p));
    if (first) b1.push(t1.shift()!);
    else b2.push(t2.shift()!);
  }
}

function take(list: number[], x: number): boolean {
  const at = list.indexOf(x);
  if (at >= 0) list.splice(at, 1);
  return at >= 0;
}

it('arc is Figure 4', async () => {
  const module = await evictionModule('arc');
  const streams = fc.array(fc.nat(14), { minLength: 1, maxLength: 300 });
  const law = fc.property(streams, fc.integer({ min: 1, max: 7 }), (blocks, slots) => {
    const paper = new Figure4(slots);
    const marks = blocks.map((block) => (paper.request(block) ? 'h' : 'm')).join('');
    expect(outcome(new CheckedTier(module, slots), blocks)[0]).toBe(marks);
  });
  fc.assert(law, { numRuns: 300 });
});
