/**
 * SimHost: the world of the machines as a discrete-event simulation. It owns the clock, carries
 * messages with their delay, moves KV over the fluid network and runs steps and decode runs at the
 * truth's pace.
 */
import type { CostModel } from '../core/cost.ts';
import { assert } from '../core/errors.ts';
import type { Count, Host, Machine, Mark, Place, Run, Step, Transfer } from '../core/host.ts';
import { EventQueue } from '../core/kit/event-queue.ts';
import type { Body, Fact, Message, TransferEnded } from '../core/messages.ts';
import { type Observer, type Watcher, watchers } from '../core/observer.ts';
import type { RailPolicy } from '../core/policy.ts';
import { type Address, AddressBook, Tier, type Topology, WORKLOAD } from '../core/topology.ts';
import { Gpus } from './compute.ts';
import type { Disturbance } from './disturbance.ts';
import { EventTable } from './event-table.ts';
import type { Faults, World } from './faults.ts';
import { FluidNetwork } from './fluid.ts';
import { type Moving, RAIL_TIMEOUT_NS, Transfers } from './transfers.ts';

/** Order of events at one instant: what ends, then what is said, then who wakes. */
const Rank = { end: 0, message: 1, wake: 2 } as const;

/** Events for the host itself; all others are facts for a machine. */
const StepEnd = -1;
const RunEnd = -2;
const TransferDone = -3;
const TransferFail = -4;
const ChannelBreak = -6;
const TransferLost = -7;
const Happening = -8;

type Ending = Pick<Moving, 'initiator' | 'transfer'>;

/** A transfer that could not even start; only the life that asked for it hears so. */
type Lost = Ending & { readonly epoch: number };

/** A message within a node; the rows are used again. */
interface NearMessage {
  to: Address;
  from: Address;
  body: Body;
}

export interface SimulationOptions {
  readonly topology: Topology;
  /** Truth, per instance. */
  readonly costs: readonly CostModel[];
  readonly loadOverlap: 'layerwise' | 'serial';
  /** Of each node; null: the rails of a node count as one. */
  readonly rails: readonly RailPolicy[] | null;
  readonly observers: readonly Observer[];
  /** Fuzz: jitter, resets, duplicates and failures; null for an undisturbed run. */
  readonly disturbance: Disturbance | null;
}

export class Simulation implements World {
  nowNs = 0;
  events = 0;
  private started = false;
  readonly network = new FluidNetwork();
  private readonly addresses: AddressBook;
  private readonly controlDelayNs: number;
  private readonly queue = new EventQueue();
  private readonly table = new EventTable();
  private readonly transfers: Transfers;
  private readonly gpus: Gpus[];
  private readonly factWatchers: readonly Watcher<'onFact'>[];
  private readonly sendWatchers: readonly Watcher<'onSend'>[];
  private readonly markWatchers: readonly Watcher<'onMark'>[];
  private readonly transferWatchers: readonly Watcher<'onTransfer'>[];
  private readonly stepWatchers: readonly Watcher<'onStep'>[];
  private readonly runWatchers: readonly Watcher<'onRun'>[];
  private readonly observers: readonly Observer[];
  private readonly disturbance: Disturbance | null;
  private machines: Machine[] = [];
  /** A scenario that is played; null costs nothing. */
  private faults: Faults | null = null;
  /** Transfers under way; kept where there is a scenario. */
  private readonly moving = new Set<Moving>();
  private readonly fact: Fact = { atNs: 0, from: 0, body: { kind: 'wake', token: 0 } };
  /** Messages within a node, delivered before anything else happens. */
  private readonly near: NearMessage[] = [];
  private nearCount = 0;

  constructor(options: SimulationOptions) {
    const { topology, costs, loadOverlap } = options;
    this.addresses = new AddressBook(topology);
    this.controlDelayNs = topology.controlDelayNs;
    this.transfers = new Transfers(topology, this.network, options.rails);
    this.gpus = costs.map((cost) => new Gpus(cost, topology.kv.layers, loadOverlap));
    this.observers = options.observers;
    this.factWatchers = watchers(options.observers, 'onFact');
    this.sendWatchers = watchers(options.observers, 'onSend');
    this.markWatchers = watchers(options.observers, 'onMark');
    this.transferWatchers = watchers(options.observers, 'onTransfer');
    this.stepWatchers = watchers(options.observers, 'onStep');
    this.runWatchers = watchers(options.observers, 'onRun');
    this.disturbance = options.disturbance;
  }

  /** The host of the machine at `address`. */
  host(address: Address): Host {
    return new SimHost(this, address);
  }

  /** Machines by address. Nothing happens before they are set. */
  setMachines(machines: readonly Machine[]): void {
    this.machines = [...machines];
  }

  /** What will happen from outside. Before the first event. */
  setFaults(faults: Faults): void {
    this.faults = faults;
  }

