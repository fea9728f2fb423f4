/**
 * Preset `mooncake-16`: the 16-node testbed of Qin et al., "Mooncake", FAST'25, as 8 prefill and 8
 * decode instances, each one node of 8 x A800 that serves LLaMA3-70B in bf16. DRAM caches 3,000,000
 * tokens per node (983 GB); HBM holds working blocks only; there is no SSD.
 *
 * In base units: ns, bytes, tokens. It is what the schema makes of an empty configuration (a test
 * compares the two), and is written out so that the default run need not load the schema.
 */
import type { Config, GroupConfig } from '../schema.ts';

function group(role: 'prefill' | 'decode'): GroupConfig {
  return {
    name: role,
    count: 8,
    node: 'a800x8',
    roles: [role],
    instancesPerNode: 1,
    pipeline: 1,
    dram: { tokens: 3_000_000 },
    ssd: { bytes: 0 },
  };
}

export const MOONCAKE_16: Config = {
  seed: 1,
  model: { name: 'llama3-70b', weights: 'bf16', kv: 'bf16', cost: 'auto' },
  cluster: {
    groups: [group('prefill'), group('decode')],
    fabric: null,
    controlDelay: 200_000,
  },
  instance: {
    prefillChunk: 8192,
    loadOverlap: 'layerwise',
    prefillQueue: 10_000,
    decodeBatch: 256,
    decodeSpace: 'reserve',
    preemption: 'recompute',
    reserveTtl: 60_000_000_000,
    hbmCache: 'off',
    hbmReserve: 0.1,
    batching: 'disaggregated',
    queue: 'fcfs',
  },
  store: {
    eviction: 'lru',
    hbmEviction: 'leaf-lru',
    ssdEviction: 'fifo',
    tiering: 'write-back',
    pool: 'pooled',
    placement: 'local',
    replication: 'side-effect',
    prefetch: 'off',
    watermark: 0.9,
    lowWatermark: 0.85,
    ssdWatermark: 0.9,
    ssdLowWatermark: 0.8,
    hits: 'prefix',
    decodeCached: false,
    leaseTtl: 10_000_000_000,
    leaseGuard: 1_000_000_000,
    reserveQueue: 1024,
    deltaLimit: 65_536,
  },
  transport: {
    rail: 'even',
    rdma: 'auto',
    sliceSize: 65_536,
    sliceOverhead: 0,
    maxBandwidth: null,
    bufferSize: 137_438_953_472,
    retryCount: 2,
  },
  conductor: {
    prefill: 'kvcache-centric:threshold=1',
    decode: 'least-tbt',
    disaggregation: 'always',
    admission: 'none',
    elasticity: 'none',
    attempts: 3,
    congestion: 'off',
    staleness: 0,
    estimatorBias: 1,
  },
  targets: { ttft: 30_000_000_000, tbt: 200_000_000 },
  monitoring: { interval: 1_000_000_000, alerts: [] },
};
