/** A worker thread of run-pool.ts: takes jobs, one at a time, and answers each. */
import { parentPort, workerData } from 'node:worker_threads';
import type { Job, JobAnswer, Traces } from './run-pool.ts';
import { performRun } from './runs.ts';

const traces = workerData as Traces;
const port = parentPort!;

port.on('message', async ({ id, spec }: Job) => {
  port.postMessage(await answerTo(id, spec));
});

async function answerTo(id: number, spec: Job['spec']): Promise<JobAnswer> {
  try {
    return { id, outcome: await performRun(spec, traces[spec.workload]) };
  } catch (thrown) {
    const { name, message, stack = '' } = thrown as Error;
    return { id, error: { name, message, stack } };
  }
}
