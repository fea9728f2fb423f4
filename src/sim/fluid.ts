/**
 * Fluid flows over shared resources: who moves how many bytes when. Rates are bytes per ns, times
 * integer ns, sizes bytes.
 *
 * A flow has a path (the resources that it loads, all at its rate), a cap and a weight. Its rate is
 * its weighted max-min fair share (fair-share.ts). Changes are cheap: they are solved at the next
 * question, once for all changes of an instant, and a flow that meets nothing that can bind runs at
 * its limit without any solving. Bytes left are brought up to date only where a rate changes.
 *
 * The caller stops at every `nextEndNs()` and takes what ended with `popEnded`. Time never runs
 * backwards from verb to verb.
 */
import { assert } from '../core/errors.ts';
import { SlotHeap } from '../core/kit/slot-heap.ts';
import { FairShare } from './fair-share.ts';
import { FlowGraph, flowOf, grown } from './flow-graph.ts';

const NIL = -1;

/** Weights lie within 1/1024 and 1024: further apart, sums of weights would lose the small ones. */
const WEIGHT_MAX = 1024;

export class FluidNetwork {
  private readonly graph: FlowGraph;
  private readonly fair: FairShare;
  /** Live flows by (end, start): at Infinity while they stall. */
  private ends: SlotHeap;
  private nowNs = 0;
  private started = 0;
  /** Per resource: bytes of the flows that have ended or were stopped. */
  private leftBytes = new Float64Array(0);

  // Per flow.
  private bytes = new Float64Array(0);
  private order = new Float64Array(0);
  private rates = new Float64Array(0);
  /** Bytes that were left at `settledNs`. */
  private settledBytes = new Float64Array(0);
  private settledNs = new Float64Array(0);
  private generations = new Int32Array(0);

  constructor(flowCapacity = 64) {
    this.graph = new FlowGraph(flowCapacity);
    this.fair = new FairShare(this.graph);
    this.ends = new SlotHeap(0);
    this.growFlows();
  }

  /** Returns its id; ids are dense. A resource of infinite capacity only counts bytes. */
  addResource(name: string, capacityBytesPerNs: number): number {
    const resource = this.graph.addResource(name, capacityBytesPerNs);
    this.fair.fit();
    if (resource >= this.leftBytes.length) {
      this.leftBytes = grown(this.leftBytes, new Float64Array(this.graph.capacity.length));
    }
    return resource;
  }

  get resourceCount(): number {
    return this.graph.resourceCount;
  }

  resourceName(resource: number): string {
    return this.graph.names[resource];
  }

  /** Live flows. */
  get flowCount(): number {
    return this.ends.size;
  }

  /** How many flows had this id before: tells a flow from a later one. */
  generation(flow: number): number {
    return this.generations[flow];
  }

  /** Zero stalls the flows of the resource. */
  setCapacity(nowNs: number, resource: number, capacityBytesPerNs: number): void {
    this.advance(nowNs);
    const { graph, fair } = this;
    graph.setCapacity(resource, capacityBytesPerNs);
    fair.resourceChanged(resource);
    for (let link = graph.head[resource]; link !== NIL; link = graph.linkNext[link]) {
      const flow = flowOf(link);
      if (graph.limitAgain(flow)) this.limitChanged(flow);
    }
  }

  /**
   * A flow of `bytes` over at most PATH_MAX distinct resources. The cap may be infinite if a
   * resource of the path is not. Returns its id, until it has ended; then the id is given again.
   */
  start(
    nowNs: number,
    path: readonly number[] | Int32Array,
    bytes: number,
    capBytesPerNs: number,
    weight: number,
  ): number {
    assert(bytes >= 0 && bytes < Infinity, 'the bytes of a flow are not finite');
    assert(weight * WEIGHT_MAX >= 1 && weight <= WEIGHT_MAX, 'a weight is not in 1/1024..1024');
    this.advance(nowNs);
    const flow = this.graph.join(path, capBytesPerNs, weight);
    if (flow >= this.bytes.length) this.growFlows();
    this.bytes[flow] = bytes;
    this.rates[flow] = 0;
    this.settledBytes[flow] = bytes;
    this.settledNs[flow] = nowNs;
    this.order[flow] = this.started++;
    this.ends.set(flow, bytes === 0 ? nowNs : Infinity, this.order[flow]);
    this.limitChanged(flow);
    return flow;
  }

  setCap(nowNs: number, flow: number, capBytesPerNs: number): void {
    this.assertLive(flow);
    this.advance(nowNs);
    if (this.graph.setCap(flow, capBytesPerNs)) this.limitChanged(flow);
  }

