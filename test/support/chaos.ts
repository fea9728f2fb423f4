/**
 * A live cluster of real processes under load while something kills, stops and takes away parts of
 * it; what must hold all the same is checked here. One seed is one run: which fault, when, whom.
 * Runs on one cluster follow each other; each has its own load, with blocks that none before had.
 */
import { basename, join } from 'node:path';
import seedrandom from 'seedrandom';
import type { TraceColumns } from '../../src/core/trace-columns.ts';
import type { LiveSpec } from '../../src/runtime/live/spec.ts';
import { specOf } from '../../src/study/live/cluster-spec.ts';
import { drive } from '../../src/study/live/drive.ts';
import { LocalCluster } from '../../src/study/live/local-cluster.ts';
import type { LiveResult } from '../../src/study/live/results.ts';
import { visiting } from '../../src/study/live/visitor.ts';
import { openTrace } from '../../src/trace/index.ts';
import { Acknowledged, type ObjectCounts } from './acknowledged.ts';
import {
  Chaos,
  type ChaosWorld,
  type FaultKind,
  KILLS,
  NODES,
  PREFILL_NODES,
  type Recovery,
  sleep,
  view,
  within,
} from './chaos-faults.ts';
import { Network } from './network.ts';
import { SmallDisks } from './small-disks.ts';

export interface ChaosRun {
  readonly seed: string;
  readonly recoveries: readonly Recovery[];
  readonly requests: LiveResult['requests'];
  readonly verifiedBlocks: number;
  readonly objects: ObjectCounts;
  readonly durationSec: number;
}

export interface ChaosOptions {
  readonly requests: number;
  /** The first fault. */
  readonly first: FaultKind;
  /** So many after it, drawn from kills. */
  readonly more: number;
}

const SPEED = 60;
const BLOCK_BYTES = 16_384;
/** Two prefill and two decode; a DRAM that evicts to an SSD that never is full by itself. */
const SETS = [
  `cluster.groups.0.count=${PREFILL_NODES}`,
  `cluster.groups.1.count=${NODES - PREFILL_NODES}`,
  'cluster.groups.0.dram=200ktokens',
  'cluster.groups.0.ssd=2Mtokens',
];
const DISK_BYTES = 320 << 20;
/** Fact logs of each cluster go into a folder of their own here, if it is set. */
const LOGS = process.env.MOONTIDE_CHAOS_LOGS;
/** For objects, on every node. */
const STORE = '64MiB';
const UTILISATION = 0.5;
const TOKEN = 'chaos-0123456789abcdef-chaos';
const RUN_MS = 180_000;
const AFTER_REQUESTS = 20;

/** The load of a run: the shape of the demo, blocks of its own. */
async function traceOf(seed: string, requests: number): Promise<TraceColumns> {
  const trace = await openTrace('demo', { limit: requests });
  return { ...trace, sha256: `${trace.sha256}/${seed}` };
}

async function chaosSpec(ssd: string): Promise<LiveSpec> {
  const { blockTokens } = await openTrace('demo', { limit: 1 });
  const own = { nodes: NODES, sets: SETS, speed: SPEED, transport: 'tcp' } as const;
  const logs = LOGS === undefined ? null : join(LOGS, basename(ssd));
  const spec = await specOf({ ...own, ssd, logs }, { blockTokens, blocks: 1 << 20 });
  return { ...spec, blockBytes: BLOCK_BYTES, prefault: false };
}

/** Calls `use` with a cluster that is up. @param stopMs of a SIGSTOP */
export async function withChaos<T>(
  stopMs: number,
  use: (cluster: ChaosCluster) => Promise<T>,
): Promise<T> {
  const notes: string[] = [];
  const note = (message: string) => notes.push(message);
  const nodes = Array.from({ length: NODES }, (_, node) => node);
  const network = new Network(NODES);
  const disks = new SmallDisks(nodes.slice(0, PREFILL_NODES), DISK_BYTES);
  let cluster: LocalCluster | null = null;
  try {
    cluster = await LocalCluster.start({
      etcdHost: network.host,
      place: (name) => network.place(name),
      spec: await chaosSpec(disks.folder),
      token: TOKEN,
      nodes,
      conductors: 2,
      etcd: 3,
      store: STORE,
      restarts: () => true,
      onEnd: (error) => note(error.message),
      onWarning: note,
    });
    const up = cluster;
    const where = { registry: up.registry, token: TOKEN, listen: `${network.host}:0` };
    return await visiting(where, async (visitor) => {
      const objects = await Acknowledged.start(where, NODES);
      const world = { cluster: up, network, disks, objects, visitor, stopMs };
      try {
        return await use(new ChaosCluster(world, where, notes));
      } finally {
        await objects.close();
      }
    });
  } finally {
    await cluster?.stop();
    disks.close();
    network.close();
  }
}

