/**
 * A run as a trace for Perfetto UI and chrome://tracing: a process per node, a track per instance,
 * link direction and tier, requests as flows across them, counters for queues and tiers. An
 * observer that writes as the run goes and holds only what is under way.
 */
import type { Run, Step, Transfer, TransferKind } from '../core/host.ts';
import { Mark } from '../core/host.ts';
import type { Delta, Fact, Message, StepEnded, TransferEnded } from '../core/messages.ts';
import type { Observer } from '../core/observer.ts';
import { type Address, AddressBook, Tier, type Topology } from '../core/topology.ts';
import { crossings, type NodeLink } from '../metrics/links.ts';
import { type Slice, TraceEvents } from './trace-events.ts';

/** Process of the ingress and the conductor; nodes follow. */
const CLUSTER_PROCESS = 1;
const FIRST_NODE_PROCESS = 2;

/** Tracks of a node's process in the order in which they are shown, after its instances. */
const TRACKS = {
  railsOut: 'rails, out',
  railsIn: 'rails, in',
  hostToDevice: 'host to device',
  deviceToHost: 'device to host',
  ssdRead: 'SSD, read',
  ssdWrite: 'SSD, write',
  dramRead: 'DRAM, read',
  dramWrite: 'DRAM, write',
  evictions: 'DRAM, evictions',
} as const;
type Track = keyof typeof TRACKS;
const TRACK_NAMES = Object.keys(TRACKS) as Track[];
/** Thread ids: those of instances start at 1, those of lanes of tracks at multiples of this. */
const TRACK_STRIDE = 10_000;

/** Transfers that a request waits for. */
const FLOWING: readonly TransferKind[] = ['fetch', 'load', 'stream'];

/** A transfer under way, in the lanes that it takes. */
interface Moving {
  readonly transfer: Transfer;
  readonly startNs: number;
  readonly lanes: readonly {
    readonly node: number;
    readonly track: Track;
    readonly lane: number;
  }[];
}

/** Steps and runs under way of an instance. */
interface Working {
  step: Step | null;
  stepNs: number;
  run: Run | null;
  runNs: number;
  /** Requests that joined and whose first run has not ended. */
  joined: number[];
  queued: number;
  decoding: number;
}

export class PerfettoTrace implements Observer {
  readonly topology: Topology;
  private readonly events: TraceEvents;
  private readonly addresses: AddressBook;
  private readonly moving: Map<number, Moving>[];
  private readonly working: Working[];
  /** Lanes in use of each track of each node. */
  private readonly lanes: boolean[][][];
  private readonly usedBlocks: Float64Array;
  /** Where a request waits and where it decodes: instance, or -1. */
  private readonly waitsAt = new Map<number, number>();
  private readonly decodesAt = new Map<number, number>();
  private inFlight = 0;

  /** Nothing is at `path` until `finish`. A name that ends in .gz is compressed. */
  constructor(path: string, topology: Topology) {
    this.topology = topology;
    this.events = new TraceEvents(path);
    this.addresses = new AddressBook(topology);
    const { nodes, instances } = topology;
    this.moving = Array.from({ length: this.addresses.count }, () => new Map());
    this.working = instances.map(() => ({
      step: null,
      stepNs: 0,
      run: null,
      runNs: 0,
      joined: [],
      queued: 0,
      decoding: 0,
    }));
    this.lanes = nodes.map(() => TRACK_NAMES.map(() => []));
    this.usedBlocks = new Float64Array(nodes.length);
    this.events.process(CLUSTER_PROCESS, 'cluster');
    for (const { id, name } of nodes) this.events.process(processOf(id), name);
    for (const { id, name, node } of instances) {
      this.events.thread(processOf(node), id + 1, `${name} GPUs`);
    }
  }

  /** The file is complete and at its place. */
  finish(): Promise<void> {
    return this.events.finish();
  }

  /** Leaves nothing behind. */
  discard(): void {
    this.events.discard();
  }

  // --- what it sees ---------------------------------------------------------------------------

