/** How a running cluster is: what its members say of themselves, and who leads. */
import type { MoveFigures } from '../../core/moves-out.ts';
import type { LiveMember } from '../../runtime/live/member.ts';
import { readWanted } from '../../runtime/live/operations.ts';
import { WANTED, type Wanted } from '../../runtime/live/spec.ts';
import type { MemberStatus } from '../../runtime/live/status.ts';

export interface ClusterStatus {
  readonly leader: { readonly name: string; readonly term: number } | null;
  /** By name. */
  readonly members: readonly MemberStatus[];
  /** Members that did not answer. */
  readonly silent: readonly string[];
  /** What operators want of nodes. */
  readonly wanted: Readonly<Record<number, Wanted>>;
  readonly inFlight: number;
  /** Of the tokens of all prompts that began on the members of now; null before the first. */
  readonly hitRatio: number | null;
  readonly alerts: readonly string[];
  /** Blocks that go to new homes, on all nodes; null where they have none. */
  readonly moves: MoveFigures | null;
}

const ANSWER_MS = 2000;

export async function clusterStatus(visitor: LiveMember): Promise<ClusterStatus> {
  const { membership, registry } = visitor;
  const names = membership.now.map(({ name }) => name).sort();
  const answers = await Promise.all(names.map((name) => visitor.ask(name, ANSWER_MS)));
  const members = answers.filter((status) => status !== null);
  const silent = names.filter((_, i) => answers[i] === null);
  const wanted = Object.fromEntries(readWanted(await registry.list(WANTED)));
  const { leader } = membership;
  const promptTokens = members.reduce((sum, status) => sum + status.promptTokens, 0);
  const cachedTokens = members.reduce((sum, status) => sum + status.cachedTokens, 0);
  const led = members.find(({ name }) => name === leader?.name);
  return {
    leader,
    members,
    silent,
    wanted,
    inFlight: led?.inFlight ?? 0,
    hitRatio: promptTokens === 0 ? null : cachedTokens / promptTokens,
    alerts: alertsOf(members, silent, leader !== null, wanted),
    moves: movesOf(members),
  };
}

function movesOf(members: readonly MemberStatus[]): MoveFigures | null {
  const all = members.map(({ moves }) => moves).filter((moves) => moves !== null);
  const version = Math.max(0, ...all.map((moves) => moves.version));
  if (version === 0) return null;
  const sum = (of: keyof MoveFigures) => all.reduce((total, moves) => total + moves[of], 0);
  return {
    version,
    remaining: sum('remaining'),
    movedBlocks: sum('movedBlocks'),
    movedBytes: sum('movedBytes'),
    stuck: sum('stuck'),
  };
}

function alertsOf(
  members: readonly MemberStatus[],
  silent: readonly string[],
  led: boolean,
  wanted: ClusterStatus['wanted'],
): string[] {
  const alerts = silent.map((name) => `${name} does not answer`);
  if (!led) alerts.push('nobody leads: no request is decided');
  const standbys = members.filter(({ role }) => role === 'conductor').length - 1;
  if (led && standbys < 1) alerts.push('no standby: start another conductor');
  for (const { name, wrongBytes } of members) {
    if (wrongBytes > 0) alerts.push(`${name} found ${wrongBytes} blocks with wrong bytes`);
  }
  for (const { name, alerts: firing } of members) {
    for (const { rule, value, advice } of firing ?? []) {
      alerts.push(`${name}: ${rule} (${value?.toPrecision(3)}): ${advice}`);
    }
  }
  const leading = members.find(({ term }) => term > 0);
  for (const { name, node, alive } of leading?.instances ?? []) {
    if (!alive && wanted[node]?.state !== 'out') alerts.push(`${name} is not there`);
  }
  return alerts;
}
