/**
 * The YAML configuration as a zod schema: keys, human units, defaults and what they mean. Parsed
 * values are in base units: ns, bytes, bytes per ns, tokens, shares. Defaults are the preset
 * `mooncake-16`, so that a configuration states what differs from it.
 *
 * Nothing on the path of a preset imports this file at run time: zod takes longer to load than a
 * whole trace takes to replay. `Config` is a type.
 */
import { z } from 'zod';
import { ACCELERATORS } from '../model/accelerators.ts';
import { LLM_SHAPES } from '../model/llm.ts';
import {
  HOST_TO_DEVICE_EFFICIENCY,
  HOST_TO_DEVICE_LATENCY_NS,
  NODE_TYPES,
  RAIL_EFFICIENCY,
  RAIL_LATENCY_NS,
  SOCKET_BYTES_PER_NS,
  SSD_LATENCY_NS,
  SSD_READ_BYTES_PER_NS,
  SSD_WRITE_BYTES_PER_NS,
} from '../model/nodes.ts';
import {
  DURATION,
  formatQuantity,
  parseQuantity,
  type Quantity,
  quantityPattern,
  RATE,
  SHARE,
  SIZE,
  TOKENS,
} from './units.ts';

// --- leaves -----------------------------------------------------------------------------------

/** Text with a unit, parsed to base units. `expected` is what messages ask for. */
function quantity(kind: Quantity, least = 0, most = Number.POSITIVE_INFINITY) {
  const bare = kind.bare ? z.number() : z.literal(0);
  return z
    .union([z.string().regex(quantityPattern(kind)), bare])
    .transform((found, context) => {
      const value = parseQuantity(kind, found);
      if (value !== null && value >= least && value <= most) return value;
      context.issues.push({ code: 'custom', message: '', input: found });
      return z.NEVER;
    })
    .meta({ expected: kind.expected });
}

/** A word that means "none", or a rate. */
function rateOr<const W extends string>(word: W) {
  return z
    .union([z.literal(word), z.string().regex(quantityPattern(RATE))])
    .transform((found, context) => {
      if (found === word) return null;
      const value = parseQuantity(RATE, found);
      if (value !== null && value > 0) return value;
      context.issues.push({ code: 'custom', message: '', input: found });
      return z.NEVER;
    })
    .meta({ expected: `${word} or ${RATE.expected}` });
}

/** A size in bytes, or in tokens of the model's KV. */
const capacity = z
  .union([
    z.string().regex(quantityPattern(SIZE)),
    z.string().regex(quantityPattern({ ...TOKENS, bare: false })),
    z.literal(0),
  ])
  .transform((found, context): { bytes: number } | { tokens: number } => {
    const bytes = parseQuantity(SIZE, found);
    if (bytes !== null) return { bytes };
    const tokens = parseQuantity(TOKENS, found);
    if (tokens !== null) return { tokens };
    context.issues.push({ code: 'custom', message: '', input: found });
    return z.NEVER;
  })
  .meta({ expected: `${SIZE.expected}, or in tokens of KV such as 3Mtokens` });

/** A rate in bytes, a share of what a node's rails carry, or off. */
const moveRate = z
  .union([
    z.literal('off'),
    z.string().regex(quantityPattern(RATE)),
    z.string().regex(quantityPattern(SHARE)),
  ])
  .transform((found, context): { bytesPerNs: number } | { share: number } | null => {
    if (found === 'off') return null;
    const bytesPerNs = parseQuantity(RATE, found);
    if (bytesPerNs !== null && bytesPerNs > 0) return { bytesPerNs };
    const share = parseQuantity(SHARE, found);
    if (share !== null && share > 0 && share <= 1) return { share };
    context.issues.push({ code: 'custom', message: '', input: found });
    return z.NEVER;
  })
  .meta({ expected: `off, ${RATE.expected}, or a share of the rails such as 10%` });

const positiveShare = () => quantity(SHARE, Number.MIN_VALUE, 1);

function oneOfNames(names: Iterable<string>) {
  return z.enum([...names] as [string, ...string[]]);
}

const count = (least: number) => z.int().min(least);

const policy = z.string().min(1).meta({
  expected: 'the name of a policy or a file, such as lru, name:key=value or ./mine.ts',
});

// --- sections ---------------------------------------------------------------------------------

