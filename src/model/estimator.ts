/**
 * What the scheduler believes, from cost models and the topology. It knows neither queues nor
 * congestion; `scaled` makes it wrong on purpose.
 */
import type { CostModel, Estimator } from '../core/cost.ts';
import type { Topology } from '../core/topology.ts';
import { Tier } from '../core/topology.ts';

export class ModelEstimator implements Estimator {
  private readonly costs: readonly CostModel[];
  private readonly bytesPerToken: number;
  private readonly fabricBytesPerNs: number;
  /** Per node: what its rails really carry together, one direction. */
  private readonly nodeBytesPerNs: Float64Array;
  private readonly nodeLatencyNs: Float64Array;

  /** `costs[i]` is the cost model of instance i. */
  constructor(topology: Topology, costs: readonly CostModel[]) {
    this.costs = costs;
    this.bytesPerToken = topology.kv.bytesPerToken[Tier.dram];
    this.fabricBytesPerNs = topology.fabricBytesPerNs;
    this.nodeBytesPerNs = new Float64Array(topology.nodes.length);
    this.nodeLatencyNs = new Float64Array(topology.nodes.length);
    for (const node of topology.nodes) {
      let lineRate = 0;
      for (const rail of node.rails) lineRate += rail.bytesPerNs;
      this.nodeBytesPerNs[node.id] = lineRate * node.railEfficiency;
      this.nodeLatencyNs[node.id] = node.railLatencyNs;
    }
  }

  /** One chunk: passes of a longer prompt are not told apart. */
  prefillNs(instance: number, inputTokens: number, cachedTokens: number): number {
    return this.costs[instance].prefillNs(cachedTokens, inputTokens, true);
  }

  /** An empty network: latency plus bytes over the slowest of both nodes and the fabric. */
  transferNs(sourceNode: number, targetNode: number, tokens: number): number {
    if (sourceNode === targetNode || tokens <= 0) return 0;
    const nodes = Math.min(this.nodeBytesPerNs[sourceNode], this.nodeBytesPerNs[targetNode]);
    const rate = Math.min(nodes, this.fabricBytesPerNs);
    const latencyNs = Math.max(this.nodeLatencyNs[sourceNode], this.nodeLatencyNs[targetNode]);
    return Math.round(latencyNs + (tokens * this.bytesPerToken) / rate);
  }

  decodeStepNs(instance: number, batch: number, contextTokens: number): number {
    return this.costs[instance].decodeStepNs(batch, contextTokens);
  }
}

/** An estimator whose every answer is off by `factor`. */
class ScaledEstimator implements Estimator {
  private readonly inner: Estimator;
  private readonly factor: number;

  constructor(inner: Estimator, factor: number) {
    this.inner = inner;
    this.factor = factor;
  }

  prefillNs(instance: number, inputTokens: number, cachedTokens: number): number {
    return Math.round(this.inner.prefillNs(instance, inputTokens, cachedTokens) * this.factor);
  }

  transferNs(sourceNode: number, targetNode: number, tokens: number): number {
    return Math.round(this.inner.transferNs(sourceNode, targetNode, tokens) * this.factor);
  }

  decodeStepNs(instance: number, batch: number, contextTokens: number): number {
    return Math.round(this.inner.decodeStepNs(instance, batch, contextTokens) * this.factor);
  }
}

/** A systematic error: 1.3 believes everything 30 % slower than it is. 1 changes nothing. */
export function scaled(estimator: Estimator, factor: number): Estimator {
  return factor === 1 ? estimator : new ScaledEstimator(estimator, factor);
}
