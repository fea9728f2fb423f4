/**
 * Loads policies: built-in ones by name from src/policy/<kind>/, a user's own from a file. The same
 * code serves the compiled program and its sources.
 */
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { InputError } from '../core/errors.ts';
import { nearest, oneOf } from '../core/kit/nearest.ts';
import {
  type Param,
  type Params,
  POLICY_KINDS,
  type PolicyKind,
  type PolicyModule,
  type PolicyModules,
} from '../core/policy.ts';
import { importBuiltin } from './builtin-policies.ts';
import { POLICY_KEYS, type PolicyKey, type PolicyRef, type PolicyRefs } from './policy-ref.ts';
import type { MadePolicies } from './wire.ts';

export type PolicyParams = Readonly<Record<string, number | boolean | string>>;

/** A policy that is ready to be created: `module.create(context, params)`. */
export interface LoadedPolicy<K extends PolicyKind = PolicyKind> {
  readonly kind: K;
  readonly name: string;
  /** Of a user's file, for placeInFile() of user-policy.ts; null for a built-in policy. */
  readonly path: string | null;
  readonly module: PolicyModules[K];
  /** Every parameter, given or default. */
  readonly params: PolicyParams;
  /** Of a user's bundled file, in hex; null for a built-in policy. */
  readonly sha256: string | null;
}

/** What `moontide policies` lists. */
export interface PolicyEntry {
  readonly kind: PolicyKind;
  readonly name: string;
  readonly source: string;
  readonly params: Params;
}

/** `.ts` when this file runs from its sources, `.js` when compiled. */
const EXTENSION = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
const NAME = /^([a-z0-9][a-z0-9-]*)\.(?:ts|js)$/;

/** Hex digits of a checksum that tell two files apart. */
const IDENTITY_DIGITS = 16;

function policyUrl(kind: PolicyKind, file: string): URL {
  return new URL(`../policy/${kind}/${file}`, import.meta.url);
}

/** Names of the built-in policies of a kind, sorted. */
export function policyNames(kind: PolicyKind): string[] {
  const folder = policyUrl(kind, '.');
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((file) => NAME.test(file) && file.endsWith(EXTENSION))
    .map((file) => file.slice(0, -EXTENSION.length))
    .sort();
}

/**
 * @throws InputError for an unknown name, a file that is missing or doesn't compile, a file that
 *   exports no policy of the kind, and parameters that the policy doesn't have
 */
export async function loadPolicy<K extends PolicyKind>(
  ref: PolicyRef<K>,
): Promise<LoadedPolicy<K>> {
  const { kind, name, place } = ref;
  if (ref.path === null) {
    if (!existsSync(policyUrl(kind, `${name}${EXTENSION}`))) {
      const known = oneOf(name, policyNames(kind));
      throw new InputError(
        `found unknown ${kind} policy ${JSON.stringify(name)}, expected ${known}, or ./file.ts`,
        place,
      );
    }
    const module = (await importBuiltin(kind, name)).default as PolicyModules[K];
    const params = paramValues(ref, module.params);
    return { kind, name, path: null, module, params, sha256: null };
  }
  const { importUserPolicy } = await import('./user-policy.ts');
  const kit = fileURLToPath(new URL(`../core/policy-kit${EXTENSION}`, import.meta.url));
  const { exported, sha256 } = await importUserPolicy(ref.path, kit, place);
  const module = checkModule(kind, exported, ref.path) as PolicyModules[K];
  return { kind, name, path: ref.path, module, params: paramValues(ref, module.params), sha256 };
}

/** The policies that a cluster names, with their parameters bound, for wire.ts. */
export async function loadPolicies(refs: PolicyRefs): Promise<MadePolicies> {
  const made: Partial<Record<PolicyKey, unknown>> = {};
  for (const key of POLICY_KEYS) {
    const loaded = await loadPolicy<PolicyKind>(refs[key]);
    const module = loaded.module as PolicyModule<unknown, unknown>;
    const create = (context: unknown) => module.create(context, loaded.params);
    made[key] = { name: refs[key].name, identity: identityOf(loaded), create };
  }
  return made as MadePolicies;
}

/** Name, parameters and, of a user's file, the start of its checksum. */
function identityOf({ name, params, sha256 }: LoadedPolicy): string {
  const given = Object.entries(params).map(([key, value]) => `${key}=${value}`);
  const sum = sha256 === null ? '' : `@${sha256.slice(0, IDENTITY_DIGITS)}`;
  return `${name}${given.length === 0 ? '' : `:${given.join()}`}${sum}`;
}

/** All policies of a cluster in one line: equal lines, equal decisions. */
export function policiesText(policies: MadePolicies): string {
  return POLICY_KEYS.map((key) => `${key}=${policies[key].identity ?? policies[key].name}`).join(
    ' ',
  );
}

