/** Defaults of a study's options, and what is wrong with given ones. */
import { InputError } from '../../core/errors.ts';
import { ROUTINGS } from './cluster-pools.ts';
import type { CacheStudyOptions } from './options.ts';

export const DEFAULTS = {
  policies: ['lru'],
  capacities: [1000, 3000, 10_000, 30_000, 50_000, 100_000, null],
  unit: 'blocks',
  semantics: 'prefix',
  order: 'forward',
  decodeCached: false,
  nodes: 1,
  routing: 'best-prefix',
  seed: 1,
  sampleRate: 0.01,
  targets: [],
} as const satisfies Partial<CacheStudyOptions>;

export type Plan = CacheStudyOptions & Required<Pick<CacheStudyOptions, keyof typeof DEFAULTS>>;

const CHOICES = {
  unit: ['blocks', 'tokens', 'bytes'],
  semantics: ['prefix', 'any'],
  order: ['forward', 'reverse'],
  routing: ROUTINGS,
  curve: ['exact', 'sampled'],
} as const;

export function checkPlan(plan: Plan): void {
  for (const [key, choices] of Object.entries(CHOICES)) {
    const value = plan[key as keyof typeof CHOICES];
    if (value === undefined || (choices as readonly string[]).includes(value)) continue;
    throw new InputError(`found ${JSON.stringify(value)}, expected ${choices.join(' or ')}`, key);
  }
  if (plan.policies.length === 0) throw new InputError('found none, expected a policy', 'policies');
  if (plan.capacities.length === 0) {
    throw new InputError('found none, expected a capacity', 'capacities');
  }
  for (const capacity of plan.capacities) {
    if (capacity === null || (Number.isFinite(capacity) && capacity > 0)) continue;
    throw new InputError(`found ${capacity}, expected a positive number or inf`, 'capacities');
  }
  if (!Number.isInteger(plan.nodes) || plan.nodes < 1) {
    throw new InputError(`found ${plan.nodes}, expected a whole number of at least 1`, 'nodes');
  }
  for (const share of plan.targets) {
    if (share > 0 && share <= 1) continue;
    throw new InputError(`found ${share}, expected a share above 0 and up to 1`, 'targets');
  }
  if (plan.targets.length > 0 && plan.curve === undefined) {
    throw new InputError(
      'found targets without a curve, expected curve exact or sampled',
      'targets',
    );
  }
}

/** Keys of other tools have no tokens, no bytes and no requests. */
export function checkForeignPlan({ unit, decodeCached, limit }: Plan): void {
  if (unit !== 'blocks') throw foreign(`unit ${unit}`, 'blocks', 'unit');
  if (decodeCached) throw foreign('decode-cached', 'a trace of requests', 'decodeCached');
  if (limit !== undefined) throw foreign('a limit', 'none', 'limit');
}

function foreign(found: string, expected: string, place: string): InputError {
  return new InputError(`found ${found} for a trace of bare keys, expected ${expected}`, place);
}
