/** Kills, stops and takes away parts of a live cluster, and waits until all is as before. */
import { loadavg } from 'node:os';
import type { LiveMember } from '../../src/runtime/live/member.ts';
import type { MemberStatus } from '../../src/runtime/live/status.ts';
import { STORES } from '../../src/runtime/store/spec.ts';
import type { LocalCluster } from '../../src/study/live/local-cluster.ts';
import type { Acknowledged } from './acknowledged.ts';
import type { Network } from './network.ts';
import type { SmallDisks } from './small-disks.ts';

export const FAULTS = [
  'kill-agent',
  'kill-leader',
  'kill-etcd',
  'fill-ssd',
  'stop-agent',
  'cut-link',
  'kill-store',
  'stop-leader',
] as const;
export type FaultKind = (typeof FAULTS)[number];
export const KILLS = FAULTS.filter((kind) => kind.startsWith('kill'));

/** Prefill nodes come first; each has an SSD. */
export const NODES = 4;
export const PREFILL_NODES = 2;

/** What one fault did. */
export interface Recovery {
  readonly kind: FaultKind;
  /** What it hit. */
  readonly at: string;
  /**
   * From the fact (of what lasts: from its end) until all was as before, ms; null: a disk is free
   * again, and there was nothing more to write.
   */
  readonly recoveredMs: number | null;
  /** Of a leader: from the fact until another one leads that knows every living node, ms. */
  readonly actedMs: number | null;
  /** Of a full disk: blocks that it had no room for. */
  readonly refusedBlocks: number | null;
}

interface Struck {
  readonly at: string;
  readonly lastedMs?: number;
  readonly isIdle?: boolean;
  readonly actedMs?: number;
  readonly refusedBlocks?: number;
}

/** A new leader acts within this (CORE.md, protocol 10). */
const ACTS_MS = 10_000;
const RECOVERS_MS = 40_000;
const LOOK_MS = 50;
/** Longer than a channel lives unanswered. */
const CUT_MS = 6000;
/** A disk stays full so long, and longer until it had no room for something. */
const FULL_MS = 1500;
const FULL_MS_MAX = 6000;
/** A freed one is used again within this, if anything is to be written. */
const FREED_MS = 3000;
export const ANSWER_MS = 1000;

export interface ChaosWorld {
  readonly cluster: LocalCluster;
  readonly network: Network;
  readonly disks: SmallDisks;
  readonly objects: Acknowledged;
  readonly visitor: LiveMember;
  /** Of a SIGSTOP, ms. */
  readonly stopMs: number;
}

export class Chaos {
  readonly recoveries: Recovery[] = [];
  private readonly world: ChaosWorld;
  private readonly random: () => number;

  constructor(world: ChaosWorld, random: () => number) {
    this.world = world;
    this.random = random;
  }

  async strike(kind: FaultKind): Promise<void> {
    const startMs = performance.now();
    const { at, lastedMs = 0, isIdle = false, actedMs, refusedBlocks } = await this.fault(kind);
    const recoveredMs = isIdle ? null : performance.now() - startMs - lastedMs;
    this.recoveries.push({
      kind,
      at,
      recoveredMs,
      actedMs: actedMs ?? null,
      refusedBlocks: refusedBlocks ?? null,
    });
  }

  private fault(kind: FaultKind): Promise<Struck> {
    switch (kind) {
      case 'kill-agent':
        return this.killAgent();
      case 'stop-agent':
        return this.stopAgent();
      case 'kill-etcd':
        return this.killEtcd();
      case 'cut-link':
        return this.cutLink();
      case 'fill-ssd':
        return this.fillSsd();
      case 'kill-store':
        return this.killStore();
      case 'kill-leader':
        return this.killLeader();
      default:
        return this.stopLeader();
    }
  }

  /** What the leader believes of every node is what the node's store has. */
  async checkHoldings(): Promise<void> {
    const { visitor } = this.world;
    let found = '';
    for (let tries = 0; tries < 100; tries++) {
      const { name } = await this.leader();
      const believed = (await visitor.audit(name, ANSWER_MS)) ?? [];
      const agents = [...Array(NODES).keys()].map((node) => `node-${node}`);
      const had = await Promise.all(agents.map((agent) => visitor.audit(agent, ANSWER_MS)));
      const truth = had.map((holdings) => holdings?.[0] ?? null);
      if (JSON.stringify(believed) === JSON.stringify(truth)) return;
      found = `the leader believes ${JSON.stringify(believed)}, has ${JSON.stringify(truth)}`;
      await sleep(LOOK_MS);
    }
    throw new Error(found);
  }

