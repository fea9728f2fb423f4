/** `moontide live status`: how a running cluster is. */
import type { Command } from 'commander';
import type { MemberStatus } from '../runtime/live/status.ts';
import type { ClusterStatus } from '../study/live/status.ts';
import { addFindOptions, type FindFlags } from './live-options.ts';
import { printJson } from './output.ts';
import { paint, table } from './table.ts';

const REFRESH_MS = 1000;
const CLEAR = '\u001b[H\u001b[J';
const EXAMPLES = `
Examples:
  moontide live status
  moontide live status --json | jq .leader`;

type Moves = NonNullable<ClusterStatus['moves']>;

interface StatusFlags extends FindFlags {
  readonly json?: true;
  readonly once?: true;
}

export function addStatus(live: Command): void {
  const command = live
    .command('status')
    .description('Nodes, tiers, rails, who leads, hit rate and alerts; live on a terminal.')
    .option('--once', 'print it once')
    .option('--json', 'once, as JSON');
  addFindOptions(command).addHelpText('after', EXAMPLES).action(status);
}

async function status(flags: StatusFlags): Promise<void> {
  const { findCluster } = await import('../study/live/state-file.ts');
  const { visiting } = await import('../study/live/visitor.ts');
  const { clusterStatus } = await import('../study/live/status.ts');
  const lasts = process.stdout.isTTY && flags.json !== true && flags.once !== true;
  let stopped = false;
  const stop = () => {
    stopped = true;
  };
  if (lasts) for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop);
  await visiting(findCluster(flags), async (visitor) => {
    do {
      const found = await clusterStatus(visitor);
      if (flags.json === true) printJson(found);
      else process.stdout.write(`${lasts ? CLEAR : ''}${statusTable(found)}\n`);
      if (lasts) await new Promise((resolve) => setTimeout(resolve, REFRESH_MS));
    } while (lasts && !stopped);
  });
}

export function statusTable(status: ClusterStatus): string {
  const { leader, members, hitRatio, inFlight, alerts } = status;
  const hit = hitRatio === null ? '-' : `${(100 * hitRatio).toFixed(1)} % of tokens`;
  const led = leader === null ? paint('red', 'nobody') : `${leader.name}, term ${leader.term}`;
  const lines = [`leader ${led} · ${inFlight} requests in flight · hit ${hit}`];
  if (status.moves !== null) lines.push(movesLine(status.moves));
  lines.push('');
  const rows = members.map((member) => rowOf(member, status));
  const head = ['member', 'does', 'tiers', 'rails', 'life', 'CPU s', 'memory', 'pools'];
  lines.push(table(head, rows, [1, 2, 3]));
  if (alerts.length > 0) lines.push('', ...alerts.map((text) => paint('yellow', `! ${text}`)));
  return lines.join('\n');
}

/** Blocks that go to new homes. */
function movesLine({ version, remaining, movedBlocks, movedBytes, stuck }: Moves): string {
  const left = remaining > 0 ? `${remaining} blocks to move` : 'blocks at home';
  const vain = stuck > 0 ? `, ${stuck} not taken` : '';
  const gigabytes = (movedBytes / 1e9).toFixed(1);
  return `bucket map ${version} · ${left}, ${movedBlocks} moved (${gigabytes} GB)${vain}`;
}

function rowOf(member: MemberStatus, status: ClusterStatus): string[] {
  const { name, incarnation, cpuSec, rssBytes, withoutPoolsBytes, rails, role } = member;
  const tiers = member.tiers.map(({ tier, usedBlocks, capacityBlocks }) => {
    const share = capacityBlocks === 0 ? 0 : (100 * usedBlocks) / capacityBlocks;
    return `${tier} ${usedBlocks}/${capacityBlocks} (${share.toFixed(0)} %)`;
  });
  if (member.ssdFullBlocks > 0) tiers.push(`disk full: ${member.ssdFullBlocks} blocks dropped`);
  return [
    name,
    does(member, status),
    tiers.join(', ') || '-',
    (role === 'agent' ? rails.join(', ') : '') || '-',
    String(incarnation),
    cpuSec.toFixed(1),
    `${(withoutPoolsBytes / 1e6).toFixed(0)} MB`,
    `${((rssBytes - withoutPoolsBytes) / 1e6).toFixed(0)} MB`,
  ];
}

/** What a member does: the roles of a node, or whether a conductor leads. */
function does({ name, role, node }: MemberStatus, { leader, members, wanted }: ClusterStatus) {
  if (role === 'conductor') return name === leader?.name ? 'leads' : 'stands by';
  if (role !== 'agent') return role;
  const leading = members.find((member) => member.name === leader?.name);
  const own = (leading?.instances ?? []).filter((instance) => instance.node === node);
  const roles = own.map((one) => one.roles.join('+') || 'nothing');
  const load = own.map(({ queued, decoding }) => `${queued} queued, ${decoding} decoding`);
  const wish = wanted[node]?.state ?? 'in';
  return [...roles, ...load, ...(wish === 'in' ? [] : [`wanted ${wish}`])].join(', ');
}
