/**
 * Members that lie within the schema: messages of nodes are said again with other numbers. What
 * they do to a machine of another process must not be its end.
 */
import { expect, it } from 'vitest';
import { RandomStream } from '../../src/config/streams.ts';
import { decode, encode } from '../../src/core/codec.ts';
import type { Message } from '../../src/core/messages.ts';
import type { Address } from '../../src/core/topology.ts';
import { MessageSchema } from '../../src/runtime/control/message-schema.ts';
import { prepare } from '../support/simulate.ts';
import { scenarioOf } from './scenario.ts';

const SEEDS = 60;
const FACTS_MAX = 100_000;
/** Between stores. What a liar says there costs blocks, and no request. */
const OF_STORES: readonly Message['kind'][] = [
  'leaseRequest',
  'leaseGrant',
  'leaseRelease',
  'writeRequest',
  'writeGrant',
  'writeEnded',
  'writesOpen',
];
/** About requests: those that a liar touches may never end. */
const OF_REQUESTS: readonly Message['kind'][] = [
  'dispatch',
  'prefilled',
  'finished',
  'cancel',
  'probe',
  'terminal',
  'handoff',
  'handoffTaken',
  'reserve',
  'reserved',
  'unreserve',
  'replicate',
  'rolesSet',
  'delta',
  'blockInventory',
  'requestInventory',
];

function changed(value: unknown, random: () => number): unknown {
  if (typeof value === 'number') {
    const draw = random();
    if (draw < 0.1) return Math.floor(random() * 8) - 1;
    return draw < 0.2 ? value + Math.floor(random() * 3) - 1 : value;
  }
  if (typeof value === 'boolean') return random() < 0.2 !== value;
  if (value instanceof Int32Array) return random() < 0.2 ? null : value;
  if (Array.isArray(value)) {
    const items: unknown[] = value.map((item) => changed(item, random));
    const draw = random();
    return draw < 0.1 ? [...items, ...items] : draw < 0.2 ? items.slice(1) : items;
  }
  if (value === null || typeof value !== 'object') return value;
  const fields = Object.entries(value).map(([name, field]) => {
    return [name, name === 'kind' ? field : changed(field, random)];
  });
  return Object.fromEntries(fields);
}

/** Runs of so many scenarios in which messages of these kinds are said again, changed. */
async function lies(kinds: readonly Message['kind'][], seeds: number, settles: boolean) {
  let told = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    const { plan, trace } = await scenarioOf(seed);
    const stream = new RandomStream(seed, 'liars');
    const schema = new MessageSchema(plan.topology, 1000);
    let lying = false;
    let facts = 0;
    const onSend = (from: Address, to: Address, sent: Message) => {
      if (lying || !kinds.includes(sent.kind) || stream.next() > 0.3) return;
      const lie = changed(decode(encode(sent)), () => stream.next());
      try {
        schema.check(from, to, lie);
      } catch {
        return;
      }
      lying = true;
      run.simulation.host(from).send(to, lie as Message);
      lying = false;
      told++;
    };
    const onFact = () => {
      if (++facts > FACTS_MAX) throw new Error('it does not come to an end');
    };
    const run = prepare({ plan, trace, observers: [{ onSend, onFact }] });
    try {
      run.simulation.run();
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
    for (const store of run.cluster.stores) store.check();
    if (settles) expect(run.cluster.workload.done, `seed ${seed}`).toBe(true);
  }
  expect(told).toBeGreaterThan(10 * seeds);
}

it('stores outlive what their peers make up, and so does every request', async () => {
  await lies(OF_STORES, SEEDS, true);
}, 60_000);

it('machines outlive what others make up about requests', async () => {
  await lies([...OF_STORES, ...OF_REQUESTS], SEEDS, false);
}, 60_000);
