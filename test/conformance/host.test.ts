/** What a host promises to any machine, asked by machines made for the question. */
import { expect, it } from 'vitest';
import { wireCluster } from '../../src/config/wire.ts';
import type { Host, Machine, Run, Step } from '../../src/core/host.ts';
import type { Body, Fact } from '../../src/core/messages.ts';
import { Outcome } from '../../src/core/request.ts';
import { AddressBook, CONDUCTOR, WORKLOAD } from '../../src/core/topology.ts';
import { Causality } from '../support/causality.ts';
import { describeHosts, type HostKind } from '../support/hosts.ts';
import { CONTROL_DELAY_NS, tinyPlan, tinyTopology, traceOf } from '../support/tiny.ts';

/** Node 0: instances 0 and 1. Node 1: instance 2. */
const topology = tinyTopology({ prefill: 0, decode: 0, coupled: 1, mixed: 1 });
const addresses = new AddressBook(topology);
const [ALONE, FIRST, SECOND] = [0, 1, 2].map((id) => addresses.instance(id));
const NEAR_STORE = addresses.store(1);

interface Told {
  readonly to: number;
  readonly from: number;
  readonly atNs: number;
  readonly body: Body;
}

type Script = (host: Host, fact: Fact) => void;

/**
 * Runs machines that do what their scripts say; answers everything that they were told. The ingress
 * speaks to an instance through the conductor, as it must; what that was told is left out then.
 */
async function play(
  kind: HostKind,
  given: Record<number, Script>,
  through: number | null = null,
): Promise<Told[]> {
  const scripts = { ...given };
  if (through !== null) scripts[CONDUCTOR] = passOn(through);
  const trace = traceOf([
    { atNs: 0, blocks: [0], outputTokens: 1 },
    { atNs: 0, blocks: [1], outputTokens: 1 },
  ]);
  const plan = await tinyPlan({ topology });
  const { exact, copies } = kind;
  const causality = new Causality(topology, { disturbed: false, exact, copies });
  const world = kind.make({
    plan,
    trace,
    observers: [causality],
    blockAt: () => 0,
    isInHbm: () => false,
    stores: () => stores,
  });
  const { stores } = wireCluster(plan, trace, (address) => world.host(address));
  const told: Told[] = [];
  const machines = Array.from({ length: addresses.count }, (_, to): Machine => {
    const host = world.host(to);
    return {
      handle(fact) {
        const { from, atNs, body } = fact;
        told.push({ to, from, atNs, body });
        scripts[to]?.(host, fact);
      },
    };
  });
  world.setMachines(machines);
  await world.run();
  causality.checkEnd();
  return through === null ? told : told.filter(({ to }) => to !== CONDUCTOR);
}

/** What the ingress says goes to the instance; that it has begun to decode goes to the ingress. */
function passOn(instance: number): Script {
  return (host, { body }) => {
    if (body.kind === 'cancel') host.send(instance, body);
    if (body.kind !== 'prefilled') return;
    const { request, attempt } = body;
    host.send(WORKLOAD, { kind: 'terminal', request, attempt, outcome: Outcome.completed });
  };
}

function onFirst(kind: Body['kind'], then: Script): Script {
  let done = false;
  return (host, fact) => {
    if (done || fact.body.kind !== kind) return;
    done = true;
    then(host, fact);
  };
}

/** The whole prompt of request 0, and its decoding. */
const PROMPT: Step = {
  id: 7,
  chunks: [{ request: 0, fromToken: 0, toToken: 16, first: true, last: true, loads: [] }],
  decode: null,
};
const RUN: Run = { id: 9, batch: 1, contextTokens: 17, maxSteps: 1_000, requests: [0] };

const cancel = (request: number) => ({ kind: 'cancel', request, attempt: 0 }) as const;

