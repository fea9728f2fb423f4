/**
 * Operations of one live process: its meters, alerts, the health of the nodes, and the HTTP face
 * that shows them.
 */
import { InputError } from '../../core/errors.ts';
import { TRANSFER_KINDS } from '../../core/host.ts';
import { Outcome } from '../../core/request.ts';
import { Tier } from '../../core/topology.ts';
import { BLOCKS_MAX } from '../control/message-schema.ts';
import { LEADER_KEY } from '../live/spec.ts';
import { type AlertState, Alerts, type Figures, type Sample } from './alerts.ts';
import { Histogram } from './exposition.ts';
import { NodeHealth, type NodeState } from './health.ts';
import { type Answer, HttpFace, json, type Route } from './http-face.ts';
import { ProcessMeter } from './process-meter.ts';
import { queryOf, whereWouldItGo } from './route.ts';
import { RunMeter, SOURCES } from './run-meter.ts';
import { type Meters, railName, scrape, tiersOf } from './scrape.ts';
import type { OpsWorld } from './world.ts';

const TICK_MS = 1000;
/** The registry is read so often, in ticks, to know how long that takes. */
const REGISTRY_TICKS = 10;
/** Kinds of transfers that cross the network. */
const REMOTE = [TRANSFER_KINDS.indexOf('fetch'), TRANSFER_KINDS.indexOf('stream')];

export class Ops {
  readonly meter: RunMeter;
  private readonly world: OpsWorld;
  private readonly process = new ProcessMeter();
  private readonly alerts: Alerts;
  private readonly health: NodeHealth;
  private readonly registry = { seconds: new Histogram(), errors: 0 };
  private face: HttpFace | null = null;
  private timer: NodeJS.Timeout | null = null;
  private dueMs = 0;
  private ticks = 0;
  /** Whether the process takes part: it joined and has not left. */
  private isReady = false;

  constructor(world: OpsWorld) {
    this.world = world;
    const { topology } = world.live.plan;
    this.meter = new RunMeter(topology);
    this.alerts = new Alerts(world.live.monitoring.alerts);
    this.health = new NodeHealth(topology.nodes.length, world.memberTtlMs, performance.now());
  }

  /**
   * Begins to look, and to answer at `listen`; resolves with where it answers. Null: nowhere.
   * @throws InputError for an address that can't be had or that strangers could reach
   */
  async start(listen: string | null): Promise<string | null> {
    this.dueMs = performance.now() + TICK_MS;
    this.timer = setInterval(() => this.tick(), TICK_MS).unref();
    if (listen === null) return null;
    this.face = new HttpFace(listen, this.world.security, this.routes());
    return this.face.listen();
  }

  /** Whether it takes part in the cluster now. */
  ready(isReady: boolean): void {
    this.isReady = isReady;
  }

  async close(): Promise<void> {
    this.isReady = false;
    if (this.timer !== null) clearInterval(this.timer);
    await this.face?.close();
  }

  /** The members have changed. */
  membersChanged(): void {
    const agents = this.world.members().filter(({ role }) => role === 'agent');
    this.health.members(agents, performance.now());
  }

  /** The channel to a process broke. */
  reset(name: string, why: string): void {
    this.health.reset(name, why, performance.now());
  }

  nodes(): readonly NodeState[] {
    return this.health.states(performance.now());
  }

  alertsNow(): readonly AlertState[] {
    return this.alerts.states(this.figures());
  }

  // --- once a second --------------------------------------------------------------------------

  private tick(): void {
    const nowMs = performance.now();
    this.process.sample(nowMs - this.dueMs);
    this.dueMs = nowMs + TICK_MS;
    this.alerts.add(this.sample(nowMs));
    if (this.ticks++ % REGISTRY_TICKS === 0) void this.askRegistry();
  }

  private async askRegistry(): Promise<void> {
    const fromMs = performance.now();
    try {
      await this.world.registry.get(LEADER_KEY);
      this.registry.seconds.add((performance.now() - fromMs) / 1000);
    } catch {
      this.registry.errors++;
    }
  }

  private sample(atMs: number): Sample {
    const { meter, process } = this;
    const misses = meter.sourceTokens[SOURCES.indexOf('miss')];
    const leads = this.world.role === 'conductor';
    const transfers = new Float64Array(meter.ttft.counts.length);
    for (const kind of REMOTE) {
      const { counts } = meter.transfers[kind];
      for (let i = 0; i < counts.length; i++) transfers[i] += counts[i];
    }
    let rejected = 0;
    for (let code = Outcome.rejectedTtft; code <= Outcome.rejectedNoInstance; code++) {
      rejected += meter.ended[code];
    }
    return {
      atMs,
      lookedUpTokens: leads ? meter.dispatchedTokens : meter.lookedUpTokens,
      hitTokens: leads ? meter.believedTokens : meter.lookedUpTokens - misses,
      arrived: meter.arrived,
      rejected,
      transfers,
      ttft: meter.ttft.counts.slice(),
      gaps: meter.gap.counts.slice(),
      hostCpuRatio: process.hostCpuRatio,
      hostMemoryRatio: process.hostMemoryRatio,
      railBytes: this.world.rails().map(({ movedBytes }) => movedBytes),
    };
  }

