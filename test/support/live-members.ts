/** A whole live cluster of members in one process: ingress, conductor and agents, real channels. */
import type { TraceColumns } from '../../src/core/trace-columns.ts';
import { LiveMember, type MemberOptions } from '../../src/runtime/live/member.ts';
import { type LiveSpec, originNow, SPEC_KEY } from '../../src/runtime/live/spec.ts';
import { ANY } from '../../src/runtime/registry/registry.ts';
import { Hub } from '../../src/study/live/hub.ts';
import { until } from './links.ts';

export const TOKEN = 'token-of-the-test-cluster';

export interface LiveMembers {
  readonly ingress: LiveMember;
  readonly conductor: LiveMember;
  readonly agents: readonly LiveMember[];
  readonly errors: unknown[];
  /** Plays the trace to its end. */
  play(): Promise<void>;
  close(): Promise<void>;
}

export async function liveMembers(
  trace: TraceColumns,
  nodes: number,
  sets: readonly string[] = [],
): Promise<LiveMembers> {
  const errors: unknown[] = [];
  const hub = await Hub.start('127.0.0.1:0', { token: TOKEN, tls: null });
  const spec: LiveSpec = {
    version: 'test',
    config: 'mooncake-16',
    sets: [
      `cluster.groups.0.count=${nodes - 1}`,
      'cluster.groups.1.count=1',
      'cluster.groups.0.dram=1Mtokens',
      'cluster.groups.1.dram=1Mtokens',
      ...sets,
    ],
    options: {},
    blockTokens: trace.blockTokens,
    blocks: trace.distinctBlocks,
    speed: 100,
    origin: originNow(),
    blockBytes: 4096,
    rails: [{ kind: 'local', bytesPerNs: null, options: {} }],
    prefault: false,
    ssd: null,
    logs: null,
  };
  await hub.registry.put(SPEC_KEY, JSON.stringify(spec), ANY);
  const registry = { hub: `127.0.0.1:${hub.port}` };
  const member = async (given: Pick<MemberOptions, 'name' | 'role' | 'node'>) => {
    const onError = (error: unknown) => errors.push(error);
    const made = new LiveMember({
      listen: '127.0.0.1:0',
      token: TOKEN,
      onError,
      registry,
      ...given,
    });
    await made.join();
    return made;
  };
  const conductor = await member({ name: 'conductor-0', role: 'conductor', node: -1 });
  const agents: LiveMember[] = [];
  for (let node = 0; node < nodes; node++) {
    agents.push(await member({ name: `node-${node}`, role: 'agent', node }));
  }
  const ingress = await member({ name: 'ingress', role: 'ingress', node: -1 });
  await ingress.ready(nodes);
  return {
    ingress,
    conductor,
    agents,
    errors,
    play: async () => {
      const workload = ingress.play(trace, 0);
      await until(() => workload.done || errors.length > 0);
      if (errors.length > 0) throw errors[0];
    },
    close: async () => {
      for (const made of [ingress, ...agents, conductor]) await made.leave();
      await hub.close();
    },
  };
}
