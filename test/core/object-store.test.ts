/** The store of one node, told by hand and by chance, against a map. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { hashText } from '../../src/core/kit/hash128.ts';
import { ReplayHost } from '../../src/core/log.ts';
import type { Body } from '../../src/core/messages.ts';
import { ABSENT_SIZE, PutVerdict } from '../../src/core/object-messages.ts';
import { ObjectStore } from '../../src/core/object-store.ts';
import { inspect } from '../../src/core/snapshot.ts';
import { Pin, Tier } from '../../src/core/topology.ts';
import lru from '../../src/policy/eviction/lru.ts';
import writeThrough from '../../src/policy/tiering/write-through.ts';
import { type Done, ended, Teller } from '../support/teller.ts';
import { tinyTopology } from '../support/tiny.ts';

const SLOT_BYTES = 10;
const LEASE_NS = 1000;
const GUARD_NS = 100;
const SELF = 0;

function storeOf(dramSlots: number, ssdSlots = 0): Teller<ObjectStore> {
  const host = new ReplayHost();
  const [node] = tinyTopology({}).nodes;
  const clock = { nowNs: 0 };
  const machine = new ObjectStore(
    {
      host,
      node: {
        ...node,
        dramCapacityBytes: dramSlots * SLOT_BYTES,
        ssdCapacityBytes: ssdSlots * SLOT_BYTES,
      },
      kv: { model: '', layers: 1, bytesPerToken: [1, 1, 1], blockTokens: SLOT_BYTES },
      settings: {
        hbmCache: false,
        watermark: 1,
        lowWatermark: 1,
        ssdWatermark: 1,
        ssdLowWatermark: 1,
        leaseTtlNs: LEASE_NS,
        guardNs: GUARD_NS,
        reserveQueueRequests: 0,
        parkingBytes: 0,
        fetchRetries: 0,
        deltaLimitBlocks: 1e9,
        moves: null,
      },
      clock,
      slotBytes: SLOT_BYTES,
      slotsMax: 4,
      eviction: (_, __, capacitySlots) => lru.create({ capacitySlots } as never, {}),
      tiering: () => writeThrough.create({} as never, {} as never),
    },
    0,
  );
  return new Teller(machine, host, SELF);
}

function keys(...names: string[]): Uint8Array {
  const words = new Int32Array(4 * names.length);
  for (const [i, name] of names.entries()) hashText(name, words, 4 * i);
  return new Uint8Array(words.buffer);
}

let store: Teller<ObjectStore>;
let lastId = 0;

beforeEach(() => {
  store = storeOf(6);
});

function grant(objects: Record<string, number>, pin: Pin = Pin.none, client = 1) {
  const names = Object.keys(objects);
  const sizes = Float64Array.from(Object.values(objects));
  const put = ++lastId;
  const done = store.tell({ kind: 'objectsPut', put, names, sizes, pin }, client);
  return done.messages('objectsGranted')[0];
}

function put(objects: Record<string, number>, pin: Pin = Pin.none, client = 1) {
  const granted = grant(objects, pin, client);
  const count = granted.verdicts.filter((verdict) => verdict === PutVerdict.granted).length;
  if (count === 0) return [...granted.verdicts];
  const done = new Uint8Array(count).fill(1);
  const checksums = Int32Array.from(granted.slots, (slot) => slot + 500);
  const body: Body = { kind: 'objectsWritten', put: granted.put, done, checksums };
  const [stored] = store.tell(body, client).messages('objectsStored');
  expect(stored).toMatchObject({ put: granted.put, ok: true });
  return [...granted.verdicts];
}

function find(...names: string[]): number[] {
  const done = store.tell({ kind: 'objectsFind', ask: ++lastId, keys: keys(...names) }, 1);
  return [...done.messages('objectsFound')[0].sizes];
}

function read(...names: string[]): Done {
  return store.tell({ kind: 'objectsRead', lease: ++lastId, keys: keys(...names) }, 1);
}

function remove(...names: string[]): number[] {
  const done = store.tell({ kind: 'objectsRemove', ask: ++lastId, keys: keys(...names) }, 1);
  return [...done.messages('objectsFound')[0].sizes];
}

const { granted, exists, busy, noSpace, tooLarge } = PutVerdict;

describe('an object store', () => {
  it('has what was put, whole, with the checksums that were said', () => {
    expect(put({ a: 25, b: 0 })).toEqual([granted, granted]);
    expect(find('a', 'b', 'c')).toEqual([25, 0, ABSENT_SIZE]);
    const [leased] = read('b', 'c', 'a').messages('objectsLeased');
    expect([...leased.sizes]).toEqual([0, ABSENT_SIZE, 25]);
    expect(leased.slots).toHaveLength(4);
    expect([...leased.checksums]).toEqual([...leased.slots].map((slot) => slot + 500));
    store.machine.check();
  });

  it('shows nothing before it is written, and nothing of what failed', () => {
    const open = grant({ a: 10, b: 10 });
    expect(find('a', 'b')).toEqual([ABSENT_SIZE, ABSENT_SIZE]);
    expect(put({ a: 5 })).toEqual([busy]);
    const checksums = new Int32Array(2);
    const done = Uint8Array.of(0, 1);
    store.tell({ kind: 'objectsWritten', put: open.put, done, checksums }, 1);
    expect(find('a', 'b')).toEqual([ABSENT_SIZE, 10]);
    expect(put({ a: 5, b: 5 })).toEqual([granted, exists]);
    expect(find('a', 'b')).toEqual([5, 10]);
  });

  it('refuses what is too large, and says when there is no room', () => {
    expect(put({ a: 41, b: 20 }, Pin.hard)).toEqual([tooLarge, granted]);
    expect(put({ c: 40 }, Pin.hard)).toEqual([granted]);
    expect(put({ d: 10 })).toEqual([noSpace]);
    store.machine.check();
  });

  it('evicts whole objects, the one that was read longest ago first', () => {
    put({ a: 20, b: 20, c: 20 });
    const [leased] = read('a').messages('objectsLeased');
    store.tell({ kind: 'leaseRelease', lease: leased.lease }, 1);
    expect(put({ d: 10 })).toEqual([granted]);
    expect(find('a', 'b', 'c', 'd')).toEqual([20, ABSENT_SIZE, 20, 10]);
    expect(store.machine.evicted).toBe(1);
    store.machine.check();
    expect(store.machine.tiers.dram.pool.usedSlots).toBe(5);
  });

  it('keeps hard pins, and soft ones while anything else can go', () => {
    put({ hard: 20 }, Pin.hard);
    put({ soft: 20 }, Pin.soft);
    put({ loose: 20 });
    expect(put({ a: 20 })).toEqual([granted]);
    expect(find('hard', 'soft', 'loose')).toEqual([20, 20, ABSENT_SIZE]);
    expect(put({ b: 30 })).toEqual([granted]);
    expect(find('hard', 'soft', 'a')).toEqual([20, ABSENT_SIZE, ABSENT_SIZE]);
    expect(put({ c: 40 })).toEqual([granted]);
    expect(find('hard', 'b', 'c')).toEqual([20, ABSENT_SIZE, 40]);
    store.tell({ kind: 'objectsPin', ask: 1, keys: keys('hard'), pin: Pin.none }, 1);
    expect(put({ d: 40 })).toEqual([granted]);
    expect(find('hard')).toEqual([ABSENT_SIZE]);
  });

  it('keeps what is leased until it is released, or ttl + guard are over', () => {
    put({ a: 40 });
    const [leased] = read('a').messages('objectsLeased');
    expect(put({ b: 30 })).toEqual([noSpace]);
    store.nowNs = LEASE_NS + GUARD_NS - 1;
    expect(put({ b: 30 })).toEqual([noSpace]);
    store.tell({ kind: 'leaseRelease', lease: leased.lease }, 1);
    expect(put({ b: 30 })).toEqual([granted]);
    read('b');
    store.nowNs += LEASE_NS + GUARD_NS;
    expect(put({ c: 40 })).toEqual([granted]);
    expect(find('a', 'b')).toEqual([ABSENT_SIZE, ABSENT_SIZE]);
  });

  it('removes at once, and lets a reader finish', () => {
    put({ a: 40 }, Pin.hard);
    const [leased] = read('a').messages('objectsLeased');
    expect(remove('a', 'b')).toEqual([40, ABSENT_SIZE]);
    expect(find('a')).toEqual([ABSENT_SIZE]);
    expect(read('a').messages('objectsLeased')[0].slots).toHaveLength(0);
    const again = grant({ a: 20 });
    expect([...again.slots].some((slot) => leased.slots.includes(slot))).toBe(false);
    expect(put({ b: 20 })).toEqual([noSpace]);
    store.tell({ kind: 'leaseRelease', lease: leased.lease }, 1);
    expect(put({ b: 20 })).toEqual([granted]);
  });

  it('gives slots of a silent writer to others ttl + guard after its channel broke', () => {
    grant({ a: 40 });
    store.nowNs = 100 * LEASE_NS;
    expect(put({ b: 30 }, Pin.none, 2)).toEqual([noSpace]);
    store.tell({ kind: 'peerReset', peer: 1 });
    store.nowNs += LEASE_NS + GUARD_NS - 1;
    expect(put({ b: 30 }, Pin.none, 2)).toEqual([noSpace]);
    store.nowNs++;
    expect(put({ a: 30 }, Pin.none, 2)).toEqual([granted]);
    const late = { kind: 'objectsWritten', put: lastId - 3, done: Uint8Array.of(1) } as const;
    const said = store.tell({ ...late, checksums: new Int32Array(4) }, 1);
    expect(said.messages('objectsStored')).toMatchObject([{ ok: false }]);
    store.machine.checkIdle(store.nowNs);
  });

  it('lists names by prefix, page by page', () => {
    put({ a1: 10, b1: 10, a2: 10, a3: 10 }, Pin.soft);
    const page = (cursor: number) =>
      store
        .tell({ kind: 'objectsList', ask: 1, prefix: 'a', cursor, limit: 2 }, 1)
        .messages('objectsListed')[0];
    const first = page(0);
    expect(first.objects.map(({ name }) => name)).toEqual(['a1', 'a2']);
    const second = page(first.cursor);
    expect(second.objects).toMatchObject([{ name: 'a3', sizeBytes: 10, pin: Pin.soft }]);
    expect(second.cursor).toBe(0);
  });

  it('comes back from a snapshot', () => {
    put({ a: 30 }, Pin.hard);
    read('a');
    const copy = storeOf(6);
    copy.machine.restore(store.machine.snapshot());
    expect(inspect(copy.machine.snapshot())).toEqual(inspect(store.machine.snapshot()));
    store = copy;
    expect(find('a')).toEqual([30]);
    store.machine.check();
  });
});

describe('an object store with an SSD', () => {
  beforeEach(() => {
    store = storeOf(4, 20);
  });

  /** All moves that a fact began end well, and those that they begin. */
  function settle(done: Done): Done[] {
    const all = [done];
    for (let i = 0; i < all.length; i++) {
      for (const transfer of all[i].transfers) all.push(store.tell(ended(transfer)));
    }
    return all;
  }

  function putThrough(name: string, size: number): void {
    const open = grant({ [name]: size });
    const checksums = Int32Array.from(open.slots, (_, i) => size + i);
    const done = Uint8Array.of(1);
    settle(store.tell({ kind: 'objectsWritten', put: open.put, done, checksums }, 1));
  }

  it('has what DRAM lost, and brings it up for a reader with its checksums', () => {
    putThrough('a', 40);
    putThrough('b', 40);
    expect(find('a', 'b')).toEqual([40, 40]);
    const asked = read('a');
    expect(asked.messages('objectsLeased')).toEqual([]);
    expect(asked.transfers).toMatchObject([{ kind: 'promote', blocks: 4 }]);
    const move = asked.transfers[0];
    const checksums = Int32Array.of(40, 41, 42, 43);
    const up = store.tell({ ...ended(move), checksums });
    const [leased] = up.messages('objectsLeased');
    expect([...leased.sizes]).toEqual([40]);
    expect([...leased.checksums]).toEqual([40, 41, 42, 43]);
    expect(find('b')).toEqual([40]);
    store.machine.check();
  });

  it('says so when there is no room to bring it up', () => {
    putThrough('a', 40);
    putThrough('b', 40);
    const [held] = read('b').messages('objectsLeased');
    expect([...read('a').messages('objectsLeased')[0].sizes]).toEqual([-2]);
    store.tell({ kind: 'leaseRelease', lease: held.lease }, 1);
    settle(read('a'));
    store.machine.check();
  });

  it('forgets what is removed while it is on its way down', () => {
    const open = grant({ a: 20 });
    const [checksums, done] = [new Int32Array(2), Uint8Array.of(1)];
    const written = store.tell({ kind: 'objectsWritten', put: open.put, done, checksums }, 1);
    expect(written.transfers).toMatchObject([{ kind: 'demote' }]);
    expect(remove('a')).toEqual([20]);
    settle(written);
    expect(store.machine.tiers.at(Tier.ssd).pool.usedSlots).toBe(0);
    expect(store.machine.tiers.dram.pool.usedSlots).toBe(0);
    store.machine.checkIdle(0);
  });
});

