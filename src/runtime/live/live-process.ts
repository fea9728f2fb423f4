/**
 * The machines of one process of a live cluster and their world: real time, channels to the other
 * processes, emulated engines, and (on a node) the data plane that moves the blocks. The machines
 * are those of the simulator, and so are their units: the clock runs `speed` times as fast as the
 * world's.
 */
import type { CostModel } from '../../core/cost.ts';
import { InputError } from '../../core/errors.ts';
import type { Count, Host, Machine, Mark, Run, Step, Transfer } from '../../core/host.ts';
import type { Body, Buckets, Message } from '../../core/messages.ts';
import type { Observer } from '../../core/observer.ts';
import { type Address, AddressBook, type Topology } from '../../core/topology.ts';
import type { Links } from '../control/links.ts';
import { MessageSchema } from '../control/message-schema.ts';
import { LoopbackGpus } from '../loopback-gpus.ts';
import { Rank, RealTime } from '../real-time.ts';
import type { LiveMemory } from './live-memory.ts';
import type { LiveTransfers } from './live-transfers.ts';
import type { NodeWord } from './node-words.ts';
import { PromptsSeen } from './prompts-seen.ts';

/** What goes over a link: a message between machines, or a word between hosts. */
type Letter =
  | readonly ['message', from: Address, to: Address, body: Message]
  | readonly ['node', from: number, word: NodeWord];

/** Pages of requests that are over are looked for so often. */
const SWEEP_MS = 200;
const EARLY_MAX = 100_000;

export interface LiveProcessOptions {
  readonly topology: Topology;
  /** Per instance of the topology. */
  readonly costs: readonly CostModel[];
  readonly speed: number;
  readonly originNs: bigint;
  readonly observers: readonly Observer[];
  readonly links: Pick<Links, 'send'>;
  /** Name of the process that hosts a machine, or null while nobody does. */
  readonly processOf: (address: Address) => string | null;
  /** Machines that a process hosts. */
  readonly addressesOf: (process: string) => readonly Address[];
  /** The conductor's map, which goes to the stores by the registry; told once for each store. */
  readonly onBuckets: (map: Buckets) => void;
  readonly onError: (error: unknown) => void;
  /** The machines have had a turn; what they sent has not left yet. */
  readonly onTurn?: () => void;
}

/** What a process that hosts a node has beside its machines. */
export interface LiveNodeParts {
  readonly node: number;
  readonly memory: LiveMemory;
  readonly transfers: LiveTransfers;
}

export class LiveProcess {
  readonly prompts = new PromptsSeen();
  readonly clock: RealTime;
  private readonly options: LiveProcessOptions;
  private readonly addresses: AddressBook;
  private readonly schema: MessageSchema;
  private readonly gpus = new Map<number, LoopbackGpus>();
  private readonly local: Address[] = [];
  /** For a machine that is about to be here: a conductor that was elected this moment. */
  private early: { to: Address; from: Address; body: Message }[] = [];
  private node: LiveNodeParts | null = null;
  private sweeper: NodeJS.Timeout | null = null;

  constructor(options: LiveProcessOptions) {
    this.options = options;
    this.addresses = new AddressBook(options.topology);
    this.schema = new MessageSchema(options.topology);
    const seen: Observer = { onFact: (_, fact) => this.prompts.note(fact) };
    const { originNs, speed, onError, onTurn } = options;
    const observers = [seen, ...options.observers];
    const unused = { spin: false, onIdle: null };
    this.clock = new RealTime({ observers, originNs, speed, onError, onTurn, ...unused });
  }

  host(address: Address): Host {
    return new LiveHost(this, address);
  }

  setMachine(address: Address, machine: Machine): void {
    this.clock.setMachine(address, machine);
    this.local.push(address);
    for (const { to, from, body } of this.early) if (to === address) this.tell(to, from, body);
    this.early = this.early.filter(({ to }) => to !== address);
    const instance = this.addresses.instanceId(address);
    const cost = this.options.costs[instance];
    if (instance >= 0 && cost !== undefined) this.gpus.set(instance, new LoopbackGpus(cost, 1));
  }

  setNode(parts: LiveNodeParts): void {
    this.node = parts;
    this.sweeper = setInterval(() => parts.memory.sweep(), SWEEP_MS).unref();
  }

  stop(): void {
    this.clock.stop();
    if (this.sweeper !== null) clearInterval(this.sweeper);
  }

  /** A fact for a machine of this process, from outside. */
  tell(to: Address, from: Address, body: Body): void {
    this.clock.post(Rank.message, () => this.clock.deliver(to, from, body));
  }

  // --- the other processes --------------------------------------------------------------------

