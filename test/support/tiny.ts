/**
 * Small clusters for tests: a topology, a plan and traces of a few blocks, with times that can be
 * checked by hand. A block is 16 tokens of 4 bytes; a prompt token takes 1 us and a decode step
 * 20 us; a message between nodes takes 5 us, a block between nodes 64 ns and 1 us of latency.
 */
import { loadPolicies } from '../../src/config/policies.ts';
import {
  kindOfKey,
  POLICY_KEYS,
  type PolicyKey,
  type PolicyRefs,
  parsePolicyRef,
} from '../../src/config/policy-ref.ts';
import { RandomStream } from '../../src/config/streams.ts';
import type { ClusterPlan, MadePolicies } from '../../src/config/wire.ts';
import type { CostModel, PassBatch, PassChunk } from '../../src/core/cost.ts';
import type { Settings } from '../../src/core/settings.ts';
import type { InstanceSpec, Node, Rack, Role, Topology } from '../../src/core/topology.ts';
import type { TraceColumns } from '../../src/core/trace-columns.ts';
import { DecodeGrid } from '../../src/model/decode-grid.ts';
import { ModelEstimator } from '../../src/model/estimator.ts';

export const BLOCK_TOKENS = 16;
export const TOKEN_BYTES = 4;
export const LAYERS = 4;
export const CONTROL_DELAY_NS = 5_000;

// --- topology -----------------------------------------------------------------------------------

export interface TinyShape {
  /** Nodes with one prefill instance, one decode instance, one instance of both roles. */
  readonly prefill: number;
  readonly decode: number;
  readonly coupled: number;
  /** Nodes with a prefill and a decode instance. */
  readonly mixed: number;
  /** Blocks of DRAM on every node. */
  readonly dramBlocks: number;
  /** Blocks of SSD on every node. */
  readonly ssdBlocks: number;
  /** Tokens of working memory in every instance, or in each in turn. */
  readonly hbmTokens: number | readonly number[];
  readonly controlDelayNs: number;
  /** Of all rails of a node together. */
  readonly railBytesPerNs: number;
  /** Rails of a node; with more than one it has two sockets. */
  readonly rails: number;
  /** Nodes under one switch whose uplink is half of their rails; 0: no such switch. */
  readonly racks: number;
}

const SHAPE: TinyShape = {
  prefill: 2,
  decode: 1,
  coupled: 0,
  mixed: 0,
  dramBlocks: 64,
  ssdBlocks: 0,
  hbmTokens: 4096,
  controlDelayNs: CONTROL_DELAY_NS,
  railBytesPerNs: 1,
  rails: 1,
  racks: 0,
};

export function tinyTopology(shape: Partial<TinyShape> = {}): Topology {
  const wanted = { ...SHAPE, ...shape };
  const { prefill, decode, coupled, mixed, hbmTokens, controlDelayNs, racks } = wanted;
  const roles: Role[][][] = [
    ...Array.from({ length: prefill }, (): Role[][] => [['prefill']]),
    ...Array.from({ length: decode }, (): Role[][] => [['decode']]),
    ...Array.from({ length: coupled }, (): Role[][] => [['prefill', 'decode']]),
    ...Array.from({ length: mixed }, (): Role[][] => [['prefill'], ['decode']]),
  ];
  const hbm = typeof hbmTokens === 'number' ? [hbmTokens] : hbmTokens;
  const nodes = roles.map((_, id) => tinyNode(id, wanted));
  const instances: InstanceSpec[] = [];
  for (const [node, ofNode] of roles.entries()) {
    for (const own of ofNode) {
      const id = instances.length;
      instances.push({
        id,
        name: `i${id}`,
        node,
        gpus: [0],
        stages: 1,
        roles: own,
        kvCapacityBytes: hbm[id % hbm.length] * TOKEN_BYTES,
        gpuShare: 1,
      });
    }
  }
  return {
    nodes,
    instances,
    kv: {
      model: 'tiny',
      layers: LAYERS,
      bytesPerToken: [TOKEN_BYTES, TOKEN_BYTES, TOKEN_BYTES],
      blockTokens: BLOCK_TOKENS,
    },
    fabricBytesPerNs: Number.POSITIVE_INFINITY,
    racks: racks > 0 ? tinyRacks(nodes, racks) : [],
    sliceBytes: 64,
    controlDelayNs,
  };
}

function tinyRacks(nodes: readonly Node[], size: number): Rack[] {
  return Array.from({ length: Math.ceil(nodes.length / size) }, (_, rack) => {
    const ids = nodes.map(({ id }) => id).filter((id) => Math.floor(id / size) === rack);
    const rails = ids.flatMap((id) => nodes[id].rails);
    const uplinkBytesPerNs = rails.reduce((sum, rail) => sum + rail.bytesPerNs, 0) / 2;
    return { name: `rack${rack}`, nodes: ids, uplinkBytesPerNs };
  });
}

