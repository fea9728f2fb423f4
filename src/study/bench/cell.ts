/** One row of a data-plane bench: a window of moves kept open for a while. */
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { assert } from '../../core/errors.ts';
import type { Move, MoveEnd, Segment } from '../../runtime/data-plane.ts';
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
  const moves = movesOf(side, segment, spec);
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
    let open = spec.batch;
    let next = 0;
    let over = false;
    const again = (end: MoveEnd): void => {
      if (end.status !== Status.ok) reject(new Error(`bench: ${statusText(end.status)}`));
      latenciesNs[operations++ % LATENCIES_MAX] = end.durationNs;
      // The clock is dear: once in 16.
      if (!over && (operations & 15) === 0) over = process.hrtime.bigint() >= endNs;
      if (!over) {
        side.plane.move(moves[next++ % moves.length], again);
      } else if (--open === 0) {
        overNs = process.hrtime.bigint();
        resolve();
      }
    };
    for (let i = 0; i < spec.batch; i++) side.plane.move(moves[next++ % moves.length], again);
  });
  const cpu = process.cpuUsage(cpuStart);
  const own = (cpu.user + cpu.system) / 1e6;
  return {
    bytes: operations * spec.blockBytes,
    operations,
    durationNs: Number(overNs - startNs),
    latenciesNs: latenciesNs.subarray(0, Math.min(operations, LATENCIES_MAX)).sort(),
    cpuSec: own + cpuSecOf(peerPid) - peerStart,
    eventLoop: performance.eventLoopUtilization(loopStart).utilization,
    mainNsPerOp: (mainThreadNs() - mainStartNs) / operations,
  };
}

/** Blocks one after another through the whole pool, at the same place on both sides. */
function movesOf(side: Side, segment: Segment, spec: CellSpec): Move[] {
  const { slots, slotBytes } = side.pool.info;
  const { blockBytes } = spec;
  assert(blockBytes <= slotBytes, 'a block fits into a slot');
  const perSlot = Math.floor(slotBytes / blockBytes);
  return Array.from({ length: slots * perSlot }, (_, i) => {
    const slot = Math.floor(i / perSlot);
    const offset = (i % perSlot) * blockBytes;
    return {
      write: spec.operation === 'write',
      pool: side.pool,
      slot,
      offset,
      segment,
      remoteSlot: slot,
      generation: GENERATION,
      remoteOffset: offset,
      bytes: blockBytes,
      crc: null,
      sum: spec.verify,
      urgent: false,
      deadlineNs: 20e9,
    };
  });
}