  /** @throws InputError for anything that is not a letter of that process */
  receive(process: string, letter: unknown): void {
    const [kind, ...rest] = letterOf(letter);
    if (kind === 'message') {
      const [from, to, found] = rest as [Address, Address, unknown];
      const body = this.schema.check(from, to, found);
      if (this.options.processOf(from) !== process) {
        throw new InputError(`found a message of machine ${from}, which is not its own`);
      }
      if (this.clock.hosts(to)) this.tell(to, from, body);
      else if (this.early.length < EARLY_MAX) this.early.push({ to, from, body });
      return;
    }
    const [from, found] = rest as [number, unknown];
    const word = this.schema.checkWord(found) as NodeWord;
    if (this.options.processOf(this.addresses.store(from)) !== process) {
      throw new InputError(`found a word of node ${from}, which is not its own`);
    }
    this.node?.transfers.hear(from, word);
  }

  /** The channel to a process broke: all that are there and here learn of it. */
  reset(process: string): void {
    for (const peer of this.options.addressesOf(process)) {
      const node = this.addresses.nodeOf[peer];
      if (node >= 0) this.node?.transfers.nodeLost(node);
      this.tellReset(peer);
    }
  }

  /** What was said to a machine, or came from it, may be lost. */
  tellReset(peer: Address): void {
    for (const address of this.local) this.tell(address, address, { kind: 'peerReset', peer });
  }

  storeAddress(node: number): Address {
    return this.addresses.store(node);
  }

  /** What one node's host says to another's; to its own it goes without a link. */
  say(from: number, to: number, word: NodeWord): void {
    if (from === to) {
      queueMicrotask(() => this.node?.transfers.hear(from, word));
      return;
    }
    const process = this.options.processOf(this.addresses.store(to));
    if (process === null) queueMicrotask(() => this.node?.transfers.nodeLost(to));
    else this.options.links.send(process, ['node', from, word] satisfies Letter);
  }

  // --- commands -------------------------------------------------------------------------------

  send(from: Address, to: Address, message: Message): void {
    for (const observer of this.options.observers) {
      observer.onSend?.(from, to, message, this.clock.nowNs);
    }
    const node = this.addresses.nodeOf[from];
    if (message.kind === 'buckets') this.options.onBuckets(message);
    else if (node >= 0 && node === this.addresses.nodeOf[to]) {
      this.clock.sendNear(to, from, message);
    } else if (this.clock.hosts(to)) this.tell(to, from, message);
    else {
      const process = this.options.processOf(to);
      // Nobody leads now: the machines are told when somebody does.
      if (process === null) return;
      this.options.links.send(process, ['message', from, to, message] satisfies Letter);
    }
  }

  wakeAt(address: Address, atNs: number, token: number): void {
    const wake = () => this.clock.deliver(address, address, { kind: 'wake', token });
    this.clock.at(atNs, Rank.wake, wake);
  }

  startStep(address: Address, step: Step): void {
    const { nowNs } = this.clock;
    for (const observer of this.options.observers) observer.onStep?.(address, step, nowNs);
    const gpus = this.gpusOf(address);
    this.share(this.addresses.instanceId(address), step);
    const active = gpus.startStep(step, nowNs);
    if (active.loads > 0) return;
    this.clock.at(gpus.stepEndNs(active, nowNs), Rank.end, () => this.stepEnd(address));
  }

  startRun(address: Address, run: Run): void {
    const { nowNs } = this.clock;
    for (const observer of this.options.observers) observer.onRun?.(address, run, nowNs);
    const endNs = this.gpusOf(address).startRun(run, nowNs);
    this.clock.at(endNs, Rank.end, () => this.runEnd(address, run.id));
  }

  cutRun(address: Address, run: number): void {
    const endNs = this.gpusOf(address).cutRun(run, this.clock.nowNs);
    if (endNs >= 0) this.clock.at(endNs, Rank.end, () => this.runEnd(address, run));
  }

  startTransfer(initiator: Address, transfer: Transfer): void {
    const { nowNs } = this.clock;
    for (const observer of this.options.observers)
      observer.onTransfer?.(initiator, transfer, nowNs);
    const { kind, id, afterStep, source, target } = transfer;
    if (kind === 'load') this.gpus.get(target.instance)?.loading.add(id);
    const active = afterStep === 0 ? null : (this.gpus.get(source.instance)?.step ?? null);
    const step = active?.step.id === afterStep ? active : null;
    const toToken = this.endToken(transfer, step?.step ?? null);
    const begin = () => this.move(initiator, transfer, toToken);
    if (step === null) begin();
    else step.followers.push(begin);
  }

