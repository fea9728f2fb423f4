/**
 * Whole replays in processes of their own, in CPU time (user + system), against a process that
 * parses the same trace with JSON.parse and walks its blocks once.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench } from './limits.ts';

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;
const REQUESTS = 12_031;
const POLICIES = ['random', 'least-loaded', 'local-cache-aware', 'kvcache-centric'];

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

export function replayBenches(): Bench[] {
  const path = join(process.env.MOONTIDE_TRACES ?? '', 'mooncake_conversation.jsonl');
  const real = existsSync(path);
  const trace = real ? `mooncake:${path}` : 'demo';
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