export class ChaosCluster {
  private readonly world: ChaosWorld;
  private readonly where: Parameters<typeof drive>[0];
  private readonly notes: string[];

  constructor(world: ChaosWorld, where: Parameters<typeof drive>[0], notes: string[]) {
    this.world = world;
    this.where = where;
    this.notes = notes;
  }

  /** @throws Error with the seed and the last warnings when something did not hold */
  async run(seed: string, options: ChaosOptions): Promise<ChaosRun> {
    this.notes.length = 0;
    try {
      return await this.play(seed, options);
    } catch (error) {
      const notes = this.notes.slice(-12).join('\n');
      throw new Error(`seed ${seed}: ${(error as Error).message}\n${notes}`);
    }
  }

  /** All is well after all. */
  async checkWell(): Promise<void> {
    const { requests } = await this.drive(await traceOf('well', AFTER_REQUESTS));
    if (requests.completed !== AFTER_REQUESTS) throw new Error('not all is well after all');
  }

  private async play(seed: string, options: ChaosOptions): Promise<ChaosRun> {
    const startMs = performance.now();
    const random = seedrandom.alea(`${seed}/chaos`);
    const { objects } = this.world;
    const chaos = new Chaos(this.world, random);
    let begin = (): void => {};
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    let ended = false;
    const run = this.drive(await traceOf(seed, options.requests), begin);
    run.catch(() => {});
    const faults = async () => {
      await begun;
      for (let i = 0; i <= options.more; i++) {
        await sleep(300 + 1200 * random());
        const drawn = KILLS[Math.floor(random() * KILLS.length)];
        await chaos.strike(i === 0 ? options.first : drawn);
      }
    };
    const client = objects.play(seed, seedrandom.alea(`${seed}/objects`), () => ended);
    const load = Promise.all([run, faults()]).finally(() => {
      ended = true;
    });
    const [[result]] = await Promise.all([load, client]);
    await chaos.checkHoldings();
    return {
      seed,
      recoveries: chaos.recoveries,
      requests: result.requests,
      verifiedBlocks: result.live.verifiedBlocks,
      objects: await objects.check(seed),
      durationSec: (performance.now() - startMs) / 1000,
    };
  }

  private async drive(trace: TraceColumns, onPlay = (): void => {}): Promise<LiveResult> {
    const load = { trace, agents: NODES, utilisation: UTILISATION, onPlay };
    const onWarning = (message: string) => this.notes.push(message);
    const run = drive(this.where, { ...load, onWarning });
    const result = await within(run, RUN_MS, 'the requests').catch(async (error: Error) => {
      throw new Error(`${error.message}; ${await view(this.world.visitor)}`);
    });
    checkResult(result, trace.requests);
    return result;
  }
}

/** Every request has had its end, with a cause; no wrong byte was served. */
function checkResult({ requests, live }: LiveResult, arrived: number): void {
  const { completed, rejected, failed, cancelled, inFlight, causes } = requests;
  const ended = completed + rejected + failed + cancelled;
  if (requests.arrived !== arrived || inFlight !== 0 || ended !== arrived) {
    throw new Error(`found ${JSON.stringify(requests)}, expected ${arrived} ends`);
  }
  const caused = Object.values(causes).reduce((sum, count) => sum + count, 0);
  if (caused !== rejected + failed) {
    throw new Error(`ends without a cause: ${JSON.stringify(requests)}`);
  }
  if (live.checksumFailures !== 0) throw new Error(`${live.checksumFailures} wrong blocks`);
}
