/**
 * Random clusters under random workloads, disturbed and not: every law at every fact. A failure
 * prints its seed; MOONTIDE_FUZZ_SEED=n runs that one alone, MOONTIDE_FUZZ_SCENARIOS=n all up to n,
 * from MOONTIDE_FUZZ_FROM on (1).
 */
import { describe, expect, it } from 'vitest';
import { Mark, type Transfer } from '../../src/core/host.ts';
import type { Fact } from '../../src/core/messages.ts';
import { Outcome } from '../../src/core/request.ts';
import type { SsdFault } from '../../src/core/scenario.ts';
import { AddressBook, Tier, WORKLOAD } from '../../src/core/topology.ts';
import { Disturbance } from '../../src/sim/disturbance.ts';
import { CancellingIngress } from '../support/cancelling.ts';
import { Causality } from '../support/causality.ts';
import { checkHbmDirectory } from '../support/hosts.ts';
import { Leaving } from '../support/leaving.ts';
import { LostDrives } from '../support/lost-drives.ts';
import { prepare, type Simulated } from '../support/simulate.ts';
import { TornReads } from '../support/torn-reads.ts';
import { type Scenario, scenarioOf } from './scenario.ts';

const SCENARIOS = 500;
/**
 * No scenario needs as many; a livelock does. Most are looks of an elasticity policy, every 50,000
 * ns while a request waits for connections that take seconds to fail.
 */
const FACTS_MAX = 1_000_000;

const only = process.env.MOONTIDE_FUZZ_SEED;
const scenarios = Number(process.env.MOONTIDE_FUZZ_SCENARIOS ?? SCENARIOS);
const from = Number(process.env.MOONTIDE_FUZZ_FROM ?? 1);
const upTo = Array.from({ length: scenarios + 1 - from }, (_, i) => from + i);
/**
 * Failed once. 1709: a successor took the cancel of a lost request for its client's; 1889: it gave
 * a lost attempt to a second instance; 2670: a save that a dead instance had asked for began; 2765:
 * an instance heard nothing of a dead one on its node; 4526: nobody asked again for decode space
 * that was forgotten with a dead instance; 4676: a drive gave its last bytes when it had failed;
 * 1260: the end of an attempt gave up the fetch of the next.
 */
const FAILED_ONCE = [1260, 1709, 1889, 2670, 2765, 4526, 4676];
const seeds = only === undefined ? [...new Set([...upTo, ...FAILED_ONCE])] : [+only];

/** Plays the scenario of a seed, and breaks more of its drives. */
async function run(seed: number, more: readonly SsdFault[] = [], homes = false): Promise<Ran> {
  const scenario = withFaults(await scenarioOf(seed, homes), more);
  const { plan, trace, cancels, rates, random, faults } = scenario;
  const disturbed = rates !== null || faults !== null;
  const causality = new Causality(plan.topology, { disturbed, exact: true });
  const addresses = new AddressBook(plan.topology);
  const torn = new TornReads(addresses, () => run.cluster.stores);
  const { blockTokens } = plan.topology.kv;
  const drives = new LostDrives(addresses, blockTokens, () => run.cluster.stores);
  const reads = new DriveMoves();
  const leaving = new Leaving(plan.topology, addresses);
  let last = -1;
  const checker = {
    onFact(to: number) {
      if (last >= 0) run.cluster.stores[addresses.storeNode(last)].check();
      last = addresses.isStore(to) ? to : -1;
      if (causality.facts > FACTS_MAX) throw new Error('the run does not come to an end');
    },
  };
  const run = prepare({
    plan,
    trace,
    observers: [causality, checker, torn, drives, reads, leaving],
    ...(rates === null ? {} : { disturbance: new Disturbance(rates, random) }),
    ...(faults === null ? {} : { scenario: faults }),
  });
  const { cluster, simulation } = run;
  const host = simulation.host(WORKLOAD);
  const ingress = new CancellingIngress(cluster.workload, host, cancels);
  simulation.setMachines([ingress, ...cluster.machines.slice(1)]);
  simulation.run();
  causality.checkEnd();
  checkRequests(run, scenario);
  checkNothingHeld(run, scenario);
  checkDirectory(run, scenario);
  if (!disturbed) checkBytes(run);
  return { moves: reads.moves, drives };
}

