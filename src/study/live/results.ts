/** What a live run was, from the fact logs and statistics that its processes left. */
import type { Transfer } from '../../core/host.ts';
import type { LogEntry } from '../../core/log.ts';
import { type Address, AddressBook } from '../../core/topology.ts';
import type { TraceColumns } from '../../core/trace-columns.ts';
import { Recorder } from '../../metrics/recorder.ts';
import { type Result, summarise } from '../../metrics/result.ts';
import { factsInOrder, logFiles, logStats } from '../../runtime/live/fact-log-reader.ts';
import type { MemberStats } from '../../runtime/live/member.ts';
import type { LivePlan } from '../../runtime/live/spec.ts';
import { VERSION } from '../version.ts';

export interface LiveResult extends Result {
  readonly live: {
    readonly nodes: number;
    readonly speed: number;
    readonly blockBytes: number;
    readonly movedBytes: number;
    /** Blocks that arrived somewhere and were what their ids say. */
    readonly verifiedBlocks: number;
    readonly checksumFailures: number;
  };
}

/** The fact logs of all machines, in order of time, as the recorder would have watched them. */
export function readResult(
  folder: string,
  { spec, resolved, plan }: LivePlan,
  trace: TraceColumns,
): LiveResult {
  const recorder = new Recorder(plan.topology, trace.requests);
  const addresses = new AddressBook(plan.topology);
  const stats = logStats<MemberStats>(folder);
  const files = logFiles(folder);
  const at = new Map(files.map((file) => [file, addresses.find(file.machine)]));
  for (const { file, entry } of factsInOrder(files)) observe(recorder, at.get(file)!, entry);
  const sum = (of: (stats: MemberStats) => number) => stats.reduce((all, s) => all + of(s), 0);
  const result = summarise({
    recorder,
    trace,
    slo: plan.slo,
    version: VERSION,
    seed: plan.seed,
    config: resolved.describe(),
    evictions: { dram: sum(({ evictions }) => evictions) },
  });
  return {
    ...result,
    live: {
      nodes: plan.topology.nodes.length,
      speed: spec.speed,
      blockBytes: spec.blockBytes,
      movedBytes: sum(({ movedBytes }) => movedBytes),
      verifiedBlocks: sum(({ verifiedBlocks }) => verifiedBlocks),
      checksumFailures: sum(({ wrongBytes }) => wrongBytes),
    },
  };
}

function observe(recorder: Recorder, at: Address, { fact, commands }: LogEntry): void {
  recorder.onFact(at, fact);
  for (const [verb, ...given] of commands) {
    if (verb === 'mark') {
      const [request, mark, value] = given as Parameters<Recorder['onMark']> extends [
        Address,
        ...infer Rest,
      ]
        ? Rest
        : never;
      recorder.onMark(at, request, mark, value);
    } else if (verb === 'count') {
      const [what, by] = given as [Parameters<Recorder['onCount']>[1], number];
      recorder.onCount(at, what, by);
    } else if (verb === 'startTransfer') recorder.onTransfer(at, given[0] as Transfer);
  }
}
