/** Configurations that a name stands for. */
import type { Config } from '../schema.ts';
import { MOONCAKE_16 } from './mooncake-16.ts';

export interface Preset {
  /** What a user would write; the schema makes `config` of it. */
  readonly input: Readonly<Record<string, unknown>>;
  readonly config: Config;
}

export const DEFAULT_PRESET = 'mooncake-16';

export const PRESETS: ReadonlyMap<string, Preset> = new Map([
  [DEFAULT_PRESET, { input: {}, config: MOONCAKE_16 }],
]);