const model = z
  .strictObject({
    name: oneOfNames(LLM_SHAPES.keys()).prefault('llama3-70b').describe('Shape of the model.'),
    weights: z.enum(['bf16', 'fp8']).prefault('bf16').describe('Element type of the weights.'),
    kv: z.enum(['bf16', 'fp8']).prefault('bf16').describe('Element type of the KV, in all tiers.'),
    cost: z
      .enum(['auto', 'polynomial', 'roofline'])
      .prefault('auto')
      .describe(
        'What compute costs. polynomial: the fit to llama3-70b in bf16 on a whole a800x8 node; ' +
          'roofline: from the shapes of model and accelerator; auto: the fit where it applies.',
      ),
    decodeRequest: quantity(DURATION)
      .optional()
      .describe(
        'Time that each request after the first adds to a decode step: in the fit, which knows ' +
          'batches of one alone, instead of its compute, 0.31 ms; in a roofline, on top.',
      ),
    decodeBase: quantity(DURATION)
      .optional()
      .describe(
        'With the fit: a decode step of one request without context in another engine than the ' +
          'one that was measured, instead of its 26.2 ms.',
      ),
    prefixHash: quantity(DURATION)
      .optional()
      .describe(
        "With the fit: CPU time that an engine's prefix cache takes before a prompt is computed, " +
          'per square of 1,024 tokens of it. 0, the default: none.',
      ),
    contextAttention: z
      .number()
      .min(1)
      .optional()
      .describe(
        'With the fit: what attention over KV of earlier chunks or a cached prefix costs, over ' +
          'that within a pass. 1, the default: FlashAttention; more: a slower kernel.',
      ),
  })
  .describe('The model that is served.');

const inlineNode = z.strictObject({
  accelerator: oneOfNames(ACCELERATORS.keys()).describe('GPU.'),
  gpus: count(1).prefault(8).describe('GPUs of the node.'),
  numaDomains: count(1).prefault(2).describe('NUMA domains; GPUs and rails spread over them.'),
  rails: count(1).prefault(8).describe('NIC ports.'),
  railRate: quantity(RATE, Number.MIN_VALUE)
    .prefault('400Gbps')
    .describe('Line rate of one rail, each direction.'),
  railEfficiency: positiveShare()
    .prefault(RAIL_EFFICIENCY)
    .describe('Share of the line rate that transfers reach; 0.876 is measured on 4 x 200 Gb/s.'),
  railLatency: quantity(DURATION)
    .prefault(formatQuantity(DURATION, RAIL_LATENCY_NS))
    .describe('Start-up time of a transfer.'),
  socketRate: quantity(RATE, Number.MIN_VALUE)
    .prefault(formatQuantity(RATE, SOCKET_BYTES_PER_NS))
    .describe('Between the sockets, each direction: what memory sends over far rails crosses it.'),
  hostToDevice: quantity(RATE, Number.MIN_VALUE)
    .optional()
    .describe(
      'Nominal rate between host and GPUs, whole node, each direction. Default: half of the ' +
        'PCIe links of the GPUs, as two share a switch.',
    ),
  hostToDeviceEfficiency: positiveShare()
    .prefault(HOST_TO_DEVICE_EFFICIENCY)
    .describe('Share of it that loads reach; the default is measured on a800x8.'),
  hostToDeviceLatency: quantity(DURATION)
    .prefault(formatQuantity(DURATION, HOST_TO_DEVICE_LATENCY_NS))
    .describe('Start-up time of a load; measured on a800x8.'),
  ssdRead: quantity(RATE, Number.MIN_VALUE)
    .prefault(formatQuantity(RATE, SSD_READ_BYTES_PER_NS))
    .describe('Reads from all SSDs of the node together; the default is four PCIe 4.0 drives.'),
  ssdWrite: quantity(RATE, Number.MIN_VALUE)
    .prefault(formatQuantity(RATE, SSD_WRITE_BYTES_PER_NS))
    .describe('Writes to all SSDs of the node together.'),
  ssdLatency: quantity(DURATION)
    .prefault(formatQuantity(DURATION, SSD_LATENCY_NS))
    .describe('Start-up time of a read from SSD or a write to it.'),
});

