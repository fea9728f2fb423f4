/** What stands beside the fact logs of a cluster, so that they can be replayed by themselves. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { policiesText } from '../../config/policies.ts';
import { InputError } from '../../core/errors.ts';
import { type LivePlan, type LiveSpec, planOf } from './spec.ts';

export const MANIFEST = 'cluster.json';
const FORMAT = 'moontide fact logs';
const VERSION = 1;

export interface LogManifest {
  readonly format: string;
  readonly version: number;
  readonly spec: LiveSpec;
  /** Names, parameters and, of a user's file, the checksum. */
  readonly policies: string;
  /** Of the run, as results show it. */
  readonly configuration: unknown;
}

export function manifestOf({ spec, plan, resolved }: LivePlan): LogManifest {
  return {
    format: FORMAT,
    version: VERSION,
    spec,
    policies: policiesText(plan.policies),
    configuration: resolved.describe(),
  };
}

/**
 * The plan that the logs in a folder were recorded under.
 *
 * @throws InputError where there is none, it is of another version, or its files have changed since
 */
export async function recordedPlan(folder: string): Promise<LivePlan> {
  const path = join(folder, MANIFEST);
  const manifest = readManifest(path);
  const live = await planOf(manifest.spec);
  const now = manifestOf(live);
  if (now.policies !== manifest.policies) {
    const found = `policies that have changed since: ${now.policies}`;
    throw new InputError(`found ${found}, expected ${manifest.policies}`, path);
  }
  if (JSON.stringify(now.configuration) !== JSON.stringify(manifest.configuration)) {
    const found = `another configuration in ${manifest.spec.config}`;
    throw new InputError(`found ${found}, expected that of the recorded run`, path);
  }
  return live;
}

function readManifest(path: string): LogManifest {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    throw new InputError('found no such file, expected a folder of fact logs', path);
  }
  let found: Partial<LogManifest> | null;
  try {
    found = JSON.parse(text) as Partial<LogManifest> | null;
  } catch {
    throw new InputError('found no JSON, expected what a cluster writes beside its logs', path);
  }
  if (found?.format !== FORMAT) {
    throw new InputError('found something else, expected what a cluster writes', path);
  }
  if (found.version !== VERSION) {
    throw new InputError(`found version ${found.version}, expected version ${VERSION}`, path);
  }
  return found as LogManifest;
}
