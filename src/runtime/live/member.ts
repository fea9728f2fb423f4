/**
 * One process of a live cluster. It joins the registry, finds the others and hosts its machines;
 * when its membership is lost it begins anew, as another life of the same name. Agents and
 * conductors come back empty; an ingress keeps its requests, which it owns.
 */
import type { TraceColumns } from '../../core/trace-columns.ts';
import type { Workload } from '../../core/workload.ts';
import { Channels, railsAt } from '../control/channels.ts';
import type { LinkProbe, Links } from '../control/links.ts';
import type { Security, Tls } from '../control/security.ts';
import { Ops } from '../ops/ops.ts';
import { residentMemory } from '../process-memory.ts';
import { type Campaign, campaign, type Leadership } from '../registry/election.ts';
import type { RegistryRef } from '../registry/open.ts';
import { ABSENT, ANY, type Lease, type Registry, RegistryError } from '../registry/registry.ts';
import { BucketEntry } from './bucket-entry.ts';
import { type HostLetter, hostLetterOf } from './letters.ts';
import { Machines } from './machines.ts';
import { Membership } from './membership.ts';
import { Operations } from './operations.ts';
import { Reporter, type Seen } from './reporter.ts';
import {
  LEADER_KEY,
  type LivePlan,
  MEMBERS,
  type Member,
  nextIncarnation,
  planOf,
  readSpec,
} from './spec.ts';
import type { Holding, MemberStatus } from './status.ts';

/** Of memberships and of the leader: how long a dead process is believed alive. */
export const MEMBER_TTL_MS = 5000;
/** Between two tries to join anew, growing. */
const RETRY_MS = 100;
const RETRY_MS_MAX = 2000;

export interface MemberOptions {
  readonly name: string;
  readonly role: Member['role'];
  /** Of an agent, else -1. */
  readonly node: number;
  /** `host:port` to listen on. */
  readonly listen: string;
  /** Null: none is asked for; then there must be `tls`, or nobody but this machine listens. */
  readonly token: string | null;
  /** Mutual TLS on all channels, and with etcd. */
  readonly tls?: Tls | null;
  /** `host:port` of its metrics and status; null: none. Default: a free port of loopback. */
  readonly http?: string | null;
  readonly registry: RegistryRef;
  /** The process can't go on: a machine threw, or another process has its name. */
  readonly onError: (error: unknown) => void;
  /** An operator sent it away: it has nothing left to do. */
  readonly onDepart?: () => void;
  /** What an operator should know; the process goes on. */
  readonly onWarning?: (message: string) => void;
  /** Of an ingress: what the members saw of the run. */
  readonly onSeen?: (seen: readonly Seen[]) => void;
  /** Of a bench. */
  readonly probe?: LinkProbe;
}

/** From joining to the loss of the membership. */
interface Life {
  readonly incarnation: number;
  readonly lease: Lease;
  candidate: Campaign | null;
  leadership: Leadership | null;
  /** The registry has shown it. */
  seen: boolean;
}

export class LiveMember {
  readonly name: string;
  readonly registry: Registry;
  readonly links: Links;
  readonly membership = new Membership();
  readonly reporter: Reporter;
  /** Where its metrics and status are, once it has joined; null: nowhere. */
  http: string | null = null;
  private readonly options: MemberOptions;
  private readonly channels: Channels;
  private readonly operations: Operations;
  private readonly buckets: BucketEntry;
  private readonly startMs = Date.now();
  private life: Life | null = null;
  private machines: Machines | null = null;
  private live: LivePlan | null = null;
  private ops: Ops | null = null;
  private leaving = false;
  /** Those who wait for a member's status, or for its audit, by its name. */
  private readonly asking = new Map<string, ((status: MemberStatus | null) => void)[]>();
  private readonly auditing = new Map<string, ((audit: readonly Holding[] | null) => void)[]>();

  /** @throws InputError where strangers could reach it */
  constructor(options: MemberOptions) {
    this.options = options;
    this.name = options.name;
    this.channels = new Channels({
      name: options.name,
      listen: options.listen,
      security: this.security,
      registry: options.registry,
      endpointOf: (peer) => this.membership.get(peer)?.endpoint ?? null,
      onLetter: (peer, letter) => this.receive(peer, letter),
      onReset: (peer, cause) => this.reset(peer, cause),
      probe: options.probe,
    });
    this.links = this.channels.links;
    this.registry = this.channels.registry;
    this.reporter = new Reporter((peer, seen) => this.say(peer, ['seen', seen]));
    this.buckets = new BucketEntry({
      registry: this.registry,
      onMap: (map) => this.machines?.hearBuckets(map),
      leads: (term) => this.life?.leadership?.term === term,
    });
    this.operations = new Operations({
      registry: this.registry,
      membership: this.membership,
      machines: () => this.machines,
      depart: (name) => this.say(name, ['depart']),
    });
  }

