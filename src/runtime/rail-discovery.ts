/**
 * Which endpoints of libfabric become this machine's rails: one for each NIC, all of one provider,
 * each placed by what /sys knows about its device.
 */
import { InputError } from '../core/errors.ts';
import type { Rail } from '../core/topology.ts';
import type { Hardware, Nic } from './hardware.ts';
import { buildMatrix, type PlacedRail, railsFor, type TopologyMatrix } from './topology-matrix.ts';

/** An endpoint that libfabric could open here, as the addon reports it. */
export interface FabricOffer {
  readonly provider: string;
  /** The device: `mlx5_0` for verbs, `eth0` for TCP. */
  readonly domain: string;
  /** IP address; null: it has another kind (EFA), or none. */
  readonly address: string | null;
  /** Line rate in bits per second; null: unknown. */
  readonly bitsPerSec: number | null;
  /** `0000:3b:00.0`; null: unknown or not on the bus. */
  readonly pci: string | null;
  readonly up: boolean;
}

export interface FabricRailSpec extends PlacedRail {
  readonly provider: string;
  readonly domain: string;
  readonly address: string | null;
  readonly bitsPerSec: number | null;
}

/** Real RDMA: the NIC moves the bytes. */
const RDMA_PROVIDERS = ['verbs;ofi_rxm', 'efa'];

/** `transport.rdma` of the configuration. */
export type RdmaMode = 'auto' | 'require' | 'off';

/**
 * One rail per NIC that is up, of the first provider that has any (offers come in the order of
 * preference). NICs on a bus come before virtual ones, those before the loopback: a later kind
 * serves only where there is none of an earlier. Throws InputError if RDMA is required and absent.
 */
export function chooseRails(
  offers: readonly FabricOffer[],
  hardware: Hardware,
  rdma: RdmaMode = 'auto',
): FabricRailSpec[] {
  const allowed = offers.filter(({ provider }) => {
    const isRdma = RDMA_PROVIDERS.includes(provider);
    return rdma === 'auto' || isRdma === (rdma === 'require');
  });
  for (const provider of new Set(allowed.map((offer) => offer.provider))) {
    const usable = allowed.filter((offer) => offer.provider === provider && isUsable(offer));
    const rails = bestKind(onePerDomain(usable), hardware);
    if (rails.length > 0) return rails;
  }
  if (rdma !== 'require') return [];
  const found = [...new Set(offers.map(({ provider }) => provider))].join(', ') || 'none';
  throw new InputError(`found providers ${found}, expected one of ${RDMA_PROVIDERS.join(', ')}`);
}

/** Verbs connects by IP; link-local addresses need a scope that no peer could know. */
function isUsable({ provider, address, up }: FabricOffer): boolean {
  if (!up) return false;
  return address === null ? provider === 'efa' : !/^(?:fe80:|169\.254\.)/i.test(address);
}

/** IPv4 before IPv6, else the first. */
function onePerDomain(offers: readonly FabricOffer[]): FabricOffer[] {
  const chosen = new Map<string, FabricOffer>();
  for (const offer of offers) {
    const known = chosen.get(offer.domain);
    const better = known?.address?.includes(':') && offer.address?.includes('.');
    if (known === undefined || better) chosen.set(offer.domain, offer);
  }
  return [...chosen.values()];
}

function bestKind(offers: readonly FabricOffer[], hardware: Hardware): FabricRailSpec[] {
  const kinds: FabricRailSpec[][] = [[], [], []];
  for (const offer of offers) {
    const nic = hardware.nics.find(({ name }) => name === offer.domain) ?? null;
    if (nic !== null && !nic.up && !nic.rdma) continue;
    const loopback = offer.address?.startsWith('127.') || offer.address === '::1';
    const kind = loopback ? 2 : nic?.busPath != null || nic?.rdma ? 0 : 1;
    kinds[kind].push(railOf(offer, nic));
  }
  return kinds.find((rails) => rails.length > 0) ?? [];
}

function railOf(offer: FabricOffer, nic: Nic | null): FabricRailSpec {
  return {
    name: offer.domain,
    provider: offer.provider,
    domain: offer.domain,
    address: offer.address,
    bitsPerSec: offer.bitsPerSec ?? nic?.bitsPerSec ?? null,
    busPath: nic?.busPath ?? null,
    numa: nic?.numa ?? null,
  };
}

/** The rails as the core's topology has them; `fallback`: bits per second where it is unknown. */
export function topologyRails(
  rails: readonly FabricRailSpec[],
  hardware: Hardware,
  fallback: number,
  matrix: TopologyMatrix = buildMatrix(hardware, rails),
): Rail[] {
  return rails.map(({ name, bitsPerSec, numa }) => ({
    name,
    bytesPerNs: (bitsPerSec ?? fallback) / 8e9,
    numa: numa ?? hardware.numaDomains[0],
    gpus: hardware.gpus
      .map(({ index }) => index)
      .filter((gpu) => railsFor(matrix, `cuda:${gpu}`)[0].includes(name)),
  }));
}
