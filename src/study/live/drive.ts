/** Plays a trace into a cluster that is up, as its ingress, and tells what came of it. */
import { InputError } from '../../core/errors.ts';
import type { TraceColumns } from '../../core/trace-columns.ts';
import { tlsFrom } from '../../runtime/control/security.ts';
import { LiveMember } from '../../runtime/live/member.ts';
import type { MemberStatus } from '../../runtime/live/status.ts';
import type { RegistryRef } from '../../runtime/registry/open.ts';
import { firstBlockOf, firstRequestOf } from './numbers.ts';
import { type LiveResult, RunRecord } from './results.ts';
import { stretched } from './stretch.ts';

export interface ClusterRef {
  readonly registry: RegistryRef;
  readonly token: string;
  /** Where its members reach this process; loopback where it is not given. */
  readonly listen?: string;
}

export interface DriveOptions {
  readonly trace: TraceColumns;
  /** Agents that must be there before it begins. */
  readonly agents: number;
  /** Stretches the trace's time to this predicted load of the prefill instances. */
  readonly utilisation?: number | undefined;
  readonly onProgress?: ((ended: number, requests: number) => void) | undefined;
  readonly onWarning?: (message: string) => void;
  /** The run has begun. */
  readonly onPlay?: () => void;
}

const START_MS = 120_000;
const POLL_MS = 50;
const ANSWER_MS = 5000;
/** After the last request's end: saves and releases under way. */
const SETTLE_MS = 500;

export async function drive(where: ClusterRef, options: DriveOptions): Promise<LiveResult> {
  const record = new RunRecord();
  let fail: (error: unknown) => void = () => {};
  const failure = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failure.catch(() => {});
  const ingress = new LiveMember({
    name: 'ingress',
    role: 'ingress',
    node: -1,
    listen: where.listen ?? '127.0.0.1:0',
    token: where.token,
    tls: tlsFrom({}, process.env),
    registry: where.registry,
    onError: fail,
    onSeen: (seen) => record.add(seen),
    ...(options.onWarning === undefined ? {} : { onWarning: options.onWarning }),
  });
  try {
    await ingress.join();
    return await Promise.race([play(ingress, record, options), failure]);
  } finally {
    await ingress.leave();
  }
}

async function play(
  ingress: LiveMember,
  record: RunRecord,
  { trace: opened, agents, utilisation, onProgress, onPlay }: DriveOptions,
): Promise<LiveResult> {
  const { plan } = ingress;
  const { blockTokens } = plan.spec;
  if (opened.blockTokens !== blockTokens) {
    throw new InputError(
      `found blocks of ${opened.blockTokens} tokens, expected ${blockTokens}: the cluster's ` +
        '--block-tokens',
    );
  }
  await inTime(ready(ingress, agents), START_MS);
  const first = await firstRequestOf(ingress.registry, opened.requests);
  const firstBlock = await firstBlockOf(ingress.registry, opened);
  const trace = shifted(stretched(opened, plan, utilisation), firstBlock);
  const before = await statuses(ingress);
  const workload = ingress.play(trace, first);
  onPlay?.();
  while (!workload.done) {
    onProgress?.(workload.endedRequests, trace.requests);
    await sleep(POLL_MS);
  }
  await sleep(SETTLE_MS);
  const after = await statuses(ingress);
  return record.result(plan, trace, first, before, after);
}

/** Until so many agents are members and a leader knows what they have. */
async function ready(ingress: LiveMember, agents: number): Promise<void> {
  for (;;) {
    await ingress.ready(agents);
    const leader = ingress.membership.leader?.name ?? '';
    const status = await ingress.ask(leader, ANSWER_MS);
    const known = new Set(status?.instances.filter(({ alive }) => alive).map(({ node }) => node));
    if (known.size >= agents) return;
    await sleep(POLL_MS);
  }
}

/** Of all who answer; what they saw has come then. */
async function statuses(member: LiveMember): Promise<MemberStatus[]> {
  const asked = member.membership.now.map(({ name }) => member.ask(name, ANSWER_MS));
  return (await Promise.all(asked)).filter((status) => status !== null);
}

/** The blocks under the numbers that the cluster has for them. */
function shifted(trace: TraceColumns, by: number): TraceColumns {
  if (by === 0) return trace;
  const { decoded } = trace;
  const blocks = trace.blocks.map((block) => block + by);
  if (decoded === undefined) return { ...trace, blocks };
  return {
    ...trace,
    blocks,
    decoded: { ...decoded, blocks: decoded.blocks.map((block) => block + by) },
  };
}

async function inTime(step: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the cluster was not up after ${ms} ms`)), ms);
  });
  await Promise.race([step, late]).finally(() => clearTimeout(timer));
}

function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