  private get security(): Security {
    return { token: this.options.token, tls: this.options.tls ?? null };
  }

  /** Joins with its machines. The spec must be in the registry. */
  async join(): Promise<void> {
    await this.links.listen();
    await this.begin();
    await this.follow();
    if (this.options.role === 'conductor') await this.operations.start();
  }

  /** Sees who is there, and can be answered, without being a member. */
  async observe(): Promise<void> {
    await this.links.listen();
    await this.follow();
  }

  private async follow(): Promise<void> {
    await this.registry.watch(MEMBERS, (entries) => {
      const { gone, came } = this.membership.update(entries);
      this.onMembers(gone, came);
    });
    await this.registry.watch(LEADER_KEY, (entries) => {
      if (this.membership.updateLeader(entries)) this.onLeader();
    });
    await this.buckets.follow();
  }

  /** Resolves when so many agents are members and a conductor leads. */
  ready(agents: number): Promise<void> {
    const { membership } = this;
    return membership.until(() => {
      const { leader } = membership;
      const led = leader !== null && membership.get(leader.name) !== undefined;
      return led && membership.agents.length >= agents;
    });
  }

  /** Starts the workload; of the ingress alone. Its first request has the number `first`. */
  play(trace: TraceColumns, first: number): Workload {
    if (this.machines === null) throw new Error('play before join');
    return this.machines.play(trace, first);
  }

  /** The plan of the cluster, once it has joined. */
  get plan(): LivePlan {
    if (this.live === null) throw new Error('a plan before join');
    return this.live;
  }

  /** What a member says of itself; null when it does not answer. Whatever it saw comes before. */
  ask(name: string, timeoutMs: number): Promise<MemberStatus | null> {
    return this.question(this.asking, name, timeoutMs, ['status?']);
  }

  /** What an agent's store has, or what the leader believes that all have. */
  audit(name: string, timeoutMs: number): Promise<readonly Holding[] | null> {
    return this.question(this.auditing, name, timeoutMs, ['audit?']);
  }

  private question<T>(
    all: Map<string, ((answer: T | null) => void)[]>,
    name: string,
    timeoutMs: number,
    letter: HostLetter,
  ): Promise<T | null> {
    return new Promise((resolve) => {
      const waiting = all.get(name) ?? [];
      all.set(name, waiting);
      const answered = (answer: T | null) => {
        clearTimeout(timer);
        resolve(answer);
      };
      const timer = setTimeout(() => {
        // An answer that comes later is none to the next question.
        waiting.splice(waiting.indexOf(answered), 1);
        resolve(null);
      }, timeoutMs);
      waiting.push(answered);
      this.say(name, letter);
    });
  }

  /** Leaves: gives up its lease and closes everything. */
  async leave(): Promise<void> {
    this.leaving = true;
    this.operations.stop();
    await this.ops?.close();
    const { life } = this;
    this.life = null;
    this.reporter.flush();
    await this.machines?.close(true);
    if (life !== null) await this.giveUp(life);
    await this.channels.close();
  }

  // --- lives ----------------------------------------------------------------------------------

  private async begin(): Promise<void> {
    const { role, node, listen } = this.options;
    const incarnation = await nextIncarnation(this.registry, this.name);
    const spec = await readSpec(this.registry);
    const same = this.live !== null && JSON.stringify(this.live.spec) === JSON.stringify(spec);
    if (!same) this.live = await planOf(spec);
    if (this.leaving) return;
    if (this.ops === null || !same) await this.openOps();
    if (role !== 'ingress' || this.machines === null) {
      this.machines = await this.make(incarnation);
    }
    const lease = await this.registry.lease(MEMBER_TTL_MS);
    const life: Life = { incarnation, lease, candidate: null, leadership: null, seen: false };
    const host = listen.slice(0, listen.lastIndexOf(':'));
    const member: Member = {
      name: this.name,
      role,
      node,
      endpoint: `${host}:${this.links.port}`,
      incarnation,
      segment: this.machines?.segment ?? null,
      http: this.http,
    };
    if (!(await this.enter(lease, member))) {
      await lease.end();
      throw new RegistryError(`another ${this.name} is at work`);
    }
    this.life = life;
    // A store that begins anew knows no map.
    if (this.buckets.now !== null) this.machines?.hearBuckets(this.buckets.now);
    this.ops?.ready(true);
    void lease.lost.then(() => this.renew(life, 'its membership was lost'));
    if (role === 'conductor') void this.stand(life);
  }

