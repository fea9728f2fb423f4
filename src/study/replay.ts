/** Replays a trace through a simulated cluster: the main job. */
import { checkTraceFits } from '../config/check-trace.ts';
import { type ConfigOptions, configOptions, loadConfig, withOptions } from '../config/load.ts';
import { loadPolicies } from '../config/policies.ts';
import type { PolicyRef, PolicyRefs } from '../config/policy-ref.ts';
import { type ResolvedConfig, resolveConfig } from '../config/resolve.ts';
import { type Cluster, wireCluster } from '../config/wire.ts';
import { PolicyError } from '../core/errors.ts';
import type { Observer } from '../core/observer.ts';
import type { TierPool } from '../core/tier-pool.ts';
import type { Topology } from '../core/topology.ts';
import type { TraceColumns } from '../core/trace-columns.ts';
import { Recorder } from '../metrics/recorder.ts';
import { requestColumns, requestTable, type SloTargets } from '../metrics/requests.ts';
import { type Result, type ResultInputs, summarise } from '../metrics/result.ts';
import type { TimeSeries } from '../metrics/series.ts';
import type { Table } from '../metrics/table.ts';
import { TimeSeriesSampler } from '../metrics/timeseries.ts';
import { railPolicies } from '../sim/rails.ts';
import { Simulation } from '../sim/simulation.ts';
import { openTrace } from '../trace/open.ts';
import { scaleRate } from '../trace/transform.ts';
import { withDecoded } from './decoded.ts';
import { VERSION } from './version.ts';

export interface ReplayOptions extends ConfigOptions {
  /** `format:path`, a catalogue name or a path; or a trace that is in memory. */
  readonly trace: string | TraceColumns;
  /** Preset name or path of a YAML file; the default is `mooncake-16`. */
  readonly config?: string;
  /** Overrides such as `cluster.groups.0.count=4`. */
  readonly sets?: readonly string[];
  /** File of what happens to the cluster meanwhile: deaths, slow rails, comings and goings. */
  readonly scenario?: string;
  /** Only the first requests. */
  readonly limit?: number;
  /** Multiplies the arrival rate. */
  readonly rate?: number;
  /** Sample the run over time, for its report. */
  readonly sampled?: boolean;
  /** More who watch the run, made once topology and trace are known. */
  readonly observe?: (topology: Topology, trace: TraceColumns) => readonly Observer[];
  readonly onProgress?: (progress: ReplayProgress) => void;
}

export interface ReplayProgress {
  readonly requestsDone: number;
  readonly requests: number;
  readonly events: number;
}

export interface Replay {
  readonly result: Result;
  readonly recorder: Recorder;
  readonly trace: TraceColumns;
  readonly resolved: ResolvedConfig;
  readonly cluster: Cluster;
  /** Facts that were handled. */
  readonly events: number;
  /** What became of each request, and the run over time; null when it was not sampled. */
  readonly samples: { readonly requests: Table; readonly series: TimeSeries } | null;
}

/** Parts that progress is reported between. */
const PROGRESS_PARTS = 200;

/**
 * Equal inputs give equal results, byte for byte.
 * @throws InputError for a bad trace, configuration or policy
 */
