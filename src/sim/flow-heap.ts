/**
 * Completion times of the live flows: an indexed binary heap with the key (endNs, sequence). A flow
 * is in it from start to end, at Infinity while it stalls, so membership is what "live" means.
 */
import { grown } from './flow-graph.ts';

const ABSENT = -1;

export class FlowHeap {
  size = 0;
  /** Completion time per flow. Written through `insert` and `update` only. */
  endNs = new Float64Array(0);
  private sequence = new Float64Array(0);
  private heap = new Int32Array(0);
  private position = new Int32Array(0);

  has(flow: number): boolean {
    return this.position[flow] >= 0;
  }

  /** The flow that ends first, or -1. */
  first(): number {
    return this.size === 0 ? ABSENT : this.heap[0];
  }

  /** When the first flow ends, or Infinity. */
  firstNs(): number {
    return this.size === 0 ? Infinity : this.endNs[this.heap[0]];
  }

  insert(flow: number, endNs: number, sequence: number): void {
    this.endNs[flow] = endNs;
    this.sequence[flow] = sequence;
    this.rise(flow, this.size++);
  }

  update(flow: number, endNs: number): void {
    const earlier = endNs < this.endNs[flow];
    this.endNs[flow] = endNs;
    if (earlier) this.rise(flow, this.position[flow]);
    else this.sink(flow, this.position[flow]);
  }

  remove(flow: number): void {
    const hole = this.position[flow];
    this.position[flow] = ABSENT;
    const moved = this.heap[--this.size];
    if (moved === flow) return;
    this.rise(moved, hole);
    this.sink(moved, this.position[moved]);
  }

  grow(capacity: number): void {
    const absent = new Int32Array(capacity).fill(ABSENT);
    this.endNs = grown(this.endNs, new Float64Array(capacity));
    this.sequence = grown(this.sequence, new Float64Array(capacity));
    this.heap = grown(this.heap, new Int32Array(capacity));
    this.position = grown(this.position, absent);
  }

  private before(a: number, b: number): boolean {
    const aNs = this.endNs[a];
    const bNs = this.endNs[b];
    return aNs < bNs || (aNs === bNs && this.sequence[a] < this.sequence[b]);
  }

  private rise(flow: number, hole: number): void {
    const { heap, position } = this;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      const other = heap[parent];
      if (!this.before(flow, other)) break;
      heap[hole] = other;
      position[other] = hole;
      hole = parent;
    }
    heap[hole] = flow;
    position[flow] = hole;
  }

  private sink(flow: number, hole: number): void {
    const { heap, position, size } = this;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= size) break;
      if (child + 1 < size && this.before(heap[child + 1], heap[child])) child++;
      const other = heap[child];
      if (!this.before(other, flow)) break;
      heap[hole] = other;
      position[other] = hole;
      hole = child;
    }
    heap[hole] = flow;
    position[flow] = hole;
  }
}