interface Ran {
  readonly moves: readonly DriveMove[];
  readonly drives: LostDrives;
}

/** A transfer from or to an SSD. */
interface DriveMove {
  readonly kind: string;
  readonly node: number;
  readonly startNs: number;
  endNs: number;
}

/** When which drive was read or written. */
class DriveMoves {
  readonly moves: DriveMove[] = [];
  private readonly open = new Map<string, DriveMove>();

  onTransfer(from: number, { id, kind, source, target }: Transfer, atNs: number): void {
    const place = source.tier === Tier.ssd ? source : target;
    if (place.tier !== Tier.ssd) return;
    const what = kind === 'fetch' ? kind : kind === 'load' ? 'load' : 'between tiers';
    const move = { kind: what, node: place.node, startNs: atNs, endNs: atNs };
    this.open.set(`${from}/${id}`, move);
    this.moves.push(move);
  }

  onFact(to: number, { body, atNs }: Fact): void {
    if (body.kind !== 'transferEnded') return;
    const move = this.open.get(`${to}/${body.transfer}`);
    if (move !== undefined) move.endNs = atNs;
  }
}

function withFaults(scenario: Scenario, more: readonly SsdFault[]): Scenario {
  if (more.length === 0) return scenario;
  const events = [...(scenario.faults?.events ?? []), ...more];
  return { ...scenario, faults: { events: events.sort((a, b) => a.atNs - b.atNs) } };
}

/** One of each kind of move, and a loss of its drive while it is under way. */
function lossesUnder(moves: readonly DriveMove[], seed: number): SsdFault[] {
  const kinds = new Set(moves.map(({ kind }) => kind));
  return [...kinds].map((kind, i) => {
    const some = moves.filter((move) => move.kind === kind && move.endNs > move.startNs + 1);
    const { node, startNs, endNs } = some[(seed * 7 + i) % some.length] ?? moves[0];
    const forNs = [Number.POSITIVE_INFINITY, 50_000, 2_000_000][(seed + i) % 3];
    const atNs = startNs + Math.max(1, Math.floor((endNs - startNs) / 2));
    return { kind: 'ssd', atNs, node, rate: 0, forNs };
  });
}

/** Requests in = completed + rejected + failed + cancelled, each with one outcome. */
function checkRequests({ cluster, recorder }: Simulated, { trace, cancels }: Scenario): void {
  expect(cluster.workload.done, 'every request has its end').toBe(true);
  const outcomes = recorder.column(Mark.outcome);
  const cancelled = new Set(cancels.map(({ request }) => request));
  for (let request = 0; request < trace.requests; request++) {
    const outcome = outcomes[request];
    expect(Object.values(Outcome), `outcome of request ${request}`).toContain(outcome);
    expect(outcome).not.toBe(Outcome.inFlight);
    if (outcome === Outcome.cancelled) expect(cancelled).toContain(request);
  }
}

/** Leases, memory and parking space came back; where messages were lost, after their ttl. */
function checkNothingHeld(run: Simulated, { plan, rates, faults }: Scenario): void {
  const { cluster, simulation, addresses } = run;

  const { leaseTtlNs, guardNs } = plan.settings.store;
  const { reserveTtlNs } = plan.settings.instance;
  const whole = rates === null && faults === null;
  const ttlNs = whole ? 0 : leaseTtlNs + guardNs + reserveTtlNs;
  for (const [node, store] of cluster.stores.entries()) {
    if (simulation.isDead(addresses.store(node))) continue;
    store.checkIdle(simulation.nowNs + ttlNs);
    expect(store.moves.remaining, `blocks of node ${node} on their way`).toBe(0);
  }
  for (const [id, instance] of cluster.instances.entries()) {
    if (!simulation.isDead(addresses.instance(id))) instance.checkIdle();
  }
  cluster.conductor.checkIdle();
}