export async function replay(options: ReplayOptions): Promise<Replay> {
  const given = await loadTrace(options);
  const config = await loadConfig(options.config, options.sets);
  const loaded = withOptions(config, configOptions(options));
  const resolved = resolveConfig(loaded, given.blockTokens);
  const { decodeCached } = loaded.config.store;
  const place = loaded.placeOf(['store', 'decodeCached']);
  const trace = decodeCached === false ? given : withDecoded(given, decodeCached, place);
  checkTraceFits(resolved, trace, typeof options.trace === 'string' ? options.trace : 'trace');
  const policies = await loadPolicies(resolved.policies);
  const { topology, settings, truth, slo } = resolved;
  const recorder = new Recorder(topology, trace.requests);
  const spanNs = trace.arrivalNs.at(-1) ?? 0;
  const plan = { ...resolved, policies };
  const sampler = options.sampled
    ? new TimeSeriesSampler(topology, spanNs, resolved.estimator, slo)
    : null;
  const { scenario, happenings } = await loadScenario(options.scenario, topology);
  const simulation = new Simulation({
    topology,
    costs: truth,
    loadOverlap: settings.instance.loadOverlap,
    rails: railPolicies(plan, scenario?.events.some(({ kind }) => kind === 'rail') ?? false),
    observers: [
      recorder,
      ...(sampler === null ? [] : [sampler]),
      ...(options.observe?.(topology, trace) ?? []),
    ],
    disturbance: null,
  });
  const cluster = wireCluster(plan, trace, (address) => simulation.host(address));
  simulation.setMachines(cluster.machines);
  if (scenario !== null) {
    const { Faults } = await import('../sim/faults.ts');
    simulation.setFaults(new Faults(topology, scenario, cluster));
  }
  try {
    runReporting(simulation, cluster, trace, options.onProgress);
  } catch (error) {
    throw await blamePolicy(error, resolved.policies);
  }
  const result = summarise({
    recorder,
    trace,
    slo,
    version: VERSION,
    seed: resolved.seed,
    config: resolved.describe(),
    scenario: happenings,
    evictions: evictionsOf(cluster),
  });
  const { events } = simulation;
  const samples = sampler === null ? null : samplesOf(sampler, recorder, trace, slo);
  return { result, recorder, trace, resolved, cluster, events, samples };
}

async function loadScenario(file: string | undefined, topology: Topology) {
  if (file === undefined) return { scenario: null, happenings: null };
  const { loadScenario: load, happeningsOf } = await import('../config/scenario.ts');
  const scenario = load(file, topology);
  return { scenario, happenings: happeningsOf(scenario, topology) };
}

/** Blocks evicted from each tier that the cluster has. */
function evictionsOf({ stores, instances }: Cluster): ResultInputs['evictions'] {
  const sum = (pools: readonly (TierPool | undefined)[]) => {
    const there = pools.filter((pool) => pool !== undefined);
    return there.length === 0 ? undefined : there.reduce((all, pool) => all + pool.evictions, 0);
  };
  const hbm = sum(
    instances.map(({ world }) => stores[world.spec.node].hbmCache(world.spec.id)?.pool),
  );
  const ssd = sum(stores.map((store) => store.ssd ?? undefined));
  return {
    dram: sum(stores.map((store) => store.dram)) ?? 0,
    ...(hbm === undefined ? {} : { hbm }),
    ...(ssd === undefined ? {} : { ssd }),
  };
}

function samplesOf(
  sampler: TimeSeriesSampler,
  recorder: Recorder,
  trace: TraceColumns,
  slo: SloTargets,
): NonNullable<Replay['samples']> {
  const requests = requestTable(recorder, trace, requestColumns(recorder, trace, slo));
  return { requests, series: sampler.finish(requests) };
}

/** An exception that passed through a user's policy becomes a PolicyError with its place. */
async function blamePolicy(error: unknown, refs: PolicyRefs): Promise<unknown> {
  const paths = Object.values<PolicyRef>(refs).flatMap(({ path }) => (path === null ? [] : [path]));
  if (paths.length === 0 || error instanceof PolicyError) return error;
  const { placeInFile } = await import('../config/user-policy.ts');
  for (const path of paths) {
    const place = placeInFile(error, path);
    if (place === null) continue;
    const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    return new PolicyError(`${place}: the policy threw ${what}`, { cause: error });
  }
  return error;
}

async function loadTrace({ trace, limit, rate }: ReplayOptions): Promise<TraceColumns> {
  const opened =
    typeof trace === 'string'
      ? await openTrace(trace, limit === undefined ? {} : { limit })
      : trace;
  return rate === undefined ? opened : scaleRate(opened, rate);
}

function runReporting(
  simulation: Simulation,
  cluster: Cluster,
  trace: TraceColumns,
  onProgress: ReplayOptions['onProgress'],
): void {
  if (onProgress !== undefined) {
    const endNs = trace.arrivalNs[trace.requests - 1];
    for (let part = 1; part <= PROGRESS_PARTS; part++) {
      simulation.run((endNs * part) / PROGRESS_PARTS);
      const { events } = simulation;
      onProgress({
        requestsDone: cluster.workload.endedRequests,
        requests: trace.requests,
        events,
      });
    }
  }
  simulation.run();
}
