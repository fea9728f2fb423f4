/**
 * Presets `vllm-16`, `vllm-prefix-16` and `vllm-chunked-16`: the baselines of Qin et al.,
 * "Mooncake", FAST'25, Figures 1 and 8. The 16 nodes of `mooncake-16`, each one coupled engine that
 * prefills and decodes, as vLLM 0.5 does by default: no cache beside HBM, KV pages that grow with
 * the output, preemption by recompute. vLLM 0.5 has no router: requests go to the engines in turn,
 * as nginx does by default. (`least-loaded` takes the least id of equal queues: the first engines
 * would get three times the prompts of the last.) Plain: no prefix is reused. Prefix: computed
 * blocks stay in HBM while there is room. Chunked: passes of 512 tokens, decode first.
 */
import type { Config } from '../schema.ts';
import { MOONCAKE_16 } from './mooncake-16.ts';

function preset(batching: string, hbmCache: 'on' | 'off') {
  const instance = { batching, hbmCache, decodeSpace: 'grow' as const };
  const conductor = { prefill: 'round-robin', disaggregation: 'never' };
  const group = { name: 'vllm', count: 16, roles: ['prefill' as const, 'decode' as const] };
  const config: Config = {
    ...MOONCAKE_16,
    cluster: {
      ...MOONCAKE_16.cluster,
      groups: [{ ...MOONCAKE_16.cluster.groups[0], ...group, dram: { bytes: 0 } }],
    },
    instance: { ...MOONCAKE_16.instance, ...instance },
    conductor: { ...MOONCAKE_16.conductor, ...conductor },
  };
  const input = { cluster: { groups: [{ ...group, dram: 0 }] }, instance, conductor };
  return { input, config };
}

export const VLLM_16 = preset('vllm', 'off');
export const VLLM_PREFIX_16 = preset('vllm', 'on');
export const VLLM_CHUNKED_16 = preset('sarathi:budget=512', 'off');
