/** A workload on its own: arrivals in time, closed loops, and what it asks again. */
import { describe, expect, it } from 'vitest';
import { Count, Mark } from '../../src/core/host.ts';
import { Outcome } from '../../src/core/request.ts';
import { CONDUCTOR, WORKLOAD } from '../../src/core/topology.ts';
import { type Done, tellers } from '../support/teller.ts';
import { tinyPlan, tinyTopology, traceOf } from '../support/tiny.ts';

const plan = await tinyPlan({ topology: tinyTopology() });
const START = { kind: 'wake', token: -1 } as const;
const terminal = (request: number) =>
  ({ kind: 'terminal', request, attempt: 0, outcome: Outcome.completed }) as const;
const arrivals = (done: Done) => done.messages('arrive').map(({ request }) => request);
const idsOf = (done: Done) => arrivals(done).map(({ id }) => id);

const open = traceOf([
  { atNs: 0, blocks: [3, 4], inputTokens: 20, outputTokens: 7 },
  { atNs: 0, blocks: [3], outputTokens: 1 },
  { atNs: 50, blocks: [5], outputTokens: 1 },
]);
const closed = traceOf([
  { atNs: 0, blocks: [0], outputTokens: 1 },
  { atNs: 0, blocks: [0], outputTokens: 1, parent: 0, thinkNs: 30 },
  { atNs: 0, blocks: [0], outputTokens: 1, parent: 0, thinkNs: 40 },
  { atNs: 0, blocks: [0], outputTokens: 1, parent: 1 },
]);

describe('a workload', () => {
  it('sends what is due and sleeps until the next', () => {
    const { workload } = tellers(plan, open);
    const started = workload.tell(START);
    expect(idsOf(started)).toEqual([0, 1]);
    expect(started.of('wakeAt')).toEqual([[50, -1]]);
    workload.nowNs = 50;
    expect(idsOf(workload.tell(START))).toEqual([2]);
  });

  it('makes requests of the rows of its trace', () => {
    const { workload } = tellers(plan, open);
    workload.nowNs = 5;
    const [request] = arrivals(workload.tell(START));
    expect(request).toMatchObject({ id: 0, attempt: 0, inputTokens: 20, outputTokens: 7 });
    expect(request.arrivalNs).toBe(5);
    expect([request.blocks.at(0), request.blocks.at(1), request.blocks.length]).toEqual([3, 4, 2]);
  });

  it('starts the children of a request after its end and their think time', () => {
    const { workload } = tellers(plan, closed);
    const started = workload.tell(START);
    expect(idsOf(started)).toEqual([0]);
    workload.nowNs = 100;
    const ended = workload.tell(terminal(0), CONDUCTOR);
    expect(ended.of('wakeAt')).toEqual([
      [130, 1],
      [140, 2],
    ]);
    workload.nowNs = 130;
    expect(idsOf(workload.tell({ kind: 'wake', token: 1 }))).toEqual([1]);
  });

  it('counts each end once', () => {
    const { workload } = tellers(plan, closed);
    workload.tell(START);
    workload.tell(terminal(0), CONDUCTOR);
    const again = workload.tell(terminal(0), CONDUCTOR);
    expect(again.commands).toEqual([['count', Count.lateFact, 1]]);
    expect(workload.machine.done).toBe(false);
    for (const request of [1, 2, 3]) workload.tell(terminal(request), CONDUCTOR);
    expect(workload.machine.done).toBe(true);
  });

  it('asks again for what has no end, when the channel broke', () => {
    const { workload } = tellers(plan, open);
    workload.tell(START);
    workload.tell(terminal(0), CONDUCTOR);
    const again = workload.tell({ kind: 'peerReset', peer: CONDUCTOR }, WORKLOAD);
    expect(again.sent.map(([to]) => to)).toEqual([CONDUCTOR]);
    expect(idsOf(again)).toEqual([1]);
  });

  it('tries again what an instance lost, so often and no more', () => {
    const { workload } = tellers(plan, open);
    workload.tell(START);
    const lost = (attempt: number) =>
      workload.tell({ ...terminal(0), attempt, outcome: Outcome.lost }, CONDUCTOR);
    expect(arrivals(lost(0))).toMatchObject([{ id: 0, attempt: 1 }]);
    expect(lost(0).commands).toEqual([['count', Count.lateFact, 1]]);
    expect(arrivals(lost(1))).toMatchObject([{ id: 0, attempt: 2 }]);
    expect(lost(2).commands).toEqual([['mark', 0, Mark.outcome, Outcome.lost]]);
    expect(workload.machine.endedRequests).toBe(1);
  });
});
