/** How a policy is named: `lru`, `kvcache-centric:threshold=1`, `./mine.ts:depth=3`. */
import { basename, isAbsolute, resolve } from 'node:path';
import { InputError } from '../core/errors.ts';
import { POLICY_KINDS, type PolicyKind } from '../core/policy.ts';
import type { Config } from './schema.ts';

/** Where a configuration names the policy of each kind: the key is the kind. */
const POLICY_SECTION: Readonly<
  Record<PolicyKind, 'store' | 'conductor' | 'transport' | 'instance'>
> = {
  eviction: 'store',
  prefill: 'conductor',
  decode: 'conductor',
  disaggregation: 'conductor',
  admission: 'conductor',
  elasticity: 'conductor',
  rail: 'transport',
  batching: 'instance',
  queue: 'instance',
  tiering: 'store',
  placement: 'store',
  replication: 'store',
};

/** A policy that was asked for. Its parameters are checked when it is loaded. */
export interface PolicyRef<K extends PolicyKind = PolicyKind> {
  readonly kind: K;
  /** Name of a built-in policy, or of the user's file without its folder. */
  readonly name: string;
  /** Absolute path of a user's file; null for a built-in policy. */
  readonly path: string | null;
  readonly params: Readonly<Record<string, string>>;
  /** Where it was asked for, for messages. */
  readonly place: string;
}

/** Keys of `store` that name an eviction policy for one tier in place of `eviction`. */
export const TIER_EVICTIONS = ['hbmEviction', 'ssdEviction'] as const;
export type TierEviction = (typeof TIER_EVICTIONS)[number];

export type PolicyRefs = { readonly [K in PolicyKind]: PolicyRef<K> } & {
  readonly [K in TierEviction]: PolicyRef<'eviction'>;
};

/** A key that names a policy: its kind, or a tier's eviction. */
export type PolicyKey = PolicyKind | TierEviction;
export const POLICY_KEYS: readonly PolicyKey[] = [...POLICY_KINDS, ...TIER_EVICTIONS];

export function kindOfKey(key: PolicyKey): PolicyKind {
  return key === 'hbmEviction' || key === 'ssdEviction' ? 'eviction' : key;
}

function sectionOf(key: PolicyKey): string {
  return POLICY_SECTION[kindOfKey(key)];
}

const EXPECTED = 'name, name:key=value,key=value or ./file.ts:key=value';
const FILE = /[\\/]|\.[cm]?[jt]s$/;

/** Cuts at the last colon that parameters follow, so that `C:\mine.ts` stays whole. */
function cut(spec: string): [subject: string, params: string] {
  const match = /^(.*?):([^:\\/]*=.*)$/.exec(spec);
  return match ? [match[1], match[2]] : [spec, ''];
}

/** Whether `spec` names a file and not a built-in policy. */
function isFile(spec: string): boolean {
  return FILE.test(cut(spec)[0]);
}

/** `spec` with a file's path made absolute, seen from `folder`. */
export function anchorPolicy(spec: string, folder: string): string {
  if (!isFile(spec)) return spec;
  const [subject, params] = cut(spec);
  const path = isAbsolute(subject) ? subject : resolve(folder, subject);
  return params === '' ? path : `${path}:${params}`;
}

/** `spec` without folders, for results: they don't depend on where a run happened. */
export function policyWithoutFolder(spec: string): string {
  if (!isFile(spec)) return spec;
  const [subject, params] = cut(spec);
  return params === '' ? basename(subject) : `${basename(subject)}:${params}`;
}

/** @throws InputError when `spec` is not of the form above. */
export function parsePolicyRef<K extends PolicyKind>(
  kind: K,
  spec: string,
  place: string,
): PolicyRef<K> {
  const [subject, list] = cut(spec);
  const fail = () =>
    new InputError(`found ${JSON.stringify(spec)} as ${kind} policy, expected ${EXPECTED}`, place);
  const params: Record<string, string> = {};
  for (const item of list === '' ? [] : list.split(',')) {
    const match = /^\s*([A-Za-z]\w*)\s*=\s*(\S+)\s*$/.exec(item);
    if (!match) throw fail();
    const [, key, value] = match;
    if (Object.hasOwn(params, key)) {
      throw new InputError(
        `found parameter ${key} twice in ${JSON.stringify(spec)}, expected it once`,
        place,
      );
    }
    params[key] = value;
  }
  if (isFile(spec)) {
    return { kind, name: basename(subject), path: resolve(subject), params, place };
  }
  if (!/^[a-z0-9][a-z0-9-]*$/.test(subject)) throw fail();
  return { kind, name: subject, path: null, params, place };
}

/**
 * `sections` with each policy in it changed by `change`. Sections and policies that are not there,
 * or are not what they should be, stay as they are.
 */
export function mapPolicies<S extends Partial<Record<keyof Config, unknown>>>(
  sections: S,
  change: (spec: string, key: PolicyKey) => string,
): S {
  const mapped: Record<string, unknown> = { ...sections };
  for (const key of POLICY_KEYS) {
    const section = mapped[sectionOf(key)];
    if (typeof section !== 'object' || section === null) continue;
    const spec = (section as Record<string, unknown>)[key];
    if (typeof spec !== 'string') continue;
    mapped[sectionOf(key)] = { ...section, [key]: change(spec, key) };
  }
  return mapped as S;
}

/** The policies that a configuration names. */
export function policyRefs(
  config: Config,
  placeOf: (path: readonly string[]) => string,
): PolicyRefs {
  const refs: Partial<Record<PolicyKey, PolicyRef>> = {};
  mapPolicies(config, (spec, key) => {
    refs[key] = parsePolicyRef(kindOfKey(key), spec, placeOf([sectionOf(key), key]));
    return spec;
  });
  return refs as PolicyRefs;
}
