/**
 * A configuration made into what a run needs: topology, settings, cost models, estimator. No file
 * is read and no policy loaded here; policies.ts does that with the references that come out.
 */
import type { CostModel, Estimator } from '../core/cost.ts';
import { InputError } from '../core/errors.ts';
import type { Slo } from '../core/policy.ts';
import type { MoveSettings, Settings } from '../core/settings.ts';
import type { InstanceSpec, KvLayout, Node, Rack, Rail, Topology } from '../core/topology.ts';
import { ModelEstimator, scaled } from '../model/estimator.ts';
import {
  kvBytesPerToken,
  kvReplicas,
  LLM_SHAPES,
  type LlmShape,
  weightBytes,
} from '../model/llm.ts';
import {
  type NodeType,
  TCP_CPU_NS_PER_BYTE,
  TCP_LATENCY_NS,
  TCP_NODE_BYTES_PER_NS,
} from '../model/nodes.ts';
import { PipelineCost } from '../model/pipeline.ts';
import { chooseCost } from './cost-choice.ts';
import { describeConfig } from './describe.ts';
import type { ConfigPath, LoadedConfig } from './load.ts';
import { resolveNodeType } from './node-choice.ts';
import { type PolicyRefs, policyRefs } from './policy-ref.ts';
import type { CapacityConfig, Config, GroupConfig } from './schema.ts';
import { formatQuantity, SIZE } from './units.ts';

export interface ResolvedConfig {
  readonly topology: Topology;
  readonly settings: Settings;
  /** What compute really costs on each instance, by its id. */
  readonly truth: readonly CostModel[];
  /** What the scheduler believes. */
  readonly estimator: Estimator;
  readonly policies: PolicyRefs;
  readonly slo: Slo;
  readonly seed: number;
  /** The whole configuration in human units and without paths; reading it again gives the same. */
  describe(): unknown;
}

/** Tokens per block where no trace says it: that of the released Mooncake traces. */
export const DEFAULT_BLOCK_TOKENS = 512;

/**
 * @param blockTokens tokens per block of the trace that will be played
 * @throws InputError when the weights don't fit the GPUs, or no instance prefills or decodes
 */
export function resolveConfig(
  loaded: LoadedConfig,
  blockTokens: number = DEFAULT_BLOCK_TOKENS,
): ResolvedConfig {
  const { config, placeOf } = loaded;
  const shape = LLM_SHAPES.get(config.model.name)!;
  const bytesPerToken = kvBytesPerToken(shape, config.model.kv);
  const cluster = new ClusterBuilder(loaded, shape, bytesPerToken);
  for (const index of config.cluster.groups.keys()) cluster.addGroup(index);
  cluster.checkRoles();

  const kv: KvLayout = {
    model: shape.name,
    layers: shape.layers,
    bytesPerToken: [bytesPerToken, bytesPerToken, bytesPerToken],
    blockTokens,
  };
  const topology: Topology = {
    nodes: cluster.nodes,
    instances: cluster.instances,
    kv,
    fabricBytesPerNs: config.cluster.fabric ?? Number.POSITIVE_INFINITY,
    racks: racksOf(cluster.nodes, config.cluster.racks),
    sliceBytes: config.transport.sliceSize,
    controlDelayNs: config.cluster.controlDelay,
  };
  const { estimatorBias } = config.conductor;
  return {
    topology,
    settings: settingsOf(config),
    truth: cluster.costs,
    estimator: scaled(new ModelEstimator(topology, cluster.costs), estimatorBias),
    policies: policyRefs(config, placeOf),
    slo: { ttftNs: config.targets.ttft, tbtNs: config.targets.tbt },
    seed: config.seed,
    describe: () => describeConfig(config),
  };
}

