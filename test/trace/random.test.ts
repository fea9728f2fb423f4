import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { exp, RandomStream } from '../../src/trace/random.ts';

describe('random streams', () => {
  it('are told apart by seed and name, and repeat', () => {
    const draw = (seed: number, name: string) => {
      const stream = new RandomStream(seed, name);
      return [stream.uniform(), stream.uniform()];
    };
    expect(draw(1, 'a')).toEqual(draw(1, 'a'));
    expect(draw(1, 'a')).not.toEqual(draw(2, 'a'));
    expect(draw(1, 'a')).not.toEqual(draw(1, 'b'));
  });

  it('draw log-normal numbers of the median and sigma asked for', () => {
    const stream = new RandomStream(5, 'x');
    const draws = 20_000;
    const logs = Array.from({ length: draws }, () => {
      return Math.log(stream.logNormal({ median: 300, sigma: 0.8 }));
    });
    const mean = logs.reduce((sum, value) => sum + value, 0) / draws;
    const variance = logs.reduce((sum, value) => sum + (value - mean) ** 2, 0) / draws;
    // Five standard errors.
    expect(Math.abs(mean - Math.log(300))).toBeLessThan((5 * 0.8) / Math.sqrt(draws));
    expect(Math.abs(Math.sqrt(variance) - 0.8)).toBeLessThan((5 * 0.8) / Math.sqrt(2 * draws));
    const below = logs.filter((value) => value < Math.log(300) - 0.8).length / draws;
    expect(Math.abs(below - 0.1587)).toBeLessThan(0.013);
  });

  it('have an exponential function like anybody’s', () => {
    fc.assert(
      fc.property(fc.double({ min: -64, max: 64, noNaN: true }), (x) => {
        expect(Math.abs(exp(x) / Math.exp(x) - 1)).toBeLessThan(1e-12);
      }),
    );
    expect(exp(0)).toBe(1);
  });
});
