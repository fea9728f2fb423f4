/** Messages over links: all that machines say to each other passes, and nothing else does. */
import { describe, expect, it } from 'vitest';
import { decode, encode } from '../../src/core/codec.ts';
import type { Message } from '../../src/core/messages.ts';
import { BlockSpan } from '../../src/core/request.ts';
import { type Address, AddressBook, CONDUCTOR, WORKLOAD } from '../../src/core/topology.ts';
import { MessageSchema } from '../../src/runtime/control/message-schema.ts';
import { Disturbance } from '../../src/sim/disturbance.ts';
import { scenarioOf } from '../fuzz/scenario.ts';
import { simulate } from '../support/simulate.ts';
import { tinyTopology } from '../support/tiny.ts';

interface Said {
  readonly from: Address;
  readonly to: Address;
  readonly message: Message;
  readonly schema: MessageSchema;
}

/** One message of each kind and route, as it was said in a fuzzed run. */
async function saidIn(seeds: number): Promise<Map<string, Said>> {
  const said = new Map<string, Said>();
  for (let seed = 1; seed <= seeds; seed++) {
    const { plan, trace, rates, random, faults } = await scenarioOf(seed);
    const addresses = new AddressBook(plan.topology);
    const blocks = trace.distinctBlocks + (trace.decoded?.blocks.length ?? 0);
    const schema = new MessageSchema(plan.topology, blocks);
    const onSend = (from: Address, to: Address, sent: Message) => {
      const near = addresses.nodeOf[from] === addresses.nodeOf[to] && addresses.nodeOf[to] >= 0;
      // The registry carries the map.
      if (near || sent.kind === 'buckets') return;
      const message = decode(encode(sent)) as Message;
      schema.check(from, to, message);
      const party = (address: Address) => addresses.name(address).replace(/\d+$/, '');
      const route = `${message.kind} ${party(from)} ${party(to)}`;
      if (!said.has(route)) said.set(route, { from, to, message, schema });
    };
    simulate({
      plan,
      trace,
      observers: [{ onSend }],
      ...(rates === null ? {} : { disturbance: new Disturbance(rates, random) }),
      ...(faults === null ? {} : { scenario: faults }),
    });
  }
  return said;
}

/** Values that stand where others belong. */
const WRONG: readonly unknown[] = [
  undefined,
  null,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  -1e9,
  0.5,
  2 ** 60,
  'x',
  {},
  [[]],
  new Map(),
  new BlockSpan(Int32Array.of(-1), 0, 1),
];