function settingsOf({ store, instance, transport, conductor }: Config): Settings {
  return {
    store: {
      hbmCache: instance.hbmCache === 'on',
      watermark: store.watermark,
      lowWatermark: store.lowWatermark,
      ssdWatermark: store.ssdWatermark,
      ssdLowWatermark: store.ssdLowWatermark,
      leaseTtlNs: store.leaseTtl,
      guardNs: store.leaseGuard,
      reserveQueueRequests: store.reserveQueue,
      parkingBytes: transport.bufferSize,
      fetchRetries: transport.retryCount,
      deltaLimitBlocks: store.deltaLimit,
      moves: movesOf(store.moves),
    },
    instance: {
      chunkTokens: instance.prefillChunk,
      loadOverlap: instance.loadOverlap,
      queueRequests: instance.prefillQueue,
      batchRequests: instance.decodeBatch,
      decodeSpace: instance.decodeSpace,
      preemption: instance.preemption,
      reserveTtlNs: instance.reserveTtl,
      hbmCache: instance.hbmCache === 'on',
      prefetch: store.prefetch === 'on',
    },
    workload: { attempts: conductor.attempts },
    conductor: {
      term: 1,
      pooled: store.pool === 'pooled',
      congestion: conductor.congestion === 'on',
      stalenessNs: conductor.staleness,
      moves: movesOf(store.moves) !== null,
    },
  };
}

/** What the schema makes of `moves: {}`. */
const MOVES = { rate: { share: 0.1 }, inFlight: 2, batch: 8, linger: 30e9 } as const;

/** Null: blocks stay where they are. */
function movesOf(moves: Config['store']['moves'] = MOVES): MoveSettings | null {
  const { rate, inFlight, batch, linger } = moves;
  if (rate === null) return null;
  return {
    bytesPerNs: 'bytesPerNs' in rate ? rate.bytesPerNs : null,
    railShare: 'share' in rate ? rate.share : 0,
    inFlight,
    batchBlocks: batch,
    lingerNs: linger,
  };
}

/** Lays out nodes and instances, group after group, with dense ids. */
class ClusterBuilder {
  readonly nodes: Node[] = [];
  readonly instances: InstanceSpec[] = [];
  readonly costs: CostModel[] = [];
  private readonly config: Config;
  private readonly placeOf: (path: ConfigPath) => string;
  private readonly shape: LlmShape;
  private readonly bytesPerToken: number;

  constructor(loaded: LoadedConfig, shape: LlmShape, bytesPerToken: number) {
    this.config = loaded.config;
    this.placeOf = loaded.placeOf;
    this.shape = shape;
    this.bytesPerToken = bytesPerToken;
  }

  addGroup(index: number): void {
    const { groups } = this.config.cluster;
    const group = groups[index];
    if (groups.findIndex(({ name }) => name === group.name) !== index) {
      throw this.error(index, 'name', `found ${group.name} twice, expected names to differ`);
    }
    const type = resolveNodeType(group.node);
    const { pipeline } = group;
    if (group.count % pipeline !== 0 || (pipeline > 1 && group.instancesPerNode > 1)) {
      const found = `${pipeline} for ${group.count} nodes of ${group.instancesPerNode} engines`;
      const expected = 'a divisor of count, and one engine per node';
      throw this.error(index, 'pipeline', `found ${found}, expected ${expected}`);
    }
    const tensorParallel = this.tensorParallel(index, group, type);
    const kvCapacityBytes = this.kvCapacityBytes(index, type, tensorParallel, pipeline);
    const cost = this.cost(group, type, tensorParallel);
    for (let i = 0; i < group.count / pipeline; i++) {
      const node = this.node(group, type, `${group.name}-${i}`);
      this.nodes.push(node);
      for (let j = 0; j < group.instancesPerNode; j++) {
        this.costs.push(cost);
        this.instances.push({
          id: this.instances.length,
          name: group.instancesPerNode === 1 ? node.name : `${node.name}.${j}`,
          node: node.id,
          gpus: gpusOf(type, tensorParallel, j, pipeline),
          stages: pipeline,
          roles: group.roles,
          kvCapacityBytes,
          gpuShare: (pipeline * tensorParallel) / type.gpus,
        });
      }
    }
  }

