/**
 * Decode steps of a whole number of ns, so that a run equals its steps exactly.
 *
 * Any cost of one decode step, f(batch, context), becomes D(batch, context) as follows. Let m be
 * the whole part of context / batch, the mean context of a request: one step adds `batch` tokens
 * and so exactly 1 to m. m is cut into cells of 1,024. At the start of each cell D is f rounded to
 * a ns; inside it D grows by whole ns per step, the secant of f over the cell rounded down.
 *
 * Then a run's coefficients depend on (batch, context) alone and are multiples of
 * DECODE_FIXED_POINT: no end of a step is ever floored, and splitting a run at any step, any number
 * of times, gives the same integers as the whole run and as single steps. A run holds up to the end
 * of its cell (`steps` is 1 to 1,024), and is exact in doubles for steps below 8 s. D is off f by
 * less than 1.1 us plus the bend of f within one cell, and is monotone in the context when f is.
 */
import { DECODE_FIXED_POINT, type DecodePolynomial } from '../core/cost.ts';

const CELL_TOKENS = 1024;

export abstract class DecodeGrid {
  /** One step of `batch` requests with `contextTokens` in all; ns, need not be whole. */
  protected abstract stepNs(batch: number, contextTokens: number): number;

  decodeStepNs(batch: number, contextTokens: number): number {
    const mean = Math.floor(contextTokens / batch);
    const into = mean % CELL_TOKENS;
    const start = this.anchorNs(batch, mean - into);
    return start + this.slopeNs(batch, mean - into, start) * into;
  }

  decodeRun(batch: number, contextTokens: number, out: DecodePolynomial): void {
    const mean = Math.floor(contextTokens / batch);
    const into = mean % CELL_TOKENS;
    const start = this.anchorNs(batch, mean - into);
    const slope = this.slopeNs(batch, mean - into, start);
    out.linear = (start + slope * into) * DECODE_FIXED_POINT;
    out.quadratic = slope * DECODE_FIXED_POINT;
    out.steps = CELL_TOKENS - into;
  }

  /** Step time at the start of the cell whose first mean context is `mean`. */
  private anchorNs(batch: number, mean: number): number {
    return Math.round(this.stepNs(batch, mean * batch));
  }

  private slopeNs(batch: number, mean: number, startNs: number): number {
    return Math.floor((this.anchorNs(batch, mean + CELL_TOKENS) - startNs) / CELL_TOKENS);
  }
}
