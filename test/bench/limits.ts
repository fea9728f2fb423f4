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
export const LIMITS: Readonly<Record<string, number>> = {};