  private draw(below: number): number {
    return Math.floor(below * this.random());
  }

  private async killAgent(): Promise<Struck> {
    const at = `node-${this.draw(NODES)}`;
    const before = this.lifeOf(at);
    this.signal(at, 'SIGKILL');
    await this.back(at, before);
    return { at };
  }

  private async stopAgent(): Promise<Struck> {
    const at = `node-${this.draw(NODES)}`;
    const before = this.lifeOf(at);
    await this.stop(at);
    await this.back(at, before);
    return { at, lastedMs: this.world.stopMs };
  }

  private async killLeader(): Promise<Struck> {
    const { name, term } = await this.leader();
    const before = this.lifeOf(name);
    this.signal(name, 'SIGKILL');
    const actedMs = await this.acts(term);
    await this.member(name, before);
    return { at: name, actedMs };
  }

  private async stopLeader(): Promise<Struck> {
    const { name, term } = await this.leader();
    const before = this.lifeOf(name);
    const stopped = this.stop(name);
    const actedMs = await this.acts(term);
    await stopped;
    await this.member(name, before);
    return { at: name, lastedMs: this.world.stopMs, actedMs };
  }

  private async cutLink(): Promise<Struck> {
    const { network } = this.world;
    // A prefill node and a decode node: hand-offs go between them.
    const a = this.draw(PREFILL_NODES);
    const b = PREFILL_NODES + this.draw(NODES - PREFILL_NODES);
    network.cut(a, b);
    await sleep(CUT_MS);
    network.mend(a, b);
    return { at: `node-${a}, node-${b}`, lastedMs: CUT_MS };
  }

  /** Of the store client's objects; its memory is lost. */
  private async killStore(): Promise<Struck> {
    const { objects } = this.world;
    const at = `store-${this.draw(NODES)}`;
    const before = await this.storeLife(at);
    objects.killed(at);
    this.signal(at, 'SIGKILL');
    const back = async () => (await this.storeLife(at)) > before;
    await this.until(`${at} is back`, back, RECOVERS_MS);
    return { at };
  }

  /** Its agent goes on serving, in the same life. */
  private async fillSsd(): Promise<Struck> {
    const { disks } = this.world;
    const node = this.draw(PREFILL_NODES);
    const at = `node-${node}`;
    const life = this.lifeOf(at);
    const refused = async () => (await this.statusOf(at)).ssdFullBlocks;
    const before = await refused();
    const startMs = performance.now();
    disks.fill(node);
    await sleep(FULL_MS);
    while ((await refused()) === before && performance.now() - startMs < FULL_MS_MAX) {
      await sleep(LOOK_MS);
    }
    const refusedBlocks = (await refused()) - before;
    const { free, used } = disks.spaceOf(node);
    if (free > 0) throw new Error(`${at}: a full disk has ${free} bytes free`);
    disks.free(node);
    const lastedMs = performance.now() - startMs;
    const left = disks.spaceOf(node).used;
    if (used <= left) throw new Error(`${at}: nothing was freed`);
    let isIdle = true;
    while (isIdle && performance.now() - startMs - lastedMs < FREED_MS) {
      await sleep(LOOK_MS);
      isIdle = disks.spaceOf(node).used <= left;
    }
    if (this.lifeOf(at) !== life) throw new Error(`${at} did not outlive its full disk`);
    return { at, lastedMs, isIdle, refusedBlocks };
  }

  private async killEtcd(): Promise<Struck> {
    const { cluster, visitor } = this.world;
    const etcd = cluster.etcd!;
    const member = this.draw(etcd.count);
    const leads = (await etcd.leader()) === member;
    await etcd.kill(member);
    const written = visitor.registry.put('chaos/written', String(this.random()), -1);
    await within(written, ACTS_MS, 'a write to etcd');
    await sleep(1000);
    etcd.restart(member);
    await this.until('etcd is whole', () => etcd.serves(member), RECOVERS_MS);
    return { at: leads ? `etcd m${member}, which led` : `etcd m${member}` };
  }

