/**
 * What an operator asks of a running cluster: nodes that join, drain and leave, and roles. A wish
 * stands in the registry; whoever leads carries it out, and so does its successor.
 */
import { InputError } from '../../core/errors.ts';
import type { Role } from '../../core/topology.ts';
import type { LiveMember } from '../../runtime/live/member.ts';
import { planOf, readSpec, WANTED, type Wanted } from '../../runtime/live/spec.ts';
import type { InstanceStatus } from '../../runtime/live/status.ts';
import { ANY } from '../../runtime/registry/registry.ts';

export type Wish =
  | { readonly kind: 'join' | 'drain' | 'leave' }
  | { readonly kind: 'role'; readonly roles: readonly Role[] };

const ANSWER_MS = 2000;
const LOOK_MS = 200;
const ROLES: readonly Role[] = ['prefill', 'decode'];

/** Writes the wish down; resolves once it has come true. */
export async function operate(
  visitor: LiveMember,
  node: number,
  wish: Wish,
  timeoutMs: number,
): Promise<void> {
  const { registry } = visitor;
  const { plan } = await planOf(await readSpec(registry));
  const nodes = plan.topology.nodes.length;
  if (node >= nodes) {
    throw new InputError(`found node ${node}, expected one of 0 to ${nodes - 1}`);
  }
  const entry = await registry.get(WANTED + node);
  const before = entry === null ? null : (JSON.parse(entry.value) as Wanted);
  const wanted = wantedBy(wish, before);
  const seen = await instances(visitor);
  if (seen.length > 0) checkRoles(seen, node, wanted, plan.topology.instances[node]?.roles ?? []);
  await registry.put(WANTED + node, JSON.stringify(wanted), ANY);
  const untilMs = Date.now() + timeoutMs;
  while (!(await isTrue(visitor, node, wanted))) {
    if (Date.now() > untilMs) {
      throw new Error(`node ${node}: not yet after ${timeoutMs / 1000} s; it stays wanted`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

function wantedBy(wish: Wish, before: Wanted | null): Wanted {
  const roles = before?.roles ?? null;
  if (wish.kind === 'role') return { state: 'in', roles: wish.roles };
  if (wish.kind === 'join') return { state: 'in', roles };
  return { state: wish.kind === 'drain' ? 'drained' : 'out', roles };
}

/** @throws InputError where nobody would be left for a role */
function checkRoles(
  seen: readonly InstanceStatus[],
  node: number,
  { state, roles }: Wanted,
  configured: readonly Role[],
): void {
  const next = state === 'in' ? (roles ?? configured) : [];
  for (const role of ROLES) {
    const others = seen.some((one) => one.alive && one.node !== node && one.roles.includes(role));
    if (others || next.includes(role)) continue;
    throw new InputError(`found node ${node} to be the last for ${role}, expected another one`);
  }
}

async function isTrue(
  visitor: LiveMember,
  node: number,
  { state, roles }: Wanted,
): Promise<boolean> {
  const own = (await instances(visitor)).filter((one) => one.node === node);
  const there = visitor.membership.agents.includes(node);
  if (state === 'out') return !there;
  if (own.length === 0) return false;
  const idle = own.every(({ queued, decoding }) => queued + decoding === 0);
  if (state === 'drained') {
    const away = !there || (await isEmptied(visitor, node));
    return away && idle && own.every((one) => one.roles.length === 0);
  }
  const alive = there && own.every((one) => one.alive && one.roles.length > 0);
  return alive && (roles === null || own.every((one) => one.roles.join() === roles.join()));
}

/** Its blocks have gone to their new homes, where they have any. */
async function isEmptied(visitor: LiveMember, node: number): Promise<boolean> {
  const agent = visitor.membership.now.find((one) => one.role === 'agent' && one.node === node);
  if (agent === undefined) return true;
  const status = await visitor.ask(agent.name, ANSWER_MS);
  return status?.moves?.remaining === 0;
}

/** As the leader sees them; empty while nobody leads. */
async function instances(visitor: LiveMember): Promise<readonly InstanceStatus[]> {
  const { leader } = visitor.membership;
  if (leader === null) return [];
  return (await visitor.ask(leader.name, ANSWER_MS))?.instances ?? [];
}
