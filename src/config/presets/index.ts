/** Configurations that a name stands for. */
import type { Config } from '../schema.ts';
import { MOONCAKE_16 } from './mooncake-16.ts';
import { VLLM_16, VLLM_CHUNKED_16, VLLM_PREFIX_16 } from './vllm-16.ts';

export interface Preset {
  /** What a user would write; the schema makes `config` of it. */
  readonly input: Readonly<Record<string, unknown>>;
  readonly config: Config;
}

export const DEFAULT_PRESET = 'mooncake-16';

export const PRESETS: ReadonlyMap<string, Preset> = new Map<string, Preset>([
  [DEFAULT_PRESET, { input: {}, config: MOONCAKE_16 }],
  ['vllm-16', VLLM_16],
  ['vllm-prefix-16', VLLM_PREFIX_16],
  ['vllm-chunked-16', VLLM_CHUNKED_16],
]);
