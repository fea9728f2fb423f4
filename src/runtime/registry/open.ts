/** Where a registry is, in one line of text, and the registry there. */
import { InputError } from '../../core/errors.ts';

/** etcd's endpoints and the prefix of the cluster's keys, or the process that serves a registry. */
export type RegistryRef =
  | { readonly etcd: readonly string[]; readonly prefix: string }
  | { readonly hub: string };

/** Name under which a process serves a registry in memory. */
export const HUB = 'hub';
export const DEFAULT_PREFIX = 'moontide/';

const EXPECTED = 'expected etcd://host:port,host:port/prefix or hub://host:port';

/** @throws InputError */
export function parseRegistry(text: string, place = '--registry'): RegistryRef {
  const found = /^(etcd|hub):\/\/([^/]+)(\/.*)?$/.exec(text);
  const fail = () => new InputError(`found ${JSON.stringify(text)}, ${EXPECTED}`, place);
  if (found === null) throw fail();
  const [, kind, hosts, path = '/'] = found;
  const endpoints = hosts.split(',');
  if (!endpoints.every((endpoint) => /^(\[[\da-f:]+\]|[\w.-]+):\d{1,5}$/i.test(endpoint))) {
    throw fail();
  }
  if (kind === 'etcd') return { etcd: endpoints, prefix: prefixOf(path) };
  if (endpoints.length > 1 || path !== '/') throw fail();
  return { hub: endpoints[0] };
}

export function registryText(ref: RegistryRef): string {
  if ('hub' in ref) return `hub://${ref.hub}`;
  const hosts = ref.etcd.map((endpoint) => endpoint.replace(/^https?:\/\//, ''));
  return `etcd://${hosts.join(',')}/${ref.prefix.replace(/\/$/, '')}`;
}

function prefixOf(path: string): string {
  const name = path.slice(1).replace(/\/+$/, '');
  return name === '' ? DEFAULT_PREFIX : `${name}/`;
}
