/**
 * The fluid network done plainly: after every change all rates are solved again, by textbook
 * progressive filling in small rises of the water. The oracle of src/sim/fluid.ts.
 */

export interface ReferenceFlow {
  readonly path: readonly number[];
  readonly bytes: number;
  cap: number;
  readonly weight: number;
  rate: number;
  leftBytes: number;
}

/** Relative slack within which a resource is full or a flow is at its cap. */
const SLACK = 1e-12;

/** Weighted max-min fair rates: all rise together, in proportion to weight, until stopped. */
export function maxMinRates(
  capacities: readonly number[],
  flows: readonly Pick<ReferenceFlow, 'path' | 'cap' | 'weight'>[],
): number[] {
  const rates = flows.map(() => 0);
  const rising = new Set(flows.keys());
  const spare = (r: number) =>
    flows.reduce((left, flow, f) => left - (flow.path.includes(r) ? rates[f] : 0), capacities[r]);
  while (rising.size > 0) {
    let rise = Infinity;
    for (const f of rising) rise = Math.min(rise, (flows[f].cap - rates[f]) / flows[f].weight);
    for (const [r, capacity] of capacities.entries()) {
      if (capacity === Infinity) continue;
      let weight = 0;
      for (const f of rising) if (flows[f].path.includes(r)) weight += flows[f].weight;
      if (weight > 0) rise = Math.min(rise, Math.max(0, spare(r)) / weight);
    }
    for (const f of rising) rates[f] += flows[f].weight * rise;
    const full = capacities.map((capacity, r) => spare(r) <= SLACK * capacity);
    for (const f of [...rising]) {
      const { cap, path } = flows[f];
      if (rates[f] >= cap * (1 - SLACK) || path.some((r) => full[r])) rising.delete(f);
    }
  }
  return rates;
}

export class ReferenceNetwork {
  readonly flows = new Map<number, ReferenceFlow>();
  readonly movedBytes: number[];
  private readonly capacities: number[];
  private nowNs = 0;
  private started = 0;

  constructor(capacities: readonly number[]) {
    this.capacities = [...capacities];
    this.movedBytes = capacities.map(() => 0);
  }

  setCapacity(nowNs: number, resource: number, capacity: number): void {
    this.advance(nowNs);
    this.capacities[resource] = capacity;
    this.solve();
  }

  start(
    nowNs: number,
    path: readonly number[],
    bytes: number,
    cap: number,
    weight: number,
  ): number {
    this.advance(nowNs);
    const flow = { path, bytes, cap, weight, rate: 0, leftBytes: bytes };
    this.flows.set(this.started, flow);
    this.solve();
    return this.started++;
  }

  setCap(nowNs: number, id: number, cap: number): void {
    this.advance(nowNs);
    this.flow(id).cap = cap;
    this.solve();
  }

  stop(nowNs: number, id: number): number {
    this.advance(nowNs);
    const { bytes, leftBytes } = this.flow(id);
    return this.remove(id, bytes - leftBytes);
  }

  /** Takes the flow to have ended now, whatever rounding says. */
  end(nowNs: number, id: number): void {
    this.advance(nowNs);
    this.remove(id, this.flow(id).bytes);
  }

  nextEndNs(): number {
    let earliest = Infinity;
    for (const flow of this.flows.values()) earliest = Math.min(earliest, this.endNs(flow));
    return earliest;
  }

  popEnded(nowNs: number): number {
    this.advance(nowNs);
    for (const [id, flow] of this.flows) {
      if (this.endNs(flow) > nowNs) continue;
      this.end(nowNs, id);
      return id;
    }
    return -1;
  }

  flow(id: number): ReferenceFlow {
    const flow = this.flows.get(id);
    if (flow === undefined) throw new Error(`no flow ${id}`);
    return flow;
  }

  advance(nowNs: number): void {
    for (const flow of this.flows.values()) {
      flow.leftBytes = Math.max(0, flow.leftBytes - flow.rate * (nowNs - this.nowNs));
    }
    this.nowNs = nowNs;
  }

  private endNs(flow: ReferenceFlow): number {
    return flow.leftBytes === 0 ? this.nowNs : Math.ceil(this.nowNs + flow.leftBytes / flow.rate);
  }

  private remove(id: number, movedBytes: number): number {
    for (const resource of this.flow(id).path) this.movedBytes[resource] += movedBytes;
    this.flows.delete(id);
    this.solve();
    return movedBytes;
  }

  private solve(): void {
    const flows = [...this.flows.values()];
    const rates = maxMinRates(this.capacities, flows);
    for (const [i, flow] of flows.entries()) flow.rate = rates[i];
  }
}