  /** Wakes the workload and runs until nothing is left, or `untilNs`. */
  run(untilNs = Number.POSITIVE_INFINITY): void {
    if (!this.started) {
      this.started = true;
      this.faults?.begin(this);
      this.deliver(WORKLOAD, WORKLOAD, { kind: 'wake', token: -1 });
    }
    while (this.advance(untilNs));
  }

  /** Handles the next event; false when there is none up to `untilNs`. */
  private advance(untilNs: number): boolean {
    const { queue, transfers } = this;
    const eventNs = queue.peekTimeNs();
    const flowNs = transfers.nextEndNs();
    const atNs = Math.min(eventNs, flowNs);
    if (atNs > untilNs || atNs === Number.POSITIVE_INFINITY) return false;
    assert(atNs >= this.nowNs, 'time ran backwards');
    this.nowNs = atNs;
    if (flowNs <= eventNs) {
      for (let m = transfers.popEnded(atNs); m !== null; m = transfers.popEnded(atNs)) {
        this.schedule(m.latencyNs, m);
      }
    } else this.handleEvent(queue.pop());
    return true;
  }

  private handleEvent(event: number): void {
    const { table } = this;
    const to = table.to(event);
    const from = table.from(event);
    const epoch = table.epoch(event);
    const payload = table.take(event);
    if (to >= 0) {
      // What was sent before its channel broke, or to an earlier life, does not arrive.
      if (epoch === this.epoch(from, to)) this.deliver(to, from, payload as Body);
    } else if (to === TransferDone) this.transferDone(payload as Moving);
    else if (to === StepEnd) this.stepEnd(from, payload as number);
    else if (to === RunEnd) this.runEnd(from, payload as number);
    else if (to === TransferFail) this.transferFail(payload as Moving);
    else if (to === TransferLost) this.reportLost(payload as Lost);
    else if (to === Happening) (payload as () => void)();
    else this.breakChannel(from, payload as Address);
  }

  /** Hands a fact to its machine, then whatever that sent within a node. */
  deliver(to: Address, from: Address, body: Body): void {
    this.handleOne(to, from, body);
    const { near } = this;
    for (let i = 0; i < this.nearCount; i++) this.handleOne(near[i].to, near[i].from, near[i].body);
    this.nearCount = 0;
  }

  private handleOne(to: Address, from: Address, body: Body): void {
    const { fact, factWatchers } = this;
    if (this.faults?.isDead(to)) return;
    this.events++;
    fact.atNs = this.nowNs;
    fact.from = from;
    fact.body = body;
    for (let i = 0; i < factWatchers.length; i++) factWatchers[i].onFact(to, fact);
    this.machines[to].handle(fact);
  }

  private push(delayNs: number, rank: number, to: number, from: number, payload: unknown): void {
    const epoch = to < 0 ? 0 : this.epoch(from, to);
    this.queue.push(this.nowNs + delayNs, rank, this.table.put(to, from, payload, epoch));
  }

  // --- commands -------------------------------------------------------------------------------

  send(from: Address, to: Address, message: Message): void {
    const { addresses, sendWatchers } = this;
    for (let i = 0; i < sendWatchers.length; i++) {
      sendWatchers[i].onSend(from, to, message, this.nowNs);
    }
    const node = addresses.nodeOf[from];
    if (node >= 0 && node === addresses.nodeOf[to]) {
      this.sendNear(from, to, message);
    } else if (this.disturbance === null && this.faults === null) {
      this.push(this.controlDelayNs, Rank.message, to, from, message);
    } else this.sendGuarded(from, to, message);
  }

  private sendNear(from: Address, to: Address, body: Message): void {
    const { near } = this;
    const row = this.nearCount++;
    if (row === near.length) near.push({ to, from, body });
    else {
      near[row].to = to;
      near[row].from = from;
      near[row].body = body;
    }
  }

  private sendGuarded(from: Address, to: Address, body: Message): void {
    const { nowNs, controlDelayNs, disturbance, faults } = this;
    if (faults?.refuses(this, from, to, body)) return;
    if (disturbance === null) {
      this.push(controlDelayNs, Rank.message, to, from, body);
      return;
    }
    const fate = disturbance.onSend(from, to, nowNs, controlDelayNs);
    for (const atNs of fate.deliverNs) {
      this.push(atNs - this.nowNs, Rank.message, to, from, body);
    }
    if (fate.resetNs >= 0) {
      this.push(fate.resetNs - this.nowNs, Rank.message, ChannelBreak, from, to);
    }
  }

  private epoch(from: Address, to: Address): number {
    if (this.disturbance === null && this.faults === null) return 0;
    return (this.disturbance?.epoch(from, to) ?? 0) + (this.faults?.epoch(from, to) ?? 0);
  }

