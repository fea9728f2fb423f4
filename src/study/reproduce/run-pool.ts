/**
 * Runs many specifications: equal ones once, in this thread or spread over worker threads. What a
 * run answers does not depend on where it ran.
 */
import { Worker } from 'node:worker_threads';
import { InputError } from '../../core/errors.ts';
import type { TraceColumns } from '../../core/trace-columns.ts';
import { mergeWatches, performRun, runKey } from './runs.ts';
import type { RunOutcome, RunSpec } from './types.ts';

export type Traces = Readonly<Record<string, TraceColumns>>;

export interface Job {
  readonly id: number;
  readonly spec: RunSpec;
}

/** What a worker says of a job. */
export type JobAnswer =
  | { readonly id: number; readonly outcome: RunOutcome }
  | { readonly id: number; readonly error: { name: string; message: string; stack: string } };

export interface PoolOptions {
  readonly traces: Traces;
  /** Threads; 0 runs all here. */
  readonly workers: number;
  /** The module that a worker runs; needed for any. */
  readonly workerUrl: URL | null;
  readonly onProgress?: ((done: number, all: number) => void) | undefined;
}

/** Outcomes by the key of their specification. */
export async function runAll(
  specs: readonly RunSpec[],
  options: PoolOptions,
): Promise<ReadonlyMap<string, RunOutcome>> {
  const merged = new Map<string, RunSpec>();
  for (const spec of specs) {
    const key = runKey(spec);
    const before = merged.get(key);
    merged.set(key, before === undefined ? spec : mergeWatches(before, spec));
  }
  const jobs = [...merged.values()].map((spec, id) => ({ id, spec }));
  const { workers, workerUrl } = options;
  const threads = workerUrl === null ? 0 : Math.min(workers, jobs.length);
  const outcomes =
    threads < 2 ? await runHere(jobs, options) : await runSpread(jobs, options, threads);
  return new Map([...merged.keys()].map((key, id) => [key, outcomes[id]]));
}

async function runHere(
  jobs: readonly Job[],
  { traces, onProgress }: PoolOptions,
): Promise<RunOutcome[]> {
  const outcomes: RunOutcome[] = [];
  for (const { spec } of jobs) {
    outcomes.push(await performRun(spec, traces[spec.workload]));
    onProgress?.(outcomes.length, jobs.length);
  }
  return outcomes;
}

async function runSpread(
  jobs: readonly Job[],
  { traces, workerUrl, onProgress }: PoolOptions,
  threads: number,
): Promise<RunOutcome[]> {
  const workers = Array.from(
    { length: threads },
    () => new Worker(workerUrl!, { workerData: traces }),
  );
  const outcomes: RunOutcome[] = [];
  let next = 0;
  let done = 0;
  const work = (worker: Worker) =>
    new Promise<void>((resolve, reject) => {
      const give = () => {
        if (next === jobs.length) resolve();
        else worker.postMessage(jobs[next++]);
      };
      worker.on('error', reject);
      worker.on('message', (answer: JobAnswer) => {
        if ('error' in answer) {
          reject(errorOf(answer.error));
          return;
        }
        outcomes[answer.id] = answer.outcome;
        onProgress?.(++done, jobs.length);
        give();
      });
      give();
    });
  try {
    await Promise.all(workers.map(work));
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  return outcomes;
}

function errorOf({ name, message, stack }: { name: string; message: string; stack: string }) {
  if (name === 'InputError') return new InputError(message);
  const error = new Error(message);
  error.name = name;
  error.stack = stack;
  return error;
}
