/**
 * Recorder: watches a run and keeps its columns: one row a request, one column a mark, the decode
 * gaps, and what moved where. It sees facts and commands alone, so that a simulated and a live run
 * are measured alike.
 */
import { COUNT_NAMES, type Count, MARK_COUNT, Mark, type Transfer } from '../core/host.ts';
import { Few } from '../core/kit/few.ts';
import type { Fact, RunEnded, StepEnded, TransferEnded } from '../core/messages.ts';
import type { Observer } from '../core/observer.ts';
import { type Address, AddressBook, type Topology, WORKLOAD } from '../core/topology.ts';
import { GapHistogram } from './histogram.ts';
import { crossings, RESOURCE_KINDS, type ResourceKind } from './links.ts';
import { meanOfLongest } from './select.ts';

/** Share of a request's gaps that its TBT is the mean of. */
const LONGEST_SHARE = 0.1;

/** Times between the decode steps of one instance since its batch was last empty. */
interface GapLog {
  /** End of a step after the end of the one before: what stood between them is in it. */
  gapsNs: Float64Array;
  /** Steps logged, and the number of the first of them since the start. */
  length: number;
  base: number;
  batch: number;
  /** Requests of the batch that have not decoded yet. */
  fresh: number[];
  /** End of the last step. */
  lastNs: number;
}

export class Recorder implements Observer {
  readonly topology: Topology;
  readonly requests: number;
  /** columns[mark][request]; NaN where the mark was never made. */
  readonly columns: Float64Array[];
  /** TBT of each request: mean of its longest 10 % of gaps, ns; NaN without gaps. */
  readonly tbtNs: Float64Array;
  readonly gaps = new GapHistogram();
  readonly counts = new Float64Array(COUNT_NAMES.length);
  /** Busy ns of each instance. */
  readonly prefillBusyNs: Float64Array;
  readonly decodeBusyNs: Float64Array;
  readonly decodeSteps: Float64Array;
  /** Bytes by resource kind and node. */
  readonly bytes: Record<ResourceKind, Float64Array>;
  endNs = 0;
  private firstArrivalNs = Number.POSITIVE_INFINITY;
  private lastFinishNs = Number.NEGATIVE_INFINITY;
  private readonly addresses: AddressBook;
  private readonly logs: GapLog[] = [];
  /** Number of the first decode step of each request, and its gap, the hand-off in it. */
  private readonly firstStep: Float64Array;
  /** 1: its ingress has settled how it ended, whatever instances that lost it note. */
  private readonly settled: Uint8Array;
  /** Instance that decodes each request, from its joining on. */
  private readonly joinedAt: Int32Array;
  private readonly firstGapNs: Float64Array;
  /** Of requests that gave way: their gaps so far, and when their last token was. */
  private readonly earlier = new Map<number, { gapsNs: number[]; tokenNs: number }>();
  /** The same in the order of RESOURCE_KINDS. */
  private readonly bytesByRow: readonly Float64Array[];
  /** Transfers under way, by initiator. */
  private readonly moving: Few<Transfer>[] = [];

  constructor(topology: Topology, requests: number) {
    this.topology = topology;
    this.requests = requests;
    this.addresses = new AddressBook(topology);
    const column = () => new Float64Array(requests).fill(Number.NaN);
    this.columns = Array.from({ length: MARK_COUNT }, column);
    this.tbtNs = column();
    this.firstStep = column();
    this.settled = new Uint8Array(requests);
    this.joinedAt = new Int32Array(requests);
    this.firstGapNs = column();
    const instances = topology.instances.length;
    this.prefillBusyNs = new Float64Array(instances);
    this.decodeBusyNs = new Float64Array(instances);
    this.decodeSteps = new Float64Array(instances);
    for (let i = 0; i < instances; i++) {
      this.logs.push({
        gapsNs: new Float64Array(4096),
        length: 0,
        base: 0,
        batch: 0,
        fresh: [],
        lastNs: 0,
      });
    }
    for (let i = 0; i < this.addresses.count; i++) this.moving.push(new Few());
    const perNode = () => new Float64Array(topology.nodes.length);
    this.bytes = {
      railsOut: perNode(),
      railsIn: perNode(),
      hostToDevice: perNode(),
      deviceToHost: perNode(),
      ssdRead: perNode(),
      ssdWrite: perNode(),
      fabric: new Float64Array(1),
    };
    this.bytesByRow = RESOURCE_KINDS.map((kind) => this.bytes[kind]);
  }

