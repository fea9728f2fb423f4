/**
 * What a report carries of its runs, inlined in the page: columns rather than rows, rounded to what
 * a reader can see. Made in Node, read in the browser.
 */
import type { Result } from '../../metrics/result.ts';

export type Numbers = readonly (number | null)[];

export interface PageData {
  /** Bins of time that all runs share. */
  readonly binNs: number;
  readonly bins: number;
  readonly runs: readonly PageRun[];
}

export interface PageRun {
  readonly name: string;
  readonly result: Omit<Result, 'config'>;
  /** Series of the whole cluster by metric, a value per bin. */
  readonly lines: Readonly<Record<string, Numbers>>;
  /** Series of instances or nodes by metric. */
  readonly heats: Readonly<Record<string, Heat>>;
  readonly requests: RequestSample;
}

export interface Heat {
  readonly rows: readonly string[];
  /** By row, a value per bin. */
  readonly values: readonly Numbers[];
  /** Rows that are not shown: the least busy ones of very many. */
  readonly hidden: number;
}

/** Requests of a run: all, or every `step`-th and the slowest of very many. Times are ns. */
export interface RequestSample {
  readonly step: number;
  /** The first `sampled` rows are the sample; the rest are slow ones that it missed. */
  readonly sampled: number;
  readonly id: Numbers;
  /** Bins of its first token and of its end. */
  readonly first: Numbers;
  readonly end: Numbers;
  readonly outcome: readonly number[];
  readonly good: Numbers;
  readonly arrived: Numbers;
  readonly ttft: Numbers;
  readonly tbt: Numbers;
  readonly queue: Numbers;
  readonly transfer: Numbers;
  readonly load: Numbers;
  readonly compute: Numbers;
  readonly handoff: Numbers;
  readonly decode: Numbers;
  readonly input: Numbers;
  readonly output: Numbers;
  readonly cached: Numbers;
  readonly prefill: readonly number[];
  readonly decoder: readonly number[];
  /** Names that `outcome`, and `prefill` and `decoder`, are indices of. */
  readonly outcomes: readonly string[];
  readonly instances: readonly string[];
}

/** Bins [from, to) that the reader has chosen; null for the whole run. */
export type Range = { readonly from: number; readonly to: number } | null;

export function rangeOf({ bins }: PageData, range: Range): { from: number; to: number } {
  return range ?? { from: 0, to: bins };
}