  onFact(to: Address, { atNs, body }: Fact): void {
    if (body.kind === 'stepEnded') this.stepEnded(this.addresses.instanceId(to), atNs, body);
    else if (body.kind === 'runEnded')
      this.runEnded(this.addresses.instanceId(to), atNs, body.steps);
    else if (body.kind === 'transferEnded') this.transferEnded(to, atNs, body);
  }

  onSend(_from: Address, _to: Address, message: Message, atNs: number): void {
    if (message.kind === 'delta') this.delta(message, atNs);
    else if (message.kind === 'blockInventory')
      this.used(message.node, message.blocks.length, atNs);
  }

  /** The marks looked at are times. */
  onMark(from: Address, request: number, mark: Mark, atNs: number): void {
    if (mark === Mark.arrivedNs) this.flying(+1, atNs);
    else if (mark === Mark.dispatchedNs) this.waits(request, this.addresses.instanceId(from), atNs);
    else if (mark === Mark.startedNs) this.waits(request, -1, atNs);
    else if (mark === Mark.joinedNs) this.joins(request, this.addresses.instanceId(from), atNs);
    else if (mark === Mark.finishedNs) {
      this.flying(-1, atNs);
      this.waits(request, -1, atNs);
      this.leaves(request, atNs);
      this.events.endFlow(request);
    }
  }

  onStep(from: Address, step: Step, atNs: number): void {
    const working = this.working[this.addresses.instanceId(from)];
    working.step = step;
    working.stepNs = atNs;
  }

  onRun(from: Address, run: Run, atNs: number): void {
    const working = this.working[this.addresses.instanceId(from)];
    working.run = run;
    working.runNs = atNs;
  }

  onTransfer(from: Address, transfer: Transfer, atNs: number): void {
    const lanes = tracksOf(transfer).map(({ node, track }) => ({
      node,
      track,
      lane: this.takeLane(node, track),
    }));
    this.moving[from].set(transfer.id, { transfer, startNs: atNs, lanes });
  }

  // --- slices ---------------------------------------------------------------------------------

  private stepEnded(instance: number, endNs: number, ended: StepEnded): void {
    const working = this.working[instance];
    const { step } = working;
    if (step === null) return;
    working.step = null;
    const [{ request, fromToken, toToken }] = step.chunks;
    const { computeNs, decoded } = ended;
    const more = step.chunks.length > 1 ? ` +${step.chunks.length - 1}` : '';
    const alongside = decoded > 0 ? `, decode ${decoded}` : '';
    const name = `prefill #${request}${more}${alongside}`;
    const slice = this.onInstance(instance, name, working.stepNs, endNs);
    this.events.slice(slice, { request, fromToken, toToken, computeNs });
    for (const chunk of step.chunks) this.events.flow(chunk.request, slice);
  }

  private runEnded(instance: number, endNs: number, steps: number): void {
    const working = this.working[instance];
    const { run } = working;
    if (run === null) return;
    working.run = null;
    const slice = this.onInstance(instance, 'decode', working.runNs, endNs);
    this.events.slice(slice, { batch: run.batch, steps, contextTokens: run.contextTokens });
    for (const request of working.joined) this.events.flow(request, slice);
    working.joined = [];
  }

  private transferEnded(to: Address, endNs: number, { transfer: id, ok }: TransferEnded): void {
    const moving = this.moving[to].get(id);
    if (moving === undefined) return;
    this.moving[to].delete(id);
    const { transfer, startNs, lanes } = moving;
    const { kind, request, tokens, bytes } = transfer;
    const args = { request, tokens, bytes, ...(ok ? {} : { failed: true }) };
    lanes.forEach(({ node, track, lane }, i) => {
      this.lanes[node][TRACK_NAMES.indexOf(track)][lane] = false;
      const process = processOf(node);
      const thread = threadOf(track, lane);
      const slice = { process, thread, name: `${kind} #${request}`, startNs, endNs };
      this.events.slice(slice, args);
      if (i === 0 && ok && FLOWING.includes(kind)) this.events.flow(request, slice);
    });
  }

