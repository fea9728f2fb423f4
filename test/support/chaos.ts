/**
 * A live cluster of real processes under load while something kills, stops and takes away parts of
 * it; what must hold all the same is checked here. One seed is one run.
 */
import seedrandom from 'seedrandom';
import type { LiveMember } from '../../src/runtime/live/member.ts';
import type { LiveSpec } from '../../src/runtime/live/spec.ts';
import type { MemberStatus } from '../../src/runtime/live/status.ts';
import { specOf } from '../../src/study/live/cluster-spec.ts';
import { drive } from '../../src/study/live/drive.ts';
import { LocalCluster } from '../../src/study/live/local-cluster.ts';
import type { LiveResult } from '../../src/study/live/results.ts';
import { visiting } from '../../src/study/live/visitor.ts';
import { openTrace } from '../../src/trace/index.ts';
import { Network } from './network.ts';

export const FAULTS = [
  'kill-agent',
  'kill-leader',
  'kill-etcd',
  'stop-agent',
  'stop-leader',
  'cut-link',
] as const;
export type FaultKind = (typeof FAULTS)[number];
const KILLS = FAULTS.filter((kind) => kind.startsWith('kill'));

/** What one fault did. */
export interface Recovery {
  readonly kind: FaultKind;
  /** From the fact (of a stop: from its end) until all was as before, ms. */
  readonly recoveredMs: number;
  /** Of a leader: from the fact until another one leads that knows every living node, ms. */
  readonly actedMs: number | null;
}

export interface ChaosRun {
  readonly seed: string;
  readonly recoveries: readonly Recovery[];
  readonly requests: LiveResult['requests'];
  readonly verifiedBlocks: number;
  readonly durationSec: number;
}

export interface ChaosOptions {
  readonly requests: number;
  readonly faults: number;
  /** The first fault; the others are drawn, kills alone. Without it all are drawn from all. */
  readonly first?: FaultKind;
  /** Of a SIGSTOP, ms. */
  readonly stopMs: number;
}

const NODES = 4;
const SPEED = 60;
const BLOCK_BYTES = 16_384;
/** Two prefill and two decode; a DRAM that evicts. */
const SETS = [
  'cluster.groups.0.count=2',
  'cluster.groups.1.count=2',
  'cluster.groups.0.dram=200ktokens',
];
const TOKEN = 'chaos-0123456789abcdef-chaos';
/** A new leader acts within this (CORE.md, protocol 10). */
const ACTS_MS = 10_000;
const RECOVERS_MS = 40_000;
const RUN_MS = 180_000;
const LOOK_MS = 50;
/** Longer than a channel lives unanswered. */
const CUT_MS = 6000;
const ANSWER_MS = 1000;

