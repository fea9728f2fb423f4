/**
 * What a conductor hears from a cluster, without the cluster: agents that take dispatches and
 * answer as stores and instances would, after so many milliseconds, and an ingress that asks at a
 * rate. All of them in one process, each with channels of its own.
 */
import type { Dispatch, Message } from '../../core/messages.ts';
import { BlockSpan, Outcome, type Request } from '../../core/request.ts';
import {
  type Address,
  AddressBook,
  CONDUCTOR,
  Tier,
  type Topology,
  WORKLOAD,
} from '../../core/topology.ts';

export interface CrowdOptions {
  readonly topology: Topology;
  /** Requests per second, at random times. */
  readonly perSec: number;
  /** Blocks of a prompt, and those of them that a conversation shares. */
  readonly promptBlocks: number;
  readonly sharedBlocks: number;
  /** Block ids there are; those of prompts are used in turn. */
  readonly blocks: number;
  /** Blocks that a node keeps: what comes beyond them removes the oldest. */
  readonly nodeBlocks: number;
  /** From dispatch to the first token, from there to the end. */
  readonly prefillMs: number;
  readonly decodeMs: number;
  /** In [0, 1). */
  readonly random: () => number;
  /** Sends on the channel of a node, or of the ingress (-1). */
  readonly send: (node: number, letter: readonly unknown[]) => void;
  /** From an arrival's send to its dispatch's coming. */
  readonly onRoundTrip: (durationNs: number) => void;
}

const CONVERSATIONS = 2000;
const OUTPUT_TOKENS = 200;

/** Blocks of one node in the order in which they came. */
class Cache {
  readonly held = new Set<number>();
  sequence = 1;
}

export class Crowd {
  readonly outcomes = new Map<Outcome, number>();
  sent = 0;
  dispatched = 0;
  /** Facts of the directory that were said. */
  stored = 0;
  removed = 0;
  private readonly options: CrowdOptions;
  private readonly addresses: AddressBook;
  private readonly caches: Cache[];
  private readonly sentNs = new Map<number, number>();
  /** What is due, by millisecond since `startMs`. */
  private readonly due = new Map<number, (() => void)[]>();
  private startMs = 0;
  private tickMs = 0;
  private nextMs = 0;
  private untilMs = 0;
  private nextBlock: number;
  private timer: NodeJS.Timeout | null = null;

  constructor(options: CrowdOptions) {
    this.options = options;
    this.addresses = new AddressBook(options.topology);
    this.caches = options.topology.nodes.map(() => new Cache());
    this.nextBlock = CONVERSATIONS * options.sharedBlocks;
  }

  /** What agents say first: they live, and hold nothing. */
  greet(): void {
    const { topology } = this.options;
    for (const { id: node } of topology.nodes) {
      this.say(node, this.addresses.store(node), {
        kind: 'blockInventory',
        node,
        tier: Tier.dram,
        instance: -1,
        incarnation: 0,
        sequence: 1,
        blocks: [],
      });
    }
    for (const { id, node, roles } of topology.instances) {
      this.say(node, this.addresses.instance(id), {
        kind: 'requestInventory',
        instance: id,
        incarnation: 0,
        roles,
        term: 0,
        dispatchSequence: 0,
        live: [],
        ended: [],
      });
    }
  }

  /** Asks for so long; the agents go on until `stop`. */
  start(forMs: number): void {
    this.startMs = performance.now();
    this.untilMs = forMs;
    this.timer = setInterval(() => this.tick(), 1);
  }

  stop(): void {
    if (this.timer !== null) clearInterval(this.timer);
  }

  get ended(): number {
    let sum = 0;
    for (const count of this.outcomes.values()) sum += count;
    return sum;
  }

  /** A message of the conductor to a machine. */
  receive(to: Address, body: Message): void {
    if (body.kind === 'dispatch') this.onDispatch(to, body);
    else if (body.kind === 'terminal') {
      this.outcomes.set(body.outcome, (this.outcomes.get(body.outcome) ?? 0) + 1);
    }
  }