  private breakChannel(a: Address, b: Address): void {
    this.disturbance?.breakChannel(a, b);
    this.deliver(a, a, { kind: 'peerReset', peer: b });
    this.deliver(b, b, { kind: 'peerReset', peer: a });
  }

  wakeAt(address: Address, atNs: number, token: number): void {
    const delayNs = Math.max(0, atNs - this.nowNs);
    // A timer of an earlier life does not ring: its epoch is another.
    this.push(delayNs, Rank.wake, address, address, { kind: 'wake', token });
  }

  startTransfer(initiator: Address, transfer: Transfer): void {
    const { transferWatchers } = this;
    for (let i = 0; i < transferWatchers.length; i++) {
      transferWatchers[i].onTransfer(initiator, transfer, this.nowNs);
    }
    const active = transfer.afterStep === 0 ? null : this.gpus[transfer.source.instance].step;
    const step = active?.step.id === transfer.afterStep ? active : null;
    const stepNs = step === null ? 0 : Math.max(1, step.startNs + step.computeNs - this.nowNs);
    const moving = this.isCutOff(transfer)
      ? null
      : this.transfers.start(this.nowNs, initiator, transfer, stepNs);
    if (moving === null) {
      const lost: Lost = { initiator, transfer, epoch: this.epoch(initiator, initiator) };
      this.push(RAIL_TIMEOUT_NS, Rank.end, TransferLost, -1, lost);
      return;
    }
    if (this.faults !== null) this.moving.add(moving);
    step?.followers.push(moving);
    if (transfer.kind === 'load') this.gpus[transfer.target.instance].loading.push(transfer.id);
    const failNs = this.disturbance === null ? -1 : this.disturbance.onTransfer(transfer);
    if (failNs >= 0) this.push(failNs, Rank.end, TransferFail, -1, moving);
  }

  startStep(address: Address, step: Step): void {
    for (const watcher of this.stepWatchers) watcher.onStep(address, step, this.nowNs);
    const instance = this.addresses.instanceId(address);
    const active = this.gpus[instance].startStep(step, this.nowNs);
    if (active.loads === 0)
      this.push(active.endNs - this.nowNs, Rank.end, StepEnd, instance, step.id);
  }

  startRun(address: Address, run: Run): void {
    for (const watcher of this.runWatchers) watcher.onRun(address, run, this.nowNs);
    const instance = this.addresses.instanceId(address);
    const endNs = this.gpus[instance].startRun(run, this.nowNs);
    this.push(endNs - this.nowNs, Rank.end, RunEnd, instance, run.id);
  }

  cutRun(address: Address, run: number): void {
    const instance = this.addresses.instanceId(address);
    const endNs = this.gpus[instance].cutRun(run, this.nowNs);
    if (endNs >= 0) this.push(endNs - this.nowNs, Rank.end, RunEnd, instance, run);
  }

  mark(from: Address, request: number, mark: Mark, value: number): void {
    const { markWatchers } = this;
    for (let i = 0; i < markWatchers.length; i++)
      markWatchers[i].onMark(from, request, mark, value);
  }

  count(from: Address, what: Count, by: number): void {
    for (const observer of this.observers) observer.onCount?.(from, what, by);
  }

  // --- ends -----------------------------------------------------------------------------------

  private schedule(delayNs: number, moving: Moving): void {
    this.push(delayNs, Rank.end, TransferDone, -1, moving);
  }

  private transferDone(moving: Moving): void {
    if (moving.over) return;
    moving.over = true;
    if (this.faults !== null) this.moving.delete(moving);
    this.loadEnded(moving.transfer);
    this.reportTransfer(moving, true, moving.transfer.blocks);
  }

  /** A step may wait for it. */
  private loadEnded({ kind, id, target }: Transfer): void {
    if (kind === 'load') {
      const active = this.gpus[target.instance].loadEnded(id, this.nowNs);
      if (active !== null) {
        const delayNs = active.endNs - this.nowNs;
        this.push(delayNs, Rank.end, StepEnd, target.instance, active.step.id);
      }
    }
  }

  private transferFail(moving: Moving): void {
    if (moving.over) return;
    moving.over = true;
    this.moving.delete(moving);
    const { bytes, blocks } = moving.transfer;
    const sent = this.transfers.stop(this.nowNs, moving);
    this.loadEnded(moving.transfer);
    this.reportTransfer(moving, false, Math.floor((blocks * sent) / bytes));
  }

  private reportLost(lost: Lost): void {
    const { initiator, epoch } = lost;
    if (this.epoch(initiator, initiator) === epoch) this.reportTransfer(lost, false, 0);
  }

  private reportTransfer(moving: Ending, ok: boolean, blocksDone: number): void {
    const body: TransferEnded = {
      kind: 'transferEnded',
      transfer: moving.transfer.id,
      ok,
      blocksDone,
      cause: ok ? '' : 'lost',
      checksums: null,
    };
    this.deliver(moving.initiator, moving.initiator, body);
  }