  private figures(): Figures {
    const { world, meter } = this;
    const { kv, nodes } = world.live.plan.topology;
    const blockBytes = kv.bytesPerToken[Tier.dram] * kv.blockTokens;
    const own = world.role === 'agent' ? [nodes[world.node]] : nodes;
    return {
      bytesFor: (share) => {
        const blocks = meter.workingSet.blocksFor(share);
        return blocks === null ? null : blocks * blockBytes;
      },
      reusedShare: meter.workingSet.reusedShare,
      dramBytes: own.reduce((sum, { dramCapacityBytes }) => sum + dramCapacityBytes, 0),
      railNames: world.rails().map(({ kind }, i) => railName(kind, i)),
      residentBytes: this.process.residentBytes,
    };
  }

  // --- answers --------------------------------------------------------------------------------

  private routes(): Map<string, Route> {
    const routes = new Map<string, Route>([
      ['GET /metrics', () => this.metrics()],
      ['GET /healthz', () => json({ ok: true })],
      ['GET /readyz', () => this.readiness()],
      ['GET /status', () => json(this.status())],
      ['GET /alerts', () => json(this.alertsNow())],
    ]);
    if (this.world.role !== 'conductor') return routes;
    routes.set('POST /v1/route', (body) => this.route(body));
    routes.set('GET /v1/nodes', () => json(this.nodeList()));
    routes.set('GET /v1/cluster', () => json(this.clusterNow()));
    return routes;
  }

  private metrics(): Answer {
    const meters: Meters = {
      run: this.meter,
      process: this.process,
      registry: this.registry,
      alerts: this.alertsNow(),
      health: this.nodes(),
    };
    return { code: 200, type: 'text/plain; version=0.0.4', body: scrape(this.world, meters) };
  }

  private readiness(): Answer {
    const leader = this.world.leader();
    const ready = this.isReady && leader !== null;
    const why = this.isReady ? (ready ? '' : 'nobody leads') : 'it has not joined, or is leaving';
    return json({ ready, why }, ready ? 200 : 503);
  }

  /** All that an operator's table needs; plain JSON. */
  status() {
    const { world, meter, process } = this;
    const { name, role, node, links } = world;
    const store = world.cluster()?.stores[node] ?? null;
    const misses = meter.sourceTokens[SOURCES.indexOf('miss')];
    return {
      name,
      role,
      node,
      leader: world.leader(),
      term: world.term(),
      speed: world.live.spec.speed,
      registry: world.registry.kind,
      tiers:
        role !== 'agent' || store === null
          ? []
          : tiersOf(store, world).map(([tier, pool, bytes]) => ({
              tier,
              usedBytes: pool.usedSlots * bytes,
              capacityBytes: pool.capacitySlots * bytes,
              evictions: pool.evictions,
            })),
      rails: world.rails().map(({ kind, movedBytes, operations, failures, queued, cause }, i) => ({
        rail: railName(kind, i),
        movedBytes,
        operations,
        failures,
        queued,
        cause,
      })),
      hit: {
        tokens: role === 'conductor' ? meter.believedTokens : meter.lookedUpTokens - misses,
        ofTokens: role === 'conductor' ? meter.dispatchedTokens : meter.lookedUpTokens,
      },
      requests: Object.fromEntries(meter.endedBy().filter(([, count]) => count > 0)),
      links: { ...links.counts, open: links.open },
      cpuSeconds: process.cpuS,
      residentBytes: process.residentBytes,
      hostCpuRatio: process.hostCpuRatio,
      hostMemoryRatio: process.hostMemoryRatio,
      eventLoopLagSeconds: process.lagS,
      ...(role === 'conductor' ? { nodes: this.nodes() } : {}),
      alerts: this.alertsNow(),
    };
  }

  private route(body: unknown): Answer {
    const { plan } = this.world.live;
    const query = queryOf(body, plan.topology.kv.blockTokens, BLOCKS_MAX);
    const cluster = this.world.cluster();
    if (cluster === null || this.world.term() === 0) {
      return json({ error: `on standby; ${this.world.leader() ?? 'nobody'} leads` }, 503);
    }
    try {
      return json(whereWouldItGo(plan, cluster, query));
    } catch (error) {
      if (error instanceof InputError) throw error;
      return json({ error: `a policy failed: ${(error as Error).message}` }, 500);
    }
  }

  private nodeList() {
    const { topology } = this.world.live.plan;
    const { meter } = this;
    const blockBytes = topology.kv.bytesPerToken[Tier.dram] * topology.kv.blockTokens;
    const views = this.world.cluster()?.conductor.views ?? null;
    return this.nodes().map((state) => ({
      ...state,
      nodeName: topology.nodes[state.node].name,
      dramUsedBytes: meter.nodeBlocks[Tier.dram][state.node] * blockBytes,
      dramCapacityBytes: topology.nodes[state.node].dramCapacityBytes,
      instances: topology.instances
        .filter(({ node }) => node === state.node)
        .map(({ id, name }) => ({
          name,
          roles: views?.rolesOf(id) ?? [],
          queuedRequests: views?.queuedRequests(id) ?? 0,
          decodeRequests: views?.decodeRequests(id) ?? 0,
        })),
    }));
  }

  private clusterNow() {
    const { world } = this;
    const { spec, plan } = world.live;
    return {
      leader: world.leader(),
      term: world.term(),
      speed: spec.speed,
      model: plan.topology.kv.model,
      blockTokens: plan.topology.kv.blockTokens,
      blockBytes: spec.blockBytes,
      policies: Object.fromEntries(
        Object.entries(plan.policies).map(([kind, { name }]) => [kind, name]),
      ),
      members: world.members().map(({ name, role, node, endpoint, incarnation, http }) => ({
        name,
        role,
        node,
        endpoint,
        incarnation,
        http: http ?? null,
      })),
    };
  }
}
