/** What of the native data plane works on this machine, and why the rest does not. */
import { RAIL_KINDS } from './data-plane.ts';
import { loadNative, type NativeAddon, type NativeRailInfo, RAIL_STATES } from './native.ts';

export interface Capability {
  readonly name: string;
  readonly available: boolean;
  /** Why not; null where it is available. */
  readonly reason: string | null;
  /** What it runs on; null where there is nothing to say. */
  readonly detail: string | null;
}

export interface RailReport {
  readonly kind: string;
  readonly state: string;
  readonly detail: string;
  readonly read: boolean;
  readonly write: boolean;
  readonly deliveryComplete: boolean;
  readonly enforcesGrants: boolean;
  readonly sameHostOnly: boolean;
  readonly maxOpBytes: number;
}

export interface NativeReport {
  readonly addon: Capability;
  /** Version of the border between addon and TypeScript; null without the addon. */
  readonly abi: number | null;
  readonly crcHardware: boolean;
  readonly capabilities: readonly Capability[];
  /** One rail of each kind, opened on the loopback and closed again. */
  readonly rails: readonly RailReport[];
}

export function nativeReport(): NativeReport {
  const { addon, reason } = loadNative();
  const about: Capability = { name: 'addon', available: addon !== null, reason, detail: null };
  if (addon === null) {
    const none = RAIL_KINDS.map((name) => missing(name, 'needs the addon'));
    const parts = [
      ...none,
      missing('io_uring', 'needs the addon'),
      missing('cuda', 'needs the addon'),
    ];
    return { addon: about, abi: null, crcHardware: false, capabilities: parts, rails: [] };
  }
  const { capabilities, rails } = tryRails(addon);
  for (const [name, why] of Object.entries(addon.probe())) {
    capabilities.push(why === '' ? present(name, null) : missing(name, why));
  }
  return { addon: about, abi: addon.abi, crcHardware: addon.crcHardware, capabilities, rails };
}

function tryRails(addon: NativeAddon): { capabilities: Capability[]; rails: RailReport[] } {
  const engine = new addon.Engine(Float64Array.of(1, 50e6, 5e9, 200e6, 500e6), () => {});
  const capabilities: Capability[] = [];
  const rails: RailReport[] = [];
  for (const kind of RAIL_KINDS) {
    try {
      const info = engine.railInfo(engine.addRail(['kind', kind]));
      if (info === null) continue;
      rails.push(reportOf(info));
      capabilities.push(present(kind, info.detail));
    } catch (error) {
      capabilities.push(missing(kind, (error as Error).message.replace(/^rail \w+: /, '')));
    }
  }
  engine.close();
  return { capabilities, rails };
}

function reportOf(info: NativeRailInfo): RailReport {
  const { kind, detail, read, write, deliveryComplete, enforcesGrants, sameHostOnly } = info;
  const state = RAIL_STATES[info.state];
  const { maxOpBytes } = info;
  return {
    kind,
    state,
    detail,
    read,
    write,
    deliveryComplete,
    enforcesGrants,
    sameHostOnly,
    maxOpBytes,
  };
}

const present = (name: string, detail: string | null): Capability => {
  return { name, available: true, reason: null, detail };
};

const missing = (name: string, reason: string): Capability => {
  return { name, available: false, reason, detail: null };
};