  private cost(group: GroupConfig, type: NodeType, tensorParallel: number): CostModel {
    const { model, instance } = this.config;
    const place = () => this.placeOf(['model', 'cost']);
    const cost = chooseCost(model, this.shape, group, type, tensorParallel, place);
    const stages = group.pipeline;
    if (stages === 1) return cost;
    return new PipelineCost(cost, {
      stages,
      chunkTokens: instance.prefillChunk,
      hidden: this.shape.hidden,
      bytesPerNs: type.rails * this.railBytesPerNs(type) * this.railEfficiency(type),
      latencyNs: type.railLatencyNs,
    });
  }

  checkRoles(): void {
    for (const role of ['prefill', 'decode'] as const) {
      if (this.instances.some((instance) => instance.roles.includes(role))) continue;
      throw new InputError(
        `cluster.groups: found no group with the role ${role}, expected at least one`,
        this.placeOf(['cluster', 'groups']),
      );
    }
  }

  /** A machine, or the machines of a pipeline as one. */
  private node(group: GroupConfig, type: NodeType, name: string): Node {
    const { pipeline } = group;
    const gpus = type.gpus * pipeline;
    const numaDomains = type.numaDomains * pipeline;
    const railCount = type.rails * pipeline;
    const numaOf = (place: number, of: number) => Math.floor((place * numaDomains) / of);
    const railBytesPerNs = this.railBytesPerNs(type);
    const { rdma } = this.config.transport;
    const rails = Array.from({ length: railCount }, (_, r): Rail => {
      const all = Array.from({ length: gpus }, (_, g) => g);
      return {
        name: `rail${r}`,
        bytesPerNs: railBytesPerNs,
        numa: numaOf(r, railCount),
        gpus: all.filter((g) => isNear(g, gpus, r, railCount)),
      };
    });
    return {
      id: this.nodes.length,
      name,
      group: group.name,
      gpus,
      numaDomains,
      rails,
      hostToDeviceBytesPerNs: pipeline * type.hostToDeviceBytesPerNs * type.hostToDeviceEfficiency,
      hostToDeviceLatencyNs: type.hostToDeviceLatencyNs,
      railEfficiency: this.railEfficiency(type),
      railLatencyNs:
        rdma === 'off' ? Math.max(type.railLatencyNs, TCP_LATENCY_NS) : type.railLatencyNs,
      railCpuNsPerByte: rdma === 'off' ? TCP_CPU_NS_PER_BYTE : 0,
      socketBytesPerNs: pipeline * type.socketBytesPerNs,
      dramCapacityBytes: pipeline * this.capacityBytes(group.dram),
      ssdCapacityBytes: pipeline * this.capacityBytes(group.ssd),
      ssdReadBytesPerNs: pipeline * type.ssdReadBytesPerNs,
      ssdWriteBytesPerNs: pipeline * type.ssdWriteBytesPerNs,
      ssdLatencyNs: type.ssdLatencyNs,
    };
  }

  /** Line rate of one rail within what `transport` lets the node use. */
  private railBytesPerNs(type: NodeType): number {
    const { maxBandwidth, rdma } = this.config.transport;
    let nodeBytesPerNs = Math.min(
      type.rails * type.railBytesPerNs,
      maxBandwidth ?? Number.POSITIVE_INFINITY,
    );
    if (rdma === 'off') {
      nodeBytesPerNs = Math.min(nodeBytesPerNs, TCP_NODE_BYTES_PER_NS / type.railEfficiency);
    }
    return nodeBytesPerNs / type.rails;
  }

