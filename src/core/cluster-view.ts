/** What the conductor believes of its instances, built from facts; what policies see. */
import { assert } from './errors.ts';
import { removeAt } from './kit/remove-at.ts';
import type { ClusterView, Load } from './policy.ts';
import type { AddressBook, Role, Topology } from './topology.ts';
import { Tier } from './topology.ts';

/** A prompt that was dispatched and is not done, as far as the conductor knows. */
export interface Queued {
  readonly key: number;
  readonly predictedNs: number;
  readonly tokens: number;
  /** What it will hold in decode. */
  readonly decodeTokens: number;
}

/** A request whose prompt is done. */
interface Decoding {
  readonly key: number;
  readonly tokens: number;
  readonly sinceNs: number;
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
  /** How old what is believed here is; 0 unless this view lags behind another. */
  private lagNs = 0;
  /** Among which the prefill policy chooses now. */
  prefillInstances: readonly number[];
  readonly decodeInstances: number[];
  readonly coupledInstances: number[];
  /** Without a role, and not in a change. */
  readonly standbyInstances: number[];
  private readonly allPrefill: number[];
  /** Roles of each instance now, and whether it lives. */
  private readonly roles: (readonly Role[])[];
  private readonly alive: boolean[];
  private readonly changing: boolean[];
  private readonly queues: Queued[][] = [];
  private readonly predictedNs: Float64Array;
  private readonly queuedTokenCount: Float64Array;
  /** When the prompt at the head of each queue is believed to have begun. */
  private readonly headSinceNs: Float64Array;
  private readonly decoding: Float64Array;
  private readonly decodingTokens: Float64Array;
  /** In decode, in the order in which they began. */
  private readonly running: Decoding[][] = [];
  private readonly runningTokens: Float64Array;
  private decodeNsSum = 0;
  private decodesEnded = 0;
  /** When each node will have sent what was asked of it. */
  private readonly sendingUntilNs: Float64Array;

  /** With `ahead`, a view that can lag behind that one: it shares the roles and nothing else. */
  constructor(world: ViewWorld, ahead: InstanceViews | null = null) {
    this.world = world;
    const { instances, nodes } = world.topology;
    for (let id = 0; id < instances.length; id++) {
      this.queues.push([]);
      this.running.push([]);
    }
    this.decodeInstances = ahead?.decodeInstances ?? [];
    this.coupledInstances = ahead?.coupledInstances ?? [];
    this.standbyInstances = ahead?.standbyInstances ?? [];
    this.changing = ahead?.changing ?? instances.map(() => false);
    this.allPrefill = ahead?.allPrefill ?? [];
    this.roles = ahead?.roles ?? instances.map(({ roles }) => roles);
    this.alive = ahead?.alive ?? instances.map(() => true);
    this.prefillInstances = this.allPrefill;
    this.listByRole();
    this.predictedNs = new Float64Array(instances.length);
    this.queuedTokenCount = new Float64Array(instances.length);
    this.headSinceNs = new Float64Array(instances.length);
    this.decoding = new Float64Array(instances.length);
    this.decodingTokens = new Float64Array(instances.length);
    this.runningTokens = new Float64Array(instances.length);
    this.sendingUntilNs = new Float64Array(nodes.length);
  }

  /** Believes what `ahead` believes now. Both share the roles. */
  copy(ahead: InstanceViews): void {
    this.queues.forEach((_, id) => {
      this.queues[id] = ahead.queues[id].slice();
      this.running[id] = ahead.running[id].slice();
    });
    this.predictedNs.set(ahead.predictedNs);
    this.queuedTokenCount.set(ahead.queuedTokenCount);
    this.headSinceNs.set(ahead.headSinceNs);
    this.decoding.set(ahead.decoding);
    this.decodingTokens.set(ahead.decodingTokens);
    this.runningTokens.set(ahead.runningTokens);
    this.sendingUntilNs.set(ahead.sendingUntilNs);
    this.decodeNsSum = ahead.decodeNsSum;
    this.decodesEnded = ahead.decodesEnded;
  }

  /** It is `nowNs`, and what is believed here was so `lagNs` ago. */
  passTo(nowNs: number, lagNs: number): void {
    this.nowNs = nowNs;
    this.lagNs = lagNs;
  }

  /** Offers the prefill policy all instances, or those that can also decode, if there are any. */
  offerPrefill(apart: boolean): void {
    const together = !apart && this.coupledInstances.length > 0;
    this.prefillInstances = together ? this.coupledInstances : this.allPrefill;
  }

  nodeOf(instance: number): number {
    return this.world.topology.instances[instance].node;
  }

  rolesOf(instance: number): readonly Role[] {
    return this.roles[instance];
  }

  isAlive(instance: number): boolean {
    return this.alive[instance];
  }

  setRoles(instance: number, roles: readonly Role[]): void {
    this.roles[instance] = roles;
    this.listByRole();
  }