describeHosts('%s', (kind) => {
  it('wakes the workload first', async () => {
    const told = await play(kind, {});
    expect(told.map(({ to, body }) => [to, body.kind])).toEqual([[WORKLOAD, 'wake']]);
  });

  // Real channels take what they take, which is something: a live plan asks for no more.
  const delayNs = kind.copies ? 1 : CONTROL_DELAY_NS;

  it('delivers in order, after the control delay', async () => {
    const told = await play(kind, {
      [WORKLOAD]: (host) => {
        for (let i = 0; i < 50; i++) host.send(CONDUCTOR, cancel(i));
      },
      [CONDUCTOR]: (host, { body }) => {
        if (body.kind === 'cancel' && body.request % 2 === 1) host.send(ALONE, body);
      },
    });
    const order = (to: number) =>
      told.filter((t) => t.to === to).map(({ body }) => (body as { request: number }).request);
    const all = Array.from({ length: 50 }, (_, i) => i);
    expect(order(CONDUCTOR)).toEqual(all);
    expect(order(ALONE)).toEqual(all.filter((i) => i % 2 === 1));
    const [first, ...rest] = told;
    for (const { to, atNs } of rest) {
      const hops = to === ALONE ? 2 : 1;
      expect(atNs - first.atNs, `to ${to}`).toBeGreaterThanOrEqual(hops * delayNs);
    }
  });

  it('delivers within a node in order and without delay, before anything else', async () => {
    const told = await play(
      kind,
      {
        [WORKLOAD]: (host) => {
          host.send(CONDUCTOR, cancel(0));
          host.send(CONDUCTOR, cancel(1));
        },
        [FIRST]: (host, { body }) => {
          if (body.kind !== 'cancel') return;
          host.send(NEAR_STORE, cancel(10 * body.request + 5));
          host.send(SECOND, cancel(10 * body.request + 6));
        },
        [NEAR_STORE]: (host, { body }) => {
          if (body.kind === 'cancel') host.send(SECOND, cancel(body.request + 2));
        },
      },
      FIRST,
    );
    const said = told.slice(1).map(({ to, body }) => [to, (body as { request: number }).request]);
    const first = [
      [FIRST, 0],
      [NEAR_STORE, 5],
      [SECOND, 6],
      [SECOND, 7],
    ];
    const second = [
      [FIRST, 1],
      [NEAR_STORE, 15],
      [SECOND, 16],
      [SECOND, 17],
    ];
    expect(said).toEqual([...first, ...second]);
    expect(new Set(told.slice(1, 5).map(({ atNs }) => atNs)).size).toBe(1);
    expect(new Set(told.slice(5, 9).map(({ atNs }) => atNs)).size).toBe(1);
  });

  it('wakes in order of time, never early, also when the time is past', async () => {
    const asked = [300_000, 100_000, 0, 200_000, 100_000];
    const told = await play(kind, {
      [WORKLOAD]: onFirst('wake', (host) => {
        for (const [token, atNs] of asked.entries()) host.wakeAt(atNs, token);
      }),
    });
    const woken = told.slice(1).map(({ body }) => (body as { token: number }).token);
    expect(woken).toEqual([2, 1, 4, 3, 0]);
    for (const { atNs, body } of told.slice(1)) {
      const askedNs = asked[(body as { token: number }).token];
      expect(atNs).toBeGreaterThanOrEqual(askedNs);
      if (kind.exact) expect(atNs).toBe(askedNs);
    }
  });

  it('runs a step for the time of its tokens', async () => {
    const told = await play(
      kind,
      {
        [WORKLOAD]: (host) => host.send(CONDUCTOR, cancel(0)),
        [ALONE]: onFirst('cancel', (host) => host.startStep(PROMPT)),
      },
      ALONE,
    );
    const [begun, ended] = told.slice(1);
    expect(ended.body).toMatchObject({ kind: 'stepEnded', step: PROMPT.id, computeNs: 26_000 });
    expect(ended.atNs - begun.atNs).toBeGreaterThanOrEqual(26_000);
    if (kind.exact) expect(ended.atNs - begun.atNs).toBe(26_000);
  });

  it('runs a decode batch alongside prompts, and says what each took', async () => {
    const [chunk] = PROMPT.chunks;
    const decode = { batch: 1, contextTokens: 17, requests: [0] };
    const mixed: Step = { id: 8, chunks: [{ ...chunk, request: 1 }], decode };
    const told = await play(
      kind,
      {
        [WORKLOAD]: (host) => host.send(CONDUCTOR, cancel(0)),
        [ALONE]: (host, { body }) => {
          if (body.kind === 'cancel') host.startStep(PROMPT);
          else if (body.kind === 'stepEnded' && body.step === PROMPT.id) host.startStep(mixed);
        },
      },
      ALONE,
    );
    const [, , alone, both] = told;
    expect(alone.body).toMatchObject({ step: PROMPT.id, decoded: 0, decodeNs: 0 });
    // 26 us of the prompt; 20 us + 1 us + 17 ns of the decode step.
    expect(both.body).toMatchObject({ step: 8, computeNs: 47_017, decoded: 1, decodeNs: 21_017 });
  });

  it('ends a run by itself after its last step', async () => {
    const told = await play(
      kind,
      {
        [WORKLOAD]: (host) => host.send(CONDUCTOR, cancel(0)),
        [ALONE]: (host, { body }) => {
          if (body.kind === 'cancel') host.startStep(PROMPT);
          else if (body.kind === 'stepEnded') host.startRun({ ...RUN, maxSteps: 3 });
        },
      },
      ALONE,
    );
    expect(told[3].body).toMatchObject({ kind: 'runEnded', run: RUN.id, steps: 3 });
  });

  it('cuts a run at the next step boundary, and only the run that is named', async () => {
    const cutNs: number[] = [];
    const told = await play(
      kind,
      {
        [WORKLOAD]: (host, { body, atNs }) => {
          if (body.kind === 'wake') host.send(CONDUCTOR, cancel(1 + body.token));
          else for (let i = 0; i < 5; i++) host.wakeAt(atNs + 50_000 * (i + 1), i);
        },
        [ALONE]: (host, { body, atNs }) => {
          if (body.kind === 'stepEnded') {
            host.startRun(RUN);
            host.send(CONDUCTOR, { kind: 'prefilled', request: 0, attempt: 0 });
          }
          if (body.kind !== 'cancel') return;
          if (body.request === 0) host.startStep(PROMPT);
          else if (body.request === 2) host.cutRun(RUN.id - 1);
          else if (body.request === 5) {
            cutNs.push(atNs);
            host.cutRun(RUN.id);
            host.cutRun(RUN.id);
          }
        },
      },
      ALONE,
    );
    const startNs = told.find(({ body }) => body.kind === 'stepEnded')!.atNs;
    const ends = told.filter(({ body }) => body.kind === 'runEnded');
    expect(ends).toHaveLength(1);
    const { body, atNs } = ends[0];
    if (body.kind !== 'runEnded') return;
    const gaps = [...body.gapsNs.subarray(body.from, body.from + body.steps)];
    const lastNs = gaps.pop()!;
    const boundaryNs = startNs + gaps.reduce((sum, gap) => sum + gap, 0);
    expect(boundaryNs).toBeLessThanOrEqual(cutNs[0]);
    expect(boundaryNs + lastNs).toBe(atNs);
    expect(atNs).toBeGreaterThanOrEqual(cutNs[0]);
  });
});
