/**
 * The canonical form of a configuration: every key, human units, no folders. The schema reads it
 * back to the same values; results carry it.
 */
import { mapPolicies, policyWithoutFolder } from './policy-ref.ts';
import type { CapacityConfig, Config, GroupConfig } from './schema.ts';
import { DURATION, formatQuantity, RATE, SHARE, SIZE, TOKENS } from './units.ts';

const duration = (ns: number) => formatQuantity(DURATION, ns);
const size = (bytes: number) => formatQuantity(SIZE, bytes);
const rate = (bytesPerNs: number) => formatQuantity(RATE, bytesPerNs);
type Moves = NonNullable<Config['store']['moves']>;

const share = (value: number) => formatQuantity(SHARE, value);

function capacity(value: CapacityConfig): string {
  return 'bytes' in value ? size(value.bytes) : formatQuantity(TOKENS, value.tokens);
}

function node(value: GroupConfig['node']): unknown {
  if (typeof value === 'string') return value;
  return {
    ...value,
    railRate: rate(value.railRate),
    railEfficiency: share(value.railEfficiency),
    railLatency: duration(value.railLatency),
    socketRate: rate(value.socketRate),
    ...(value.hostToDevice === undefined ? {} : { hostToDevice: rate(value.hostToDevice) }),
    hostToDeviceEfficiency: share(value.hostToDeviceEfficiency),
    hostToDeviceLatency: duration(value.hostToDeviceLatency),
    ssdRead: rate(value.ssdRead),
    ssdWrite: rate(value.ssdWrite),
    ssdLatency: duration(value.ssdLatency),
  };
}

/** Times of the model that a configuration need not have. */
const MODEL_TIMES = ['decodeRequest', 'decodeBase', 'prefixHash'] as const;

export function describeConfig(given: Config): Record<string, unknown> {
  const config = mapPolicies(given, policyWithoutFolder);
  const { model, cluster, instance, store, transport, conductor, targets, monitoring } = config;
  return {
    seed: config.seed,
    model: {
      ...model,
      ...Object.fromEntries(
        MODEL_TIMES.flatMap((key) => {
          const time = model[key];
          return time === undefined ? [] : [[key, duration(time)]];
        }),
      ),
    },
    cluster: {
      groups: cluster.groups.map((group) => ({
        ...group,
        node: node(group.node),
        dram: capacity(group.dram),
        ssd: capacity(group.ssd),
      })),
      fabric: cluster.fabric === null ? 'nonblocking' : rate(cluster.fabric),
      controlDelay: duration(cluster.controlDelay),
    },
    instance: {
      ...instance,
      reserveTtl: duration(instance.reserveTtl),
      hbmReserve: share(instance.hbmReserve),
    },
    store: {
      ...store,
      watermark: share(store.watermark),
      lowWatermark: share(store.lowWatermark),
      ssdWatermark: share(store.ssdWatermark),
      ssdLowWatermark: share(store.ssdLowWatermark),
      leaseTtl: duration(store.leaseTtl),
      leaseGuard: duration(store.leaseGuard),
      ...(store.moves === undefined ? {} : { moves: describeMoves(store.moves) }),
    },
    transport: {
      ...transport,
      maxBandwidth: transport.maxBandwidth === null ? 'unlimited' : rate(transport.maxBandwidth),
      sliceSize: size(transport.sliceSize),
      sliceOverhead: duration(transport.sliceOverhead),
      bufferSize: size(transport.bufferSize),
    },
    conductor: { ...conductor, staleness: duration(conductor.staleness) },
    targets: {
      ...targets,
      ttft: duration(targets.ttft),
      tbt: duration(targets.tbt),
      ...(targets.latency === undefined ? {} : { latency: duration(targets.latency) }),
    },
    monitoring: {
      interval: duration(monitoring.interval),
      alerts: monitoring.alerts.map((alert) => ({ ...alert, for: duration(alert.for) })),
    },
  };
}

function describeMoves({ rate: found, linger, ...rest }: Moves): unknown {
  const bytes = (of: NonNullable<typeof found>) =>
    'share' in of ? share(of.share) : rate(of.bytesPerNs);
  return { ...rest, rate: found === null ? 'off' : bytes(found), linger: duration(linger) };
}
