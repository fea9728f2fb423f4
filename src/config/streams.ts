/**
 * Named random streams: seed + '/' + name, so that a new consumer disturbs no other. Alea, because
 * seedrandom's default generator is four times slower.
 */
import alea, { type Alea, type AleaState } from 'seedrandom/lib/alea.js';

export class RandomStream {
  private readonly seed: string;
  /** Made when first asked: most streams of a cluster are offered to policies that draw nothing. */
  private generator: Alea | null = null;

  constructor(seed: number, name: string) {
    this.seed = `${seed}/${name}`;
  }

  /** Uniform in [0, 1), 32 bits. */
  next(): number {
    return (this.generator ?? this.start())();
  }

  saveState(): unknown {
    return (this.generator ?? this.start()).state();
  }

  loadState(state: unknown): void {
    this.generator = alea('', { state: state as AleaState });
  }

  private start(): Alea {
    this.generator = alea(this.seed, { state: true });
    return this.generator;
  }
}