describe('the schema', async () => {
  const said = await saidIn(60);

  it('takes every message of fuzzed runs, of all kinds that cross nodes', () => {
    expect([...said.keys()].sort()).toEqual([
      'arrive workload conductor',
      'blockInventory store conductor',
      'blocksMoved store store',
      'cancel conductor instance',
      'cancel instance instance',
      'delta store conductor',
      'dispatch conductor instance',
      'drain workload conductor',
      'finished instance conductor',
      'handoff instance instance',
      'handoffTaken instance instance',
      'leaseGrant store store',
      'leaseRelease store store',
      'leaseRequest store store',
      'moveBlocks store store',
      'movesLeft store conductor',
      'prefilled instance conductor',
      'probe conductor instance',
      'replicate conductor store',
      'requestInventory instance conductor',
      'reserve instance store',
      'reserved store instance',
      'rolesSet instance conductor',
      'setRoles conductor instance',
      'setRoles workload conductor',
      'terminal conductor workload',
      'unreserve conductor store',
      'unreserve instance store',
      'writeEnded store store',
      'writeGrant store store',
      'writeRequest store store',
      'writesOpen store store',
    ]);
  });

  it('takes no message with any field gone, added or replaced', () => {
    for (const { from, to, message, schema } of said.values()) {
      const fields = message as unknown as Record<string, unknown>;
      const check = (found: unknown) => () => schema.check(from, to, found);
      expect(check({ ...fields, extra: 1 }), `${message.kind} with extra`).toThrow(/wrong fields/);
      for (const name of Object.keys(fields)) {
        const { [name]: _, ...rest } = fields;
        expect(check(rest), `${message.kind} without ${name}`).toThrow();
        for (const value of WRONG) {
          // A reservation's checksums may be absent.
          if (name === 'checksums' && value === null) continue;
          expect(check({ ...fields, [name]: value }), `${message.kind}.${name}`).toThrow();
        }
      }
    }
  });

  it('takes no message from or to a machine of another kind', () => {
    for (const { from, to, message, schema } of said.values()) {
      for (const [sender, receiver] of [
        [to, from],
        [from, from],
        [-1, to],
        [from, 1e6],
        [1e6, to],
      ]) {
        if (message.kind === 'cancel' && receiver === from && sender === to) continue;
        const kind = (address: Address) =>
          address === WORKLOAD ? 0 : address === CONDUCTOR ? 1 : 2;
        // Stores answer stores, and instances instances, in the same words.
        if (kind(sender) === kind(from) && kind(receiver) === kind(to)) continue;
        expect(() => schema.check(sender, receiver, message)).toThrow(/found/);
      }
    }
  });

  it('lets a node report on itself alone', () => {
    const topology = tinyTopology({ prefill: 2, decode: 1 });
    const addresses = new AddressBook(topology);
    const schema = new MessageSchema(topology, 10);
    const delta = {
      kind: 'delta',
      node: 0,
      tier: 1,
      instance: -1,
      sequence: 1,
      stored: [1],
      removed: [],
    };
    const check = (from: number, body: unknown) => () => schema.check(from, CONDUCTOR, body);
    expect(check(addresses.store(0), delta)).not.toThrow();
    expect(check(addresses.store(1), delta)).toThrow(/report on node 0 by that of node 1/);
    expect(check(addresses.store(0), { ...delta, tier: 0 })).toThrow(/instance -1/);
    expect(check(addresses.store(0), { ...delta, tier: 0, instance: 1 })).toThrow(/instance 1/);
    expect(check(addresses.store(0), { ...delta, stored: [10] })).toThrow(/wrong stored/);
    const roles = { kind: 'rolesSet', instance: 0, roles: ['prefill'], idle: true };
    expect(check(addresses.instance(0), roles)).not.toThrow();
    expect(check(addresses.instance(1), roles)).toThrow(/instance 0 by instance 1/);
  });

  it('takes words of hosts whose lists are of one length', () => {
    const schema = new MessageSchema(tinyTopology({ prefill: 2, decode: 1 }), 10);
    const numbers = { slots: [6, 7], generations: [8, 9] };
    const pages = { kind: 'pages', instance: 2, request: 3, indices: [0, 1] };
    const granted = { kind: 'slots', segment: 1, ...numbers };
    const offer = { id: 1, node: 0, blocks: [4, 5], ...numbers };
    const words = [
      ['wanted', { id: 1, node: 0, segment: 2, ...numbers }],
      ['offer', { ...offer, to: pages }],
      ['offer', { ...offer, to: granted }],
      ['offer', { ...offer, to: { kind: 'wanted', id: 2 } }],
    ] as const;
    for (const [kind, said] of words) {
      expect(() => schema.checkWord([kind, said]), kind).not.toThrow();
      for (const name of Object.keys(said)) {
        for (const value of WRONG) {
          const found = [kind, { ...said, [name]: value }];
          expect(() => schema.checkWord(found), name).toThrow(/found a word/);
        }
      }
      expect(() => schema.checkWord([kind, { ...said, slots: [6] }])).toThrow(/different lengths/);
    }
    expect(() => schema.checkWord(['taken', 1, 4])).not.toThrow();
    for (const found of [null, ['taken', 1, -1], ['offer', null], ['other', 1], []]) {
      expect(() => schema.checkWord(found)).toThrow(/found a word/);
    }
  });
});