const group = z.strictObject({
  name: z.string().min(1).describe('Name of the group; nodes are called name-0, name-1, …'),
  count: count(1).max(10_000).describe('Nodes in the group.'),
  node: z
    .union([oneOfNames(NODE_TYPES.keys()), inlineNode])
    .prefault('a800x8')
    .describe('Kind of node: a name, or its own description.'),
  roles: z
    .array(z.enum(['prefill', 'decode']))
    .meta({ expected: 'a list such as [prefill], [decode], [prefill, decode] or [] for standby' })
    .describe('What the instances of the group do; nothing at first: on standby.'),
  instancesPerNode: count(1).prefault(1).describe('Engines on one node.'),
  tensorParallel: count(1)
    .optional()
    .describe('GPUs of one engine. Default: the GPUs of the node shared out evenly.'),
  pipeline: count(1)
    .prefault(1)
    .describe(
      'Nodes of one engine: each has a share of the layers, and chunks of a prompt follow one ' +
        'another through them. 1: an engine is within a node.',
    ),
  dram: capacity.prefault('3Mtokens').describe('DRAM for cached KV, per node.'),
  ssd: capacity.prefault('0B').describe('SSD for cached KV, per node.'),
});

const cluster = z
  .strictObject({
    groups: z
      .array(group)
      .min(1)
      .prefault([
        { name: 'prefill', count: 8, roles: ['prefill'] },
        { name: 'decode', count: 8, roles: ['decode'] },
      ])
      .describe('Groups of equal nodes.'),
    fabric: rateOr('nonblocking')
      .prefault('nonblocking')
      .describe('Rate of the network between all nodes together, or nonblocking.'),
    racks: z
      .strictObject({
        nodes: count(1).describe('Nodes under one switch, in the order of the groups.'),
        oversubscription: z
          .number()
          .min(1)
          .describe('Rails below the switch over its uplink: 2 lets half of them leave it.'),
      })
      .optional()
      .describe('Switches (ToR) that are narrower than the rails below them. Default: none.'),
    controlDelay: quantity(DURATION)
      .prefault('200us')
      .describe('One way, for messages between machines that are not on one node.'),
  })
  .describe('Nodes, engines and the network between them.');

const instance = z
  .strictObject({
    prefillChunk: count(1).prefault(8192).describe('Tokens of one prefill step.'),
    loadOverlap: z
      .enum(['layerwise', 'serial'])
      .prefault('layerwise')
      .describe('layerwise: a layer computes once its KV is loaded; serial: load, then compute.'),
    prefillQueue: count(1)
      .prefault(10_000)
      .describe('Requests that may wait for prefill on one instance; more are rejected.'),
    decodeBatch: count(1).prefault(256).describe('Requests in one decode batch.'),
    decodeSpace: z
      .enum(['reserve', 'grow'])
      .prefault('reserve')
      .describe(
        'HBM of a request that decodes. reserve: for its whole output from the start; grow: in ' +
          'pages of 16 tokens as it makes them; the youngest gives way when there are none.',
      ),
    preemption: z
      .enum(['recompute', 'swap'])
      .prefault('recompute')
      .describe(
        'With decodeSpace: grow. recompute: who gives way is computed again; swap: its KV goes ' +
          'to DRAM (transport.bufferSize) and comes back.',
      ),
    reserveTtl: quantity(DURATION, 1)
      .prefault('60s')
      .describe('How long granted decode space waits for its KV.'),
    hbmCache: z
      .enum(['on', 'off'])
      .prefault('off')
      .describe(
        'Whether computed blocks stay in HBM for other prompts of the instance, while nobody ' +
          'needs the room; what leaves is chosen by store.hbmEviction.',
      ),
    hbmReserve: quantity(SHARE, 0, 0.99)
      .prefault('10%')
      .describe('Share of the GPU memory kept from weights and KV, for activations and buffers.'),
    batching: policy
      .prefault('disaggregated')
      .describe('What goes into the next pass of an engine: prompts, the decode batch, or both.'),
    queue: policy.prefault('fcfs').describe('The order in which prompts take their turn.'),
  })
  .describe('Engines.');

const moves = z
  .strictObject({
    rate: moveRate
      .prefault('10%')
      .describe(
        'What a node sends at most to new homes, in bytes or as a share of its rails; off: ' +
          'blocks stay where they are, and are found there.',
      ),
    inFlight: count(1).prefault(2).describe('Batches of a node under way.'),
    batch: count(1).max(4096).prefault(8).describe('Blocks of one batch.'),
    linger: quantity(DURATION)
      .prefault('30s')
      .describe('How long an old copy stays, for prompts that wait and count on it.'),
  })
  .describe(
    'How blocks move when nodes come or go and their homes change (placement bucket-map): in ' +
      'the background, read at the old home until the new one has them.',
  );

