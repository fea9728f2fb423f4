/**
 * Counters of what the machines of one process do. Watches facts and commands as metrics do in the
 * simulator; each costs a few additions.
 */
import {
  COUNT_NAMES,
  type Count,
  Mark,
  type Run,
  TRANSFER_KINDS,
  type Transfer,
} from '../../core/host.ts';
import type { Dispatch, Fact, Message, TransferEnded } from '../../core/messages.ts';
import type { Observer } from '../../core/observer.ts';
import { cachedTokens, Outcome, type Request } from '../../core/request.ts';
import { type Address, AddressBook, TIER_NAMES, type Topology } from '../../core/topology.ts';
import { Histogram } from './exposition.ts';
import { WorkingSet } from './working-set.ts';

/** Requests that are followed; beyond these, those that came first are forgotten. */
const REQUESTS_MAX = 50_000;
export const SOURCES = ['hbm', 'dram', 'ssd', 'peer', 'miss'] as const;
export const FAILURES = ['unknownSegment', 'checksum', 'lost', 'timeout'] as const;
export const OUTCOMES = Object.entries(Outcome).filter(([, code]) => code !== Outcome.inFlight);

const NS_PER_S = 1e9;

/** What is kept of a request. */
interface Known {
  readonly arrivalNs: number;
  readonly inputTokens: number;
  endNs: number;
}

interface Moving {
  readonly transfer: Transfer;
  readonly sinceNs: number;
}

export class RunMeter implements Observer {
  readonly ttft = new Histogram();
  readonly gap = new Histogram();
  readonly e2e = new Histogram();
  readonly queue = new Histogram();
  readonly decision = new Histogram();
  /** In the order of TRANSFER_KINDS. */
  readonly transfers = TRANSFER_KINDS.map(() => new Histogram());
  readonly movedBytes = new Float64Array(TRANSFER_KINDS.length);
  /** In the order of SOURCES, FAILURES, COUNT_NAMES; by outcome. */
  readonly sourceTokens = new Float64Array(SOURCES.length);
  readonly failures = new Float64Array(FAILURES.length);
  readonly counts = new Float64Array(COUNT_NAMES.length);
  readonly ended = new Float64Array(Math.max(...Object.values(Outcome)) + 1);
  /** Tokens of dispatched prompts, and those that the conductor believes to be cached. */
  dispatchedTokens = 0;
  believedTokens = 0;
  readonly workingSet = new WorkingSet();
  /** At the conductor: blocks that stores say they hold, by tier and node. */
  readonly nodeBlocks: readonly Float64Array[];
  arrived = 0;
  lookedUpTokens = 0;
  promptTokens = 0;
  generatedTokens = 0;
  staleTokens = 0;
  leaseRequests = 0;
  leasedBlocks = 0;
  private readonly addresses: AddressBook;
  private readonly blockTokens: number;
  /** Requests that machines here know, by id. */
  private readonly requests = new Map<number, Known>();
  /** Transfers under way, by initiator and id. */
  private readonly moving: Map<number, Moving>[];
  /** Requests in the run of each instance. */
  private readonly batch: Float64Array;
  private askedMs = 0;

  constructor(topology: Topology) {
    this.addresses = new AddressBook(topology);
    this.blockTokens = topology.kv.blockTokens;
    this.moving = Array.from({ length: this.addresses.count }, () => new Map());
    this.nodeBlocks = TIER_NAMES.map(() => new Float64Array(topology.nodes.length));
    this.batch = new Float64Array(topology.instances.length);
  }

  onFact(to: Address, fact: Fact): void {
    const { body } = fact;
    switch (body.kind) {
      case 'dispatch':
        this.know(body.request);
        this.use(body.request);
        return;
      case 'handoff':
        this.know(body.request);
        return;
      case 'arrive':
        this.arrived++;
        this.use(body.request);
        this.askedMs = performance.now();
        return;
      case 'handoffTaken':
        if (body.ok) this.requests.delete(body.request);
        return;
      case 'transferEnded':
        this.onTransferEnded(to, fact.atNs, body);
        return;
      case 'stepEnded':
        if (body.decoded > 0) {
          this.generatedTokens += body.decoded;
          this.gap.add(body.durationNs / NS_PER_S, body.decoded);
        }
        return;
      case 'runEnded': {
        const batch = this.batch[this.addresses.instanceId(to)];
        this.generatedTokens += batch * body.steps;
        for (let i = 0; i < body.steps; i++) {
          this.gap.add(body.gapsNs[body.from + i] / NS_PER_S, batch);
        }
        return;
      }
      case 'leaseRequest':
        this.leaseRequests++;
        return;
      case 'delta':
        this.nodeBlocks[body.tier][body.node] += body.stored.length - body.removed.length;
        return;
      case 'blockInventory':
        if (body.instance < 0) this.nodeBlocks[body.tier][body.node] = body.blocks.length;
        return;
      case 'peerGone':
        this.onGone(body.peer);
        return;
      default:
    }
  }