  /** It is on its way to other roles. */
  setChanging(instance: number, changing: boolean): void {
    this.changing[instance] = changing;
    this.listByRole();
  }

  /** Whatever the prefill policy is offered. */
  get allPrefillInstances(): readonly number[] {
    return this.allPrefill;
  }

  setAlive(instance: number, alive: boolean): void {
    this.alive[instance] = alive;
    this.listByRole();
  }

  /** Lists those who may get work. */
  private listByRole(): void {
    const { allPrefill, decodeInstances, coupledInstances, roles, alive } = this;
    this.prefillInstances = allPrefill;
    const { standbyInstances, changing } = this;
    const lists = [allPrefill, decodeInstances, coupledInstances, standbyInstances];
    for (const list of lists) list.length = 0;
    for (let id = 0; id < roles.length; id++) {
      if (!alive[id] || changing[id]) continue;
      const prefills = roles[id].includes('prefill');
      const decodes = roles[id].includes('decode');
      if (prefills) allPrefill.push(id);
      if (decodes) decodeInstances.push(id);
      if (prefills && decodes) coupledInstances.push(id);
      if (!prefills && !decodes) standbyInstances.push(id);
    }
  }

  /** Sum of the queue's predicted times, less what the head has had of its own. */
  queueNs(instance: number): number {
    const queue = this.queues[instance];
    if (queue.length === 0) return 0;
    const elapsedNs = this.nowNs - this.lagNs - this.headSinceNs[instance];
    return this.predictedNs[instance] - Math.min(elapsedNs, queue[0].predictedNs);
  }

  sendingNs(node: number): number {
    return Math.max(0, this.sendingUntilNs[node] - this.nowNs);
  }

  /** The node was asked for blocks that take so long to send, after what it sends already. */
  send(node: number, durationNs: number): void {
    const fromNs = Math.max(this.nowNs, this.sendingUntilNs[node]);
    this.sendingUntilNs[node] = fromNs + durationNs;
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

  decodingNow(instance: number): Load {
    return { requests: this.running[instance].length, tokens: this.runningTokens[instance] };
  }

  decodingAt(instance: number, atNs: number, lastsNs: number): Load {
    let requests = 0;
    let tokens = 0;
    for (const decoding of this.running[instance]) {
      if (decoding.sinceNs + lastsNs <= atNs) continue;
      requests++;
      tokens += decoding.tokens;
    }
    return { requests, tokens };
  }

  arrivingBy(atNs: number, lastsNs: number): Load {
    let requests = 0;
    let tokens = 0;
    for (const instance of this.allPrefill) {
      const queue = this.queues[instance];
      let endNs = this.nowNs - this.lagNs + this.queueNs(instance) - this.predictedNs[instance];
      for (const { predictedNs, decodeTokens } of queue) {
        endNs += predictedNs;
        if (endNs > atNs) break;
        if (endNs + lastsNs <= atNs) continue;
        requests++;
        tokens += decodeTokens;
      }
    }
    return { requests, tokens };
  }

  get decodeNsMean(): number {
    return this.decodesEnded === 0 ? 0 : this.decodeNsSum / this.decodesEnded;
  }

  enqueue(instance: number, queued: Queued): void {
    const queue = this.queues[instance];
    if (queue.length === 0) this.headSinceNs[instance] = this.nowNs;
    queue.push(queued);
    this.predictedNs[instance] += queued.predictedNs;
    this.queuedTokenCount[instance] += queued.tokens;
  }

  /** A prompt is done or given up. */
  dequeue(instance: number, key: number): void {
    const queue = this.queues[instance];
    const at = placeOf(queue, key);
    if (at < 0) return;
    const { predictedNs, tokens } = removeAt(queue, at);
    this.predictedNs[instance] -= predictedNs;
    this.queuedTokenCount[instance] -= tokens;
    this.headSinceNs[instance] = this.nowNs;
  }

  /** No instance is believed to have anything to do; for tests. */
  checkIdle(): void {
    for (let id = 0; id < this.queues.length; id++) {
      const queued = this.queues[id].length + this.queuedTokenCount[id];
      const decoding = this.decoding[id] + this.decodingTokens[id] + this.running[id].length;
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

  /** Its prompt is done. */
  startDecode(instance: number, key: number, tokens: number): void {
    this.running[instance].push({ key, tokens, sinceNs: this.nowNs });
    this.runningTokens[instance] += tokens;
  }

  endDecode(instance: number, key: number, completed: boolean): void {
    const running = this.running[instance];
    const at = placeOf(running, key);
    if (at < 0) return;
    const { tokens, sinceNs } = removeAt(running, at);
    this.runningTokens[instance] -= tokens;
    if (!completed) return;
    this.decodeNsSum += this.nowNs - sinceNs;
    this.decodesEnded++;
  }
}

function placeOf(list: readonly { readonly key: number }[], key: number): number {
  for (let at = 0; at < list.length; at++) if (list[at].key === key) return at;
  return -1;
}
