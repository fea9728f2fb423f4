/** Speed of the simulation kernel: the event queue and the fluid network, against plain ones. */
import seedrandom from 'seedrandom';
import { EventQueue } from '../../src/core/kit/event-queue.ts';
import { FluidNetwork } from '../../src/sim/fluid.ts';
import { ReferenceNetwork } from '../sim/reference-fluid.ts';
import type { Bench } from './limits.ts';

/** Runs `work` and returns ns per operation. */
function nsPerOp(ops: number, work: () => void): number {
  const start = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - start) / ops;
}

// --- event queue --------------------------------------------------------------------------------

interface Queue {
  lastTimeNs: number;
  push(timeNs: number, rank: number, payload: number): void;
  pop(): number;
}

interface ObjectEvent {
  timeNs: number;
  rank: number;
  sequence: number;
  payload: number;
}

/** What one writes first: a binary heap of objects. */
class ObjectHeap implements Queue {
  lastTimeNs = 0;
  private sequence = 0;
  private readonly heap: ObjectEvent[] = [];

  push(timeNs: number, rank: number, payload: number): void {
    const { heap } = this;
    let at = heap.length;
    heap.push({ timeNs, rank, sequence: this.sequence++, payload });
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (compare(heap[parent], heap[at]) < 0) break;
      [heap[parent], heap[at]] = [heap[at], heap[parent]];
      at = parent;
    }
  }

  pop(): number {
    const { heap } = this;
    const first = heap[0];
    const last = heap.pop()!;
    if (heap.length > 0) heap[0] = last;
    for (let at = 0; ; ) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && compare(heap[child + 1], heap[child]) < 0) child++;
      if (compare(heap[at], heap[child]) < 0) break;
      [heap[child], heap[at]] = [heap[at], heap[child]];
      at = child;
    }
    this.lastTimeNs = first.timeNs;
    return first.payload;
  }
}

function compare(a: ObjectEvent, b: ObjectEvent): number {
  return a.timeNs - b.timeNs || a.rank - b.rank || a.sequence - b.sequence;
}

const DELAYS_NS = new Int32Array(2 ** 16);
{
  const random = seedrandom.alea('kernel-bench');
  for (let i = 0; i < DELAYS_NS.length; i++) DELAYS_NS[i] = Math.floor(random() * 1e7);
}

/** Steady state: `events` in the queue, each pop pushes one. */
function holdNs(make: () => Queue, events: number): number {
  const pairs = 500_000;
  const queue = make();
  for (let i = 0; i < events; i++) queue.push(DELAYS_NS[i], 0, i);
  return nsPerOp(pairs, () => {
    for (let i = 0; i < pairs; i++) {
      const payload = queue.pop();
      queue.push(queue.lastTimeNs + DELAYS_NS[i & 0xffff], i & 3, payload);
    }
  });
}

function queueBench(events: number): Bench {
  return {
    name: `event queue of ${events}: push + pop`,
    baseline: 'binary heap of objects',
    run: () => holdNs(() => new EventQueue(), events),
    baselineRun: () => holdNs(() => new ObjectHeap(), events),
  };
}

// --- fluid network ------------------------------------------------------------------------------

type Fluid = Pick<FluidNetwork, 'start' | 'setCap' | 'nextEndNs' | 'popEnded'>;

const NODES = 16;
const LIVE_FLOWS = 40;
/** 4 x 200 Gb/s out and in, 128 GB/s between host and devices each way, per node. */
const RAILS_BYTES_PER_NS = 100;
const BUS_BYTES_PER_NS = 128;

function capacities(fabricBytesPerNs: number): number[] {
  const node = [RAILS_BYTES_PER_NS, RAILS_BYTES_PER_NS, BUS_BYTES_PER_NS, BUS_BYTES_PER_NS];
  return [...Array(NODES).fill(node).flat(), fabricBytesPerNs];
}

/** A third go over a bus, the others from node to node through the fabric. */
function paths(): number[][] {
  const random = seedrandom.alea('kernel-bench/paths');
  const pick = (count: number) => Math.floor(random() * count);
  return Array.from({ length: 256 }, (_, i) => {
    const from = pick(NODES);
    const to = (from + 1 + pick(NODES - 1)) % NODES;
    if (i % 3 === 0) return [4 * from + 2 + pick(2)];
    return [4 * from, 4 * to + 1, 4 * NODES];
  });
}
const PATHS = paths();

/**
 * Keeps LIVE_FLOWS flows alive: one ends, one starts, one has its cap changed. Ns per such verb.
 */
function churnNs(net: Fluid, cycles: number, capBytesPerNs: number): number {
  let started = 0;
  const start = (nowNs: number) => {
    const i = started++;
    const bytes = 1e6 + DELAYS_NS[i & 0xffff];
    const flow = net.start(nowNs, PATHS[i & 0xff], bytes, capBytesPerNs, 1);
    net.setCap(nowNs, flow, capBytesPerNs * (0.5 + (i & 7) / 8));
  };
  for (let i = 0; i < LIVE_FLOWS; i++) start(0);
  return nsPerOp(3 * cycles, () => {
    for (let done = 0; done < cycles; ) {
      const nowNs = net.nextEndNs();
      let ended = 0;
      while (net.popEnded(nowNs) >= 0) ended++;
      for (let i = 0; i < ended; i++) start(nowNs);
      done += ended;
    }
  });
}

function fluidBench(name: string, fabricBytesPerNs: number, capBytesPerNs: number): Bench {
  const sizes = capacities(fabricBytesPerNs);
  return {
    name: `fluid network, ${name}: one change`,
    baseline: 'all rates solved at every change',
    run() {
      const net = new FluidNetwork();
      for (const [i, size] of sizes.entries()) net.addResource(`r${i}`, size);
      return churnNs(net, 100_000, capBytesPerNs);
    },
    baselineRun: () => churnNs(new ReferenceNetwork(sizes), 50, capBytesPerNs),
  };
}

export const kernelBenches: Bench[] = [
  queueBench(100),
  queueBench(12_000),
  fluidBench('nothing binds', 1600, 2),
  fluidBench('nodes bind', 1600, 60),
  fluidBench('fabric binds', 400, 60),
];
