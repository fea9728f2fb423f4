/** The systems that Figures 1, 7 and 8 compare, each on all 16 nodes. */
import { PRESETS } from '../../../config/presets/index.ts';
import { sharedRun } from '../knobs.ts';
import type { RunSpec } from '../types.ts';

/** The paper's names of the baselines, and our presets. */
const BASELINES = {
  vllm: 'vllm-16',
  'vllm-prefix': 'vllm-prefix-16',
  'vllm-chunked': 'vllm-chunked-16',
} as const;

export function systemRuns(workload: string): Record<string, RunSpec> {
  const runs: Record<string, RunSpec> = { mooncake: sharedRun(workload) };
  for (const [system, config] of Object.entries(BASELINES)) {
    if (PRESETS.has(config)) runs[system] = { workload, config };
  }
  return runs;
}
