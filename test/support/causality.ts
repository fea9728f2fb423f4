/**
 * What every host must keep, checked at every fact and command: time does not run back, each fact
 * has one cause that came before it, channels are FIFO, a GPU does one thing at a time, transfers
 * end once and not before their step, KV streams only into space that was granted.
 */
import { encode } from '../../src/core/codec.ts';
import type { Count, Mark, Run, Step, Transfer } from '../../src/core/host.ts';
import type { Body, Fact, Message, Release, Unreserve } from '../../src/core/messages.ts';
import type { Observer } from '../../src/core/observer.ts';
import { attemptKey } from '../../src/core/request.ts';
import { type Address, AddressBook, type Topology } from '../../src/core/topology.ts';

const ATTEMPTS_MAX = 3;

export interface CausalityOptions {
  /** Messages may be lost and come twice. */
  readonly disturbed: boolean;
  /** The clock stands still while messages go round within a node. */
  readonly exact: boolean;
  /** What arrives is a copy of what was sent, over channels that take what they take. */
  readonly copies?: boolean;
}

class Channel {
  readonly sent: Message[] = [];
  readonly sentNs: number[] = [];
  delivered = -1;
}

interface Started {
  readonly atNs: number;
  readonly transfer: Transfer;
  /** Of a stream: the last attempt that was granted space. */
  readonly attempt: number;
}

export class Causality implements Observer {
  facts = 0;
  /** Facts and commands by kind: a test can see that what it is about did happen. */
  readonly seen = new Map<string, number>();
  readonly counts = new Map<Count, number>();
  readonly terminals = new Map<number, number>();
  private readonly topology: Topology;
  private readonly addresses: AddressBook;
  private readonly options: CausalityOptions;
  private nowNs = 0;
  private readonly channels = new Map<string, Channel>();
  private readonly moving = new Map<string, Started>();
  private readonly busy = new Map<Address, { step: Step | null; run: Run | null; atNs: number }>();
  private readonly stepsDone = new Set<string>();
  private readonly granted = new Set<string>();

  constructor(topology: Topology, options: CausalityOptions) {
    this.topology = topology;
    this.addresses = new AddressBook(topology);
    this.options = options;
  }

  count(kind: string): number {
    return this.seen.get(kind) ?? 0;
  }

  /** Nothing is under way any more. */
  checkEnd(): void {
    this.must(this.moving.size === 0, `${this.moving.size} transfers have no end`);
    this.must(this.busy.size === 0, `${this.busy.size} GPUs are busy`);
    if (this.options.disturbed) return;
    for (const [key, { sentNs, delivered }] of this.channels) {
      this.must(delivered === sentNs.length - 1, `messages on ${key} were not delivered`);
    }
  }

  // --- facts ------------------------------------------------------------------------------------

  onFact(to: Address, fact: Fact): void {
    const { atNs, from, body } = fact;
    this.facts++;
    this.see(body.kind);
    this.must(Number.isInteger(atNs), `time ${atNs} is not whole`);
    this.must(atNs >= this.nowNs, `${body.kind} at ${atNs} comes after ${this.nowNs}`);
    this.nowNs = atNs;
    switch (body.kind) {
      case 'transferEnded':
        return this.onTransferEnded(to, body.transfer, body.blocksDone, body.ok);
      case 'stepEnded':
        return this.onStepEnded(to, body.step, body.durationNs, body.computeNs);
      case 'runEnded':
        return this.onRunEnded(to, body);
      case 'peerGone':
      case 'peerReset':
        return this.must(this.options.disturbed, 'a channel broke in an undisturbed run');
      case 'slotReleased':
      case 'tierLost':
      case 'tierBack':
      case 'slotLost':
      case 'wake':
        return;
      case 'buckets':
        // A successor of the conductor has it of the registry.
        if (from !== to) this.onMessage(from, to, body, atNs);
        return;
      default:
        return this.onMessage(from, to, body, atNs);
    }
  }

