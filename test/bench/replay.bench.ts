/**
 * Whole replays in processes of their own, in CPU time (user + system), against a process that
 * parses the same trace with JSON.parse and walks its blocks once.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Bench } from './limits.ts';

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;
const REQUESTS = 12_031;
const POLICIES = ['random', 'least-loaded', 'local-cache-aware', 'kvcache-centric'];

/** A node, a NIC and an SSD that fail and come back. */
const FAULTS = `events:
  - {at: 300s, crash: prefill-3, for: 120s, detect: 10s}
  - {at: 500s, rail: prefill-0/rail1, for: 60s}
  - {at: 600s, ssd: prefill-1, for: 60s}
  - {at: 900s, leave: prefill-6}
`;

/** Prints the CPU time of its own process when it ends, us. */
const TIMED = `process.on('exit', () => {
  const { user, system } = process.cpuUsage();
  process.stderr.write(String(user + system));
});`;

function cpuNs(args: readonly string[]): number {
  const hook = `data:text/javascript,${encodeURIComponent(TIMED)}`;
  const options = { encoding: 'utf8', maxBuffer: 1 << 28 } as const;
  const { stderr, status } = spawnSync(process.execPath, ['--import', hook, ...args], options);
  if (status !== 0) throw new Error(`a bench process failed: ${stderr}`);
  return Number(/(\d+)$/.exec(stderr)![1]) * 1e3;
}

/** Facts that a replay handles. */
function eventsOf(trace: string, policy: string): number {
  const study = new URL('../../dist/study/replay.js', import.meta.url).href;
  const code = `import { replay } from ${JSON.stringify(study)};
    const { events } = await replay(${JSON.stringify({ trace, prefill: policy })});
    console.log(events);`;
  const args = ['--input-type=module', '-e', code];
  return Number(spawnSync(process.execPath, args, { encoding: 'utf8' }).stdout);
}

const path = join(process.env.MOONTIDE_TRACES ?? '', 'mooncake_conversation.jsonl');
const real = existsSync(path);
const trace = real ? `mooncake:${path}` : 'demo';

/** Rails apart, by policy, and with all that can happen, against rails that count as one. */
export function railBenches(): Bench[] {
  const folder = mkdtempSync(join(tmpdir(), 'moontide-bench-'));
  process.on('exit', () => rmSync(folder, { recursive: true }));
  const faults = join(folder, 'faults.yaml');
  writeFileSync(faults, FAULTS);
  const all = ['--rail', 'spray', '--set', 'cluster.groups.0.ssd=4TB', '--scenario', faults];
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ...['nearest', 'round-robin', 'least-queued', 'spray'].map(
      (rail) => [`rails apart, ${rail}`, ['--rail', rail]] as const,
    ),
    ['rails apart, spray, SSDs, faults', all],
  ];
  const plain = [MAIN, 'replay', trace, '--json'];
  return cases.map(([name, flags]) => ({
    name,
    baseline: 'the same replay with the rails of a node as one',
    run: () => cpuNs([...plain, ...flags]) / REQUESTS,
    baselineRun: () => cpuNs(plain) / REQUESTS,
  }));
}

export function replayBenches(): Bench[] {
  const parse = `let sum = 0;
    const text = require('fs').readFileSync(${JSON.stringify(path)}, 'utf8').trimEnd();
    for (const line of text.split('\\n')) for (const id of JSON.parse(line).hash_ids) sum += id;
    console.log(sum);`;
  const baseline = real ? ['-e', parse] : ['-e', 'let x = 0; for (; x < 3e8; x++);'];
  return POLICIES.map((policy) => {
    let bestNs = Number.POSITIVE_INFINITY;
    return {
      name: `replay ${real ? 'conversation' : 'demo'} ${policy}`,
      baseline: real ? 'JSON.parse of the same trace' : 'an empty loop',
      run() {
        const ns = cpuNs([MAIN, 'replay', trace, '--prefill', policy, '--json']);
        bestNs = Math.min(bestNs, ns);
        return ns / REQUESTS;
      },
      baselineRun: () => cpuNs(baseline) / REQUESTS,
      note: () => {
        const seconds = bestNs / 1e9;
        const requests = Math.round(REQUESTS / seconds);
        const events = Math.round(eventsOf(trace, policy) / seconds);
        const rates = `${requests} requests and ${events} events per CPU-second`;
        return `${rates}, ${seconds.toFixed(2)} CPU-s in all`;
      },
    };
  });
}