export async function chaosRun(seed: string, options: ChaosOptions): Promise<ChaosRun> {
  const startMs = performance.now();
  const random = seedrandom.alea(`${seed}/chaos`);
  const trace = await openTrace('demo', { limit: options.requests });
  const sized = { blockTokens: trace.blockTokens, blocks: 1 << 20 };
  const own = { nodes: NODES, sets: SETS, speed: SPEED, transport: 'tcp', logs: null } as const;
  const spec: LiveSpec = {
    ...(await specOf(own, sized)),
    blockBytes: BLOCK_BYTES,
    prefault: false,
  };
  const notes: string[] = [];
  const network = new Network(NODES);
  const cluster = await LocalCluster.start({
    etcdHost: network.host,
    place: (name) => network.place(name),
    spec,
    token: TOKEN,
    nodes: [0, 1, 2, 3],
    conductors: 2,
    etcd: 3,
    restarts: () => true,
    onEnd: (error) => notes.push(error.message),
    onWarning: (message) => notes.push(message),
  });
  const where = { registry: cluster.registry, token: TOKEN, listen: `${network.host}:0` };
  const fail = (what: string) => new Error(`seed ${seed}: ${what}\n${notes.slice(-12).join('\n')}`);
  try {
    return await visiting(where, async (visitor) => {
      const chaos = new Chaos(cluster, network, visitor, random, options.stopMs);
      let playing = (): void => {};
      const begun = new Promise<void>((resolve) => {
        playing = resolve;
      });
      const load = { trace, agents: NODES, utilisation: 0.5, onPlay: playing };
      const run = drive(where, { ...load, onWarning: (message) => notes.push(message) });
      run.catch(() => {});
      const faults = async () => {
        await begun;
        for (let i = 0; i < options.faults; i++) {
          await sleep(300 + 1500 * random());
          const from = options.first === undefined ? FAULTS : KILLS;
          const drawn = from[Math.floor(random() * from.length)];
          await chaos.strike(i === 0 ? (options.first ?? drawn) : drawn);
        }
      };
      const all = Promise.all([within(run, RUN_MS, 'the requests'), faults()]);
      const [result] = await all.catch((error: Error) => {
        throw fail(error.message);
      });
      checkResult(result, trace.requests, fail);
      await chaos.checkHoldings(fail);
      const again = await within(
        drive(where, { ...load, trace: await openTrace('demo', { limit: 20 }) }),
        RUN_MS,
        'the requests after all',
      );
      checkResult(again, 20, fail);
      if (again.requests.completed !== 20) throw fail('not all is well after all');
      return {
        seed,
        recoveries: chaos.recoveries,
        requests: result.requests,
        verifiedBlocks: result.live.verifiedBlocks + again.live.verifiedBlocks,
        durationSec: (performance.now() - startMs) / 1000,
      };
    });
  } finally {
    await cluster.stop();
    network.close();
  }
}

/** Every request has had its end, with a cause; no wrong byte was served. */
function checkResult(
  { requests, live }: LiveResult,
  arrived: number,
  fail: (what: string) => Error,
): void {
  const { completed, rejected, failed, cancelled, inFlight, causes } = requests;
  const ended = completed + rejected + failed + cancelled;
  if (requests.arrived !== arrived || inFlight !== 0 || ended !== arrived) {
    throw fail(`found ${JSON.stringify(requests)}, expected ${arrived} ends`);
  }
  const caused = Object.values(causes).reduce((sum, count) => sum + count, 0);
  if (caused !== rejected + failed) throw fail(`ends without a cause: ${JSON.stringify(requests)}`);
  if (live.checksumFailures !== 0) throw fail(`${live.checksumFailures} wrong blocks`);
}

class Chaos {
  readonly recoveries: Recovery[] = [];
  private readonly cluster: LocalCluster;
  private readonly network: Network;
  private readonly visitor: LiveMember;
  private readonly random: () => number;
  private readonly stopMs: number;

  constructor(
    cluster: LocalCluster,
    network: Network,
    visitor: LiveMember,
    random: () => number,
    stopMs: number,
  ) {
    this.cluster = cluster;
    this.network = network;
    this.visitor = visitor;
    this.random = random;
    this.stopMs = stopMs;
  }

  async strike(kind: FaultKind): Promise<void> {
    const startMs = performance.now();
    const recovery = await this.fault(kind);
    const recoveredMs = performance.now() - startMs - recovery.stoppedMs;
    this.recoveries.push({ kind, recoveredMs, actedMs: recovery.actedMs });
  }

