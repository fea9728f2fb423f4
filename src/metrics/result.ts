/** What a run was, as one plain object: the result that `--json` prints. Times are ns. */
import { COUNT_NAMES, Count, Mark } from '../core/host.ts';
import { Outcome } from '../core/request.ts';
import type { TraceColumns } from '../core/trace-columns.ts';
import { type ClassResult, classResults } from './classes.ts';
import {
  linkBytesPerNs,
  linksOf,
  RESOURCE_KINDS,
  type ResourceKind,
  type SsdLink,
} from './links.ts';
import type { Recorder } from './recorder.ts';
import {
  CAUSES,
  FAILURES,
  type RequestColumns,
  requestColumns,
  type SloTargets,
} from './requests.ts';
import { type Distribution, distribution, sum } from './select.ts';

/** Means over the completed requests; they add up to the mean of e2e. */
export interface Breakdown {
  readonly queueNs: number | null;
  readonly transferNs: number | null;
  readonly loadNs: number | null;
  readonly computeNs: number | null;
  readonly handoffNs: number | null;
  readonly decodeNs: number | null;
}

export interface BusyResource {
  readonly name: string;
  /** Share of the run that it was busy, or of its bytes that it could have moved. */
  readonly utilisation: number;
}

/** What a scenario did to the cluster, since the start of the trace. */
export interface Happening {
  readonly atNs: number;
  /** How long; null: to the end, or it is no matter of time. */
  readonly forNs: number | null;
  readonly what: string;
}

export interface Result {
  readonly version: string;
  readonly seed: number;
  readonly config: unknown;
  /** Where one was played. */
  readonly scenario?: readonly Happening[];
  readonly trace: {
    readonly requests: number;
    readonly inputTokens: number;
    readonly outputTokens: number;
    readonly sha256: string;
  };
  readonly requests: {
    readonly arrived: number;
    readonly completed: number;
    readonly rejected: number;
    readonly failed: number;
    readonly cancelled: number;
    readonly inFlight: number;
    /** Rejected ones by cause. */
    readonly causes: Readonly<Record<string, number>>;
    /** Failed ones by cause, if there are any. */
    readonly failures?: Readonly<Record<string, number>>;
  };
  readonly ttftNs: Distribution;
  readonly tbtNs: Distribution;
  readonly tpotNs: Distribution;
  readonly e2eNs: Distribution;
  /** Percentiles over all gaps of all requests. */
  readonly gapNs: {
    readonly p50: number | null;
    readonly p90: number | null;
    readonly p99: number | null;
  };
  readonly breakdown: Breakdown;
  readonly hit: {
    readonly tokensRatio: number | null;
    readonly blocksRatio: number | null;
    readonly requestsRatio: number | null;
    readonly bySource: Readonly<Record<'hbm' | 'dram' | 'ssd' | 'peer' | 'miss', number>>;
  };
  readonly slo: SloTargets;
  readonly effectiveRatio: number | null;
  readonly goodputPerSec: number | null;
  /** Where the trace has priorities or SLO classes. */
  readonly classes?: readonly ClassResult[];
  readonly gpuSeconds: { readonly prefill: number; readonly decode: number };
  /** By link; those of the SSDs only where there are any. `ssdWrite` is what wears them. */
  readonly bytes: Readonly<Record<Exclude<ResourceKind, SsdLink>, number>> &
    Readonly<Partial<Record<SsdLink, number>>>;
  /** Processor time spent on moving KV between nodes; only over TCP. */
  readonly transportCpuSeconds?: number;
  readonly busiest: readonly BusyResource[];
  /** Evicted blocks, and the other things that happened to no request in particular. */
  readonly counts: Readonly<Record<string, number>>;
  readonly durationNs: number;
}

export interface ResultInputs {
  readonly recorder: Recorder;
  readonly trace: TraceColumns;
  readonly slo: SloTargets;
  readonly version: string;
  readonly seed: number;
  readonly config: unknown;
  /** Without one nothing happened to the cluster. */
  readonly scenario?: readonly Happening[] | null;
  /** Blocks evicted from DRAM, and from the tiers that there are besides. */
  readonly evictions: { readonly dram: number; readonly hbm?: number; readonly ssd?: number };
}

