/** The state of one process as Prometheus reads it. */
import { COUNT_NAMES, TRANSFER_KINDS } from '../../core/host.ts';
import type { StoreNode } from '../../core/store-node.ts';
import type { TierPool } from '../../core/tier-pool.ts';
import { Tier } from '../../core/topology.ts';
import { RAIL_STATES } from '../native.ts';
import type { AlertState } from './alerts.ts';
import { Exposition, type Histogram } from './exposition.ts';
import type { NodeState } from './health.ts';
import { METRICS as M } from './metric-list.ts';
import type { ProcessMeter } from './process-meter.ts';
import { FAILURES, type RunMeter, SOURCES } from './run-meter.ts';
import type { OpsWorld } from './world.ts';

/** What is scraped beside the world itself. */
export interface Meters {
  readonly run: RunMeter;
  readonly process: ProcessMeter;
  readonly registry: { readonly seconds: Histogram; readonly errors: number };
  readonly alerts: readonly AlertState[];
  readonly health: readonly NodeState[];
}

export function scrape(world: OpsWorld, meters: Meters): string {
  const { name, node, role } = world;
  const where = role === 'agent' ? { node: String(node) } : {};
  const model = world.live.plan.topology.kv.model;
  const out = new Exposition({ model_name: model, member: name, ...where });
  if (role === 'agent') agent(out, world, meters.run);
  if (role === 'conductor') conductor(out, world, meters);
  out.add(M.events, named(COUNT_NAMES, meters.run.counts));
  links(out, world);
  own(out, world, meters);
  return out.text();
}

/** Samples with one label each. */
function named(
  names: readonly string[],
  values: ArrayLike<number>,
): [labels: readonly string[], value: number][] {
  return names.map((name, i) => [[name], values[i]]);
}

function agent(out: Exposition, world: OpsWorld, run: RunMeter): void {
  const cluster = world.cluster();
  const { topology } = world.live.plan;
  const own = topology.instances.filter(({ node }) => node === world.node);
  const sum = (of: 'runningRequests' | 'waitingRequests') =>
    own.reduce((all, { id }) => all + (cluster?.instances[id][of] ?? 0), 0);
  out.one(M.running, sum('runningRequests'));
  out.one(M.waiting, sum('waitingRequests'));
  out.one(M.queries, run.lookedUpTokens);
  out.one(M.hits, run.lookedUpTokens - run.sourceTokens[SOURCES.indexOf('miss')]);
  out.one(M.promptTokens, run.promptTokens);
  out.one(M.generated, run.generatedTokens);
  out.histograms(M.ttft, [[[], run.ttft]]);
  out.histograms(M.gap, [[[], run.gap]]);
  out.histograms(M.e2e, [[[], run.e2e]]);
  out.histograms(M.queueTime, [[[], run.queue]]);
  out.one(M.preemptions, run.counts[COUNT_NAMES.indexOf('preempted')]);
  out.add(M.hitTokens, named(SOURCES, run.sourceTokens));
  out.one(M.stale, run.staleTokens);
  if (cluster !== null) tiers(out, world, cluster.stores[world.node]);
  if (cluster !== null) moves(out, cluster.stores[world.node]);
  out.add(M.moved, named(TRANSFER_KINDS, run.movedBytes));
  out.histograms(
    M.transfer,
    TRANSFER_KINDS.map((kind, i) => [[kind], run.transfers[i]]),
  );
  out.add(M.failed, named(FAILURES, run.failures));
  out.one(M.leases, run.leaseRequests);
  out.one(M.leasedBlocks, run.leasedBlocks);
  const { verifiedBlocks, wrongBytes } = world.moved();
  out.one(M.verified, verifiedBlocks);
  out.one(M.wrong, wrongBytes);
  rails(out, world);
}

/** Tiers of a store that peers share, with their names and the bytes of a block there. */
export function tiersOf(store: StoreNode, world: OpsWorld): [string, TierPool, number][] {
  const { bytesPerToken, blockTokens } = world.live.plan.topology.kv;
  const bytes = (tier: Tier) => bytesPerToken[tier] * blockTokens;
  const found: [string, TierPool, number][] = [['dram', store.dram, bytes(Tier.dram)]];
  if (store.ssd !== null) found.push(['ssd', store.ssd, bytes(Tier.ssd)]);
  return found;
}

/** Blocks that go to new homes. */
function moves(out: Exposition, store: StoreNode): void {
  const { version, remaining, movedBlocks, movedBytes, stuck } = store.moves;
  out.one(M.mapVersion, version);
  out.one(M.movesLeft, remaining);
  out.one(M.movedHome, movedBlocks);
  out.one(M.movedHomeBytes, movedBytes);
  out.one(M.movesStuck, stuck);
}