describe('by chance', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f');
  const step = fc.record({
    what: fc.constantFrom('put', 'put', 'drop', 'read', 'release', 'remove', 'pin', 'find', 'wait'),
    name,
    size: fc.nat(45),
    pin: fc.constantFrom(Pin.none, Pin.none, Pin.soft, Pin.hard),
    fails: fc.nat(9),
  });

  it('never shows what was not put, never evicts what is held, and holds together', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), fc.boolean(), (steps, withSsd) => {
        store = storeOf(8, withSsd ? 12 : 0);
        const truth = new Map<string, { size: number; hard: boolean }>();
        const leases: { lease: number; untilNs: number; name: string }[] = [];
        const moves = (done: Done) => {
          for (const transfer of done.transfers) {
            const part = store.nowNs % 3 === 0 ? 0 : transfer.blocks;
            moves(store.tell(ended(transfer, part)));
          }
        };
        for (const { what, name: of, size, pin, fails } of steps) {
          store.nowNs += 40;
          const before = store.machine.table.findName(of);
          if (what === 'put' || what === 'drop') {
            const open = grant({ [of]: size }, pin);
            const verdict = open.verdicts[0];
            expect(verdict === exists).toBe(before !== null);
            if (verdict !== granted) continue;
            const good = what === 'put' && fails > 0 ? 1 : 0;
            const checksums = new Int32Array(open.slots.length);
            const done = Uint8Array.of(good);
            moves(store.tell({ kind: 'objectsWritten', put: open.put, done, checksums }, 1));
            if (good === 1) truth.set(of, { size, hard: pin === Pin.hard });
          } else if (what === 'read') {
            const done = read(of);
            const [leased] = done.messages('objectsLeased');
            const untilNs = store.nowNs + LEASE_NS;
            if (leased?.sizes[0] >= 0) leases.push({ lease: leased.lease, untilNs, name: of });
            moves(done);
          } else if (what === 'release') {
            const lease = leases.shift();
            if (lease) store.tell({ kind: 'leaseRelease', lease: lease.lease }, 1);
          } else if (what === 'remove') {
            expect(remove(of)[0] >= 0).toBe(before !== null);
            truth.delete(of);
            for (let i = leases.length - 1; i >= 0; i--)
              if (leases[i].name === of) leases.splice(i, 1);
          } else if (what === 'pin') {
            store.tell({ kind: 'objectsPin', ask: 1, keys: keys(of), pin }, 1);
            const known = truth.get(of);
            if (known) known.hard = pin === Pin.hard;
          } else if (what === 'wait') store.nowNs += LEASE_NS + GUARD_NS;
          store.machine.check();
          for (const [known, { size: bytes, hard }] of truth) {
            const [found] = find(known);
            if (found !== ABSENT_SIZE) expect(found).toBe(bytes);
            const isHeld = leases.some((l) => l.name === known && l.untilNs > store.nowNs);
            if (hard || isHeld) expect(found, known).toBe(bytes);
            if (found === ABSENT_SIZE) truth.delete(known);
          }
          expect(store.machine.table.size).toBe(truth.size);
        }
        store.nowNs += LEASE_NS + GUARD_NS;
        store.machine.checkIdle(store.nowNs);
      }),
      { numRuns: 300 },
    );
  });
});