  private lifeOf(name: string): number {
    return this.world.visitor.membership.get(name)?.incarnation ?? -1;
  }

  private async storeLife(name: string): Promise<number> {
    const entry = await this.world.visitor.registry.get(STORES + name);
    return entry === null ? -1 : (JSON.parse(entry.value) as { incarnation: number }).incarnation;
  }

  private signal(name: string, signal: NodeJS.Signals): void {
    const pid = this.world.cluster.children.get(name)?.pid ?? null;
    if (pid !== null) process.kill(pid, signal);
  }

  private async stop(name: string): Promise<void> {
    this.signal(name, 'SIGSTOP');
    await sleep(this.world.stopMs);
    this.signal(name, 'SIGCONT');
  }

  private async leader() {
    const { membership } = this.world.visitor;
    await this.until('somebody leads', async () => membership.leader !== null, ACTS_MS);
    return membership.leader!;
  }

  private async leading(): Promise<MemberStatus | null> {
    const { visitor } = this.world;
    const { leader } = visitor.membership;
    return leader === null ? null : visitor.ask(leader.name, ANSWER_MS);
  }

  private async statusOf(name: string): Promise<MemberStatus> {
    let status: MemberStatus | null = null;
    const asks = async () => {
      status = await this.world.visitor.ask(name, ANSWER_MS);
      return status !== null;
    };
    await this.until(`${name} answers`, asks, ACTS_MS);
    return status!;
  }

  /** Another one leads and knows what all living nodes have; ms that it took. */
  private async acts(term: number): Promise<number> {
    const startMs = performance.now();
    const { membership } = this.world.visitor;
    const holds = async () => {
      const { leader } = membership;
      if (leader === null || leader.term === term) return false;
      const status = await this.leading();
      if (status === null || status.term !== leader.term) return false;
      const alive = status.instances.filter((one) => one.alive).map(({ node }) => node);
      return membership.agents.every((node) => alive.includes(node));
    };
    await this.until('a new leader acts', holds, ACTS_MS);
    return performance.now() - startMs;
  }

  /** The agent lives again, with another life, and the leader knows. */
  private async back(name: string, before: number): Promise<void> {
    const node = Number(name.slice('node-'.length));
    const holds = async () => {
      if (this.lifeOf(name) <= before) return false;
      const own = (await this.leading())?.instances.filter((one) => one.node === node) ?? [];
      return own.length > 0 && own.every(({ alive }) => alive);
    };
    await this.until(`${name} is back`, holds, RECOVERS_MS);
  }

  private async member(name: string, before: number): Promise<void> {
    await this.until(`${name} is back`, async () => this.lifeOf(name) > before, RECOVERS_MS);
  }

  private async until(what: string, holds: () => Promise<boolean>, ms: number): Promise<void> {
    const untilMs = performance.now() + ms;
    while (!(await holds())) {
      if (performance.now() > untilMs) {
        throw new Error(`not within ${ms / 1000} s: ${what}; ${await view(this.world.visitor)}`);
      }
      await sleep(LOOK_MS);
    }
  }
}

export async function within<T>(step: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`hangs: ${what}`)), ms);
  });
  return Promise.race([step, late]).finally(() => clearTimeout(timer));
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Who is there and who leads, by the registry, and what they say of requests and nodes. */
export async function view(visitor: LiveMember): Promise<string> {
  const { now, leader } = visitor.membership;
  const asked = now.map(async ({ name, incarnation }) => {
    const status = await visitor.ask(name, ANSWER_MS);
    return `${name}.${incarnation} ${status === null ? 'silent' : said(status)}`;
  });
  const [load] = loadavg();
  const members = (await Promise.all(asked)).join(', ');
  return `leader ${leader?.name} ${leader?.term}, ${members}, load ${load}`;
}

function said({ term, inFlight, instances }: MemberStatus): string {
  if (term === 0) return '';
  const each = instances.map(({ node, alive, queued, decoding }) =>
    alive ? `${node}: ${queued}+${decoding}` : `${node}: gone`,
  );
  return `(term ${term}, ${inFlight} in flight, queued and decoding ${each.join(', ')})`;
}