  /** Ends a flow early. Returns the bytes that it has moved. */
  stop(nowNs: number, flow: number): number {
    this.assertLive(flow);
    this.advance(nowNs);
    const movedBytes = this.bytes[flow] - this.bytesLeft(flow);
    this.leave(flow, movedBytes);
    return movedBytes;
  }

  remainingBytes(nowNs: number, flow: number): number {
    this.assertLive(flow);
    this.advance(nowNs);
    return this.bytesLeft(flow);
  }

  rate(flow: number): number {
    this.assertLive(flow);
    this.solve();
    return this.rates[flow];
  }

  /** When the next flow ends, Infinity when none does. */
  nextEndNs(): number {
    this.solve();
    return this.firstEndNs();
  }

  /**
   * Takes out a flow that has ended by now, -1 when there is none. Equal ends leave in the order of
   * their starts. The id may be given again by the next `start`.
   *
   * Solves nothing, so that all ends of an instant cost one solution: none of them can undo
   * another.
   */
  popEnded(nowNs: number): number {
    this.advance(nowNs);
    if (this.firstEndNs() > nowNs) return NIL;
    const flow = this.ends.top();
    this.leave(flow, this.bytes[flow]);
    return flow;
  }

  /** Bytes that went through the resource so far; whole sizes for the flows that have ended. */
  bytesMoved(resource: number, nowNs: number): number {
    this.advance(nowNs);
    const { graph } = this;
    let movedBytes = this.leftBytes[resource];
    for (let link = graph.head[resource]; link !== NIL; link = graph.linkNext[link]) {
      const flow = flowOf(link);
      movedBytes += this.bytes[flow] - this.bytesLeft(flow);
    }
    return movedBytes;
  }

  /** Sum of the rates of its flows. */
  load(resource: number): number {
    this.solve();
    const { graph } = this;
    let load = 0;
    for (let link = graph.head[resource]; link !== NIL; link = graph.linkNext[link]) {
      load += this.rates[flowOf(link)];
    }
    return load;
  }

  private assertLive(flow: number): void {
    assert(this.ends.has(flow), 'the flow is not live');
  }

  private firstEndNs(): number {
    return this.ends.size === 0 ? Infinity : this.ends.key(this.ends.top());
  }

  private advance(nowNs: number): void {
    if (nowNs === this.nowNs) return;
    assert(nowNs > this.nowNs, 'time runs backwards');
    this.solve();
    assert(this.firstEndNs() >= nowNs, 'a flow ended before now and was not popped');
    this.nowNs = nowNs;
  }

  /** Bytes left now. What rounding leaves at the end of a flow is none. */
  private bytesLeft(flow: number): number {
    if (this.ends.key(flow) <= this.nowNs) return 0;
    const movedBytes = this.rates[flow] * (this.nowNs - this.settledNs[flow]);
    return Math.max(0, this.settledBytes[flow] - movedBytes);
  }

  private limitChanged(flow: number): void {
    if (!this.fair.flowChanged(flow)) this.setRate(flow, this.graph.limit[flow]);
  }

  private solve(): void {
    const { fair } = this;
    if (!fair.dirty) return;
    fair.solve();
    for (let i = 0; i < fair.solvedCount; i++) this.setRate(fair.solved[i], fair.shares[i]);
  }

  private setRate(flow: number, rate: number): void {
    if (rate === this.rates[flow]) return;
    const leftBytes = this.bytesLeft(flow);
    this.settledBytes[flow] = leftBytes;
    this.settledNs[flow] = this.nowNs;
    this.rates[flow] = rate;
    const endNs = leftBytes > 0 ? Math.ceil(this.nowNs + leftBytes / rate) : this.nowNs;
    this.ends.set(flow, endNs, this.order[flow]);
  }

  private leave(flow: number, movedBytes: number): void {
    const { graph } = this;
    this.fair.flowLeaves(flow);
    const to = graph.linksEnd(flow);
    for (let link = graph.linksStart(flow); link < to; link++) {
      this.leftBytes[graph.linkResource[link]] += movedBytes;
    }
    graph.leave(flow);
    this.ends.remove(flow);
    this.generations[flow]++;
  }

  private growFlows(): void {
    const capacity = this.graph.flowCapacity;
    this.fair.fit();
    const ends = new SlotHeap(capacity);
    for (let flow = 0; flow < this.order.length; flow++) {
      if (this.ends.has(flow)) ends.set(flow, this.ends.key(flow), this.order[flow]);
    }
    this.ends = ends;
    this.order = grown(this.order, new Float64Array(capacity));
    this.bytes = grown(this.bytes, new Float64Array(capacity));
    this.rates = grown(this.rates, new Float64Array(capacity));
    this.settledBytes = grown(this.settledBytes, new Float64Array(capacity));
    this.settledNs = grown(this.settledNs, new Float64Array(capacity));
    this.generations = grown(this.generations, new Int32Array(capacity));
  }
}
