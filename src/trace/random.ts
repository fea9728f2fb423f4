/**
 * Named random streams (seed + '/' + name) and the distributions that generators draw from. Only
 * sums, products and quotients: the last bits of Math.exp and its kin differ between machines, and
 * a generated trace must not.
 */
import alea from 'seedrandom/lib/alea.js';

/** Log-normal: `sigma` is the standard deviation of the logarithm. */
export interface LogNormal {
  readonly median: number;
  readonly sigma: number;
}

export class RandomStream {
  private readonly next: () => number;

  constructor(seed: number, name: string) {
    this.next = alea(`${seed}/${name}`);
  }

  /** In [0, 1). */
  uniform(): number {
    return this.next();
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  logNormal({ median, sigma }: LogNormal): number {
    return median * exp(sigma * this.normal());
  }

  /**
   * Twelve uniforms less six, two from each number: mean 0, variance 1, and a distribution within
   * 0.003 of the normal one.
   */
  private normal(): number {
    let sum = 0;
    for (let draw = 0; draw < 6; draw++) {
      const bits = (this.next() * 2 ** 32) >>> 0;
      sum += (bits >>> 16) + (bits & 0xffff);
    }
    return sum / 2 ** 16 - 6;
  }
}

/** e^x for |x| <= 64, to 13 digits: the series at x / 64, squared six times. */
export function exp(x: number): number {
  const part = x / 64;
  let value = 1;
  for (let term = 16; term > 0; term--) value = 1 + (part * value) / term;
  for (let square = 0; square < 6; square++) value *= value;
  return value;
}