  /** Share of the line rate that is left when every slice takes its overhead as well. */
  private railEfficiency(type: NodeType): number {
    const { sliceSize, sliceOverhead } = this.config.transport;
    if (sliceOverhead === 0) return type.railEfficiency;
    const wireNs = sliceSize / (this.railBytesPerNs(type) * type.railEfficiency);
    return (type.railEfficiency * wireNs) / (wireNs + sliceOverhead);
  }

  private capacityBytes(capacity: CapacityConfig): number {
    return 'bytes' in capacity ? capacity.bytes : capacity.tokens * this.bytesPerToken;
  }

  private tensorParallel(index: number, group: GroupConfig, type: NodeType): number {
    const { instancesPerNode, tensorParallel } = group;
    if (tensorParallel === undefined && instancesPerNode <= type.gpus) {
      return Math.floor(type.gpus / instancesPerNode);
    }
    const wanted = instancesPerNode * (tensorParallel ?? 1);
    if (wanted <= type.gpus) return tensorParallel!;
    const found = `${instancesPerNode} instances per node of ${tensorParallel ?? 1} GPUs`;
    const key = tensorParallel === undefined ? 'instancesPerNode' : 'tensorParallel';
    throw this.error(index, key, `found ${found}, expected at most ${type.gpus} GPUs in all`);
  }

  /**
   * HBM left for KV: GPUs times memory, less the reserve, less the weights. Where the KV of a token
   * lies on several GPUs (MLA, few KV heads), each copy takes its room. Stages of a pipeline share
   * the weights and the KV, each having its layers of both.
   */
  private kvCapacityBytes(
    index: number,
    type: NodeType,
    tensorParallel: number,
    stages: number,
  ): number {
    const { hbmReserve } = this.config.instance;
    const gpus = stages * tensorParallel;
    const usable = gpus * type.accelerator.memoryBytes * (1 - hbmReserve);
    const weights = weightBytes(this.shape, this.config.model.weights);
    const left = Math.floor((usable - weights) / kvReplicas(this.shape, tensorParallel));
    if (left > 0) return left;
    const hold = `${gpus} x ${type.accelerator.name} with ${gb(usable)} usable`;
    throw this.error(
      index,
      'tensorParallel',
      `found ${hold}, expected more than the ${gb(weights)} of ${this.shape.name}'s weights ` +
        `(model.weights: ${this.config.model.weights})`,
    );
  }

  private error(group: number, key: string, message: string): InputError {
    const place = this.placeOf(['cluster', 'groups', group, key]);
    return new InputError(`cluster.groups[${group}].${key}: ${message}`, place);
  }
}

/** Nodes in their order, so many under each switch. */
function racksOf(nodes: readonly Node[], racks: Config['cluster']['racks']): Rack[] {
  if (racks === undefined) return [];
  const { nodes: size, oversubscription } = racks;
  return Array.from({ length: Math.ceil(nodes.length / size) }, (_, rack) => {
    const below = nodes.slice(rack * size, (rack + 1) * size);
    let rails = 0;
    for (const node of below) {
      for (const { bytesPerNs } of node.rails) rails += bytesPerNs * node.railEfficiency;
    }
    const ids = below.map(({ id }) => id);
    return { name: `rack${rack}`, nodes: ids, uplinkBytesPerNs: rails / oversubscription };
  });
}

/** GPUs of the j-th engine of a node; of a pipeline, the same on each of its machines. */
function gpusOf(type: NodeType, tensorParallel: number, engine: number, stages: number): number[] {
  return Array.from({ length: stages * tensorParallel }, (_, g) => {
    const stage = Math.floor(g / tensorParallel);
    return stage * type.gpus + engine * tensorParallel + (g % tensorParallel);
  });
}

/** GPUs share rails, or rails GPUs, evenly and in order. */
function isNear(gpu: number, gpus: number, rail: number, rails: number): boolean {
  return gpu * rails < (rail + 1) * gpus && rail * gpus < (gpu + 1) * rails;
}

function gb(bytes: number): string {
  return formatQuantity(SIZE, Math.round(bytes / 1e9) * 1e9);
}