const store = z
  .strictObject({
    eviction: policy.prefault('lru').describe('Eviction policy of the DRAM tiers.'),
    hbmEviction: policy.prefault('leaf-lru').describe('Eviction policy of instance.hbmCache.'),
    ssdEviction: policy.prefault('fifo').describe('Eviction policy of the SSD tiers.'),
    tiering: policy
      .prefault('write-back')
      .describe('What moves between DRAM and SSD, and when, on nodes with an SSD.'),
    pool: z
      .enum(['pooled', 'local'])
      .prefault('pooled')
      .describe('Whether an instance may get cached blocks from other nodes than its own.'),
    placement: policy.prefault('local').describe("Which node's DRAM keeps a computed block."),
    moves: moves.optional(),
    replication: policy
      .prefault('side-effect')
      .describe('Which blocks are copied to other nodes ahead of requests for them.'),
    prefetch: z
      .enum(['on', 'off'])
      .prefault('off')
      .describe('Whether what a prompt has on SSD is brought into DRAM while it waits.'),
    watermark: positiveShare()
      .prefault('90%')
      .describe('Use of DRAM above which blocks are evicted ahead of need, on nodes with an SSD.'),
    lowWatermark: positiveShare().prefault('85%').describe('Use of DRAM that this goes down to.'),
    ssdWatermark: positiveShare()
      .prefault('90%')
      .describe('Use of SSD above which blocks are evicted ahead of need.'),
    ssdLowWatermark: positiveShare().prefault('80%').describe('Use of SSD that this goes down to.'),
    hits: z
      .enum(['prefix'])
      .meta({
        expected:
          'prefix, as engines compute a prompt from the end of its cached prefix on; what any ' +
          'hits would add, moontide cache --semantics any counts',
      })
      .prefault('prefix')
      .describe('What counts as a hit. prefix: leading blocks without a gap.'),
    decodeCached: z
      .union([z.literal(false), z.enum(['chain', 'parent'])])
      .meta({ expected: 'false, chain or parent' })
      .prefault(false)
      .describe(
        'Whether KV that decode produces is cached, and how the answer that a prompt continues ' +
          'is found. chain: by the ids of its blocks; parent: by parents or sessions of the trace.',
      ),
    leaseTtl: quantity(DURATION, 1)
      .prefault('10s')
      .describe('Length of a read lease (Mooncake Store: 10 s).'),
    leaseGuard: quantity(DURATION)
      .prefault('1s')
      .describe('Transfer deadline and clock drift; must be shorter than leaseTtl.'),
    reserveQueue: count(0)
      .prefault(1024)
      .describe('Reservations of decode space that may wait, per instance; more are refused.'),
    deltaLimit: count(1)
      .prefault(65_536)
      .describe('Blocks in one change report to the directory before it becomes a full one.'),
  })
  .refine((value) => value.leaseGuard < value.leaseTtl, {
    path: ['leaseGuard'],
    message: 'expected a leaseGuard that is shorter than leaseTtl',
  })
  .refine((value) => value.lowWatermark <= value.watermark, {
    path: ['lowWatermark'],
    message: 'expected a lowWatermark of at most watermark',
  })
  .refine((value) => value.ssdLowWatermark <= value.ssdWatermark, {
    path: ['ssdLowWatermark'],
    message: 'expected a ssdLowWatermark of at most ssdWatermark',
  })
  .refine((value) => value.pool === 'pooled' || value.placement === 'local', {
    path: ['placement'],
    message: 'expected placement local where pool is local',
  })
  .describe('The KV store of each node.');

const transport = z
  .strictObject({
    rail: policy.prefault('even').describe('Rail policy: spreads transfers over NICs.'),
    rdma: z
      .enum(['auto', 'require', 'off'])
      .prefault('auto')
      .describe(
        'Whether KV moves by RDMA. off: TCP, which the simulator takes at 39 GB/s per node ' +
          '(FAST25, Figure 12). require: a live node without RDMA is an error.',
      ),
    sliceSize: quantity(SIZE, 1)
      .prefault('64KiB')
      .describe("Pieces that rail policies deal out (Mooncake's transfer engine: 64 KiB)."),
    sliceOverhead: quantity(DURATION)
      .prefault('0s')
      .describe('Time of a rail per slice beside its bytes; railEfficiency has that of 64 KiB.'),
    maxBandwidth: rateOr('unlimited')
      .prefault('unlimited')
      .describe('Line rate of a node that transfers may use, each direction.'),
    bufferSize: quantity(SIZE)
      .prefault('128GiB')
      .describe('DRAM of a node for finished KV that waits for decode space, beside the cache.'),
    retryCount: count(0)
      .max(16)
      .prefault(2)
      .describe('Other replicas that a failed fetch tries before the KV is recomputed.'),
  })
  .describe('How KV moves between nodes.');

