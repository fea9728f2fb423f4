/**
 * Named random streams: seed + '/' + name, so that a new consumer disturbs no other. Alea, because
 * seedrandom's default generator is four times slower.
 */
import seedrandom from 'seedrandom';

export class RandomStream {
  private readonly generator: seedrandom.StatefulPRNG<seedrandom.State.Alea>;

  constructor(seed: number, name: string) {
    this.generator = seedrandom.alea(`${seed}/${name}`, { state: true });
  }

  /** Uniform in [0, 1), 32 bits. */
  next(): number {
    return this.generator();
  }

  saveState(): unknown {
    return this.generator.state();
  }

  loadState(state: unknown): void {
    const restored = seedrandom.alea('', { state: state as seedrandom.State.Alea });
    Object.assign(this, { generator: restored });
  }
}
