/** A live cluster in one process: the machines of the simulator over real channels and pools. */
import { expect, it } from 'vitest';
import { Mark } from '../../src/core/host.ts';
import { Outcome } from '../../src/core/request.ts';
import { Recorder } from '../../src/metrics/recorder.ts';
import { liveCluster } from '../support/live.ts';
import { describeNative } from '../support/native.ts';
import { randomTrace, tinyPlan, tinyTopology } from '../support/tiny.ts';

describeNative('a live cluster', () => {
  it.each(['local', 'tcp'] as const)('serves every request over %s', async (rail) => {
    const topology = tinyTopology({ prefill: 3, decode: 1, dramBlocks: 30 });
    const plan = await tinyPlan({ topology });
    const trace = randomTrace(5, { requests: 120, gapNs: 400_000 });
    const recorder = new Recorder(topology, trace.requests);
    const live = await liveCluster({ plan, trace, rail, observers: [recorder] });
    try {
      await live.run();
      expect([...recorder.column(Mark.outcome)]).toEqual(
        new Array(trace.requests).fill(Outcome.completed),
      );
      live.cluster.conductor.checkIdle();
      for (const store of live.cluster.stores) {
        store.check();
        store.checkIdle(0);
      }
      const verified = live.transfers.reduce((sum, { verifiedBlocks }) => sum + verifiedBlocks, 0);
      expect(verified).toBeGreaterThan(trace.requests);
    } finally {
      await live.close();
    }
  });
});
