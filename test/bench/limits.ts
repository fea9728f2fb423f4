/** What a bench is, and how slow each may be against its baseline. */

export interface Bench {
  readonly name: string;
  /** What `baselineRun` does. */
  readonly baseline: string;
  /** Ns per operation. */
  run(): number;
  baselineRun(): number;
  /** A line of figures for people, after the runs. */
  note?(): string;
}

/** Highest ratio to the baseline that `--check` accepts: about twice what was measured. */
export const LIMITS: Readonly<Record<string, number>> = {
  'rails apart, nearest': 2,
  'rails apart, round-robin': 2,
  'rails apart, least-queued': 2,
  'rails apart, spray': 2.2,
  'rails apart, spray, SSDs, faults': 2.8,
  'event queue of 100: push + pop': 0.7,
  'event queue of 12000: push + pop': 0.5,
  'fluid network, nothing binds: one change': 0.001,
  'fluid network, nodes bind: one change': 0.01,
  'fluid network, fabric binds: one change': 0.015,
};