  private onInstance(instance: number, name: string, startNs: number, endNs: number): Slice {
    const { node } = this.topology.instances[instance];
    return { process: processOf(node), thread: instance + 1, name, startNs, endNs };
  }

  /** The first lane of a track that is free: slices of one lane do not overlap. */
  private takeLane(node: number, track: Track): number {
    const lanes = this.lanes[node][TRACK_NAMES.indexOf(track)];
    const free = lanes.indexOf(false);
    const lane = free < 0 ? lanes.length : free;
    if (free < 0) {
      const name = lane === 0 ? TRACKS[track] : `${TRACKS[track]} (${lane + 1})`;
      this.events.thread(processOf(node), threadOf(track, lane), name);
    }
    lanes[lane] = true;
    return lane;
  }

  // --- counters -------------------------------------------------------------------------------

  private flying(by: number, atNs: number): void {
    this.inFlight += by;
    this.events.counter(CLUSTER_PROCESS, 'requests in flight', atNs, this.inFlight);
  }

  private waits(request: number, at: number, atNs: number): void {
    const before = this.waitsAt.get(request);
    if (before !== undefined) this.countQueue(before, -1, atNs);
    if (at < 0) this.waitsAt.delete(request);
    else {
      this.waitsAt.set(request, at);
      this.countQueue(at, +1, atNs);
    }
  }

  private joins(request: number, at: number, atNs: number): void {
    this.decodesAt.set(request, at);
    this.working[at].joined.push(request);
    this.countBatch(at, +1, atNs);
  }

  private leaves(request: number, atNs: number): void {
    const at = this.decodesAt.get(request);
    if (at === undefined) return;
    this.decodesAt.delete(request);
    this.countBatch(at, -1, atNs);
  }

  private countQueue(instance: number, by: number, atNs: number): void {
    const { name, node } = this.topology.instances[instance];
    const working = this.working[instance];
    working.queued += by;
    this.events.counter(processOf(node), `${name} prefill queue`, atNs, working.queued);
  }

  private countBatch(instance: number, by: number, atNs: number): void {
    const { name, node } = this.topology.instances[instance];
    const working = this.working[instance];
    working.decoding += by;
    this.events.counter(processOf(node), `${name} decode batch`, atNs, working.decoding);
  }

  private delta({ node, tier, stored, removed }: Delta, atNs: number): void {
    if (tier !== Tier.dram) return;
    this.used(node, this.usedBlocks[node] + stored.length - removed.length, atNs);
    if (removed.length === 0) return;
    const thread = threadOf('evictions', 0);
    if (this.lanes[node][TRACK_NAMES.indexOf('evictions')].length === 0) {
      this.takeLane(node, 'evictions');
    }
    this.events.instant(processOf(node), thread, 'evict', atNs, { blocks: removed.length });
  }

  private used(node: number, blocks: number, atNs: number): void {
    this.usedBlocks[node] = blocks;
    this.events.counter(processOf(node), 'DRAM blocks', atNs, blocks);
  }
}

function processOf(node: number): number {
  return FIRST_NODE_PROCESS + node;
}

function threadOf(track: Track, lane: number): number {
  return (TRACK_NAMES.indexOf(track) + 1) * TRACK_STRIDE + lane;
}

/** Links and tiers that a transfer keeps busy; the first is where its request's flow passes. */
function tracksOf(transfer: Transfer): { node: number; track: Track }[] {
  const { source, target } = transfer;
  const tracks: { node: number; track: Track }[] = crossings(transfer)
    .filter(({ kind }) => kind !== 'fabric')
    .map(({ kind, node }) => ({ track: kind as NodeLink, node }));
  if (source.tier === Tier.dram) tracks.push({ node: source.node, track: 'dramRead' });
  if (target.tier === Tier.dram) tracks.push({ node: target.node, track: 'dramWrite' });
  return tracks;
}