/** At rest the hint is the truth. */
function checkDirectory({ cluster, simulation, addresses }: Simulated, { trace }: Scenario): void {
  const { directory } = cluster.conductor;
  const isDead = (node: number) => simulation.isDead(addresses.store(node));
  checkHbmDirectory(cluster, trace.distinctBlocks, isDead);
  for (const [node, { tiers }] of cluster.stores.entries()) {
    for (let block = 0; block < trace.distinctBlocks; block++) {
      const message = `node ${node} holds block ${block}`;
      expect(directory.has(node, block), message).toBe(!isDead(node) && tiers.isReady(block));
    }
  }
}

/** What the network moved is what the metrics account, rail by rail summed up. */
function checkBytes({ simulation, recorder, cluster }: Simulated): void {
  const { network, nowNs } = simulation;
  const { nodes } = cluster.conductor.world.topology;
  const moved = new Map<string, number>();
  for (let resource = 0; resource < network.resourceCount; resource++) {
    const [owner, link] = network.resourceName(resource).split('/');
    const way = link.replace(/^(?:rails|r\d+)-(in|out)$/, 'rails-$1');
    const key = `${owner}/${way}`;
    moved.set(key, (moved.get(key) ?? 0) + network.bytesMoved(resource, nowNs));
  }
  const kinds = {
    'rails-out': recorder.bytes.railsOut,
    'rails-in': recorder.bytes.railsIn,
    'host-to-device': recorder.bytes.hostToDevice,
    'device-to-host': recorder.bytes.deviceToHost,
    'ssd-read': recorder.bytes.ssdRead,
    'ssd-write': recorder.bytes.ssdWrite,
  };
  for (const { id, name } of nodes) {
    for (const [kind, accounted] of Object.entries(kinds)) {
      const key = `${name}/${kind}`;
      expect(moved.get(key) ?? 0, key).toBeCloseTo(accounted[id], 3);
    }
  }
}

async function naming(seed: number, what: () => Promise<unknown>): Promise<void> {
  try {
    await what();
  } catch (error) {
    const { message, stack } = error as Error;
    throw new Error(`MOONTIDE_FUZZ_SEED=${seed}: ${message}\n${stack}`);
  }
}

describe('random scenarios', () => {
  it.each(seeds)('seed %i', (seed) => naming(seed, () => run(seed)));
});

describe('random scenarios of blocks with homes', () => {
  const some = seeds.filter((seed) => only !== undefined || seed % 5 === 0);
  it.each(some)('seed %i', (seed) => naming(seed, () => run(seed, [], true)));
});

/** Drives are read for so short a time that chance alone never hits it. */
describe('drives that fail under a transfer', () => {
  const chosen = (seed: number) => seed % 4 === 0 || FAILED_ONCE.includes(seed);
  const aimed = seeds.filter((seed) => only !== undefined || chosen(seed));
  let underStep = 0;
  let beforeStep = 0;

  it.each(aimed)('seed %i', (seed) =>
    naming(seed, async () => {
      const { moves } = await run(seed);
      for (const loss of lossesUnder(moves, seed)) {
        const { drives } = await run(seed, [loss]);
        underStep += drives.underStep;
        beforeStep += drives.beforeStep;
      }
    }),
  );

  const few = aimed.length < 100 && process.env.CI !== 'true';
  const why = few ? ` (skipped: ${aimed.length} seeds; MOONTIDE_FUZZ_SCENARIOS=500)` : '';
  it.skipIf(few)(`hits loads under a pass, and before one${why}`, () => {
    expect(underStep).toBeGreaterThan(0);
    expect(beforeStep).toBeGreaterThan(0);
  });
});
