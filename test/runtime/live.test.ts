/** A live cluster in one process over sockets: test/conformance has the other rails. */
import { expect, it } from 'vitest';
import { Mark } from '../../src/core/host.ts';
import { Outcome } from '../../src/core/request.ts';
import { checkAtRest, clusterOn, liveHost, railsOf } from '../support/hosts.ts';
import { describeNative } from '../support/native.ts';
import { randomTrace, tinyPlan, tinyTopology } from '../support/tiny.ts';

const TCP = liveHost('live, tcp', railsOf('tcp'), null);

describeNative('a live cluster', () => {
  it('serves every request over tcp', async () => {
    const topology = tinyTopology({ prefill: 3, decode: 1, dramBlocks: 30, ssdBlocks: 40 });
    const plan = await tinyPlan({ topology });
    const trace = randomTrace(5, { requests: 120, gapNs: 40_000 });
    const run = clusterOn(TCP, { plan, trace });
    await run.run();
    checkAtRest(run, trace.distinctBlocks);
    expect([...run.recorder.column(Mark.outcome)]).toEqual(
      new Array(trace.requests).fill(Outcome.completed),
    );
  });
});
