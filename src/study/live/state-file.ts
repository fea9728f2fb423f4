/**
 * Where the running cluster of this machine is: one file of the user's, that others may not read,
 * with the registry and the token. `live status`, `live replay` and the store find it there.
 */
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InputError } from '../../core/errors.ts';
import { parseRegistry, registryText } from '../../runtime/registry/open.ts';
import type { ClusterRef } from './drive.ts';

const FILE = 'cluster.json';

export interface ClusterState extends ClusterRef {
  /** Of the process that keeps the cluster up. */
  readonly pid: number;
}

/** The folder of the state file: what is given, or the user's own. */
export function stateFolder(dir?: string): string {
  if (dir !== undefined) return dir;
  const runtime = process.env.XDG_RUNTIME_DIR;
  if (runtime !== undefined && runtime !== '') return join(runtime, 'moontide');
  return join(tmpdir(), `moontide-${process.getuid?.() ?? 0}`);
}

/** @throws InputError when a cluster is there already, or the folder is somebody else's */
export function writeState(folder: string, { registry, token, pid }: ClusterState): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { uid } = lstatSync(folder);
  if (uid !== process.getuid?.()) {
    throw new InputError(`found a folder of user ${uid}, expected an own one`, folder);
  }
  const path = join(folder, FILE);
  const running = stateAt(path);
  if (running !== null && running.pid !== pid) {
    throw new InputError(`found a cluster that runs (process ${running.pid}): --dir another`, path);
  }
  const text = JSON.stringify({ registry: registryText(registry), token, pid });
  writeFileSync(`${path}.part`, `${text}\n`, { mode: 0o600 });
  chmodSync(`${path}.part`, 0o600);
  renameSync(`${path}.part`, path);
}

export function removeState(folder: string): void {
  rmSync(join(folder, FILE), { force: true });
}

export interface FindOptions {
  /** Where its registry is; the token is then MOONTIDE_TOKEN. */
  readonly registry?: string | undefined;
  readonly dir?: string | undefined;
}

/** The cluster that is meant. @throws InputError where none runs */
export function findCluster({ registry, dir }: FindOptions): ClusterRef {
  if (registry !== undefined) {
    const token = process.env.MOONTIDE_TOKEN ?? '';
    if (token === '') throw new InputError('found no MOONTIDE_TOKEN, expected the cluster token');
    return { registry: parseRegistry(registry), token };
  }
  const path = join(stateFolder(dir), FILE);
  const state = stateAt(path);
  if (state === null) {
    throw new InputError('found no running cluster, expected one: moontide live up', path);
  }
  return state;
}

/** Null: there is none, or who kept it is dead. */
function stateAt(path: string): ClusterState | null {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return null;
  }
  const { registry, token, pid } = JSON.parse(text) as {
    registry: string;
    token: string;
    pid: number;
  };
  return isAlive(pid) ? { registry: parseRegistry(registry, path), token, pid } : null;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