  /** First arrival to last end of a request. */
  get durationNs(): number {
    return Math.max(0, this.lastFinishNs - this.firstArrivalNs);
  }

  column(mark: Mark): Float64Array {
    return this.columns[mark];
  }

  onFact(to: Address, fact: Fact): void {
    const { body } = fact;
    // A timer that finds nothing to do is not part of the run.
    if (body.kind !== 'wake') this.endNs = fact.atNs;
    if (body.kind === 'runEnded') this.onRunEnded(this.addresses.instanceId(to), fact.atNs, body);
    else if (body.kind === 'stepEnded')
      this.onStepEnded(this.addresses.instanceId(to), fact.atNs, body);
    else if (body.kind === 'transferEnded') this.onTransferEnded(to, body);
  }

  onMark(from: Address, request: number, mark: Mark, value: number): void {
    const ends = mark === Mark.outcome || mark === Mark.finishedNs;
    if (ends && this.settled[request] !== 0) return;
    if (from === WORKLOAD && mark === Mark.outcome) this.settled[request] = 1;
    this.columns[mark][request] = value;
    if (mark === Mark.joinedNs) this.onJoined(this.addresses.instanceId(from), request);
    else if (mark === Mark.arrivedNs) this.firstArrivalNs = Math.min(this.firstArrivalNs, value);
    else if (mark === Mark.finishedNs) this.onFinished(from, request, value);
    else if (mark === Mark.preemptedNs) this.onPreempted(this.addresses.instanceId(from), request);
    else if (mark === Mark.recomputedNs) this.onRecomputed(request, value);
    else if (mark === Mark.resumedNs) this.onJoined(this.addresses.instanceId(from), request);
  }

  onCount(_from: Address, what: Count, by: number): void {
    this.counts[what] += by;
  }

  onTransfer(from: Address, transfer: Transfer): void {
    this.moving[from].add(transfer.id, transfer);
  }

  // --- compute --------------------------------------------------------------------------------

  /** A step over prompts; where a batch decodes alongside, it pays what it adds. */
  private onStepEnded(instance: number, atNs: number, body: StepEnded): void {
    const { durationNs, decodeNs, decoded } = body;
    this.prefillBusyNs[instance] += durationNs - decodeNs;
    if (decoded === 0) return;
    this.decodeBusyNs[instance] += decodeNs;
    this.decodeSteps[instance]++;
    const log = this.room(instance, 1);
    this.firstOf(log, atNs, durationNs);
  }

  private onRunEnded(instance: number, atNs: number, body: RunEnded): void {
    const { steps, gapsNs, from } = body;
    const log = this.room(instance, steps);
    let busyNs = 0;
    for (let i = 0; i < steps; i++) busyNs += gapsNs[from + i];
    this.firstOf(log, atNs - busyNs + gapsNs[from], gapsNs[from]);
    log.gapsNs.set(gapsNs.subarray(from + 1, from + steps), log.length);
    log.length += steps - 1;
    this.gaps.addAll(gapsNs, from + 1, from + steps, log.batch);
    log.lastNs = atNs;
    this.decodeBusyNs[instance] += busyNs;
    this.decodeSteps[instance] += steps;
  }

  /** The instance's log with room for so many steps more. */
  private room(instance: number, steps: number): GapLog {
    const log = this.logs[instance];
    if (log.batch === 0) {
      log.base += log.length;
      log.length = 0;
    }
    while (log.length + steps > log.gapsNs.length) {
      const grown = new Float64Array(2 * log.gapsNs.length);
      grown.set(log.gapsNs);
      log.gapsNs = grown;
    }
    return log;
  }

  /**
   * Logs the first step of a run, or a step by itself, which ended at `endNs` and took `stepNs`.
   * Those who were in the batch before waited since their last; the others since their first token.
   */
  private firstOf(log: GapLog, endNs: number, stepNs: number): void {
    const { fresh, batch } = log;
    const old = batch - fresh.length;
    const gapNs = old > 0 ? endNs - log.lastNs : stepNs;
    log.gapsNs[log.length++] = gapNs;
    if (old > 0) this.gaps.add(gapNs, old);
    for (const request of fresh) {
      const sinceNs = this.lastTokenNs(request);
      this.firstGapNs[request] = endNs - sinceNs;
      this.gaps.add(endNs - sinceNs, 1);
    }
    if (fresh.length > 0) log.fresh = [];
    log.lastNs = endNs;
  }

