/**
 * LoopbackHost: the world of the machines in one process and in real time. The clock is the
 * computer's, messages take the control delay, transfers are memcpys between real buffers whose
 * every byte is checked, steps and runs occupy their instance. The same Host as the simulator's, so
 * that one suite of tests can hold both to the same behaviour.
 */
import type { CostModel } from '../core/cost.ts';
import { assert } from '../core/errors.ts';
import type { Transfer } from '../core/host.ts';
import { type Count, type Host, type Machine, Mark, type Run, type Step } from '../core/host.ts';
import type { Body, Message, TransferEnded } from '../core/messages.ts';
import type { Observer } from '../core/observer.ts';
import { type Address, AddressBook, Tier, type Topology, WORKLOAD } from '../core/topology.ts';
import type { TraceColumns } from '../core/trace-columns.ts';
import { crc32c } from './crc32c.ts';
import { LoopbackGpus } from './loopback-gpus.ts';
import { LoopbackMemory, type Slice } from './loopback-memory.ts';
import { Rank, RealTime } from './real-time.ts';

export interface LoopbackOptions {
  readonly topology: Topology;
  /** Per instance. */
  readonly costs: readonly CostModel[];
  /** The cost model's times are divided by this. */
  readonly speed: number;
  /** What the engines compute: row i is request i. */
  readonly trace: TraceColumns;
  /** The block that a store has put into a slot of one of its tiers. */
  readonly blockAt: (node: number, tier: Tier, slot: number) => number;
  /** Whether the HBM cache of an instance has a block. */
  readonly isInHbm: (instance: number, block: number) => boolean;
  readonly observers: readonly Observer[];
}

/** A transfer under way. */
interface Moving {
  readonly initiator: Address;
  readonly transfer: Transfer;
  readonly slices: readonly Slice[];
  readonly checksums: Int32Array;
}

export class Loopback {
  private readonly topology: Topology;
  private readonly addresses: AddressBook;
  private readonly trace: TraceColumns;
  private readonly observers: readonly Observer[];
  private readonly memory: LoopbackMemory;
  private readonly gpus: readonly LoopbackGpus[];
  private readonly speed: number;
  private readonly clock: RealTime;
  private settle: { resolve: () => void; reject: (error: unknown) => void } | null = null;

  constructor(options: LoopbackOptions) {
    const { topology, costs, speed, trace } = options;
    this.topology = topology;
    this.addresses = new AddressBook(topology);
    this.trace = trace;
    this.observers = options.observers;
    this.memory = new LoopbackMemory(options);
    this.gpus = costs.map((cost) => new LoopbackGpus(cost, speed));
    this.speed = speed;
    this.clock = new RealTime({
      observers: options.observers,
      originNs: null,
      speed: 1,
      spin: true,
      onError: (error) => this.settle?.reject(error),
      onIdle: () => this.settle?.resolve(),
    });
  }

  host(address: Address): Host {
    return new LoopbackHost(this, address);
  }

  setMachines(machines: readonly Machine[]): void {
    for (const [address, machine] of machines.entries()) this.clock.setMachine(address, machine);
  }