  private tick(): void {
    const nowMs = performance.now() - this.startMs;
    for (; this.tickMs <= nowMs; this.tickMs++) {
      const due = this.due.get(this.tickMs);
      this.due.delete(this.tickMs);
      for (const act of due ?? []) act();
    }
    for (; this.nextMs <= Math.min(nowMs, this.untilMs); this.arrive()) {
      // Exponential gaps: arrivals know nothing of each other.
      this.nextMs -= (Math.log(1 - this.options.random()) * 1e3) / this.options.perSec;
    }
  }

  private after(ms: number, act: () => void): void {
    const at = this.tickMs + Math.max(1, Math.round(ms));
    const due = this.due.get(at);
    if (due === undefined) this.due.set(at, [act]);
    else due.push(act);
  }

  private say(node: number, from: Address, body: Message): void {
    this.options.send(node, ['message', from, CONDUCTOR, body]);
  }

  private arrive(): void {
    const request = this.request(this.sent++);
    this.sentNs.set(request.id, performance.now() * 1e6);
    this.say(-1, WORKLOAD, { kind: 'arrive', request });
  }

  private request(id: number): Request {
    const { topology, promptBlocks, sharedBlocks, blocks, random } = this.options;
    const first = CONVERSATIONS * sharedBlocks;
    const conversation = Math.floor(random() * CONVERSATIONS);
    const ids = new Int32Array(promptBlocks);
    for (let i = 0; i < promptBlocks; i++) {
      ids[i] = i < sharedBlocks ? conversation * sharedBlocks + i : this.nextBlock++;
      if (this.nextBlock === blocks) this.nextBlock = first;
    }
    return {
      id,
      attempt: 0,
      tenant: 0,
      priority: 0,
      sloClass: 0,
      session: conversation,
      parent: -1,
      namespace: 0,
      blocks: new BlockSpan(ids, 0, promptBlocks),
      inputTokens: promptBlocks * topology.kv.blockTokens,
      outputTokens: OUTPUT_TOKENS,
      arrivalNs: 0,
    };
  }

  private onDispatch(to: Address, { request, decodeInstance }: Dispatch): void {
    const { topology, prefillMs, decodeMs, random, onRoundTrip } = this.options;
    const sentNs = this.sentNs.get(request.id);
    if (sentNs === undefined) return;
    this.sentNs.delete(request.id);
    this.dispatched++;
    onRoundTrip(performance.now() * 1e6 - sentNs);
    const { id, attempt } = request;
    const { node } = topology.instances[this.addresses.instanceId(to)];
    const decodeNode = topology.instances[decodeInstance].node;
    const decode = this.addresses.instance(decodeInstance);
    this.after(prefillMs * (0.5 + random()), () => {
      this.say(node, to, { kind: 'prefilled', request: id, attempt });
      this.keep(node, request.blocks);
      this.after(decodeMs * (0.5 + random()), () => {
        const outcome = Outcome.completed;
        this.say(decodeNode, decode, { kind: 'finished', request: id, attempt, outcome });
      });
    });
  }

  /** The store of a node has the prompt's blocks now, and tells what came and what went. */
  private keep(node: number, blocks: BlockSpan): void {
    const cache = this.caches[node];
    const { held } = cache;
    const stored: number[] = [];
    const removed: number[] = [];
    for (let i = 0; i < blocks.length; i++) {
      const block = blocks.at(i);
      if (held.has(block)) continue;
      held.add(block);
      stored.push(block);
    }
    for (const block of held) {
      if (held.size <= this.options.nodeBlocks) break;
      held.delete(block);
      removed.push(block);
    }
    if (stored.length === 0) return;
    this.stored += stored.length;
    this.removed += removed.length;
    this.say(node, this.addresses.store(node), {
      kind: 'delta',
      node,
      tier: Tier.dram,
      instance: -1,
      sequence: ++cache.sequence,
      stored,
      removed,
    });
  }
}
