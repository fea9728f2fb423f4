/** What a reproduction is made of: figures, their runs, and the rows and charts that come out. */
import type { TraceColumns } from '../../core/trace-columns.ts';
import type { Result } from '../../metrics/result.ts';
import type { PaperChart } from '../../report/paper-chart.ts';
import type { PaperData } from './paper-data.ts';

/** fitted: the model's constants come from this figure; predicted: from none of its numbers. */
export type Basis = 'fitted' | 'predicted';

export interface Row {
  /** Key of the figure in the paper's data. */
  readonly figure: string;
  readonly workload: string;
  /** Path inside the figure's object. */
  readonly quantity: string;
  readonly paper: number | null;
  readonly ours: number | null;
  /** ours / paper - 1; null without paper data. */
  readonly error: number | null;
  readonly basis: Basis;
}

/** More that a run is watched for. */
export type Watch = 'replicas' | 'fetches' | 'loads';

/** One simulated run. Equal ones run once, whatever figures ask for them. */
export interface RunSpec {
  readonly workload: string;
  /** Preset; the default is `mooncake-16`. */
  readonly config?: string;
  readonly sets?: readonly string[];
  /** Multiplies the arrival rate. */
  readonly rate?: number;
  /** Every request ends with its first token. */
  readonly oneToken?: true;
  readonly watch?: readonly Watch[];
}

/** Copies of the blocks of some ranks of popularity, over time. */
export interface ReplicaSeries {
  readonly sampleNs: number;
  readonly samples: number;
  /** By rank, 1 is the most accessed block; counts by sample. */
  readonly ranks: Readonly<Record<number, readonly number[]>>;
  /** Fewest copies at the end among the ten most accessed blocks. */
  readonly fewestOfTopTen: number;
}

/** Load of each pool by bin of time: predicted TTFT or TBT over its SLO; NaN: none is known. */
export interface LoadSeries {
  readonly binNs: number;
  readonly prefill: readonly number[];
  readonly decode: readonly number[];
}

/** Means over the fetches of cached KV between nodes. */
export interface FetchTimes {
  readonly fetches: number;
  readonly meanSeconds: number;
  /** At the full rate of one node's rails. */
  readonly theorySeconds: number;
}

/** What a run answers, as plain data that goes from thread to thread. */
export interface RunOutcome {
  readonly result: Result;
  /** By request; NaN where it did not get so far. */
  readonly ttftNs: Float64Array;
  readonly tbtNs: Float64Array;
  /** 1 where it ended well. */
  readonly completed: Uint8Array;
  readonly replicas: ReplicaSeries | null;
  readonly fetches: FetchTimes | null;
  readonly loads: LoadSeries | null;
}

export interface FigureInput {
  readonly workload: string;
  /** The figure's object in the paper's data; empty where there is none. */
  readonly paper: PaperData;
  readonly runs: Readonly<Record<string, RunOutcome>>;
  /** Null for figures that need none. */
  readonly trace: TraceColumns | null;
  /** The paper's value of a quantity, or null. */
  paperValue(quantity: string): number | null;
}

export interface FigureOutput {
  readonly quantities: readonly { readonly quantity: string; readonly ours: number | null }[];
  readonly charts: readonly PaperChart[];
  readonly notes: readonly string[];
}

export interface Figure {
  /** Key in the paper's data. */
  readonly key: string;
  /** As the paper calls it: `Figure 5`. */
  readonly name: string;
  readonly basis: Basis;
  /** Whether it is drawn for a workload; `none` stands for no trace at all. */
  isOf(workload: string): boolean;
  /** Runs by the names that `make` knows them by. */
  runs(workload: string, paper: PaperData): Readonly<Record<string, RunSpec>>;
  make(input: FigureInput): Promise<FigureOutput> | FigureOutput;
}

/** The workload of measurements that replay no trace. */
export const NO_TRACE = 'none';
