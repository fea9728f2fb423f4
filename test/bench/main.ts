/**
 * `npm run bench`: every hot path against a baseline in the same run. The two are timed in turn,
 * five times; a row shows the best of each and their ratio. With --check a ratio above its limit
 * (measured, with slack) fails: ratios survive a slow machine, absolute times do not.
 */
import { cacheBenches } from './cache.bench.ts';
import { kernelBenches } from './kernel.bench.ts';
import { type Bench, LIMITS } from './limits.ts';
import { railBenches, replayBenches } from './replay.bench.ts';

const ROUNDS = 5;

function best(bench: Bench): { ownNs: number; baselineNs: number } {
  let ownNs = Number.POSITIVE_INFINITY;
  let baselineNs = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    ownNs = Math.min(ownNs, bench.run());
    baselineNs = Math.min(baselineNs, bench.baselineRun());
  }
  return { ownNs, baselineNs };
}

function main(): void {
  const check = process.argv.includes('--check');
  const only = process.argv.find((arg) => arg.startsWith('--only='))?.slice('--only='.length);
  const benches = [...replayBenches(), ...railBenches(), ...kernelBenches, ...cacheBenches];
  let failures = 0;
  console.log(`${'bench'.padEnd(44)} ${'ns/op'.padStart(11)} ${'baseline'.padStart(11)}  ratio`);
  for (const bench of benches) {
    if (only !== undefined && !bench.name.includes(only)) continue;
    const { ownNs, baselineNs } = best(bench);
    const ratio = ownNs / baselineNs;
    const limit = LIMITS[bench.name];
    const slow = check && limit !== undefined && ratio > limit;
    if (slow) failures++;
    const note = slow ? `  above ${limit}` : '';
    const figures = `${ownNs.toFixed(1).padStart(11)} ${baselineNs.toFixed(1).padStart(11)}`;
    console.log(`${bench.name.padEnd(44)} ${figures}  ${ratio.toFixed(3)}${note}`);
    if (bench.note !== undefined) console.log(`  ${bench.note()}`);
  }
  if (failures > 0) {
    console.log(`${failures} above their limits`);
    process.exitCode = 1;
  }
}

main();