  onSend(_from: Address, _to: Address, message: Message): void {
    switch (message.kind) {
      case 'terminal':
        this.ended[message.outcome]++;
        this.decided();
        return;
      case 'dispatch':
        this.decided();
        this.believe(message);
        return;
      case 'leaseGrant':
        this.leasedBlocks += message.range.slots.length;
        return;
      default:
    }
  }

  onMark(_from: Address, request: number, mark: Mark, value: number): void {
    const known = this.requests.get(request);
    if (known === undefined) return;
    const sinceS = (value - known.arrivalNs) / NS_PER_S;
    switch (mark) {
      case Mark.startedNs:
        this.queue.add(sinceS);
        return;
      case Mark.firstTokenNs:
        this.ttft.add(sinceS);
        this.promptTokens += known.inputTokens;
        this.generatedTokens++;
        return;
      case Mark.finishedNs:
        known.endNs = value;
        return;
      case Mark.outcome:
        if (value === Outcome.completed) this.e2e.add((known.endNs - known.arrivalNs) / NS_PER_S);
        this.requests.delete(request);
        return;
      default:
        this.onTokens(mark, value, known);
    }
  }

  onCount(_from: Address, what: Count, by: number): void {
    this.counts[what] += by;
  }

  onRun(from: Address, run: Run): void {
    this.batch[this.addresses.instanceId(from)] = run.requests.length;
  }

  onTransfer(from: Address, transfer: Transfer, atNs: number): void {
    this.moving[from].set(transfer.id, { transfer, sinceNs: atNs });
  }

  private onGone(peer: Address): void {
    if (!this.addresses.isStore(peer)) return;
    for (const blocks of this.nodeBlocks) blocks[this.addresses.storeNode(peer)] = 0;
  }

  /** Ended requests of `OUTCOMES`, as [name, number]. */
  endedBy(): [name: string, count: number][] {
    return OUTCOMES.map(([name, code]) => [name, this.ended[code]]);
  }

  /** A prompt was looked up: the mark of its DRAM tokens is always made, then. */
  private onTokens(mark: Mark, tokens: number, { inputTokens }: Known): void {
    const { sourceTokens } = this;
    if (mark === Mark.dramTokens) {
      this.lookedUpTokens += inputTokens;
      sourceTokens[1] += tokens;
      sourceTokens[4] += inputTokens - tokens;
    } else if (mark === Mark.staleTokens) this.staleTokens += tokens;
    else {
      const at = mark === Mark.hbmTokens ? 0 : mark === Mark.ssdTokens ? 2 : 3;
      if (at === 3 && mark !== Mark.peerTokens) return;
      sourceTokens[at] += tokens;
      sourceTokens[4] -= tokens;
    }
  }

  private onTransferEnded(to: Address, atNs: number, ended: TransferEnded): void {
    const moving = this.moving[to].get(ended.transfer);
    if (moving === undefined) return;
    this.moving[to].delete(ended.transfer);
    const { transfer, sinceNs } = moving;
    const kind = TRANSFER_KINDS.indexOf(transfer.kind);
    this.transfers[kind].add((atNs - sinceNs) / NS_PER_S);
    if (ended.ok) this.movedBytes[kind] += transfer.bytes;
    else {
      const cause = FAILURES.indexOf(ended.cause === '' ? 'lost' : ended.cause);
      this.failures[cause]++;
    }
  }

  private know({ id, arrivalNs, inputTokens }: Request): void {
    const { requests } = this;
    requests.set(id, { arrivalNs, inputTokens, endNs: arrivalNs });
    if (requests.size <= REQUESTS_MAX) return;
    for (const first of requests.keys()) {
      requests.delete(first);
      return;
    }
  }

  private use({ blocks }: Request): void {
    for (let i = 0; i < blocks.length; i++) this.workingSet.use(blocks.at(i));
  }

  private believe({ request, localBlocks, sourceBlocks }: Dispatch): void {
    const { inputTokens } = request;
    const blocks = Math.max(localBlocks, sourceBlocks);
    this.dispatchedTokens += inputTokens;
    if (blocks > 0) this.believedTokens += cachedTokens(blocks, this.blockTokens, inputTokens);
  }

  private decided(): void {
    if (this.askedMs === 0) return;
    this.decision.add((performance.now() - this.askedMs) / 1000);
    this.askedMs = 0;
  }
}
