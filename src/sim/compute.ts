/** The GPUs of one instance: one step or one run at a time, at the cost model's pace. */
import {
  type CostModel,
  type DecodePolynomial,
  decodeEndNs,
  decodeStepsDone,
} from '../core/cost.ts';
import { assert } from '../core/errors.ts';
import type { Run, Step } from '../core/host.ts';
import { removeAt } from '../core/kit/remove-at.ts';
import type { RunEnded, StepEnded } from '../core/messages.ts';
import type { Moving } from './transfers.ts';

/** A step on the GPUs. */
export interface ActiveStep {
  readonly step: Step;
  /** When the GPUs begin: after the CPU's part. */
  readonly startNs: number;
  readonly computeNs: number;
  /** Loads that have not ended; the end of the step is known when none is left. */
  loads: number;
  endNs: number;
  /** Transfers that send what it makes. */
  readonly followers: Moving[];
}

interface ActiveRun {
  readonly run: Run;
  readonly startNs: number;
  readonly polynomial: DecodePolynomial;
  steps: number;
  endNs: number;
}

export class Gpus {
  step: ActiveStep | null = null;
  run: ActiveRun | null = null;
  /** Loads under way into this instance's HBM. */
  readonly loading: number[] = [];
  private readonly cost: CostModel;
  private readonly layers: number;
  private readonly overlap: 'layerwise' | 'serial';
  private gapsNs = new Float64Array(1024);

  constructor(cost: CostModel, layers: number, overlap: 'layerwise' | 'serial') {
    this.cost = cost;
    this.layers = layers;
    this.overlap = overlap;
  }

  /** The engine died. */
  reset(): void {
    this.step = null;
    this.run = null;
    this.loading.length = 0;
  }

  startStep(step: Step, nowNs: number): ActiveStep {
    assert(this.step === null && this.run === null, 'a GPU is busy twice');
    let loads = 0;
    if (this.loading.length > 0) {
      for (const { loads: needed } of step.chunks) {
        for (const load of needed) if (this.loading.includes(load)) loads++;
      }
    }
    const computeNs = this.cost.passNs(step.chunks, step.decode);
    const startNs = nowNs + (this.cost.hostNs?.(step.chunks) ?? 0);
    const endNs = startNs + computeNs;
    this.step = { step, startNs, computeNs, loads, endNs, followers: [] };
    return this.step;
  }

  /**
   * A load has ended. Answers the step that waited for it alone: its end is known now. Layer-wise,
   * layer l computes once layer l is there, so that one layer's compute follows the last layer's
   * load and the whole compute follows the first's.
   */
  loadEnded(load: number, nowNs: number): ActiveStep | null {
    const { loading } = this;
    const at = loading.indexOf(load);
    if (at >= 0) removeAt(loading, at);
    const active = this.step;
    if (active === null || !active.step.chunks.some((chunk) => chunk.loads.includes(load)))
      return null;
    const { startNs, computeNs } = active;
    const layer = 1 / this.layers;
    const endNs =
      this.overlap === 'serial'
        ? nowNs + computeNs
        : Math.max(startNs + (nowNs - startNs) * layer + computeNs, nowNs + computeNs * layer);
    active.endNs = Math.max(active.endNs, Math.ceil(endNs));
    return --active.loads === 0 ? active : null;
  }

  endStep(nowNs: number): StepEnded {
    const active = this.step;
    assert(active !== null, 'no step to end');
    this.step = null;
    const { step, startNs, computeNs } = active;
    const { id, chunks, decode } = step;
    return {
      kind: 'stepEnded',
      step: id,
      durationNs: nowNs - startNs,
      computeNs,
      decoded: decode === null ? 0 : decode.batch,
      decodeNs: decode === null ? 0 : computeNs - this.cost.passNs(chunks, null),
    };
  }

  /** Begins a run; answers when it ends if nothing cuts it. */
  startRun(run: Run, nowNs: number): number {
    assert(this.step === null && this.run === null, 'a GPU is busy twice');
    const polynomial: DecodePolynomial = { linear: 0, quadratic: 0, steps: 0 };
    this.cost.decodeRun(run.batch, run.contextTokens, polynomial);
    const steps = Math.min(run.maxSteps, polynomial.steps);
    const endNs = nowNs + decodeEndNs(polynomial, steps);
    this.run = { run, startNs: nowNs, polynomial, steps, endNs };
    return endNs;
  }

  /** Ends the run at the next step boundary; answers when that is, or -1 when no run has the id. */
  cutRun(id: number, nowNs: number): number {
    const active = this.run;
    if (active === null || active.run.id !== id) return -1;
    const { polynomial, startNs } = active;
    const done = decodeStepsDone(polynomial, nowNs - startNs, active.steps);
    const onBoundary = done > 0 && startNs + decodeEndNs(polynomial, done) === nowNs;
    active.steps = Math.min(active.steps, onBoundary ? done : done + 1);
    active.endNs = startNs + decodeEndNs(polynomial, active.steps);
    return active.endNs;
  }

  endRun(): RunEnded {
    const active = this.run;
    assert(active !== null, 'no run to end');
    this.run = null;
    const { run, polynomial, steps } = active;
    if (this.gapsNs.length < steps) this.gapsNs = new Float64Array(2 * steps);
    let before = 0;
    for (let k = 1; k <= steps; k++) {
      const end = decodeEndNs(polynomial, k);
      this.gapsNs[k - 1] = end - before;
      before = end;
    }
    return { kind: 'runEnded', run: run.id, steps, gapsNs: this.gapsNs, from: 0 };
  }
}
