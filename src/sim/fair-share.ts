/**
 * Weighted max-min fair shares, solved again only where something changed.
 *
 * A common water level rises; a flow gets weight * level until its limit or a full resource on its
 * path stops it (progressive filling: Bertsekas and Gallager, Data Networks, 2nd ed., 6.5.2).
 * Resources that cannot bind are left out, so they tie no flows together. A change marks what it
 * touches; `solve` works on the flows and resources that are connected to a mark by resources that
 * can bind.
 */
import { type FlowGraph, flowOf, grown } from './flow-graph.ts';

const NIL = -1;

export class FairShare {
  /** Flows whose share the last `solve` worked out, and the shares, in that order. */
  solvedCount = 0;
  solved = new Int32Array(0);
  shares = new Float64Array(0);

  private readonly graph: FlowGraph;
  /** 1: could bind when last solved. What changed since then is marked. */
  private binding = new Uint8Array(0);

  private markedResourceCount = 0;
  private markedResources = new Int32Array(0);
  private resourceMarked = new Uint8Array(0);
  private markedFlowCount = 0;
  private markedFlows = new Int32Array(0);
  private flowMarked = new Uint8Array(0);

  // Scratch of one solution. `pass` numbers them; what carries its number was reached in it.
  private pass = 0;
  private resourcePass = new Int32Array(0);
  private flowPass = new Int32Array(0);
  private reachedCount = 0;
  private reached = new Int32Array(0);
  private risingCount = 0;
  private rising = new Int32Array(0);
  /** Per resource: capacity not yet given away, and the flows that still rise. */
  private spare = new Float64Array(0);
  private risingWeight = new Float64Array(0);
  private risingFlows = new Int32Array(0);

  constructor(graph: FlowGraph) {
    this.graph = graph;
  }

  /** To be called when the graph may have grown. */
  fit(): void {
    const { resourceCount, flowCapacity } = this.graph;
    if (resourceCount > this.binding.length) this.growResources(Math.max(16, 2 * resourceCount));
    if (flowCapacity > this.solved.length) this.growFlows(flowCapacity);
  }

  get dirty(): boolean {
    return this.markedFlowCount + this.markedResourceCount > 0;
  }

  /**
   * A flow is new or has another limit. False: nothing on its path can bind, so its share is its
   * limit and nobody else's changes. True: ask `solve`.
   */
  flowChanged(flow: number): boolean {
    const { graph } = this;
    let contended = false;
    const to = graph.linksEnd(flow);
    for (let link = graph.linksStart(flow); link < to; link++) {
      if (this.resourceChanged(graph.linkResource[link])) contended = true;
    }
    if (contended && this.flowMarked[flow] === 0) {
      this.flowMarked[flow] = 1;
      this.markedFlows[this.markedFlowCount++] = flow;
    }
    return contended;
  }

  /** To be called before a flow leaves the graph. */
  flowLeaves(flow: number): void {
    const { graph } = this;
    const to = graph.linksEnd(flow);
    for (let link = graph.linksStart(flow); link < to; link++) {
      const resource = graph.linkResource[link];
      if (this.binding[resource] !== 0) this.mark(resource);
    }
  }

  /** Its capacity or its demand has changed. Returns whether that matters to its flows. */
  resourceChanged(resource: number): boolean {
    if (this.binding[resource] === 0 && !this.graph.canBind(resource)) return false;
    this.mark(resource);
    return true;
  }

  /** Fills `solved` and `shares`. */
  solve(): void {
    this.pass++;
    this.solvedCount = 0;
    this.reachedCount = 0;
    this.risingCount = 0;
    this.classify();
    for (let i = 0; i < this.markedResourceCount; i++) this.reachFlowsOf(this.markedResources[i]);
    for (let i = 0; i < this.markedFlowCount; i++) {
      const flow = this.markedFlows[i];
      this.flowMarked[flow] = 0;
      if (this.graph.weight[flow] > 0) this.reach(flow);
    }
    this.markedResourceCount = 0;
    this.markedFlowCount = 0;
    for (let i = 0; i < this.reachedCount; i++) this.reachFlowsOf(this.reached[i]);
    this.fill();
  }

  /** Brings `binding` of the marked resources up to date; keeps those that bound or bind now. */
  private classify(): void {
    let kept = 0;
    for (let i = 0; i < this.markedResourceCount; i++) {
      const resource = this.markedResources[i];
      this.resourceMarked[resource] = 0;
      const bound = this.binding[resource];
      const binds = this.graph.canBind(resource) ? 1 : 0;
      this.binding[resource] = binds;
      if ((bound | binds) !== 0) this.markedResources[kept++] = resource;
    }
    this.markedResourceCount = kept;
  }

  private mark(resource: number): void {
    if (this.resourceMarked[resource] !== 0) return;
    this.resourceMarked[resource] = 1;
    this.markedResources[this.markedResourceCount++] = resource;
  }

