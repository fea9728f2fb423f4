/** seedrandom's alea alone: the package's own entry loads seven generators. */
declare module 'seedrandom/lib/alea.js' {
  export interface AleaState {
    readonly c: number;
    readonly s0: number;
    readonly s1: number;
    readonly s2: number;
  }

  export interface Alea {
    /** Uniform in [0, 1), 32 bits. */
    (): number;
    state(): AleaState;
  }

  export default function alea(seed: string, options?: { state: boolean | AleaState }): Alea;
}