  private onMessage(from: Address, to: Address, body: Message, atNs: number): void {
    const key = `${this.name(from)} > ${this.name(to)}`;
    const channel = this.channels.get(key);
    if (channel === undefined) return this.must(false, `${body.kind} on ${key} was never sent`);
    // Disturbed: some are lost, some come twice in a row.
    const { delivered } = channel;
    const first = this.options.disturbed ? Math.max(0, delivered) : delivered + 1;
    const index = this.placeOf(body, channel.sent, first);
    const inOrder = this.options.disturbed ? index >= first : index === first;
    this.must(inOrder, `${body.kind} on ${key} is number ${index} after ${delivered}`);
    channel.delivered = index;
    const { nodeOf } = this.addresses;
    const near = nodeOf[from] >= 0 && nodeOf[from] === nodeOf[to];
    const tookNs = atNs - channel.sentNs[index];
    // Real channels take what they take, never nothing.
    const farNs = this.options.copies === true ? 1 : this.topology.controlDelayNs;
    const delayNs = near ? 0 : farNs;
    this.must(tookNs >= delayNs, `${body.kind} on ${key} took ${tookNs} ns`);
    if (near && this.options.exact) this.must(tookNs === 0, `${body.kind} took time in its node`);
    if (body.kind === 'release' || body.kind === 'unreserve') this.onFreed(body);
    if (body.kind === 'reserved' && body.status === 'granted') {
      this.granted.add(`${to}/${attemptKey(body.request, body.attempt)}`);
    } else if (body.kind === 'terminal') {
      this.terminals.set(body.request, (this.terminals.get(body.request) ?? 0) + 1);
    }
  }

  private placeOf(body: Message, sent: readonly Message[], from: number): number {
    const same = sent.indexOf(body, from);
    if (same >= 0 || this.options.copies !== true) return same;
    const bytes = Buffer.from(encode(body));
    return sent.findIndex((other, i) => i >= from && bytes.equals(encode(other)));
  }

  /** What is freed is not read or written any more. */
  private onFreed({ kind, request, attempt, instance }: Release | Unreserve): void {
    for (const { transfer, attempt: streaming } of this.moving.values()) {
      if (transfer.kind !== 'stream' || transfer.request !== request) continue;
      if (attempt !== streaming) continue;
      const end = kind === 'release' ? transfer.source : transfer.target;
      const { node } = this.topology.instances[instance];
      const parked = kind === 'release' && end.instance < 0 && end.node === node;
      const streams = parked || end.instance === instance;
      this.must(!streams, `KV of request ${request} is freed while it streams`);
    }
  }

  private onTransferEnded(to: Address, id: number, blocksDone: number, ok: boolean): void {
    const key = `${to}/${id}`;
    const started = this.moving.get(key);
    if (started === undefined) return this.must(false, `transfer ${key} ended unstarted or twice`);
    this.moving.delete(key);
    const { transfer, atNs } = started;
    this.see(`${transfer.kind} ${ok ? 'ok' : 'failed'}`);
    this.must(this.nowNs >= atNs, `transfer ${key} ended before it started`);
    this.must(blocksDone <= transfer.blocks, `transfer ${key} moved too many blocks`);
    if (ok) this.must(blocksDone === transfer.blocks, `transfer ${key} moved too few blocks`);
    if (!ok || transfer.afterStep === 0) return;
    const instance = this.addresses.instance(transfer.source.instance);
    const done = this.stepsDone.has(`${instance}/${transfer.afterStep}`);
    this.must(done, `transfer ${key} ended before step ${transfer.afterStep}`);
  }

  private onStepEnded(to: Address, id: number, durationNs: number, computeNs: number): void {
    const busy = this.busy.get(to);
    this.must(busy?.step?.id === id, `step ${id} ended and was not under way`);
    this.busy.delete(to);
    this.stepsDone.add(`${to}/${id}`);
    this.must(durationNs >= computeNs, `step ${id} took less than it computed`);
    this.mustLast(this.nowNs - busy!.atNs, durationNs, `step ${id}`);
  }