export function summarise(inputs: ResultInputs): Result {
  const { recorder, trace, slo, version, seed, config, scenario = null } = inputs;
  const requests = countRequests(recorder);
  const columns = requestColumns(recorder, trace, slo);
  const good = sum(columns.good);
  const classes = classResults(recorder, trace, columns);
  const { durationNs } = recorder;
  const ssd = hasSsd(recorder);
  return {
    version,
    seed,
    config,
    ...(scenario === null ? {} : { scenario }),
    trace: {
      requests: trace.requests,
      inputTokens: total(trace.inputTokens),
      outputTokens: total(trace.outputTokens),
      sha256: trace.sha256,
    },
    requests,
    ttftNs: distribution(columns.ttftNs),
    tbtNs: distribution(columns.tbtNs),
    tpotNs: distribution(columns.tpotNs),
    e2eNs: distribution(columns.e2eNs),
    gapNs: {
      p50: recorder.gaps.percentile(0.5),
      p90: recorder.gaps.percentile(0.9),
      p99: recorder.gaps.percentile(0.99),
    },
    breakdown: breakdown(recorder, columns),
    hit: hits(recorder, trace),
    slo,
    effectiveRatio: requests.arrived === 0 ? null : good / requests.arrived,
    goodputPerSec: durationNs === 0 ? null : (good * 1e9) / durationNs,
    ...(classes === null ? {} : { classes }),
    gpuSeconds: gpuSeconds(recorder),
    bytes: bytesByKind(recorder),
    ...transportCpu(recorder),
    busiest: busiest(recorder, durationNs),
    counts: {
      ...evictionCounts(inputs.evictions),
      ...Object.fromEntries(
        COUNT_NAMES.filter((name) => isCounted(name, recorder, ssd)).map((name) => [
          name,
          recorder.counts[Count[name]],
        ]),
      ),
    },
    durationNs,
  };
}

/** Counts that only a cluster has whose homes of blocks have changed. */
const MOVE_COUNTS: ReadonlySet<string> = new Set(['moved', 'droppedMove']);

function isCounted(name: keyof typeof Count, { counts }: Recorder, ssd: boolean): boolean {
  if (MOVE_COUNTS.has(name)) return counts[Count.moved] + counts[Count.droppedMove] > 0;
  return ssd || !SSD_COUNTS.has(name);
}

/** Counts that only a cluster with SSDs has. */
const SSD_COUNTS: ReadonlySet<string> = new Set([
  'demoted',
  'promoted',
  'prefetched',
  'droppedDemotion',
]);

function hasSsd({ topology }: Recorder): boolean {
  return topology.nodes.some((node) => node.ssdCapacityBytes > 0);
}

function evictionCounts({ dram, hbm, ssd }: ResultInputs['evictions']): Record<string, number> {
  return {
    evictions: dram,
    ...(hbm === undefined ? {} : { hbmEvictions: hbm }),
    ...(ssd === undefined ? {} : { ssdEvictions: ssd }),
  };
}

function countRequests(recorder: Recorder): Result['requests'] {
  const arrivedNs = recorder.column(Mark.arrivedNs);
  const outcomes = recorder.column(Mark.outcome);
  const causes: Record<string, number> = {};
  const failures: Record<string, number> = {};
  const counts = { arrived: 0, completed: 0, rejected: 0, failed: 0, cancelled: 0, inFlight: 0 };
  for (let i = 0; i < recorder.requests; i++) {
    if (Number.isNaN(arrivedNs[i])) continue;
    counts.arrived++;
    const outcome = outcomes[i];
    if (Number.isNaN(outcome)) counts.inFlight++;
    else if (outcome === Outcome.completed) counts.completed++;
    else if (outcome === Outcome.cancelled) counts.cancelled++;
    else if (outcome >= Outcome.failed) {
      counts.failed++;
      failures[FAILURES[outcome]] = (failures[FAILURES[outcome]] ?? 0) + 1;
    } else {
      counts.rejected++;
      causes[CAUSES[outcome]] = (causes[CAUSES[outcome]] ?? 0) + 1;
    }
  }
  return { ...counts, causes, ...(counts.failed > 0 ? { failures } : {}) };
}

/** Means over the completed requests. */
function breakdown(recorder: Recorder, columns: RequestColumns): Breakdown {
  const outcomes = recorder.column(Mark.outcome);
  const { queueNs, transferNs, loadNs, computeNs, handoffNs, decodeNs } = columns;
  const sums = [0, 0, 0, 0, 0, 0];
  let completed = 0;
  for (let i = 0; i < outcomes.length; i++) {
    if (outcomes[i] !== Outcome.completed) continue;
    completed++;
    sums[0] += queueNs[i];
    sums[1] += transferNs[i];
    sums[2] += loadNs[i];
    sums[3] += computeNs[i];
    sums[4] += handoffNs[i];
    sums[5] += decodeNs[i];
  }
  const [queue, transfer, load, compute, handoff, decode] = sums.map((total) =>
    completed === 0 ? null : total / completed,
  );
  return {
    queueNs: queue,
    transferNs: transfer,
    loadNs: load,
    computeNs: compute,
    handoffNs: handoff,
    decodeNs: decode,
  };
}

