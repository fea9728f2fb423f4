/** Roles that change: drained first, started later, never the last of a role, nothing lost. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import type { MadePolicies } from '../../src/config/wire.ts';
import { Mark } from '../../src/core/host.ts';
import type { RoleChange } from '../../src/core/policy.ts';
import { Outcome } from '../../src/core/request.ts';
import { type Role, WORKLOAD } from '../../src/core/topology.ts';
import { simulate } from '../support/simulate.ts';
import { requestOf, tellers } from '../support/teller.ts';
import { randomTrace, tinyPlan, tinyTopology } from '../support/tiny.ts';

const topology = tinyTopology({ prefill: 2, decode: 2 });
const plan = await tinyPlan({ topology });

/** A policy that wants these changes, each at its look, every 1,000 ns. */
function wants(...looks: RoleChange[][]): MadePolicies['elasticity'] {
  const adjust = () => looks.shift() ?? [];
  return { name: 'wants', create: () => ({ intervalNs: 1000, adjust }) };
}

let conductor: ReturnType<typeof tellers>['conductor'];
let address: (instance: number) => number;

function begin(elasticity: MadePolicies['elasticity']): void {
  const cluster = tellers({ ...plan, policies: { ...plan.policies, elasticity } });
  conductor = cluster.conductor;
  address = (instance) => cluster.addresses.instance(instance);
}

const arrive = (id: number) =>
  conductor.tell({ kind: 'arrive', request: requestOf(id, [id]) }, WORKLOAD);
const wake = (token: number) => conductor.tell({ kind: 'wake', token });
const rolesSet = (instance: number, roles: Role[], idle: boolean) =>
  conductor.tell({ kind: 'rolesSet', instance, roles, idle }, address(instance));
const LOOK = 1;

describe('elasticity in the conductor', () => {
  const toDecode: RoleChange = { instance: 1, roles: ['decode'], startupNs: 500 };

  beforeEach(() => begin(wants([toDecode])));

  it('looks while there is work, and not for no policy', async () => {
    expect(arrive(0).of('wakeAt')).toEqual([[1000, LOOK]]);
    expect(arrive(1).of('wakeAt')).toEqual([]);
    conductor.nowNs = 1000;
    expect(wake(LOOK).of('wakeAt')).toEqual([[2000, LOOK]]);
    for (const request of [0, 1]) {
      const outcome = Outcome.completed;
      conductor.tell({ kind: 'finished', request, attempt: 0, outcome }, address(0));
    }
    conductor.nowNs = 2000;
    expect(wake(LOOK).of('wakeAt')).toEqual([]);
    expect(arrive(2).of('wakeAt')).toEqual([[3000, LOOK]]);
    conductor = tellers(plan).conductor;
    expect(arrive(0).of('wakeAt')).toEqual([]);
  });

  it('drains, starts, and then gives the new work', () => {
    const { views } = conductor.machine;
    arrive(0);
    conductor.nowNs = 1000;
    expect(wake(LOOK).sent).toMatchObject([[address(1), { kind: 'setRoles', roles: [] }]]);
    expect(views.prefillInstances).toEqual([0]);
    expect(views.standbyInstances).toEqual([]);
    expect(rolesSet(1, [], false).commands).toEqual([]);
    expect(rolesSet(1, [], true).of('wakeAt')).toEqual([[1500, 3]]);
    conductor.nowNs = 1500;
    expect(wake(3).sent).toMatchObject([[address(1), { kind: 'setRoles', roles: ['decode'] }]]);
    expect(views.decodeInstances).toEqual([1, 2, 3]);
    rolesSet(1, ['decode'], true);
    expect(views.decodeInstances).toEqual([1, 2, 3]);
  });

  it('waits for what is bound for it', () => {
    begin(wants([{ instance: 2, roles: ['prefill'], startupNs: 0 }]));
    arrive(0); // Is decoded by 2, the first of equals.
    wake(LOOK);
    expect(rolesSet(2, [], true).commands).toEqual([]);
    expect(wake(LOOK).messages('setRoles')).toEqual([]);
    const outcome = Outcome.completed;
    conductor.tell({ kind: 'finished', request: 0, attempt: 0, outcome }, address(2));
    expect(wake(LOOK).messages('setRoles')).toMatchObject([{ instance: 2, roles: ['prefill'] }]);
  });

  it('goes on standby and comes back from it', () => {
    const idle = { instance: 1, roles: [], startupNs: 0 };
    const back: RoleChange = { instance: 1, roles: ['prefill'], startupNs: 0 };
    begin(wants([idle], [back]));
    arrive(0);
    wake(LOOK);
    rolesSet(1, [], true);
    expect(conductor.machine.views.standbyInstances).toEqual([1]);
    expect(wake(LOOK).sent).toMatchObject([[address(1), { kind: 'setRoles', roles: ['prefill'] }]]);
    expect(conductor.machine.views.prefillInstances).toEqual([0, 1]);
  });

  it('says it again after a reset, and forgets who died', () => {
    arrive(0);
    wake(LOOK);
    const again = conductor.tell({ kind: 'peerReset', peer: address(1) });
    expect(again.sent).toMatchObject([[address(1), { kind: 'setRoles', roles: [] }]]);
    conductor.tell({ kind: 'peerGone', peer: address(1) });
    expect(wake(3).sent).toEqual([]);
  });

  it.each([
    [{ instance: 9, roles: [], startupNs: 0 }, 'wants a change of 9, not an instance'],
    [{ instance: 0, roles: [], startupNs: -1 }, 'wants 0 to start in -1 ns'],
  ])('stops a policy that wants what cannot be: %j', (change, message) => {
    begin(wants([change]));
    arrive(0);
    expect(() => wake(LOOK)).toThrow(message);
  });

  it('stops a policy that takes the last of a role, or one that is changing', () => {
    const drop = (instance: number) => ({ instance, roles: [], startupNs: 0 });
    begin(wants([drop(0), drop(1)]));
    arrive(0);
    expect(() => wake(LOOK)).toThrow('leaves nobody for prefill');
    begin(wants([drop(0)], [drop(0)]));
    arrive(0);
    wake(LOOK);
    expect(() => wake(LOOK)).toThrow('wants a change of 0, which is changing');
  });
});