  /** Of a request that has not decoded since it joined. */
  private lastTokenNs(request: number): number {
    return this.earlier.get(request)?.tokenNs ?? this.columns[Mark.firstTokenNs][request];
  }

  /** It leaves the batch before its end: its gaps so far are kept. */
  private onPreempted(instance: number, request: number): void {
    const log = this.logs[instance];
    log.batch--;
    const start = this.firstStep[request] - log.base;
    this.firstStep[request] = Number.NaN;
    const tokenNs = this.lastTokenNs(request);
    const before = this.earlier.get(request) ?? { gapsNs: [], tokenNs };
    this.earlier.set(request, before);
    if (start === log.length) {
      log.fresh.splice(log.fresh.indexOf(request), 1);
      return;
    }
    before.gapsNs.push(this.firstGapNs[request]);
    for (let i = start + 1; i < log.length; i++) before.gapsNs.push(log.gapsNs[i]);
    before.tokenNs = log.lastNs;
  }

  /** A pass over its prompt has made a token of it. */
  private onRecomputed(request: number, atNs: number): void {
    const before = this.earlier.get(request);
    if (before === undefined) return;
    before.gapsNs.push(atNs - before.tokenNs);
    this.gaps.add(atNs - before.tokenNs, 1);
    before.tokenNs = atNs;
  }

  private onJoined(instance: number, request: number): void {
    if (!Number.isNaN(this.firstStep[request])) this.leaveBatch(request);
    this.joinedAt[request] = instance;
    const log = this.room(instance, 0);
    log.batch++;
    log.fresh.push(request);
    this.firstStep[request] = log.base + log.length;
  }

  private onFinished(from: Address, request: number, atNs: number): void {
    this.lastFinishNs = Math.max(this.lastFinishNs, atNs);
    const first = this.firstStep[request];
    const instance = this.joinedAt[request];
    const here = this.addresses.instance(instance) === from;
    // Another instance may note the end of an attempt that was given up.
    if (!Number.isNaN(first) && !here && this.addresses.isInstance(from)) return;
    const before = this.earlier.get(request);
    if (before !== undefined) this.earlier.delete(request);
    if (Number.isNaN(first)) {
      if (before !== undefined) this.tbtNs[request] = tbtOf(Float64Array.from(before.gapsNs));
      return;
    }
    const log = this.logs[instance];
    this.leaveBatch(request);
    const start = first - log.base;
    const gaps = log.length - start;
    if (gaps === 0 || !here) return;
    const firstGapNs = this.firstGapNs[request];
    if (before !== undefined) {
      const last = log.gapsNs.subarray(start + 1, log.length);
      this.tbtNs[request] = tbtOf(Float64Array.from([...before.gapsNs, firstGapNs, ...last]));
      return;
    }
    const longest = Math.ceil(LONGEST_SHARE * gaps);
    this.tbtNs[request] = meanOfLongest(log.gapsNs, start, log.length, firstGapNs, longest);
  }

  private leaveBatch(request: number): void {
    const log = this.logs[this.joinedAt[request]];
    log.batch--;
    const at = log.fresh.indexOf(request);
    if (at >= 0) log.fresh.splice(at, 1);
    this.firstStep[request] = Number.NaN;
  }

  // --- bytes ----------------------------------------------------------------------------------

  private onTransferEnded(to: Address, ended: TransferEnded): void {
    const transfer = this.moving[to].take(ended.transfer);
    if (transfer === undefined || !ended.ok) return;
    const crossed = crossings(transfer);
    for (let i = 0; i < crossed.length; i++) {
      this.bytesByRow[crossed[i].row][crossed[i].node] += transfer.bytes;
    }
  }
}

/** TBT of a request with these gaps. */
function tbtOf(gapsNs: Float64Array): number {
  const n = gapsNs.length;
  return n === 0
    ? Number.NaN
    : meanOfLongest(gapsNs, 0, n, gapsNs[0], Math.ceil(LONGEST_SHARE * n));
}
