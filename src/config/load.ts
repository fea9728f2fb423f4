/**
 * Gets the configuration: a preset or a YAML file, with `--set a.b=c` on top. A preset as it is
 * comes ready-made and loads nothing; anything else goes through yaml-config.ts and the schema.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { InputError } from '../core/errors.ts';
import { oneOf } from '../core/kit/nearest.ts';
import { POLICY_KINDS, type PolicyKind } from '../core/policy.ts';
import { anchorPolicy, mapPolicies } from './policy-ref.ts';
import { DEFAULT_PRESET, PRESETS } from './presets/index.ts';
import type { Config } from './schema.ts';

export type ConfigPath = readonly PropertyKey[];

export interface LoadedConfig {
  readonly config: Config;
  /** Where a key was set, for messages: `file:line:column`, `--set a.b=c` or the preset. */
  readonly placeOf: (path: ConfigPath) => string;
}

/**
 * @param nameOrPath a preset's name or the path of a YAML file
 * @param sets overrides such as `cluster.groups.0.count=4`
 * @throws InputError for a missing file, bad YAML, unknown keys and values that don't fit
 */
export async function loadConfig(
  nameOrPath: string = DEFAULT_PRESET,
  sets: readonly string[] = [],
): Promise<LoadedConfig> {
  const preset = PRESETS.get(nameOrPath);
  if (preset && sets.length === 0) {
    return { config: preset.config, placeOf: () => `preset ${nameOrPath}` };
  }
  const { configFromPreset, configFromYaml } = await import('./yaml-config.ts');
  if (preset) return configFromPreset(nameOrPath, preset.input, sets);
  return configFromYaml(nameOrPath, readText(nameOrPath), sets);
}

function readText(path: string): string {
  if (existsSync(path) && statSync(path).isFile()) return readFileSync(path, 'utf8');
  const presets = oneOf(path, [...PRESETS.keys()]);
  const found = existsSync(path) ? 'found a folder' : 'found no such file';
  throw new InputError(`${found}, expected a YAML configuration or the preset ${presets}`, path);
}

/** Policies and seed that the command line gives in place of the configuration's. */
export type ConfigOptions = Partial<Record<PolicyKind, string>> & { readonly seed?: number };

/** Those of `options` that are for the configuration. */
export function configOptions(options: ConfigOptions): ConfigOptions {
  const keys = [...POLICY_KINDS, 'seed' as const];
  const given = keys.filter((key) => options[key] !== undefined);
  return Object.fromEntries(given.map((key) => [key, options[key]]));
}

/** `loaded` with options on top; a policy's file is seen from the current folder. */
export function withOptions(loaded: LoadedConfig, options: ConfigOptions): LoadedConfig {
  const { seed } = options;
  if (seed !== undefined && !(Number.isSafeInteger(seed) && seed >= 0)) {
    throw new InputError(`found ${seed}, expected a whole number of at least 0`, '--seed');
  }
  const given = new Set<string>();
  const config = mapPolicies(
    { ...loaded.config, seed: seed ?? loaded.config.seed },
    (spec, key) => {
      const option = (options as Readonly<Record<string, unknown>>)[key];
      if (typeof option !== 'string') return spec;
      given.add(key);
      return anchorPolicy(option, process.cwd());
    },
  );
  const placeOf = (path: ConfigPath): string => {
    const key = path.length === 2 ? String(path[1]) : '';
    return given.has(key) ? `--${key}` : loaded.placeOf(path);
  };
  return { config, placeOf };
}
