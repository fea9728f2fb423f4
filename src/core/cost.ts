/** What work costs: the port that src/model implements. Times are ns. */

/**
 * A decode run's step ends as a polynomial. The end of step k (1-based) after the run's start is
 * `floor((linear * k + quadratic * k * (k - 1) / 2) / DECODE_FIXED_POINT)` ns: with integer
 * coefficients every host and every way of stepping computes the same integers.
 */
export interface DecodePolynomial {
  linear: number;
  quadratic: number;
  /** The polynomial holds for this many steps; then the cost model changes branch. */
  steps: number;
}

/** Coefficients of a DecodePolynomial are in 1/1024 ns. */
export const DECODE_FIXED_POINT = 1024;

/** End of step k of a run, ns after its start; an exact integer. */
export function decodeEndNs(p: DecodePolynomial, k: number): number {
  return Math.floor((p.linear * k + (p.quadratic * k * (k - 1)) / 2) / DECODE_FIXED_POINT);
}

/**
 * Steps that have ended `elapsedNs` after the start: the largest k with decodeEndNs(k) <= elapsed.
 */
export function decodeStepsDone(p: DecodePolynomial, elapsedNs: number, maxSteps: number): number {
  let low = 0;
  let high = maxSteps;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (decodeEndNs(p, middle) <= elapsedNs) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** One chunk of a prompt in a forward pass: tokens [fromToken, toToken). */
export interface PassChunk {
  readonly fromToken: number;
  readonly toToken: number;
  /** First chunk of the request, last chunk of the request. */
  readonly first: boolean;
  readonly last: boolean;
}

/** The decode batch of a forward pass: requests, and their context in all. */
export interface PassBatch {
  readonly batch: number;
  readonly contextTokens: number;
}

/**
 * Cost of compute on one kind of instance. The simulator's truth and the scheduler's estimate are
 * both of this type and may differ on purpose.
 */
export interface CostModel {
  /** Where the numbers come from: fit, paper, table. */
  readonly source: string;
  /**
   * Time to prefill tokens [fromTokens, toTokens) of a prompt whose first `fromTokens` are in HBM.
   * `first` is true for the request's first chunk (per-request constants are charged once).
   */
  prefillNs(fromTokens: number, toTokens: number, first: boolean): number;
  /**
   * One forward pass over chunks of prompts and, where `decode` is given, one decode step of that
   * batch alongside. At least the time of its prompts alone and of its decode step alone, at most
   * the sum of what its parts take alone; one chunk that ends its prompt takes `prefillNs`.
   */
  passNs(chunks: readonly PassChunk[], decode: PassBatch | null): number;
  /**
   * What the engine does for these chunks on the CPU before their pass, while the GPUs wait. It is
   * no GPU time. Absent: nothing.
   */
  hostNs?(chunks: readonly PassChunk[]): number;
  /** One decode step of `batch` requests with `contextTokens` in all. */
  decodeStepNs(batch: number, contextTokens: number): number;
  /** Fills `out` for a run that starts with `contextTokens` and grows by `batch` tokens a step. */
  decodeRun(batch: number, contextTokens: number, out: DecodePolynomial): void;
}

/** What the scheduler believes; answers for any instance of the cluster. */
export interface Estimator {
  prefillNs(instance: number, inputTokens: number, cachedTokens: number): number;
  /** Moving `tokens` of KV from one node's DRAM to another's. */
  transferNs(sourceNode: number, targetNode: number, tokens: number): number;
  decodeStepNs(instance: number, batch: number, contextTokens: number): number;
}