function tinyNode(id: number, shape: TinyShape): Node {
  const { dramBlocks, ssdBlocks, railBytesPerNs, rails } = shape;
  const sockets = rails > 1 ? 2 : 1;
  return {
    id,
    name: `n${id}`,
    group: 'all',
    gpus: 1,
    numaDomains: sockets,
    rails: Array.from({ length: rails }, (_, r) => ({
      name: `r${r}`,
      bytesPerNs: railBytesPerNs / rails,
      numa: Math.floor((r * sockets) / rails),
      gpus: [0],
    })),
    hostToDeviceBytesPerNs: 2,
    hostToDeviceLatencyNs: 500,
    railEfficiency: 1,
    socketBytesPerNs: 0.5,
    railCpuNsPerByte: 0,
    railLatencyNs: 1_000,
    dramCapacityBytes: dramBlocks * BLOCK_TOKENS * TOKEN_BYTES,
    ssdCapacityBytes: ssdBlocks * BLOCK_TOKENS * TOKEN_BYTES,
    ssdReadBytesPerNs: 0.5,
    ssdWriteBytesPerNs: 0.25,
    ssdLatencyNs: 2_000,
  };
}

/** 1 us a prompt token and 10 us a request; 20 us a step, 1 us a request and 1 ns a token more. */
export class TinyCost extends DecodeGrid implements CostModel {
  readonly source = 'made up for tests';

  prefillNs(fromTokens: number, toTokens: number, first: boolean): number {
    return (toTokens - fromTokens) * 1_000 + (first ? 10_000 : 0);
  }

  passNs(chunks: readonly PassChunk[], decode: PassBatch | null): number {
    let ns = decode === null ? 0 : this.decodeStepNs(decode.batch, decode.contextTokens);
    for (const { fromToken, toToken, first } of chunks) {
      ns += this.prefillNs(fromToken, toToken, first);
    }
    return ns;
  }

  protected override stepNs(batch: number, contextTokens: number): number {
    return 20_000 + 1_000 * batch + contextTokens;
  }
}

// --- plan ---------------------------------------------------------------------------------------

export const TINY_SETTINGS: Settings = {
  store: {
    hbmCache: false,
    watermark: 0.9,
    lowWatermark: 0.8,
    ssdWatermark: 0.9,
    ssdLowWatermark: 0.8,
    leaseTtlNs: 10e6,
    guardNs: 1e6,
    reserveQueueRequests: 100,
    parkingBytes: 1e6,
    fetchRetries: 2,
    deltaLimitBlocks: 1_000,
    moves: null,
  },
  instance: {
    chunkTokens: 64,
    loadOverlap: 'layerwise',
    queueRequests: 1_000,
    batchRequests: 8,
    decodeSpace: 'reserve',
    preemption: 'recompute',
    reserveTtlNs: 50e6,
    hbmCache: false,
    prefetch: false,
  },
  workload: { attempts: 3 },
  conductor: { term: 1, pooled: true, congestion: false, stalenessNs: 0, moves: false },
};

export type PolicyNames = Record<PolicyKey, string>;

export const TINY_POLICIES: PolicyNames = {
  eviction: 'lru',
  hbmEviction: 'leaf-lru',
  ssdEviction: 'fifo',
  tiering: 'write-back',
  placement: 'local',
  replication: 'side-effect',
  prefill: 'kvcache-centric',
  decode: 'least-tbt',
  disaggregation: 'always',
  admission: 'none',
  elasticity: 'none',
  rail: 'even',
  batching: 'disaggregated',
  queue: 'fcfs',
};

export interface TinyPlan {
  readonly topology: Topology;
  readonly policies?: Partial<PolicyNames>;
  readonly settings?: {
    readonly store?: Partial<Settings['store']>;
    readonly instance?: Partial<Settings['instance']>;
    readonly conductor?: Partial<Settings['conductor']>;
  };
  readonly slo?: { readonly ttftNs: number; readonly tbtNs: number };
  readonly seed?: number;
}

export function tinyCosts(topology: Topology): CostModel[] {
  const cost = new TinyCost();
  return topology.instances.map(() => cost);
}

export async function tinyPlan(given: TinyPlan): Promise<ClusterPlan> {
  const { topology, settings = {}, slo = { ttftNs: 10e6, tbtNs: 1e6 }, seed = 1 } = given;
  return {
    topology,
    settings: {
      store: { ...TINY_SETTINGS.store, ...settings.store },
      instance: { ...TINY_SETTINGS.instance, ...settings.instance },
      workload: TINY_SETTINGS.workload,
      conductor: { ...TINY_SETTINGS.conductor, ...settings.conductor },
    },
    estimator: new ModelEstimator(topology, tinyCosts(topology)),
    slo,
    policies: await madePolicies({ ...TINY_POLICIES, ...given.policies }),
    seed,
  };
}