  /** Wakes the workload and runs until nothing is left. Rejects with what a machine throws. */
  run(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
      this.clock.start();
      this.at(0, Rank.wake, () => this.deliver(WORKLOAD, WORKLOAD, { kind: 'wake', token: -1 }));
    });
  }

  get nowNs(): number {
    return this.clock.nowNs;
  }

  private at(timeNs: number, rank: number, action: () => void): void {
    this.clock.at(timeNs, rank, action);
  }

  private deliver(to: Address, from: Address, body: Body): void {
    this.clock.deliver(to, from, body);
  }

  // --- commands -------------------------------------------------------------------------------

  send(from: Address, to: Address, message: Message): void {
    for (const observer of this.observers) observer.onSend?.(from, to, message, this.nowNs);
    const node = this.addresses.nodeOf[from];
    if (node >= 0 && node === this.addresses.nodeOf[to]) {
      this.clock.sendNear(to, from, message);
      return;
    }
    const atNs = this.nowNs + this.topology.controlDelayNs;
    this.at(atNs, Rank.message, () => this.deliver(to, from, message));
  }

  wakeAt(address: Address, atNs: number, token: number): void {
    const wake = () => this.deliver(address, address, { kind: 'wake', token });
    this.at(Math.max(this.nowNs, Math.ceil(atNs)), Rank.wake, wake);
  }

  startStep(address: Address, step: Step): void {
    for (const observer of this.observers) observer.onStep?.(address, step, this.nowNs);
    const instance = this.addresses.instanceId(address);
    this.checkDecoding(instance, step.decode?.requests ?? []);
    const gpus = this.gpus[instance];
    for (const { request, first } of step.chunks) if (first) this.memory.share(instance, request);
    const active = gpus.startStep(step, this.nowNs);
    if (active.loads === 0) {
      this.at(gpus.stepEndNs(active, this.nowNs), Rank.end, () => this.stepEnd(address));
    }
  }

  startRun(address: Address, run: Run): void {
    for (const observer of this.observers) observer.onRun?.(address, run, this.nowNs);
    const instance = this.addresses.instanceId(address);
    this.checkDecoding(instance, run.requests);
    const endNs = this.gpus[instance].startRun(run, this.nowNs);
    this.at(endNs, Rank.end, () => this.runEnd(address, run.id));
  }

  /** Who decodes attends to all of its prompt. */
  private checkDecoding(instance: number, requests: readonly number[]): void {
    for (const request of requests) {
      this.memory.checkPrompt(instance, request, this.trace.inputTokens[request]);
    }
  }

  cutRun(address: Address, run: number): void {
    const gpus = this.gpus[this.addresses.instanceId(address)];
    const endNs = gpus.cutRun(run, this.nowNs);
    if (endNs >= 0) this.at(Math.max(this.nowNs, endNs), Rank.end, () => this.runEnd(address, run));
  }

  startTransfer(initiator: Address, transfer: Transfer): void {
    for (const observer of this.observers) observer.onTransfer?.(initiator, transfer, this.nowNs);
    const { kind, id, afterStep, source, target } = transfer;
    if (kind === 'load') this.gpus[target.instance].loading.add(id);
    const active = afterStep === 0 ? null : this.gpus[source.instance].step;
    const step = active?.step.id === afterStep ? active : null;
    const slices = this.memory.slices(transfer, this.endToken(transfer, step?.step ?? null));
    const checksums = new Int32Array(slices.length);
    const begin = () => this.move({ initiator, transfer, slices, checksums });
    if (step === null) begin();
    else step.followers.push(begin);
  }

  /** Last token of a stream: where the step that makes it ends, else the end of the prompt. */
  private endToken({ kind, request, afterStep }: Transfer, step: Step | null): number {
    const chunk = step?.chunks.find((candidate) => candidate.request === request);
    // A save onto another node is granted when its step may be over.
    const follows = afterStep === 0 || step !== null || kind === 'save';
    assert(follows, 'a transfer follows a step that is not under way');
    return chunk?.toToken ?? this.trace.inputTokens[request];
  }

  mark(from: Address, request: number, mark: Mark, value: number): void {
    for (const observer of this.observers) observer.onMark?.(from, request, mark, value);
    if (mark === Mark.outcome) this.memory.forget(request);
  }

  count(from: Address, what: Count, by: number): void {
    for (const observer of this.observers) observer.onCount?.(from, what, by);
  }

  // --- transfers ------------------------------------------------------------------------------

  /** Copies slice by slice at the pace of an idle link. */
  private move(moving: Moving): void {
    const { transfer, slices } = moving;
    const { latencyNs, bytesPerNs } = this.link(transfer);
    let bytes = 0;
    slices.forEach((slice, i) => {
      bytes += slice.source.length;
      const atNs = this.nowNs + Math.ceil((latencyNs + bytes / bytesPerNs) / this.speed);
      this.at(atNs, Rank.end, () => this.copy(moving, i));
    });
    if (slices.length === 0) this.at(this.nowNs, Rank.end, () => this.transferEnd(moving, 0));
  }

  private link({ source, target }: Transfer): { latencyNs: number; bytesPerNs: number } {
    const node = this.topology.nodes[target.node];
    if (source.tier === Tier.ssd || target.tier === Tier.ssd) {
      const owner = this.topology.nodes[source.tier === Tier.ssd ? source.node : target.node];
      const write = target.tier === Tier.ssd;
      const bytesPerNs = write ? owner.ssdWriteBytesPerNs : owner.ssdReadBytesPerNs;
      return { latencyNs: owner.ssdLatencyNs, bytesPerNs };
    }
    if (source.node === target.node) {
      return { latencyNs: node.hostToDeviceLatencyNs, bytesPerNs: node.hostToDeviceBytesPerNs };
    }
    const rails = node.rails.reduce((sum, rail) => sum + rail.bytesPerNs, 0);
    return { latencyNs: node.railLatencyNs, bytesPerNs: rails * node.railEfficiency };
  }

  private copy(moving: Moving, index: number): void {
    const { slices, checksums } = moving;
    const { source, target } = slices[index];
    target.set(source);
    checksums[index] = crc32c(target);
    if (index === slices.length - 1) this.transferEnd(moving, slices.length);
  }

  /** A block that is not what its owner said is a failure of the transfer; one that is not what its
   * id says is a failure of the run. */
  private transferEnd(moving: Moving, copied: number): void {
    const { initiator, transfer, slices, checksums } = moving;
    const { kind, id, source, target, blocks } = transfer;
    const promised = kind === 'fetch' || kind === 'move' ? source.slots!.checksums : [];
    const wrong = promised.findIndex((checksum, i) => checksum !== checksums[i]);
    const arrived = wrong < 0 ? copied : wrong;
    for (let i = 0; i < arrived; i++) {
      if (slices[i].block >= 0) this.memory.checkBlock(slices[i].target, slices[i].block);
    }
    if (kind === 'load') {
      const address = this.addresses.instance(target.instance);
      const gpus = this.gpus[target.instance];
      const step = gpus.loadEnded(id);
      if (step !== null) {
        this.at(gpus.stepEndNs(step, this.nowNs), Rank.end, () => this.stepEnd(address));
      }
    }
    const body: TransferEnded = {
      kind: 'transferEnded',
      transfer: id,
      ok: wrong < 0,
      blocksDone: wrong < 0 ? blocks : wrong,
      cause: wrong < 0 ? '' : 'checksum',
      checksums: blocks === 0 ? null : checksums,
    };
    this.deliver(initiator, initiator, body);
  }

  // --- compute --------------------------------------------------------------------------------

  private stepEnd(address: Address): void {
    const instance = this.addresses.instanceId(address);
    const gpus = this.gpus[instance];
    for (const { request, fromToken, toToken } of gpus.step?.step.chunks ?? []) {
      this.memory.compute(instance, request, fromToken, toToken);
      this.memory.checkPrompt(instance, request, toToken);
      this.memory.keep(instance, request, toToken);
    }
    for (const begin of gpus.step?.followers ?? []) begin();
    this.deliver(address, address, gpus.endStep(this.nowNs));
  }

  private runEnd(address: Address, run: number): void {
    const ended = this.gpus[this.addresses.instanceId(address)].endRun(run, this.nowNs);
    if (ended !== null) this.deliver(address, address, ended);
  }
}

/** The loopback as one machine sees it. */
class LoopbackHost implements Host {
  private readonly loopback: Loopback;
  private readonly address: Address;

  constructor(loopback: Loopback, address: Address) {
    this.loopback = loopback;
    this.address = address;
  }

  send(to: Address, message: Message): void {
    this.loopback.send(this.address, to, message);
  }

  wakeAt(atNs: number, token: number): void {
    this.loopback.wakeAt(this.address, atNs, token);
  }

  startTransfer(transfer: Transfer): void {
    this.loopback.startTransfer(this.address, transfer);
  }

  startStep(step: Step): void {
    this.loopback.startStep(this.address, step);
  }

  startRun(run: Run): void {
    this.loopback.startRun(this.address, run);
  }

  cutRun(run: number): void {
    this.loopback.cutRun(this.address, run);
  }

  mark(request: number, mark: Mark, value: number): void {
    this.loopback.mark(this.address, request, mark, value);
  }

  count(what: Count, by: number): void {
    this.loopback.count(this.address, what, by);
  }
}
