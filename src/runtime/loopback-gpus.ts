/**
 * The emulated engine of one instance: a step or a run occupies it for the cost model's time
 * divided by the speed. What it reports is what a clock measured: the last step of a run takes up
 * the lag.
 */
import {
  type CostModel,
  type DecodePolynomial,
  decodeEndNs,
  decodeStepsDone,
} from '../core/cost.ts';
import { assert } from '../core/errors.ts';
import type { Run, Step } from '../core/host.ts';
import type { RunEnded, StepEnded } from '../core/messages.ts';

export interface ActiveStep {
  readonly step: Step;
  readonly startNs: number;
  readonly computeNs: number;
  /** Loads that it waits for. */
  loads: number;
  /** Transfers of what it makes: they start when it has ended. */
  readonly followers: (() => void)[];
}

interface ActiveRun {
  readonly run: Run;
  readonly startNs: number;
  readonly polynomial: DecodePolynomial;
  steps: number;
}

export class LoopbackGpus {
  step: ActiveStep | null = null;
  run: ActiveRun | null = null;
  /** Loads under way into this instance's HBM. */
  readonly loading = new Set<number>();
  private readonly cost: CostModel;
  private readonly speed: number;

  constructor(cost: CostModel, speed: number) {
    this.cost = cost;
    this.speed = speed;
  }

  startStep(step: Step, nowNs: number): ActiveStep {
    assert(this.step === null && this.run === null, 'a GPU is busy twice');
    let loads = 0;
    for (const { loads: needed } of step.chunks) {
      for (const load of needed) if (this.loading.has(load)) loads++;
    }
    const computeNs = this.computeNs(step.chunks, step.decode);
    const hostNs = Math.ceil((this.cost.hostNs?.(step.chunks) ?? 0) / this.speed);
    this.step = { step, startNs: nowNs + hostNs, computeNs, loads, followers: [] };
    return this.step;
  }

  /** A load has ended. Answers the step that waited for it alone, or null. */
  loadEnded(load: number): ActiveStep | null {
    this.loading.delete(load);
    const active = this.step;
    if (active === null || !active.step.chunks.some((chunk) => chunk.loads.includes(load)))
      return null;
    return --active.loads === 0 ? active : null;
  }

  /** Loads overlap with compute: the step ends when both are done. */
  stepEndNs({ startNs, computeNs }: ActiveStep, nowNs: number): number {
    return Math.max(nowNs, startNs + computeNs);
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
      decodeNs: decode === null ? 0 : computeNs - this.computeNs(chunks, null),
    };
  }

  private computeNs(chunks: Step['chunks'], decode: Step['decode']): number {
    return Math.ceil(this.cost.passNs(chunks, decode) / this.speed);
  }

  startRun(run: Run, nowNs: number): number {
    assert(this.step === null && this.run === null, 'a GPU is busy twice');
    const polynomial: DecodePolynomial = { linear: 0, quadratic: 0, steps: 0 };
    this.cost.decodeRun(run.batch, run.contextTokens, polynomial);
    const steps = Math.min(run.maxSteps, polynomial.steps);
    this.run = { run, startNs: nowNs, polynomial, steps };
    return this.runEndNs(this.run, steps);
  }

  /** Ends the run at the next step boundary; answers when that is, or -1 when no run has the id. */
  cutRun(id: number, nowNs: number): number {
    const active = this.run;
    if (active === null || active.run.id !== id) return -1;
    const elapsedNs = Math.floor((nowNs - active.startNs) * this.speed);
    const done = decodeStepsDone(active.polynomial, elapsedNs, active.steps);
    active.steps = Math.min(active.steps, done + 1);
    return this.runEndNs(active, active.steps);
  }

  /** The run, if it is due: what was planned before it was cut is void. */
  endRun(id: number, nowNs: number): RunEnded | null {
    const active = this.run;
    if (active === null || active.run.id !== id) return null;
    const { run, startNs, steps } = active;
    if (nowNs < this.runEndNs(active, steps)) return null;
    this.run = null;
    const gapsNs = new Float64Array(steps);
    let beforeNs = startNs;
    for (let k = 1; k <= steps; k++) {
      const endNs = k === steps ? nowNs : this.runEndNs(active, k);
      gapsNs[k - 1] = endNs - beforeNs;
      beforeNs = endNs;
    }
    return { kind: 'runEnded', run: run.id, steps, gapsNs, from: 0 };
  }

  private runEndNs({ startNs, polynomial }: ActiveRun, steps: number): number {
    return startNs + Math.ceil(decodeEndNs(polynomial, steps) / this.speed);
  }
}