const SOURCE_MARKS = [Mark.hbmTokens, Mark.dramTokens, Mark.ssdTokens, Mark.peerTokens];

/** Over the requests whose prompt ran. */
function hits(recorder: Recorder, trace: TraceColumns): Result['hit'] {
  const started = recorder.column(Mark.startedNs);
  const columns = SOURCE_MARKS.map((mark) => recorder.column(mark));
  const totals = [0, 0, 0, 0];
  let tokens = 0;
  let blocks = 0;
  let hitTokens = 0;
  let hitBlocks = 0;
  let ran = 0;
  let hitRequests = 0;
  for (let i = 0; i < started.length; i++) {
    if (Number.isNaN(started[i])) continue;
    const length = trace.blockStart[i + 1] - trace.blockStart[i];
    let hit = 0;
    for (let source = 0; source < columns.length; source++) {
      const value = columns[source][i];
      if (Number.isNaN(value)) continue;
      totals[source] += value;
      hit += value;
    }
    ran++;
    tokens += trace.inputTokens[i];
    blocks += length;
    hitTokens += hit;
    hitBlocks += Math.min(length, Math.ceil(hit / trace.blockTokens));
    if (hit > 0) hitRequests++;
  }
  const [hbm, dram, ssd, peer] = totals;
  return {
    tokensRatio: tokens === 0 ? null : hitTokens / tokens,
    blocksRatio: blocks === 0 ? null : hitBlocks / blocks,
    requestsRatio: ran === 0 ? null : hitRequests / ran,
    bySource: { hbm, dram, ssd, peer, miss: tokens - hitTokens },
  };
}

function gpuSeconds(recorder: Recorder): Result['gpuSeconds'] {
  let prefill = 0;
  let decode = 0;
  for (const { id, gpuShare } of recorder.topology.instances) {
    prefill += recorder.prefillBusyNs[id] * gpuShare;
    decode += recorder.decodeBusyNs[id] * gpuShare;
  }
  return { prefill: prefill / 1e9, decode: decode / 1e9 };
}

function bytesByKind(recorder: Recorder): Result['bytes'] {
  const ssd = hasSsd(recorder);
  const kinds = RESOURCE_KINDS.filter((kind) => ssd || !kind.startsWith('ssd'));
  const entries = kinds.map((kind) => [kind, sum(recorder.bytes[kind])]);
  return Object.fromEntries(entries) as Result['bytes'];
}

function transportCpu({ topology, bytes }: Recorder): Pick<Result, 'transportCpuSeconds'> {
  let cpuNs = 0;
  for (const { id, railCpuNsPerByte } of topology.nodes) {
    cpuNs += (bytes.railsOut[id] + bytes.railsIn[id]) * railCpuNsPerByte;
  }
  return cpuNs === 0 ? {} : { transportCpuSeconds: cpuNs / 1e9 };
}

/** The ten resources that were busiest over the run, busiest first. */
function busiest(recorder: Recorder, durationNs: number): BusyResource[] {
  if (durationNs === 0) return [];
  const { nodes, instances } = recorder.topology;
  const rows: BusyResource[] = [];
  for (const { id, name } of instances) {
    const busyNs = recorder.prefillBusyNs[id] + recorder.decodeBusyNs[id];
    rows.push({ name: `${name}/gpus`, utilisation: busyNs / durationNs });
  }
  for (const node of nodes) {
    const capacity = linkBytesPerNs(node);
    for (const link of linksOf(node)) {
      const moved = recorder.bytes[link][node.id];
      rows.push({
        name: `${node.name}/${link}`,
        utilisation: moved / (capacity[link] * durationNs),
      });
    }
  }
  rows.sort((a, b) => b.utilisation - a.utilisation || (a.name < b.name ? -1 : 1));
  return rows.slice(0, 10);
}

function total(values: ArrayLike<number>): number {
  let all = 0;
  for (let i = 0; i < values.length; i++) all += values[i];
  return all;
}
