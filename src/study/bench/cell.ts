/** One row of a data-plane bench: a window of moves kept open for a while. */
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { assert } from '../../core/errors.ts';
import type { Segment } from '../../runtime/data-plane.ts';
import type { MoveColumns } from '../../runtime/move-columns.ts';
import { Status, statusText } from '../../runtime/native.ts';
import { GENERATION, type Side } from './side.ts';

export type Operation = 'read' | 'write';

export interface CellSpec {
  readonly operation: Operation;
  readonly blockBytes: number;
  /** Moves open at once. */
  readonly batch: number;
  /** Verify every block where it arrives. */
  readonly verify: boolean;
}

export interface CellRun {
  readonly bytes: number;
  readonly operations: number;
  readonly durationNs: number;
  /** From move to end, each operation's, ascending. */
  readonly latenciesNs: Float64Array;
  /** CPU seconds of both processes. */
  readonly cpuSec: number;
  /** Share of the time in which the main thread was busy, or kept from running by others. */
  readonly eventLoop: number;
  /** CPU time of the main thread per operation, ns. */
  readonly mainNsPerOp: number;
}

/** /proc's clock ticks per second: fixed in Linux's user interface. */
const TICKS_PER_SEC = 100;
const LATENCIES_MAX = 1 << 20;

/** CPU seconds of a process so far. */
function cpuSecOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SEC;
}

/** CPU time of this process's main thread so far, ns. */
function mainThreadNs(): number {
  return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]);
}

/** Moves for about `forNs`. Throws when one fails: then the figures would mean nothing. */
export async function runCell(
  side: Side,
  segment: Segment,
  peerPid: number,
  spec: CellSpec,
  forNs: number,
): Promise<CellRun> {
  const columns = columnsOf(side, segment, spec);
  const latenciesNs = new Float64Array(LATENCIES_MAX);
  let operations = 0;
  const cpuStart = process.cpuUsage();
  const peerStart = cpuSecOf(peerPid);
  const loopStart = performance.eventLoopUtilization();
  const mainStartNs = mainThreadNs();
  const startNs = process.hrtime.bigint();
  const endNs = startNs + BigInt(forNs);
  let overNs = startNs;
  await new Promise<void>((resolve, reject) => {
    let next = 0;
    const moves = side.plane.moves(columns, (rows, count) => {
      for (let i = 0; i < count; i++) {
        const status = moves.statuses[rows[i]] as Status;
        if (status !== Status.ok) reject(new Error(`bench: ${statusText(status)}`));
        latenciesNs[operations++ % LATENCIES_MAX] = moves.durationsNs[rows[i]];
      }
      overNs = process.hrtime.bigint();
      if (overNs < endNs) start(count);
      else if (moves.open === 0) resolve();
    });
    const rows = columns.slots.length;
    /** The next rows that are not under way yet, in runs. */
    const start = (count: number): void => {
      for (let left = count; left > 0; ) {
        let run = 0;
        while (run < left && next + run < rows && !moves.isOpen(next + run)) run++;
        side.plane.startMoves(moves, next, run);
        left -= run;
        next += Math.max(1, run);
        if (next >= rows) next = 0;
      }
    };
    start(spec.batch);
  });
  // Before the latencies are sorted: that is no part of moving.
  const eventLoop = performance.eventLoopUtilization(loopStart).utilization;
  const mainNs = mainThreadNs() - mainStartNs;
  const cpu = process.cpuUsage(cpuStart);
  const own = (cpu.user + cpu.system) / 1e6;
  return {
    bytes: operations * spec.blockBytes,
    operations,
    durationNs: Number(overNs - startNs),
    latenciesNs: latenciesNs.subarray(0, Math.min(operations, LATENCIES_MAX)).sort(),
    cpuSec: own + cpuSecOf(peerPid) - peerStart,
    eventLoop,
    mainNsPerOp: mainNs / operations,
  };
}

/**
 * Blocks one after another through the whole pool, at the same place on both sides; so often that
 * there are more than move at once.
 */
function columnsOf(side: Side, segment: Segment, spec: CellSpec): MoveColumns {
  const { slots, slotBytes } = side.pool.info;
  const { blockBytes } = spec;
  assert(blockBytes <= slotBytes, 'a block fits into a slot');
  const perSlot = Math.floor(slotBytes / blockBytes);
  const blocks = slots * perSlot;
  const rows = blocks * Math.ceil((2 * spec.batch) / blocks);
  const slotOf = (row: number) => Math.floor((row % blocks) / perSlot);
  const columnOfSlots = Int32Array.from({ length: rows }, (_, row) => slotOf(row));
  const offsets = Float64Array.from({ length: rows }, (_, row) => (row % perSlot) * blockBytes);
  return {
    write: spec.operation === 'write',
    pool: side.pool,
    segment,
    sum: spec.verify,
    urgent: false,
    deadlineNs: 20e9,
    slots: columnOfSlots,
    offsets,
    remoteSlots: columnOfSlots,
    generations: new Float64Array(rows).fill(GENERATION),
    remoteOffsets: offsets,
    bytes: new Float64Array(rows).fill(blockBytes),
    crcs: null,
  };
}
