/** What the conductor believes of its instances, built from facts; what policies see. */
import { assert } from './errors.ts';
import type { ClusterView } from './policy.ts';
import type { AddressBook, Topology } from './topology.ts';
import { Tier } from './topology.ts';

/** A prompt that was dispatched and is not done, as far as the conductor knows. */
interface Queued {
  readonly key: number;
  readonly predictedNs: number;
  readonly tokens: number;
}

export class ViewWorld {
  readonly topology: Topology;
  readonly addresses: AddressBook;

  constructor(topology: Topology, addresses: AddressBook) {
    this.topology = topology;
    this.addresses = addresses;
  }
}

export class InstanceViews implements ClusterView {
  readonly world: ViewWorld;
  nowNs = 0;
  readonly prefillInstances: number[] = [];
  readonly decodeInstances: number[] = [];
  private readonly queues: Queued[][] = [];
  private readonly predictedNs: Float64Array;
  private readonly queuedTokenCount: Float64Array;
  /** When the prompt at the head of each queue is believed to have begun. */
  private readonly headSinceNs: Float64Array;
  private readonly decoding: Float64Array;
  private readonly decodingTokens: Float64Array;

  constructor(world: ViewWorld) {
    this.world = world;
    const { instances } = world.topology;
    for (const { id, roles } of instances) {
      this.queues.push([]);
      if (roles.includes('prefill')) this.prefillInstances.push(id);
      if (roles.includes('decode')) this.decodeInstances.push(id);
    }
    this.predictedNs = new Float64Array(instances.length);
    this.queuedTokenCount = new Float64Array(instances.length);
    this.headSinceNs = new Float64Array(instances.length);
    this.decoding = new Float64Array(instances.length);
    this.decodingTokens = new Float64Array(instances.length);
  }

  nodeOf(instance: number): number {
    return this.world.topology.instances[instance].node;
  }

  /** Sum of the queue's predicted times, less what the head has had of its own. */
  queueNs(instance: number): number {
    const queue = this.queues[instance];
    if (queue.length === 0) return 0;
    const elapsedNs = this.nowNs - this.headSinceNs[instance];
    return this.predictedNs[instance] - Math.min(elapsedNs, queue[0].predictedNs);
  }

  queuedRequests(instance: number): number {
    return this.queues[instance].length;
  }

  queuedTokens(instance: number): number {
    return this.queuedTokenCount[instance];
  }

  decodeRequests(instance: number): number {
    return this.decoding[instance];
  }

  decodeTokens(instance: number): number {
    return this.decodingTokens[instance];
  }

  decodeCapacityTokens(instance: number): number {
    const { kv, instances } = this.world.topology;
    return Math.floor(instances[instance].kvCapacityBytes / kv.bytesPerToken[Tier.hbm]);
  }

  enqueue(instance: number, key: number, predictedNs: number, tokens: number): void {
    const queue = this.queues[instance];
    if (queue.length === 0) this.headSinceNs[instance] = this.nowNs;
    queue.push({ key, predictedNs, tokens });
    this.predictedNs[instance] += predictedNs;
    this.queuedTokenCount[instance] += tokens;
  }

  /** A prompt is done or given up. */
  dequeue(instance: number, key: number): void {
    const queue = this.queues[instance];
    const at = queue.findIndex((queued) => queued.key === key);
    if (at < 0) return;
    const [{ predictedNs, tokens }] = queue.splice(at, 1);
    this.predictedNs[instance] -= predictedNs;
    this.queuedTokenCount[instance] -= tokens;
    this.headSinceNs[instance] = this.nowNs;
  }

  /** No instance is believed to have anything to do; for tests. */
  checkIdle(): void {
    for (let id = 0; id < this.queues.length; id++) {
      const queued = this.queues[id].length + this.queuedTokenCount[id];
      const decoding = this.decoding[id] + this.decodingTokens[id];
      assert(queued === 0 && decoding === 0, `instance ${id} is believed to be busy`);
    }
  }

  bindDecode(instance: number, tokens: number): void {
    this.decoding[instance]++;
    this.decodingTokens[instance] += tokens;
  }

  unbindDecode(instance: number, tokens: number): void {
    this.decoding[instance]--;
    this.decodingTokens[instance] -= tokens;
  }
}
