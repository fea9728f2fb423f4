/**
 * Named random streams: seed + '/' + name, so that a new consumer disturbs no other. Alea, because
 * seedrandom's default generator is four times slower.
 */
import alea, { type Alea, type AleaState } from 'seedrandom/lib/alea.js';

export class RandomStream {
  private readonly generator: Alea;

  constructor(seed: number, name: string) {
    this.generator = alea(`${seed}/${name}`, { state: true });
  }

  /** Uniform in [0, 1), 32 bits. */
  next(): number {
    return this.generator();
  }

  saveState(): unknown {
    return this.generator.state();
  }

  loadState(state: unknown): void {
    const restored = alea('', { state: state as AleaState });
    Object.assign(this, { generator: restored });
  }
}