  /** Events of steps that died with their instance are stale. */
  private stepEnd(instance: number, step: number): void {
    const gpus = this.gpus[instance];
    if (gpus.step?.step.id !== step) return;
    for (const moving of gpus.step.followers) {
      if (moving.over) continue;
      const tailNs = this.transfers.stepEnded(this.nowNs, moving);
      if (tailNs > 0) this.schedule(tailNs + moving.latencyNs, moving);
    }
    const address = this.addresses.instance(instance);
    this.deliver(address, address, gpus.endStep(this.nowNs));
  }

  /** Events of runs that were cut since are stale. */
  private runEnd(instance: number, run: number): void {
    const gpus = this.gpus[instance];
    if (gpus.run === null || gpus.run.run.id !== run || gpus.run.endNs !== this.nowNs) return;
    const address = this.addresses.instance(instance);
    this.deliver(address, address, gpus.endRun());
  }

  isDead(address: Address): boolean {
    return this.faults?.isDead(address) ?? false;
  }

  // --- scenarios --------------------------------------------------------------------------------

  at(atNs: number, what: () => void): void {
    this.push(Math.max(0, atNs - this.nowNs), Rank.end, Happening, -1, what);
  }

  setMachine(address: Address, machine: Machine): void {
    this.machines[address] = machine;
  }

  kill(address: Address): void {
    for (const observer of this.observers) observer.onCrash?.(address, this.nowNs);
    if (this.addresses.isInstance(address)) this.gpus[this.addresses.instanceId(address)].reset();
    for (const moving of [...this.moving]) {
      if (moving.initiator !== address) continue;
      moving.over = true;
      this.moving.delete(moving);
      this.transfers.stop(this.nowNs, moving);
    }
  }

  failBetween(a: number, b: number): void {
    this.failWhere(({ source, target }) => {
      const straight = source.node === a && target.node === b;
      const back = source.node === b && target.node === a;
      return straight || back || (a === b && (source.node === a || target.node === a));
    });
  }

  failOf(instance: number): void {
    this.failWhere(({ source, target }) => {
      return source.instance === instance || target.instance === instance;
    });
  }

  setRail(node: number, rail: number, rate: number): void {
    for (const moving of this.transfers.setRail(this.nowNs, node, rail, rate)) {
      this.push(RAIL_TIMEOUT_NS, Rank.end, TransferFail, -1, moving);
    }
  }

  setSsd(node: number, rate: number): void {
    const isOn = (place: Place) => place.node === node && place.tier === Tier.ssd;
    if (rate > 0) this.transfers.setSsd(this.nowNs, node, rate);
    else {
      // A drive says so at once, a peer by its silence.
      for (const moving of [...this.moving]) {
        const { source, target } = moving.transfer;
        if (isOn(source) || isOn(target)) this.transferFail(moving);
      }
    }
  }

  private failWhere(hit: (transfer: Transfer) => boolean): void {
    for (const moving of this.moving) {
      if (!hit(moving.transfer)) continue;
      this.push(RAIL_TIMEOUT_NS, Rank.end, TransferFail, -1, moving);
    }
  }

  /** Whether an end of it is dead, or no link leads there. */
  private isCutOff({ source, target }: Transfer): boolean {
    const { faults } = this;
    if (faults === null) return false;
    return this.isGone(source) || this.isGone(target) || faults.isCut(source.node, target.node);
  }

  private isGone({ node, tier, instance }: Place): boolean {
    const { addresses } = this;
    if (this.isDead(addresses.store(node))) return true;
    if (tier === Tier.ssd && this.faults?.isSsdLost(node)) return true;
    return instance >= 0 && this.isDead(addresses.instance(instance));
  }
}

/** The simulation as one machine sees it. */
class SimHost implements Host {
  private readonly simulation: Simulation;
  private readonly address: Address;

  constructor(simulation: Simulation, address: Address) {
    this.simulation = simulation;
    this.address = address;
  }

  send(to: Address, message: Message): void {
    this.simulation.send(this.address, to, message);
  }

  wakeAt(atNs: number, token: number): void {
    this.simulation.wakeAt(this.address, atNs, token);
  }

  startTransfer(transfer: Transfer): void {
    this.simulation.startTransfer(this.address, transfer);
  }

  startStep(step: Step): void {
    this.simulation.startStep(this.address, step);
  }

  startRun(run: Run): void {
    this.simulation.startRun(this.address, run);
  }

  cutRun(run: number): void {
    this.simulation.cutRun(this.address, run);
  }

  mark(request: number, mark: Mark, value: number): void {
    this.simulation.mark(this.address, request, mark, value);
  }

  count(what: Count, by: number): void {
    this.simulation.count(this.address, what, by);
  }
}
