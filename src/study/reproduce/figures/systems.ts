/** The systems that Figures 1, 7 and 8 compare, each on all 16 nodes. */
import { baselineRun, PREFIX_HASH, sharedRun } from '../knobs.ts';
import type { RunSpec } from '../types.ts';

export function systemRuns(workload: string): Record<string, RunSpec> {
  return {
    mooncake: sharedRun(workload),
    vllm: baselineRun(workload, 'vllm-16'),
    'vllm-prefix': baselineRun(workload, 'vllm-prefix-16', [PREFIX_HASH]),
    // What the preset has, said again so that it is seen to be a knob.
    'vllm-chunked': baselineRun(workload, 'vllm-chunked-16', [
      'instance.batching=sarathi:budget=512',
    ]),
  };
}
