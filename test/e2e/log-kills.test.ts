/**
 * The fact logs of a cluster whose processes are killed and stopped under load: they are whole up
 * to where each of them ended, and replay to what it did, to the last command that anybody heard
 * of.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { LiveMember } from '../../src/runtime/live/member.ts';
import { type LiveSpec, planOf } from '../../src/runtime/live/spec.ts';
import { specOf } from '../../src/study/live/cluster-spec.ts';
import { drive } from '../../src/study/live/drive.ts';
import { LocalCluster } from '../../src/study/live/local-cluster.ts';
import { type MachineReplay, replayLogs } from '../../src/study/live/replay-log.ts';
import { visiting } from '../../src/study/live/visitor.ts';
import { openTrace } from '../../src/trace/index.ts';
import { heard } from '../support/heard.ts';
import { describeNative } from '../support/native.ts';

const TOKEN = 'kills-0123456789abcdef-kills';
const REQUESTS = 60;
/** Two prefill and two decode, with room for 60 blocks each. */
const SETS = [
  'cluster.groups.0.count=2',
  'cluster.groups.0.dram=10GB',
  'cluster.groups.1.count=2',
  'cluster.groups.1.dram=10GB',
];
/** The cluster is in the midst of it by then. */
const LOADED_MS = 700;
/** Longer than a membership. */
const STOP_MS = 6000;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'moontide-kills-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describeNative('the logs of processes that are killed and stopped in mid-run', () => {
  it.each([
    { prefill: 'kvcache-centric', eviction: 'lru', decode: 'least-tbt' },
    { prefill: 'least-loaded', eviction: 'sieve', decode: 'round-robin' },
    { prefill: 'random', eviction: 'random', decode: 'least-kv' },
    { prefill: 'prefix-hit', eviction: 's3-fifo', decode: 'least-requests' },
    { prefill: 'session-affinity', eviction: 'arc', decode: 'least-tbt' },
  ])(
    'replay identically up to there with %o',
    async (policies) => {
      const { spec, leader } = await struckRun(policies);
      const replay = await replayLogs(folder);
      expect(replay).toMatchObject({ identical: true, unlogged: [] });
      expect(replay.machines.every(({ missing }) => missing === 0)).toBe(true);
      const ended = (closed: boolean) => replay.machines.filter((one) => one.closed === closed);
      expect(ended(false).map(nameOf).sort()).toEqual(
        [`conductor in ${leader}.0`, 'instance0 in node-0.0', 'store0 in node-0.0'].sort(),
      );
      // Whoever was killed, or slept for too long, has another life.
      const lives = ['conductor', 'store0', 'instance0', 'store3', 'instance3'];
      for (const machine of lives) {
        const own = replay.machines.filter((one) => one.machine === machine);
        expect(own.length, machine).toBeGreaterThan(1);
        expect(own[0].commands, machine).toBeGreaterThan(10);
      }
      const { messages, unsent } = heard(folder, (await planOf(spec)).plan.topology);
      expect(unsent).toEqual([]);
      expect(messages).toBeGreaterThan(10 * REQUESTS);
    },
    120_000,
  );
});

function nameOf({ machine, member, incarnation }: MachineReplay): string {
  return `${machine} in ${member}.${incarnation}`;
}

interface StruckRun {
  readonly spec: LiveSpec;
  /** The conductor that was killed. */
  readonly leader: string;
}

/** Requests through a cluster while it is struck; all of them have an end. */
async function struckRun(options: LiveSpec['options']): Promise<StruckRun> {
  const trace = await openTrace('demo', { limit: REQUESTS });
  const sized = { blockTokens: trace.blockTokens, blocks: 1 << 20 };
  const own = { nodes: 4, sets: SETS, speed: 60, transport: 'local', logs: folder } as const;
  const spec: LiveSpec = {
    ...(await specOf({ ...own, ...options }, sized)),
    blockBytes: 16_384,
    prefault: false,
  };
  const cluster = await LocalCluster.start({
    spec,
    token: TOKEN,
    nodes: [0, 1, 2, 3],
    conductors: 2,
    etcd: 0,
    restarts: () => true,
    onEnd: () => {},
  });
  const where = { registry: cluster.registry, token: TOKEN };
  try {
    const leader = await visiting(where, async (visitor) => {
      let playing: () => void = () => {};
      const begun = new Promise<void>((resolve) => {
        playing = resolve;
      });
      const load = drive(where, { trace, agents: 4, utilisation: 0.5, onPlay: playing });
      await begun;
      await sleep(LOADED_MS);
      const struck = await strike(cluster, visitor);
      const { requests } = await load;
      expect(requests).toMatchObject({ arrived: REQUESTS, inFlight: 0 });
      return struck;
    });
    return { spec, leader };
  } finally {
    await cluster.stop();
  }
}

/**
 * An agent and the leader die at once, another agent sleeps; all of them are there again. Answers
 * who led.
 */
async function strike(cluster: LocalCluster, { membership }: LiveMember): Promise<string> {
  const leader = membership.leader?.name ?? '';
  const struck = ['node-0', leader, 'node-3'];
  const before = struck.map((name) => membership.get(name)?.incarnation ?? -1);
  const pids = struck.map((name) => cluster.children.get(name)?.pid ?? -1);
  process.kill(pids[0], 'SIGKILL');
  process.kill(pids[1], 'SIGKILL');
  process.kill(pids[2], 'SIGSTOP');
  await sleep(STOP_MS);
  process.kill(pids[2], 'SIGCONT');
  await membership.until(() =>
    struck.every((name, i) => (membership.get(name)?.incarnation ?? -1) > before[i]),
  );
  return leader;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
