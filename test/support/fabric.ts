/** libfabric for tests: required in CI, else skipped with the reason. */
import { loadNative } from '../../src/runtime/native.ts';

const TCP_PROVIDERS = ['tcp', 'net', 'tcp;ofi_rxm'];

/** TCP providers that this libfabric has; none: why. In CI it must have one. */
export function fabricProviders(): { providers: string[]; reason: string | null } {
  const { addon, reason } = loadNative();
  const fabric = addon?.fabric('') ?? null;
  const found = new Set(fabric?.offers.map(({ provider }) => provider));
  const providers = TCP_PROVIDERS.filter((provider) => found.has(provider));
  if (providers.length > 0) return { providers, reason: null };
  const why = reason ?? `${fabric?.reason ?? 'no TCP provider'}; apt-get install libfabric1`;
  if (process.env.CI === 'true') throw new Error(`CI lacks libfabric: ${why}`);
  return { providers, reason: why };
}
