/**
 * Which flow crosses which resource, and what may bind: paths, caps, weights and capacities, with a
 * list of flows per resource. Knows no time and no rates.
 *
 * A flow's *limit* is its cap or the least capacity on its path, whichever is lower. A resource can
 * bind only if the limits of its flows add up to more than its capacity.
 */
import { assert } from '../core/errors.ts';

const PATH_BITS = 4;
/** Resources on one path, at most. */
export const PATH_MAX = 1 << PATH_BITS;

/**
 * Sums of limits are kept in whole units of 2^-32 bytes per ns (0.23 bytes per second), which makes
 * them exact up to 2 PB/s: what was added can be taken off again without a rest.
 */
const UNITS_PER_RATE = 2 ** 32;

const NIL = -1;

function units(rate: number): number {
  return Math.round(rate * UNITS_PER_RATE);
}

/** The flow of a link: link `flow * PATH_MAX + i` is its membership in its i-th resource. */
export function flowOf(link: number): number {
  return link >> PATH_BITS;
}

/** A longer copy of `from`, in `to`. */
export function grown<A extends Float64Array | Int32Array | Uint8Array>(from: A, to: A): A {
  to.set(from);
  return to;
}

export class FlowGraph {
  resourceCount = 0;
  readonly names: string[] = [];
  capacity = new Float64Array(0);
  private capacityUnits = new Float64Array(0);
  /** Sum of the limits of its flows, in units. */
  private demandUnits = new Float64Array(0);
  /** First link of each resource's list of flows, -1 at its end. */
  head = new Int32Array(0);

  /** Flow slots, live or free. */
  flowCapacity = 0;
  /** 0 marks a free slot. */
  weight = new Float64Array(0);
  limit = new Float64Array(0);
  private cap = new Float64Array(0);
  private pathLength = new Uint8Array(0);
  linkResource = new Int32Array(0);
  linkNext = new Int32Array(0);
  private linkPrevious = new Int32Array(0);
  private freeSlots = new Int32Array(0);
  private freeCount = 0;

  constructor(flowCapacity: number) {
    this.growFlows(Math.max(1, flowCapacity));
  }

  /** The links of a flow are `linksStart` to before `linksEnd`. */
  linksStart(flow: number): number {
    return flow << PATH_BITS;
  }

  linksEnd(flow: number): number {
    return (flow << PATH_BITS) + this.pathLength[flow];
  }

  canBind(resource: number): boolean {
    return this.demandUnits[resource] > this.capacityUnits[resource];
  }

  addResource(name: string, capacity: number): number {
    const resource = this.resourceCount++;
    if (resource === this.capacity.length) this.growResources(Math.max(16, 2 * resource));
    this.names.push(name);
    this.setCapacity(resource, capacity);
    return resource;
  }

  /** The limits of its flows follow by `limitAgain`, flow by flow. */
  setCapacity(resource: number, capacity: number): void {
    assert(capacity >= 0, 'the capacity of a resource is negative');
    this.capacity[resource] = capacity;
    this.capacityUnits[resource] = units(capacity);
  }

  join(path: readonly number[] | Int32Array, cap: number, weight: number): number {
    const length = path.length;
    assert(length <= PATH_MAX, 'the path of a flow is too long');
    if (this.freeCount === 0) this.growFlows(2 * this.flowCapacity);
    const flow = this.freeSlots[--this.freeCount];
    const from = this.linksStart(flow);
    this.pathLength[flow] = length;
    for (let i = 0; i < length; i++) {
      const resource = path[i];
      assert(resource >= 0 && resource < this.resourceCount, 'a path names an unknown resource');
      const link = from + i;
      const next = this.head[resource];
      // The latest to join is at the head, so a resource named twice shows there.
      assert(next === NIL || flowOf(next) !== flow, 'a path names a resource twice');
      this.linkResource[link] = resource;
      this.linkNext[link] = next;
      this.linkPrevious[link] = NIL;
      if (next !== NIL) this.linkPrevious[next] = link;
      this.head[resource] = link;
    }
    this.cap[flow] = cap;
    this.weight[flow] = weight;
    this.limit[flow] = 0;
    this.limitAgain(flow);
    return flow;
  }

  leave(flow: number): void {
    const to = this.linksEnd(flow);
    const demand = units(this.limit[flow]);
    for (let link = this.linksStart(flow); link < to; link++) {
      const resource = this.linkResource[link];
      const next = this.linkNext[link];
      const previous = this.linkPrevious[link];
      if (previous === NIL) this.head[resource] = next;
      else this.linkNext[previous] = next;
      if (next !== NIL) this.linkPrevious[next] = previous;
      this.demandUnits[resource] -= demand;
    }
    this.weight[flow] = 0;
    this.freeSlots[this.freeCount++] = flow;
  }

  /** Returns whether the limit has changed. */
  setCap(flow: number, cap: number): boolean {
    this.cap[flow] = cap;
    return this.limitAgain(flow);
  }

  /** To be called when a capacity on its path has changed; returns whether the limit has. */
  limitAgain(flow: number): boolean {
    const to = this.linksEnd(flow);
    let limit = this.cap[flow];
    for (let link = this.linksStart(flow); link < to; link++) {
      const capacity = this.capacity[this.linkResource[link]];
      if (capacity < limit) limit = capacity;
    }
    assert(limit >= 0 && limit < Infinity, 'neither cap nor path limits a flow to a finite rate');
    const before = this.limit[flow];
    if (limit === before) return false;
    this.limit[flow] = limit;
    const more = units(limit) - units(before);
    for (let link = this.linksStart(flow); link < to; link++) {
      this.demandUnits[this.linkResource[link]] += more;
    }
    return true;
  }

  private growResources(capacity: number): void {
    this.capacity = grown(this.capacity, new Float64Array(capacity));
    this.capacityUnits = grown(this.capacityUnits, new Float64Array(capacity));
    this.demandUnits = grown(this.demandUnits, new Float64Array(capacity));
    this.head = grown(this.head, new Int32Array(capacity).fill(NIL));
  }

  private growFlows(capacity: number): void {
    this.weight = grown(this.weight, new Float64Array(capacity));
    this.limit = grown(this.limit, new Float64Array(capacity));
    this.cap = grown(this.cap, new Float64Array(capacity));
    this.pathLength = grown(this.pathLength, new Uint8Array(capacity));
    this.linkResource = grown(this.linkResource, new Int32Array(capacity * PATH_MAX));
    this.linkNext = grown(this.linkNext, new Int32Array(capacity * PATH_MAX));
    this.linkPrevious = grown(this.linkPrevious, new Int32Array(capacity * PATH_MAX));
    this.freeSlots = grown(this.freeSlots, new Int32Array(capacity));
    // The lowest slot is given first.
    for (let slot = capacity - 1; slot >= this.flowCapacity; slot--) {
      this.freeSlots[this.freeCount++] = slot;
    }
    this.flowCapacity = capacity;
  }
}