  /**
   * There is one ingress; one that died, or could not take its entry away, is waited for. Whoever
   * else has the name of an agent is replaced.
   */
  private async enter(lease: Lease, member: Member): Promise<boolean> {
    const expected = member.role === 'ingress' ? ABSENT : ANY;
    const untilMs = Date.now() + 2 * MEMBER_TTL_MS;
    for (;;) {
      const put = await lease.put(MEMBERS + this.name, JSON.stringify(member), expected);
      if (put !== null || Date.now() > untilMs) return put !== null;
      await sleep(RETRY_MS_MAX / 4);
    }
  }

  private async openOps(): Promise<void> {
    const { role, node, token, tls = null, http = '127.0.0.1:0' } = this.options;
    await this.ops?.close();
    this.ops = new Ops({
      name: this.name,
      role,
      node,
      live: this.plan,
      links: this.links,
      registry: this.registry,
      security: { token, tls },
      memberTtlMs: MEMBER_TTL_MS,
      cluster: () => this.machines?.wired ?? null,
      members: () => this.membership.now,
      leader: () => this.membership.leader?.name ?? null,
      term: () => this.life?.leadership?.term ?? 0,
      rails: () => this.machines?.railInfos ?? [],
      moved: () => ({
        verifiedBlocks: this.machines?.verifiedBlocks ?? 0,
        wrongBytes: this.reporter.wrongBytes,
      }),
    });
    // A plan that changed finds the operators where they were.
    this.http = await this.ops.start(this.http ?? http);
  }

  private make(incarnation: number): Promise<Machines> {
    const { role, node, listen, onError } = this.options;
    return Machines.open({
      live: this.plan,
      name: this.name,
      role,
      node,
      incarnation,
      rails: railsAt(listen, this.security, this.plan.spec.rails),
      links: this.links,
      membership: this.membership,
      reporter: this.reporter,
      observers: this.ops === null ? [] : [this.ops.meter],
      onError,
      onWarning: (message) => this.options.onWarning?.(message),
      onBuckets: (map) => this.buckets.publish(map),
    });
  }