function madePolicies(names: PolicyNames): Promise<MadePolicies> {
  const refs = POLICY_KEYS.map((key) => [key, parsePolicyRef(kindOfKey(key), names[key], 'test')]);
  return loadPolicies(Object.fromEntries(refs) as PolicyRefs);
}

// --- traces -------------------------------------------------------------------------------------

/** A request of a hand-made trace. Its last block is full unless `inputTokens` says less. */
export interface TraceRow {
  readonly atNs: number;
  readonly blocks: readonly number[];
  readonly inputTokens?: number;
  readonly outputTokens: number;
  readonly parent?: number;
  readonly thinkNs?: number;
}

export function traceOf(rows: readonly TraceRow[]): TraceColumns {
  const blockStart = new Int32Array(rows.length + 1);
  rows.forEach((row, i) => {
    blockStart[i + 1] = blockStart[i] + row.blocks.length;
  });
  const blocks = Int32Array.from(rows.flatMap((row) => row.blocks));
  const closed = rows.some((row) => row.parent !== undefined);
  return {
    requests: rows.length,
    blockTokens: BLOCK_TOKENS,
    distinctBlocks: blocks.reduce((most, block) => Math.max(most, block + 1), 0),
    arrivalNs: Float64Array.from(rows, (row) => row.atNs),
    inputTokens: Int32Array.from(rows, (r) => r.inputTokens ?? r.blocks.length * BLOCK_TOKENS),
    outputTokens: Int32Array.from(rows, (row) => row.outputTokens),
    blockStart,
    blocks,
    session: null,
    parent: closed ? Int32Array.from(rows, (row) => row.parent ?? -1) : null,
    thinkNs: closed ? Float64Array.from(rows, (row) => row.thinkNs ?? 0) : null,
    priority: null,
    tenant: null,
    sloClass: null,
    namespace: null,
    sha256: '',
  };
}

export interface RandomTraceShape {
  readonly requests: number;
  /** Mean time between arrivals. */
  readonly gapNs: number;
  /** Most blocks of a prompt, and conversations that share prefixes. */
  readonly blocks: number;
  readonly conversations: number;
  readonly outputTokens: number;
  /** Chance that a request waits for an earlier one. */
  readonly closed: number;
  /** Prompts that come a second time, once what the last of all left behind is known everywhere. */
  readonly echoes: number;
}

/** Until channels and disks of any host have done what they were told: real ones take real time. */
export const SETTLE_NS = 2_000_000;

const RANDOM_TRACE: RandomTraceShape = {
  requests: 60,
  gapNs: 60_000,
  blocks: 12,
  conversations: 6,
  outputTokens: 20,
  closed: 0,
  echoes: 0,
};

/** Conversations whose prompts grow, sometimes end in a block of their own, and share prefixes. */
export function randomTrace(seed: number, shape: Partial<RandomTraceShape> = {}): TraceColumns {
  const wanted = { ...RANDOM_TRACE, ...shape };
  const { requests, gapNs, blocks, conversations, outputTokens, closed, echoes } = wanted;
  const stream = new RandomStream(seed, 'trace');
  const below = (limit: number) => Math.floor(stream.next() * limit);
  const interned = new Map<string, number>();
  const intern = (name: string) => {
    if (!interned.has(name)) interned.set(name, interned.size);
    return interned.get(name)!;
  };
  const rows: TraceRow[] = [];
  let atNs = 0;
  for (let row = 0; row < requests; row++) {
    atNs += below(2 * gapNs);
    const conversation = below(conversations);
    const length = 1 + below(blocks);
    const own = below(length + 1);
    const ids = Array.from({ length }, (_, i) => {
      if (i < 2) return intern(`system ${conversation % 2}/${i}`);
      return intern(i < own ? `row ${row}/${i}` : `conversation ${conversation}/${i}`);
    });
    const parent = row > 0 && stream.next() < closed ? below(row) : undefined;
    rows.push({
      atNs,
      blocks: ids,
      inputTokens: length * BLOCK_TOKENS - below(BLOCK_TOKENS),
      outputTokens: 1 + below(outputTokens),
      ...(parent === undefined ? {} : { parent, thinkNs: below(gapNs) }),
    });
  }
  for (let echo = 0; echo < echoes; echo++) {
    const said = rows[Math.floor((echo * requests) / echoes)];
    const thinkNs = SETTLE_NS + echo * gapNs;
    rows.push({ ...said, atNs, outputTokens: 1, parent: requests - 1, thinkNs });
  }
  return traceOf(rows);
}