const conductor = z
  .strictObject({
    prefill: policy.prefault('kvcache-centric:threshold=1').describe('Chooses prefill instances.'),
    decode: policy.prefault('least-tbt').describe('Chooses decode instances.'),
    disaggregation: policy
      .prefault('always')
      .describe('Decides whether another instance than the one that prefills may decode.'),
    admission: policy.prefault('none').describe('Decides which requests are taken.'),
    elasticity: policy
      .prefault('none')
      .describe('Changes the roles of instances: autoscaling from standby, role switches.'),
    attempts: count(1)
      .max(60)
      .prefault(3)
      .describe('Times that a request is tried when instances die or fail it.'),
    congestion: z
      .enum(['on', 'off'])
      .prefault('off')
      .describe('Whether estimates of a fetch know what the sender still has to send.'),
    staleness: quantity(DURATION)
      .prefault('0s')
      .describe('Policies see the loads of instances as of the last whole multiple of this.'),
    estimatorBias: z
      .number()
      .min(0.01)
      .max(100)
      .prefault(1)
      .describe(
        'Systematic error of the estimates that policies see: 1.3 believes all 30 % slower.',
      ),
  })
  .describe('Scheduling.');

const targets = z
  .strictObject({
    ttft: quantity(DURATION, 1).prefault('30s').describe('SLO: arrival to first token.'),
    tbt: quantity(DURATION, 1)
      .prefault('200ms')
      .describe("SLO: mean of the longest 10 % of a request's token gaps."),
    latency: quantity(DURATION, 1)
      .optional()
      .describe('Wanted end-to-end latency, 99th percentile. For tuning and alerts.'),
    throughput: z
      .number()
      .positive()
      .optional()
      .describe('Wanted goodput, requests per second. For tuning and alerts.'),
  })
  .describe('What a run is measured against.');

const alert = z
  .strictObject({
    metric: z.string().min(1).describe('A path in the result, such as ttftNs.p99.'),
    above: z.number().optional().describe('Fires above this, in the unit of the metric.'),
    below: z.number().optional().describe('Fires below this.'),
    for: quantity(DURATION).prefault('0s').describe('How long it must hold.'),
  })
  .refine((rule) => (rule.above === undefined) !== (rule.below === undefined), {
    message: 'expected either above or below',
  });

const monitoring = z
  .strictObject({
    interval: quantity(DURATION, 1).prefault('1s').describe('Between two samples.'),
    alerts: z.array(alert).prefault([]).describe('Rules that raise an alert.'),
  })
  .describe('Samples over time, and alerts on them.');

// --- the whole ----------------------------------------------------------------------------------

export const configSchema = z
  .strictObject({
    seed: count(0).prefault(1).describe('Of every random stream.'),
    model: model.prefault({}),
    cluster: cluster.prefault({}),
    instance: instance.prefault({}),
    store: store.prefault({}),
    transport: transport.prefault({}),
    conductor: conductor.prefault({}),
    targets: targets.prefault({}),
    monitoring: monitoring.prefault({}),
  })
  .describe('Configuration of a moontide cluster.');

/** A configuration in base units; see the keys of the schema for their meaning. */
export type Config = z.output<typeof configSchema>;
export type GroupConfig = Config['cluster']['groups'][number];
export type CapacityConfig = GroupConfig['dram'];

/**
 * JSON Schema (draft 2020-12) of what a user writes. With `withExpectations`, leaves carry the key
 * `expected`: what a message asks for.
 */
export function configJsonSchema(withExpectations = false): Record<string, unknown> {
  return z.toJSONSchema(configSchema, {
    io: 'input',
    override: ({ jsonSchema }) => {
      if (!withExpectations) delete jsonSchema.expected;
    },
  }) as Record<string, unknown>;
}