  private onRunEnded(to: Address, body: Extract<Body, { kind: 'runEnded' }>): void {
    const { run: id, steps, gapsNs, from } = body;
    const busy = this.busy.get(to);
    this.must(busy?.run?.id === id, `run ${id} ended and was not under way`);
    this.busy.delete(to);
    this.must(steps >= 1 && steps <= busy!.run!.maxSteps, `run ${id} made ${steps} steps`);
    let sumNs = 0;
    for (let i = 0; i < steps; i++) {
      this.must(gapsNs[from + i] > 0, `run ${id} has a step without time`);
      sumNs += gapsNs[from + i];
    }
    this.mustLast(this.nowNs - busy!.atNs, sumNs, `run ${id}`);
  }

  private mustLast(tookNs: number, saidNs: number, what: string): void {
    const right = this.options.exact ? tookNs === saidNs : tookNs >= saidNs;
    this.must(right, `${what} took ${tookNs} ns and says ${saidNs} ns`);
  }

  // --- commands ---------------------------------------------------------------------------------

  onSend(from: Address, to: Address, message: Message, atNs: number): void {
    const key = `${this.name(from)} > ${this.name(to)}`;
    let channel = this.channels.get(key);
    if (channel === undefined) {
      channel = new Channel();
      this.channels.set(key, channel);
    }
    channel.sent.push(message);
    channel.sentNs.push(atNs);
  }

  onCount(_from: Address, what: Count, by: number): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by);
  }

  onMark(_from: Address, request: number, mark: Mark, value: number): void {
    this.must(Number.isFinite(value), `mark ${mark} of request ${request} is ${value}`);
  }

  onTransfer(from: Address, transfer: Transfer, atNs: number): void {
    const { id, kind, request, tokens, bytes, source, target } = transfer;
    const key = `${from}/${id}`;
    this.see(kind);
    this.must(!this.moving.has(key), `transfer ${key} started twice`);
    this.must(tokens >= 0 && bytes >= tokens, `transfer ${key} has ${bytes} bytes`);
    const attempts = Array.from({ length: ATTEMPTS_MAX }, (_, attempt) => attempt);
    const attempt = attempts.findLastIndex((a) =>
      this.granted.has(`${from}/${attemptKey(request, a)}`),
    );
    this.moving.set(key, { atNs, transfer, attempt });
    if (kind !== 'stream') return;
    this.must(attempt >= 0, `${key} streams unreserved`);
    this.must(source.instance !== target.instance, `${key} streams to itself`);
  }

  onCrash(address: Address): void {
    this.busy.delete(address);
    for (const key of this.moving.keys()) {
      if (key.startsWith(`${address}/`)) this.moving.delete(key);
    }
  }

  onStep(from: Address, step: Step, atNs: number): void {
    this.see('step');
    this.must(!this.busy.has(from), `${this.name(from)} is busy twice`);
    this.must(step.chunks.length > 0, `step ${step.id} computes no prompt`);
    for (const { fromToken, toToken } of step.chunks) {
      this.must(toToken > fromToken, `step ${step.id} has an empty chunk`);
    }
    const { chunks, decode } = step;
    const requests = [...chunks.map(({ request }) => request), ...(decode?.requests ?? [])];
    this.must(new Set(requests).size === requests.length, `step ${step.id} has a request twice`);
    if (decode !== null) {
      this.see('mixed step');
      this.must(decode.batch === decode.requests.length, `step ${step.id} counts its batch wrong`);
    }
    this.busy.set(from, { step, run: null, atNs });
  }

  onRun(from: Address, run: Run, atNs: number): void {
    this.see('run');
    this.must(!this.busy.has(from), `${this.name(from)} is busy twice`);
    this.must(run.batch === run.requests.length, `run ${run.id} counts its batch wrong`);
    this.must(run.maxSteps >= 1, `run ${run.id} has no steps`);
    this.busy.set(from, { step: null, run, atNs });
  }

  // --- words ------------------------------------------------------------------------------------

  private see(kind: string): void {
    this.seen.set(kind, (this.seen.get(kind) ?? 0) + 1);
  }

  private name(address: Address): string {
    return this.addresses.name(address);
  }

  private must(condition: boolean, otherwise: string): void {
    if (!condition) throw new Error(`at ${this.nowNs} ns: ${otherwise}`);
  }
}
