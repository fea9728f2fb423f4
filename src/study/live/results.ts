/** What a live run was, from what its members saw and told. */
import { Mark } from '../../core/host.ts';
import { WORKLOAD } from '../../core/topology.ts';
import type { TraceColumns } from '../../core/trace-columns.ts';
import { Recorder } from '../../metrics/recorder.ts';
import { type Result, summarise } from '../../metrics/result.ts';
import type { Seen } from '../../runtime/live/reporter.ts';
import type { LivePlan } from '../../runtime/live/spec.ts';
import type { MemberStatus } from '../../runtime/live/status.ts';
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

/** What was seen, in order of time, as the recorder would have watched it. */
export class RunRecord {
  private readonly seen: Seen[] = [];
  wrongBytes = 0;

  add(seen: readonly Seen[]): void {
    for (const one of seen) {
      if (one[0] === 'wrong') this.wrongBytes++;
      else this.seen.push(one);
    }
  }

  /** @param first number of the trace's first request in the cluster */
  result(
    { spec, resolved, plan }: LivePlan,
    trace: TraceColumns,
    first: number,
    before: readonly MemberStatus[],
    after: readonly MemberStatus[],
  ): LiveResult {
    const recorder = new Recorder(plan.topology, trace.requests);
    this.seen.sort((a, b) => a[1] - b[1]);
    for (const one of this.seen) observe(recorder, one, first, trace.requests);
    this.settle(recorder, first);
    const grown = (of: (status: MemberStatus) => number) => grownBy(before, after, of);
    const result = summarise({
      recorder,
      trace,
      slo: plan.slo,
      version: VERSION,
      seed: plan.seed,
      config: resolved.describe(),
      evictions: { dram: grown(({ evictions }) => evictions) },
    });
    return {
      ...result,
      live: {
        nodes: plan.topology.nodes.length,
        speed: spec.speed,
        blockBytes: spec.blockBytes,
        movedBytes: grown(({ movedBytes }) => movedBytes),
        verifiedBlocks: grown(({ verifiedBlocks }) => verifiedBlocks),
        checksumFailures: this.wrongBytes,
      },
    };
  }

  /** Who ended a request may have died before it told; the ingress heard. */
  private settle(recorder: Recorder, first: number): void {
    const outcomes = recorder.column(Mark.outcome);
    // The last that was heard of a request counts.
    for (const [kind, atNs, at, body] of this.seen.toReversed()) {
      if (kind !== 'fact' || body.kind !== 'terminal') continue;
      const row = body.request - first;
      if (!Number.isNaN(outcomes[row] ?? 0)) continue;
      recorder.onMark(at, row, Mark.outcome, body.outcome);
      recorder.column(Mark.finishedNs)[row] = atNs;
    }
  }
}

/** Of a count that starts at 0 with every life of a member. */
function grownBy(
  before: readonly MemberStatus[],
  after: readonly MemberStatus[],
  of: (status: MemberStatus) => number,
): number {
  let sum = 0;
  for (const status of after) {
    const { name, incarnation } = status;
    const earlier = before.find((one) => one.name === name && one.incarnation === incarnation);
    sum += of(status) - (earlier === undefined ? 0 : of(earlier));
  }
  return sum;
}

function observe(recorder: Recorder, seen: Seen, first: number, requests: number): void {
  const [kind, atNs, at] = seen;
  if (kind === 'fact') recorder.onFact(at, { atNs, from: at, body: seen[3] });
  else if (kind === 'count') recorder.onCount(at, seen[3], seen[4]);
  else if (kind === 'transfer') recorder.onTransfer(at, seen[3]);
  else if (kind === 'mark') {
    // A workload speaks of rows; others may still speak of an earlier run.
    const row = at === WORKLOAD ? seen[3] : seen[3] - first;
    if (row >= 0 && row < requests) recorder.onMark(at, row, seen[4], seen[5]);
  }
}