describe('a run whose roles change', () => {
  it('loses no request, whatever changes when', async () => {
    const shape = tinyTopology({ prefill: 2, decode: 2, coupled: 1, dramBlocks: 20 });
    const base = await tinyPlan({ topology: shape });
    const everyRole: Role[][] = [[], ['prefill'], ['decode'], ['prefill', 'decode']];
    const changes = fc.array(
      fc.record({ instance: fc.nat(3), roles: fc.constantFrom(...everyRole) }),
      { minLength: 5, maxLength: 40 },
    );
    let switched = 0;
    fc.assert(
      fc.property(changes, fc.nat(1000), (wanted, seed) => {
        // Instance 4 keeps both roles, so that no change is the last of a role.
        const left = wanted.slice();
        const elasticity: MadePolicies['elasticity'] = {
          name: 'wild',
          create: () => ({
            intervalNs: 40_000,
            adjust: (view) => {
              const next = left.shift();
              if (next === undefined) return [];
              const there = [...view.prefillInstances, ...view.decodeInstances];
              const free = [...there, ...view.standbyInstances].includes(next.instance);
              return free ? [{ ...next, startupNs: 10_000 }] : [];
            },
          }),
        };
        const trace = randomTrace(seed, { closed: 0.2 });
        const observer = {
          onFact(_to: number, { body }: { body: { kind: string } }) {
            if (body.kind === 'setRoles') switched++;
          },
        };
        const policies = { ...base.policies, elasticity };
        const run = simulate({ plan: { ...base, policies }, trace, observers: [observer] });
        expect(run.cluster.workload.done).toBe(true);
        run.cluster.conductor.checkIdle();
        for (const instance of run.cluster.instances) instance.checkIdle();
        for (const outcome of run.recorder.column(Mark.outcome)) {
          expect(outcome).toBe(Outcome.completed);
        }
      }),
      { numRuns: 40 },
    );
    expect(switched).toBeGreaterThan(200);
  });
});