  /** A life is over: another one begins, however long that takes. */
  private async renew(life: Life, why: string): Promise<void> {
    if (this.leaving || this.life !== life) return;
    this.life = null;
    this.ops?.ready(false);
    this.warn(`${why}: it joins anew`);
    if (this.options.role !== 'ingress') {
      const { machines } = this;
      this.machines = null;
      await machines?.close(false);
    }
    // What was said to the old life, and by it, is over.
    for (const { name } of this.membership.now) this.links.drop(name, why);
    await this.giveUp(life);
    for (let tries = 0; !this.leaving && this.life === null; tries++) {
      try {
        await this.begin();
      } catch (error) {
        this.warn(`it can't join: ${(error as Error).message}`);
        if (this.options.role !== 'ingress') {
          await this.machines?.close(false);
          this.machines = null;
        }
        await sleep(Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** tries));
      }
    }
    // Who leads was told of the old life alone.
    this.onLeader();
    for (const { name } of this.membership.now) this.watchOther(name);
  }

  private warn(message: string): void {
    this.options.onWarning?.(`${this.name}: ${message}`);
  }

  private async giveUp({ candidate, leadership, lease }: Life): Promise<void> {
    const settle = async (step: Promise<unknown> | undefined) => {
      await step?.catch(() => {});
    };
    await settle(leadership?.resign());
    await settle(candidate?.cancel());
    await settle(lease.end());
  }

  private async stand(life: Life): Promise<void> {
    try {
      life.candidate = campaign(this.registry, LEADER_KEY, this.name, MEMBER_TTL_MS);
      const leadership = await life.candidate.elected;
      life.leadership = leadership;
      if (this.life !== life) return;
      void leadership.lost.then(() => this.renew(life, 'its leadership was lost'));
      this.warn(`it leads, term ${leadership.term}`);
      const map = await this.buckets.read();
      if (this.life !== life) return;
      this.machines?.lead(leadership.term, map);
      this.operations.lead();
    } catch (error) {
      void this.renew(life, (error as Error).message);
    }
  }

  // --- the others -----------------------------------------------------------------------------

  private onMembers(gone: readonly Member[], came: readonly Member[]): void {
    this.checkSelf();
    for (const member of gone) {
      if (member.name === this.name) continue;
      this.machines?.part(member);
      this.reporter.unwatch(member.name);
      const why = 'it left the cluster, or began anew';
      if (!this.links.drop(member.name, why)) this.reset(member.name, why);
    }
    this.machines?.meet(came);
    this.ops?.membersChanged();
    for (const { name } of came) {
      this.watchOther(name);
      // What was said to it before it was known went nowhere.
      const began = gone.some((member) => member.name === name);
      if (!began && name !== this.name) this.machines?.process.reset(name);
    }
    this.operations.apply(came.map(({ node }) => node));
  }

  /** An ingress wants to know what the others see. */
  private watchOther(name: string): void {
    if (this.options.onSeen !== undefined) this.say(name, ['watch']);
  }

  /** The registry may know first that its life is over, or that another process has its name. */
  private checkSelf(): void {
    const { life } = this;
    if (life === null) return;
    const found = this.membership.get(this.name)?.incarnation ?? -1;
    if (found === life.incarnation) life.seen = true;
    else if (found > life.incarnation) {
      this.options.onError(new RegistryError(`another process is ${this.name} now`));
    } else if (life.seen) void this.renew(life, 'the registry has forgotten it');
  }

  /** What was said to whoever led before may be lost, and who leads now must be told. */
  private onLeader(): void {
    if (this.membership.leader !== null) this.machines?.hearLeader();
  }

  private receive(peer: string, letter: unknown): void {
    const word = hostLetterOf(letter);
    if (word === null) this.machines?.process.receive(peer, letter);
    else this.hear(peer, word);
  }

  private hear(peer: string, letter: HostLetter): void {
    switch (letter[0]) {
      case 'status?':
        this.reporter.flush();
        this.say(peer, ['status', this.status()]);
        return;
      case 'audit?':
        this.say(peer, ['audit', this.machines?.audit() ?? []]);
        return;
      case 'audit':
        this.auditing.get(peer)?.shift()?.(letter[1]);
        return;
      case 'status':
        this.asking.get(peer)?.shift()?.(letter[1]);
        return;
      case 'watch':
        this.reporter.watch(peer);
        return;
      case 'seen':
        this.options.onSeen?.(letter[1]);
        return;
      default:
        // Said again until it goes; by who leads, and nobody else.
        if (peer !== this.membership.leader?.name) return;
        if (this.machines?.isIdle === true) this.options.onDepart?.();
    }
  }

  private say(peer: string, letter: HostLetter): void {
    if (peer !== this.name) this.links.send(peer, letter);
    else setImmediate(() => this.hear(peer, letter));
  }

  private reset(peer: string, cause: string): void {
    this.ops?.reset(peer, cause);
    for (const answer of this.asking.get(peer)?.splice(0) ?? []) answer(null);
    for (const answer of this.auditing.get(peer)?.splice(0) ?? []) answer(null);
    this.machines?.process.reset(peer);
    if (this.life !== null && this.membership.get(peer) !== undefined) this.watchOther(peer);
  }

  private status(): MemberStatus {
    const { user, system } = process.cpuUsage();
    const { wrongBytes, promptTokens, cachedTokens } = this.reporter;
    return {
      name: this.name,
      role: this.options.role,
      node: this.options.node,
      incarnation: this.life?.incarnation ?? -1,
      pid: process.pid,
      upSec: (Date.now() - this.startMs) / 1000,
      ...residentMemory(),
      cpuSec: (user + system) / 1e6,
      term: this.life?.leadership?.term ?? 0,
      wrongBytes,
      promptTokens,
      cachedTokens,
      alerts: (this.ops?.alertsNow() ?? []).filter(({ state }) => state === 'firing'),
      http: this.http,
      ...(this.machines?.status() ?? NO_MACHINES),
    };
  }
}

const NO_MACHINES = {
  tiers: [],
  rails: [],
  movedBytes: 0,
  verifiedBlocks: 0,
  ssdFullBlocks: 0,
  evictions: 0,
  moves: null,
  instances: [],
  inFlight: 0,
} as const;

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
