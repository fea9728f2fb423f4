/**
 * The data-plane bench: block sizes x batch x kinds of rails x operation, against what the machine
 * can do at best (native/bench), both measured in turn. Like Mooncake's tebench and perftest.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { PolicyRef } from '../../config/policy-ref.ts';
import { InputError } from '../../core/errors.ts';
import type { RailKind, Segment } from '../../runtime/data-plane.ts';
import { nativeProgram } from '../../runtime/native.ts';
import { type CellRun, type Operation, runCell } from './cell.ts';
import { openSide, requireNative, type Side, type SideSpec } from './side.ts';

export { serveSide } from './side.ts';

export interface BenchOptions {
  readonly kinds: readonly RailKind[];
  readonly operations: readonly Operation[];
  readonly blocksBytes: readonly number[];
  readonly batches: readonly number[];
  /** Rails of each kind. */
  readonly rails: number;
  readonly policy: PolicyRef<'rail'>;
  readonly sliceBytes: number;
  readonly poolBytes: number;
  readonly verify: boolean;
  /** Own and baseline in turn, this often; the best of each counts. */
  readonly rounds: number;
  readonly roundNs: number;
  /** Command that serves the other side: it gets the spec as its last argument. */
  readonly serve: readonly string[];
  readonly onRow: (row: BenchRow) => void;
}

export interface BenchRow {
  readonly rail: RailKind;
  readonly operation: Operation;
  readonly blockBytes: number;
  readonly batch: number;
  /** 1e9 bytes per second, the best round. */
  readonly gbPerSec: number;
  readonly opsPerSec: number;
  readonly latencyNsP50: number;
  readonly latencyNsP99: number;
  /** CPU seconds of both processes per 1e9 bytes, in the best round. */
  readonly cpuSecPerGb: number;
  /** Share of the time in which the main thread was busy or kept from running, best round. */
  readonly eventLoop: number;
  /** CPU time of the main thread per operation, ns, in the best round. */
  readonly mainNsPerOp: number;
  /** What it is compared with: a copy, a bare stream, libfabric alone; null: it is not built. */
  readonly baseline: 'memcpy' | 'stream' | 'bare' | null;
  readonly baselineGbPerSec: number | null;
  readonly ratio: number | null;
}

/** What one side tells the other on its command line. */
export interface ServeSpec extends SideSpec {
  readonly slotBytes: number;
}

const BASELINES: Record<RailKind, NonNullable<BenchRow['baseline']>> = {
  local: 'memcpy',
  tcp: 'stream',
  fabric: 'bare',
};

/** Operations that a bare program keeps open: what keeps any provider busy. */
const BARE_DEPTH_MAX = 32;

/** @throws InputError without the addon, or where a rail cannot be opened */
export async function bench(options: BenchOptions): Promise<BenchRow[]> {
  requireNative();
  const rows: BenchRow[] = [];
  for (const kind of options.kinds) {
    const slotBytes = Math.max(4_096, ...options.blocksBytes);
    const { rails, policy, sliceBytes, poolBytes } = options;
    const spec: ServeSpec = { kind, rails, policy, sliceBytes, poolBytes, slotBytes };
    const side = await openSide(spec, slotBytes);
    const peer = startPeer([...options.serve, JSON.stringify(spec)]);
    try {
      const segment = side.plane.importSegment(await descriptorOf(peer));
      if (segment === null) throw new InputError('the other side sent no descriptor');
      for (const row of cellsOf(options, kind)) {
        const done = await measure(options, row, side, segment, peer.pid ?? 0);
        rows.push(done);
        options.onRow(done);
      }
    } finally {
      peer.stdin?.end();
      side.plane.close();
    }
  }
  return rows;
}

type Cell = Pick<BenchRow, 'rail' | 'operation' | 'blockBytes' | 'batch'>;

function cellsOf(options: BenchOptions, rail: RailKind): Cell[] {
  return options.blocksBytes.flatMap((blockBytes) =>
    options.batches.flatMap((batch) =>
      options.operations.map((operation) => ({ rail, operation, blockBytes, batch })),
    ),
  );
}

function startPeer(command: readonly string[]): ChildProcess {
  return spawn(command[0], command.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
}

async function descriptorOf(peer: ChildProcess): Promise<Uint8Array> {
  for await (const line of createInterface({ input: peer.stdout! })) {
    return Buffer.from(line, 'base64');
  }
  throw new InputError('the other side of the bench ended before it served');
}

async function measure(
  options: BenchOptions,
  cell: Cell,
  side: Side,
  segment: Segment,
  peerPid: number,
): Promise<BenchRow> {
  const command = baselineOf(options, cell, side);
  const baseline = command === null ? null : BASELINES[cell.rail];
  let best: CellRun | null = null;
  let baselineGbPerSec = 0;
  const spec = { ...cell, verify: options.verify };
  // The first touches pages and opens connections.
  await runCell(side, segment, peerPid, spec, options.roundNs / 10);
  for (let round = 0; round < options.rounds; round++) {
    const run = await runCell(side, segment, peerPid, spec, options.roundNs);
    if (best === null || rate(run) > rate(best)) best = run;
    if (command === null) continue;
    const [program, ...args] = command;
    const gbPerSec = Number(execFileSync(program, args, { encoding: 'utf8' }));
    baselineGbPerSec = Math.max(baselineGbPerSec, gbPerSec);
  }
  return rowOf(cell, best!, baseline, baselineGbPerSec);
}

/** The program that does the same without us, and its arguments; null: it is not built. */
function baselineOf(options: BenchOptions, cell: Cell, { plane }: Side): string[] | null {
  const { poolBytes, roundNs } = options;
  const sizes = [String(cell.blockBytes), String(poolBytes)];
  if (cell.rail !== 'fabric') {
    const program = nativeProgram('baseline');
    const millis = String(Math.round(roundNs / 1e6));
    return program === null ? null : [program, BASELINES[cell.rail], ...sizes, millis];
  }
  const program = nativeProgram('fabric-bare');
  if (program === null) return null;
  const provider = plane.rails()[0].detail.split(' ')[0];
  const depth = String(Math.min(cell.batch, BARE_DEPTH_MAX));
  const [block, pool] = sizes;
  const seconds = String(roundNs / 1e9);
  return [program, provider, '127.0.0.1', cell.operation, block, depth, pool, seconds];
}

/** Bytes per ns, which is 1e9 bytes per second. */
const rate = ({ bytes, durationNs }: CellRun): number => bytes / durationNs;

function rowOf(
  cell: Cell,
  run: CellRun,
  baseline: BenchRow['baseline'],
  baselineGbPerSec: number,
): BenchRow {
  const { latenciesNs } = run;
  const nearest = (share: number) => latenciesNs[Math.ceil(share * latenciesNs.length) - 1];
  return {
    ...cell,
    gbPerSec: rate(run),
    opsPerSec: run.operations / (run.durationNs / 1e9),
    latencyNsP50: nearest(0.5),
    latencyNsP99: nearest(0.99),
    cpuSecPerGb: run.cpuSec / (run.bytes / 1e9),
    eventLoop: run.eventLoop,
    mainNsPerOp: run.mainNsPerOp,
    baseline,
    baselineGbPerSec: baseline === null ? null : baselineGbPerSec,
    ratio: baseline === null ? null : rate(run) / baselineGbPerSec,
  };
}