/** All built-in policies. */
export async function listPolicies(): Promise<PolicyEntry[]> {
  const entries: PolicyEntry[] = [];
  for (const kind of POLICY_KINDS) {
    for (const name of policyNames(kind)) {
      const place = policyUrl(kind, name).href;
      const { module } = await loadPolicy({ kind, name, path: null, params: {}, place });
      entries.push({ kind, name, source: module.source, params: module.params });
    }
  }
  return entries;
}

// --- what a user's file exports -----------------------------------------------------------------

function checkModule(kind: PolicyKind, exported: unknown, path: string): unknown {
  const maker = `define${kind[0].toUpperCase()}${kind.slice(1)}`;
  const expected = `expected what ${maker}() of 'moontide/policy' returns as default export`;
  const fail = (found: string) => new InputError(`found ${found}, ${expected}`, path);
  if (exported === undefined) throw fail('no default export');
  if (typeof exported !== 'object' || exported === null) {
    throw fail(`a default export of type ${exported === null ? 'null' : typeof exported}`);
  }
  const module = exported as Partial<Record<'kind' | 'source' | 'params' | 'create', unknown>>;
  if (typeof module.kind !== 'string') throw fail('a default export without kind');
  if (module.kind !== kind) throw fail(`a policy of kind ${module.kind}`);
  if (typeof module.source !== 'string') throw fail('no source (a text)');
  if (typeof module.create !== 'function') throw fail('no create (a function)');
  if (typeof module.params !== 'object' || module.params === null) {
    throw fail('no params (a mapping, possibly empty)');
  }
  for (const [key, param] of Object.entries(module.params)) checkParam(key, param, path);
  return exported;
}

/** A parameter's own definition: known type, and a default that obeys it. */
function checkParam(key: string, found: unknown, path: string): void {
  const param = found as Param;
  const known = ['number', 'integer', 'boolean', 'choice'];
  if (typeof param !== 'object' || param === null || !known.includes(param.type)) {
    const type = String((param as Param | null)?.type);
    throw new InputError(`params.${key}: found type ${type}, expected ${oneOf(type, known)}`, path);
  }
  if (param.type === 'choice' && !Array.isArray(param.choices)) {
    throw new InputError(`params.${key}: found no choices, expected a list of texts`, path);
  }
  if (parseParam(param, String(param.default)) !== param.default) {
    const default_ = JSON.stringify(param.default);
    throw new InputError(
      `params.${key}: found default ${default_}, expected ${range(param)}`,
      path,
    );
  }
}

// --- parameters ---------------------------------------------------------------------------------

function paramValues(ref: PolicyRef, params: Params): PolicyParams {
  const known = Object.keys(params);
  for (const key of Object.keys(ref.params)) {
    if (Object.hasOwn(params, key)) continue;
    const hint = nearest(key, known);
    const expected =
      known.length === 0 ? 'none' : `${known.join(', ')}${hint ? ` (nearest: ${hint})` : ''}`;
    throw new InputError(
      `found unknown parameter ${key} of ${ref.kind} policy ${ref.name}, expected ${expected}`,
      ref.place,
    );
  }
  const values: Record<string, number | boolean | string> = {};
  for (const [key, param] of Object.entries(params)) {
    const text = Object.hasOwn(ref.params, key) ? ref.params[key] : undefined;
    const value = text === undefined ? param.default : parseParam(param, text);
    if (value === null) {
      throw new InputError(
        `found ${key}=${text} for ${ref.kind} policy ${ref.name}, expected ${range(param)}`,
        ref.place,
      );
    }
    values[key] = value;
  }
  return values;
}

/** The value, or null when `text` does not fit. */
function parseParam(param: Param, text: string): number | boolean | string | null {
  switch (param.type) {
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : null;
    case 'choice':
      return param.choices.includes(text) ? text : null;
    default: {
      const value = text.trim() === '' ? Number.NaN : Number(text);
      if (param.type === 'integer' ? !Number.isSafeInteger(value) : Number.isNaN(value))
        return null;
      if (value < (param.min ?? -Infinity) || value > (param.max ?? Infinity)) return null;
      return value;
    }
  }
}

function range(param: Param): string {
  if (param.type === 'boolean') return 'true or false';
  if (param.type === 'choice') return `one of ${param.choices.join(', ')}`;
  const kind = param.type === 'integer' ? 'a whole number' : 'a number';
  if (param.min !== undefined && param.max !== undefined) {
    return `${kind} from ${param.min} to ${param.max}`;
  }
  if (param.min !== undefined) return `${kind} of at least ${param.min}`;
  return param.max === undefined ? kind : `${kind} of at most ${param.max}`;
}