  private async fault(kind: FaultKind): Promise<{ stoppedMs: number; actedMs: number | null }> {
    const agent = `node-${Math.floor(this.random() * NODES)}`;
    switch (kind) {
      case 'kill-agent': {
        const before = this.lifeOf(agent);
        this.signal(agent, 'SIGKILL');
        await this.back(agent, before);
        return { stoppedMs: 0, actedMs: null };
      }
      case 'stop-agent': {
        const before = this.lifeOf(agent);
        await this.stop(agent);
        await this.back(agent, before);
        return { stoppedMs: this.stopMs, actedMs: null };
      }
      case 'kill-etcd':
        await this.killEtcd();
        return { stoppedMs: 0, actedMs: null };
      case 'cut-link': {
        // A prefill node and a decode node: hand-offs go between them.
        const [a, b] = [Math.floor(2 * this.random()), 2 + Math.floor(2 * this.random())];
        this.network.cut(a, b);
        await sleep(CUT_MS);
        this.network.mend(a, b);
        return { stoppedMs: CUT_MS, actedMs: null };
      }
      case 'kill-leader': {
        const { name, term } = await this.leader();
        const before = this.lifeOf(name);
        this.signal(name, 'SIGKILL');
        const actedMs = await this.acts(term);
        await this.member(name, before);
        return { stoppedMs: 0, actedMs };
      }
      default: {
        const { name, term } = await this.leader();
        const before = this.lifeOf(name);
        const stopped = this.stop(name);
        const actedMs = await this.acts(term);
        await stopped;
        await this.member(name, before);
        return { stoppedMs: this.stopMs, actedMs };
      }
    }
  }

  /** What the leader believes of every node is what the node's store has. */
  async checkHoldings(fail: (what: string) => Error): Promise<void> {
    let found = '';
    for (let tries = 0; tries < 100; tries++) {
      const { name } = await this.leader();
      const believed = (await this.visitor.audit(name, ANSWER_MS)) ?? [];
      const agents = [...Array(NODES).keys()].map((node) => `node-${node}`);
      const had = await Promise.all(agents.map((agent) => this.visitor.audit(agent, ANSWER_MS)));
      const truth = had.map((holdings) => holdings?.[0] ?? null);
      if (JSON.stringify(believed) === JSON.stringify(truth)) return;
      found = `the leader believes ${JSON.stringify(believed)}, has ${JSON.stringify(truth)}`;
      await sleep(LOOK_MS);
    }
    throw fail(found);
  }

  private lifeOf(name: string): number {
    return this.visitor.membership.get(name)?.incarnation ?? -1;
  }

  private signal(name: string, signal: NodeJS.Signals): void {
    const pid = this.cluster.children.get(name)?.pid ?? null;
    if (pid !== null) process.kill(pid, signal);
  }

  private async stop(name: string): Promise<void> {
    this.signal(name, 'SIGSTOP');
    await sleep(this.stopMs);
    this.signal(name, 'SIGCONT');
  }

  private async leader() {
    const { membership } = this.visitor;
    await this.until('somebody leads', async () => membership.leader !== null, ACTS_MS);
    return membership.leader!;
  }

  private async leading(): Promise<MemberStatus | null> {
    const { leader } = this.visitor.membership;
    return leader === null ? null : this.visitor.ask(leader.name, ANSWER_MS);
  }

  /** Another one leads and knows what all living nodes have; ms that it took. */
  private async acts(term: number): Promise<number> {
    const startMs = performance.now();
    const { membership } = this.visitor;
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

  private async killEtcd(): Promise<void> {
    const etcd = this.cluster.etcd!;
    const member = Math.floor(this.random() * etcd.count);
    await etcd.kill(member);
    const written = this.visitor.registry.put('chaos/written', String(this.random()), -1);
    await within(written, ACTS_MS, 'a write to etcd');
    await sleep(1000);
    etcd.restart(member);
    await this.until('etcd is whole', async () => etcd.serves(member), RECOVERS_MS);
  }

  private async until(what: string, holds: () => Promise<boolean>, ms: number): Promise<void> {
    const untilMs = performance.now() + ms;
    while (!(await holds())) {
      if (performance.now() > untilMs) throw new Error(`not within ${ms / 1000} s: ${what}`);
      await sleep(LOOK_MS);
    }
  }
}

async function within<T>(step: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`hangs: ${what}`)), ms);
  });
  return Promise.race([step, late]).finally(() => clearTimeout(timer));
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