function tiers(out: Exposition, world: OpsWorld, store: StoreNode): void {
  const all = tiersOf(store, world);
  out.one(M.kvUsage, store.dram.usedSlots / Math.max(1, store.dram.capacitySlots));
  const used = all.map(([name, pool, bytes]) => [[name], pool.usedSlots * bytes] as const);
  const capacity = all.map(([name, pool, bytes]) => [[name], pool.capacitySlots * bytes] as const);
  out.add(M.tierUsed, used);
  out.add(M.tierCapacity, capacity);
  out.add(
    M.evictions,
    all.map(([name, pool]) => [[name], pool.evictions] as const),
  );
}

/** Rails are named by their kind and number. */
export function railName(kind: string, index: number): string {
  return `${kind}${index}`;
}

function rails(out: Exposition, world: OpsWorld): void {
  const all = world.rails();
  const names = all.map(({ kind }, i) => railName(kind, i));
  const each = (of: (rail: (typeof all)[number]) => number) => named(names, all.map(of));
  out.add(
    M.railBytes,
    each(({ movedBytes }) => movedBytes),
  );
  out.add(
    M.railOperations,
    each(({ operations }) => operations),
  );
  out.add(
    M.railFailures,
    each(({ failures }) => failures),
  );
  out.add(
    M.railQueued,
    each(({ queued }) => queued),
  );
  out.add(
    M.railUp,
    each(({ state }) => (RAIL_STATES[state] === 'open' ? 1 : 0)),
  );
}

function conductor(out: Exposition, world: OpsWorld, { run, health }: Meters): void {
  const { topology } = world.live.plan;
  const { kv, nodes, instances } = topology;
  const blockBytes = kv.bytesPerToken[Tier.dram] * kv.blockTokens;
  const dram = run.nodeBlocks[Tier.dram];
  const sum = (values: Iterable<number>) => [...values].reduce((all, value) => all + value, 0);
  const names = nodes.map(({ name }) => name);
  const capacities = nodes.map(({ dramCapacityBytes }) => dramCapacityBytes);
  out.one(M.allocated, sum(dram) * blockBytes);
  out.one(M.capacity, sum(capacities));
  out.one(M.keys, sum(dram) + sum(run.nodeBlocks[Tier.ssd]));
  out.one(M.clients, world.members().filter(({ role }) => role === 'agent').length);
  out.add(
    M.segmentAllocated,
    named(
      names,
      dram.map((blocks) => blocks * blockBytes),
    ),
  );
  out.add(M.segmentCapacity, named(names, capacities));
  out.one(M.arrived, run.arrived);
  out.add(
    M.ended,
    run.endedBy().map(([outcome, count]) => [[outcome], count]),
  );
  out.histograms(M.decision, [[[], run.decision]]);
  out.one(M.dispatched, run.dispatchedTokens);
  out.one(M.believed, run.believedTokens);
  const views = world.cluster()?.conductor.views ?? null;
  const each = (of: (instance: number) => number) =>
    views === null ? [] : instances.map(({ id, name }) => [[name], of(id)] as const);
  out.add(
    M.queued,
    each((id) => views!.queuedRequests(id)),
  );
  out.add(
    M.queuedSeconds,
    each((id) => views!.queueNs(id) / 1e9),
  );
  out.add(
    M.decoding,
    each((id) => views!.decodeRequests(id)),
  );
  out.one(M.leads, world.leader() === world.name ? 1 : 0);
  out.one(M.term, world.term());
  const levels = { gone: 0, suspect: 1, ok: 2 };
  out.add(
    M.nodeHealth,
    health.map(({ node, health: is }) => [[nodes[node].name], levels[is]]),
  );
}

function links(out: Exposition, { links: { counts, putOut, open } }: OpsWorld): void {
  const ways = ['in', 'out'];
  out.add(M.linkMessages, named(ways, [counts.messagesIn, counts.messagesOut]));
  out.add(M.linkBytes, named(ways, [counts.bytesIn, counts.bytesOut]));
  out.one(M.linkResets, counts.resets);
  out.one(M.linkNonsense, counts.nonsense);
  out.one(M.linkRefused, counts.refused);
  out.one(M.linkPutOut, putOut);
  out.one(M.linksOpen, open);
}

function own(out: Exposition, world: OpsWorld, meters: Meters): void {
  const { process, registry, alerts } = meters;
  out.histograms(M.registry, [[[], registry.seconds]]);
  out.one(M.registryErrors, registry.errors);
  const roles = ['agent', 'conductor', 'ingress', 'client'];
  const members = world.members();
  const count = (role: string) => members.filter((member) => member.role === role).length;
  out.add(M.members, named(roles, roles.map(count)));
  out.add(
    M.alert,
    alerts.map(({ rule, state }) => [[rule], state === 'firing' ? 1 : 0] as const),
  );
  out.one(M.speed, world.live.spec.speed);
  out.one(M.hostCpu, process.hostCpuRatio);
  out.one(M.hostMemory, process.hostMemoryRatio);
  out.one(M.lag, process.lagS);
  out.one(M.loop, process.loopRatio);
  out.one(M.cpu, process.cpuS);
  out.one(M.resident, process.residentBytes);
  out.one(M.started, process.startedS);
}