  private reachFlowsOf(resource: number): void {
    const { graph } = this;
    for (let link = graph.head[resource]; link !== NIL; link = graph.linkNext[link]) {
      this.reach(flowOf(link));
    }
  }

  /** Adds a flow to the solution, and the resources by which it is tied to others. */
  private reach(flow: number): void {
    if (this.flowPass[flow] === this.pass) return;
    this.flowPass[flow] = this.pass;
    const { graph } = this;
    const weight = graph.weight[flow];
    const to = graph.linksEnd(flow);
    let tied = false;
    for (let link = graph.linksStart(flow); link < to; link++) {
      const resource = graph.linkResource[link];
      if (this.binding[resource] === 0) continue;
      tied = true;
      if (this.resourcePass[resource] !== this.pass) {
        this.resourcePass[resource] = this.pass;
        this.spare[resource] = graph.capacity[resource];
        this.risingWeight[resource] = 0;
        this.risingFlows[resource] = 0;
        this.reached[this.reachedCount++] = resource;
      }
      this.risingWeight[resource] += weight;
      this.risingFlows[resource]++;
    }
    if (tied) this.rising[this.risingCount++] = flow;
    else this.give(flow, graph.limit[flow]);
  }

  /** Lets the water rise until every reached flow has its share. */
  private fill(): void {
    const { rising } = this;
    const { limit, weight } = this.graph;
    let count = this.risingCount;
    while (count > 0) {
      const bottleneck = this.lowest();
      const level = bottleneck === NIL ? Infinity : this.levelOf(bottleneck);
      let kept = 0;
      for (let i = 0; i < count; i++) {
        const flow = rising[i];
        if (limit[flow] <= weight[flow] * level) this.freeze(flow, limit[flow]);
        else rising[kept++] = flow;
      }
      if (kept === count) {
        kept = 0;
        for (let i = 0; i < count; i++) {
          const flow = rising[i];
          if (this.crosses(flow, bottleneck)) this.freeze(flow, weight[flow] * level);
          else rising[kept++] = flow;
        }
      }
      count = kept;
    }
  }

  /** The level at which the resource is full. */
  private levelOf(resource: number): number {
    return Math.max(0, this.spare[resource]) / this.risingWeight[resource];
  }

  /** The resource that is full first, -1 when none has rising flows. Drops those without. */
  private lowest(): number {
    let lowest = NIL;
    let level = Infinity;
    let kept = 0;
    for (let i = 0; i < this.reachedCount; i++) {
      const resource = this.reached[i];
      if (this.risingFlows[resource] === 0) continue;
      this.reached[kept++] = resource;
      const own = this.levelOf(resource);
      if (own < level) {
        level = own;
        lowest = resource;
      }
    }
    this.reachedCount = kept;
    return lowest;
  }

  private crosses(flow: number, resource: number): boolean {
    const { graph } = this;
    const to = graph.linksEnd(flow);
    for (let link = graph.linksStart(flow); link < to; link++) {
      if (graph.linkResource[link] === resource) return true;
    }
    return false;
  }

  /** The flow stays at this rate while the others rise. */
  private freeze(flow: number, rate: number): void {
    const { graph } = this;
    const weight = graph.weight[flow];
    const to = graph.linksEnd(flow);
    for (let link = graph.linksStart(flow); link < to; link++) {
      const resource = graph.linkResource[link];
      this.spare[resource] -= rate;
      this.risingWeight[resource] -= weight;
      this.risingFlows[resource]--;
    }
    this.give(flow, rate);
  }

  private give(flow: number, share: number): void {
    this.solved[this.solvedCount] = flow;
    this.shares[this.solvedCount++] = share;
  }

  private growResources(capacity: number): void {
    this.binding = grown(this.binding, new Uint8Array(capacity));
    this.markedResources = grown(this.markedResources, new Int32Array(capacity));
    this.resourceMarked = grown(this.resourceMarked, new Uint8Array(capacity));
    this.resourcePass = grown(this.resourcePass, new Int32Array(capacity));
    this.reached = grown(this.reached, new Int32Array(capacity));
    this.spare = grown(this.spare, new Float64Array(capacity));
    this.risingWeight = grown(this.risingWeight, new Float64Array(capacity));
    this.risingFlows = grown(this.risingFlows, new Int32Array(capacity));
  }

  private growFlows(capacity: number): void {
    this.solved = grown(this.solved, new Int32Array(capacity));
    this.shares = grown(this.shares, new Float64Array(capacity));
    this.markedFlows = grown(this.markedFlows, new Int32Array(capacity));
    this.flowMarked = grown(this.flowMarked, new Uint8Array(capacity));
    this.flowPass = grown(this.flowPass, new Int32Array(capacity));
    this.rising = grown(this.rising, new Int32Array(capacity));
  }
}