  mark(from: Address, request: number, mark: Mark, value: number): void {
    for (const observer of this.options.observers) observer.onMark?.(from, request, mark, value);
  }

  count(from: Address, what: Count, by: number): void {
    for (const observer of this.options.observers) observer.onCount?.(from, what, by);
  }

  /** Last token of a stream: where the step that makes it ends, else the end of the prompt. */
  private endToken({ request }: Transfer, step: Step | null): number {
    const chunk = step?.chunks.find((candidate) => candidate.request === request);
    return chunk?.toToken ?? this.prompts.get(request)?.inputTokens ?? 0;
  }

  private move(initiator: Address, transfer: Transfer, toToken: number): void {
    this.node?.transfers.start(transfer, toToken, (ended) => {
      this.clock.post(Rank.end, () => {
        if (transfer.kind === 'load') this.loadEnded(transfer);
        const body = { ...ended, kind: 'transferEnded' as const, transfer: transfer.id };
        this.clock.deliver(initiator, initiator, body);
      });
    });
  }

  // --- compute --------------------------------------------------------------------------------

  private loadEnded({ id, target }: Transfer): void {
    const gpus = this.gpus.get(target.instance);
    const step = gpus?.loadEnded(id) ?? null;
    if (gpus === undefined || step === null) return;
    const address = this.addresses.instance(target.instance);
    const endNs = gpus.stepEndNs(step, this.clock.nowNs);
    this.clock.at(endNs, Rank.end, () => this.stepEnd(address));
  }

  /** Prompts that begin have what their instance's HBM has of them. */
  private share(instance: number, { chunks }: Step): void {
    for (const { request, first } of chunks) {
      if (!first) continue;
      const blocks = this.prompts.leading(request, Number.POSITIVE_INFINITY);
      this.node?.memory.share(instance, request, blocks);
    }
  }

  private stepEnd(address: Address): void {
    const gpus = this.gpusOf(address);
    const { blockTokens } = this.options.topology.kv;
    const instance = this.addresses.instanceId(address);
    const chunks = gpus.step?.step.chunks ?? [];
    for (const { request, fromToken, toToken } of chunks) {
      const from = Math.floor(fromToken / blockTokens);
      const to = Math.ceil(toToken / blockTokens);
      this.node?.memory.computeAll(instance, request, from, this.prompts.leading(request, to));
    }
    for (const { request, toToken } of chunks) {
      const whole = toToken >= (this.prompts.get(request)?.inputTokens ?? 0);
      const to = whole ? Number.POSITIVE_INFINITY : Math.floor(toToken / blockTokens);
      this.node?.memory.keep(instance, request, this.prompts.leading(request, to));
    }
    for (const begin of gpus.step?.followers ?? []) begin();
    this.clock.deliver(address, address, gpus.endStep(this.clock.nowNs));
  }

  private runEnd(address: Address, run: number): void {
    const ended = this.gpusOf(address).endRun(run, this.clock.nowNs);
    if (ended !== null) this.clock.deliver(address, address, ended);
  }

  private gpusOf(address: Address): LoopbackGpus {
    const gpus = this.gpus.get(this.addresses.instanceId(address));
    if (gpus === undefined) throw new Error(`machine ${address} has no engine here`);
    return gpus;
  }
}

/** @throws InputError */
function letterOf(found: unknown): Letter {
  const letter = found as Letter;
  const whole =
    Array.isArray(found) &&
    ((letter[0] === 'message' && Number.isInteger(letter[1]) && Number.isInteger(letter[2])) ||
      (letter[0] === 'node' && Number.isInteger(letter[1])));
  if (!whole) throw new InputError('found no message');
  return letter;
}

/** The process as one machine sees it. */
class LiveHost implements Host {
  private readonly process: LiveProcess;
  private readonly address: Address;

  constructor(process: LiveProcess, address: Address) {
    this.process = process;
    this.address = address;
  }

  send(to: Address, message: Message): void {
    this.process.send(this.address, to, message);
  }

  wakeAt(atNs: number, token: number): void {
    this.process.wakeAt(this.address, atNs, token);
  }

  startTransfer(transfer: Transfer): void {
    this.process.startTransfer(this.address, transfer);
  }

  startStep(step: Step): void {
    this.process.startStep(this.address, step);
  }

  startRun(run: Run): void {
    this.process.startRun(this.address, run);
  }

  cutRun(run: number): void {
    this.process.cutRun(this.address, run);
  }

  mark(request: number, mark: Mark, value: number): void {
    this.process.mark(this.address, request, mark, value);
  }

  count(what: Count, by: number): void {
    this.process.count(this.address, what, by);
  }
}
