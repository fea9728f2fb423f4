/** A restored machine is the machine: fields, sharing, circles. What does not fit is refused. */
import { describe, expect, it } from 'vitest';
import { RandomStream } from '../../src/config/streams.ts';
import { encode } from '../../src/core/codec.ts';
import { InputError } from '../../src/core/errors.ts';
import { SlotLinks, SlotList } from '../../src/core/kit/slot-list.ts';
import { BlockSpan } from '../../src/core/request.ts';
import { inspect, Restorable, restore, snapshot } from '../../src/core/snapshot.ts';

class Order {
  readonly world: { readonly name: string };
  uses = 0;
  parent: Machine | null = null;

  constructor(name: string) {
    this.world = { name };
  }
}

class Machine extends Restorable {
  readonly world: { readonly host: () => void };
  readonly order = new Order('own');
  readonly sameOrder = this.order;
  numbers = new Int32Array(4);
  readonly items: unknown[] = [];
  readonly byKey = new Map<number, Order>([[1, new Order('one')]]);
  table: Record<string, unknown> = {};
  private secret = 0;

  constructor(host: () => void = () => {}) {
    super();
    this.world = { host };
  }

  add(value: number): void {
    this.secret += value;
  }

  get sum(): number {
    return this.secret;
  }
}

function copy(machine: Machine, into = new Machine()): Machine {
  into.restore(machine.snapshot());
  return into;
}

describe('a restored machine', () => {
  it('has the fields of the other, private ones too', () => {
    const machine = new Machine();
    machine.add(7);
    machine.order.uses = 3;
    machine.byKey.get(1)!.uses = 4;
    machine.numbers[2] = 9;
    machine.table = { a: [1, { b: new Set([2]) }], c: undefined };
    const restored = copy(machine);
    expect(restored.sum).toBe(7);
    expect(restored.order.uses).toBe(3);
    expect(restored.byKey.get(1)?.uses).toBe(4);
    expect([...restored.numbers]).toEqual([0, 0, 9, 0]);
    expect(restored.table).toStrictEqual(machine.table);
    expect(restored.snapshot()).toEqual(machine.snapshot());
  });

  it('keeps the world that it was given, and its own objects', () => {
    const host = () => {};
    const fresh = new Machine(host);
    const { order, numbers, byKey } = fresh;
    const one = byKey.get(1);
    const restored = copy(new Machine(), fresh);
    expect(restored.world.host).toBe(host);
    expect(restored.order).toBe(order);
    expect(restored.order.world.name).toBe('own');
    expect(restored.numbers).toBe(numbers);
    expect(restored.byKey.get(1)).toBe(one);
  });

  it('shares what the other shares, and only that', () => {
    const machine = new Machine();
    const shared = { n: 1 };
    const array = new Float64Array(2);
    machine.items.push(shared, { n: 1 }, shared, array, array, machine.order);
    const restored = copy(machine);
    const [a, b, c, d, e, order] = restored.items;
    expect(a).toBe(c);
    expect(a).not.toBe(b);
    expect(a).not.toBe(shared);
    expect(d).toBe(e);
    expect(order).toBe(restored.order);
    expect(restored.sameOrder).toBe(restored.order);
  });

  it('is not tied to the other', () => {
    const machine = new Machine();
    machine.items.push({ n: 1 }, new Int32Array(1));
    const restored = copy(machine);
    (machine.items[0] as { n: number }).n = 2;
    (machine.items[1] as Int32Array)[0] = 5;
    machine.items.push(3);
    expect(restored.items).toEqual([{ n: 1 }, new Int32Array(1)]);
  });

  it('has the circles of the other', () => {
    const machine = new Machine();
    machine.order.parent = machine;
    const ring: unknown[] = [];
    ring.push(ring);
    machine.items.push(ring);
    const restored = copy(machine);
    expect(restored.order.parent).toBe(restored);
    const back = restored.items[0] as unknown[];
    expect(back[0]).toBe(back);
  });

  it('takes typed arrays that have grown', () => {
    const machine = new Machine();
    machine.numbers = Int32Array.of(1, 2, 3, 4, 5, 6);
    expect([...copy(machine).numbers]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('forgets what it had itself', () => {
    const fresh = new Machine();
    fresh.items.push(1, 2);
    fresh.numbers.fill(8);
    fresh.table = { stale: true };
    const restored = copy(new Machine(), fresh);
    expect(restored.items).toEqual([]);
    expect([...restored.numbers]).toEqual([0, 0, 0, 0]);
    expect(restored.table).toEqual({});
  });

  it('keeps lists of slots linked that share their links', () => {
    class Lists extends Restorable {
      readonly links = new SlotLinks(8);
      readonly a = new SlotList(this.links);
      readonly b = new SlotList(this.links);
    }
    const lists = new Lists();
    for (const slot of [1, 2, 3]) lists.a.pushHead(slot);
    for (const slot of [4, 5]) lists.b.pushHead(slot);
    const restored = new Lists();
    restored.restore(lists.snapshot());
    restored.a.remove(2);
    restored.b.pushHead(2);
    expect(restored.a.olderThan(3)).toBe(1);
    expect([restored.b.head, restored.b.olderThan(2), restored.b.tail]).toEqual([2, 5, 4]);
    expect(lists.a.olderThan(3)).toBe(2);
  });

  it('draws the numbers that the other would have drawn', () => {
    class Dice extends Restorable {
      readonly stream: RandomStream;
      readonly same: RandomStream;

      constructor(seed: number) {
        super();
        this.stream = new RandomStream(seed, 'dice');
        this.same = this.stream;
      }
    }
    const dice = new Dice(1);
    dice.stream.next();
    const bytes = dice.snapshot();
    const expected = [dice.stream.next(), dice.same.next()];
    const restored = new Dice(2);
    restored.restore(bytes);
    expect([restored.stream.next(), restored.same.next()]).toEqual(expected);
  });

  it('is the same whatever number a bundler has given its class', () => {
    const bundled = {
      Order: class Order2 extends Order {},
      Machine: class Machine3 extends Machine {},
    };
    const machine = new bundled.Machine();
    machine.byKey.set(1, new bundled.Order('one')).get(1)!.uses = 5;
    const restored = new Machine();
    restored.restore(machine.snapshot());
    expect(restored.byKey.get(1)?.uses).toBe(5);
  });

  it('has a span of blocks as its own ids', () => {
    const machine = new Machine();
    machine.items.push(new BlockSpan(Int32Array.of(9, 8, 7, 6), 1, 3));
    const [span] = copy(machine).items as BlockSpan[];
    expect([span.at(0), span.at(1), span.length]).toEqual([8, 7, 2]);
  });

  it('keeps the functions of a policy that is a plain object', () => {
    const policy = (turn: number) => ({
      turn,
      next() {
        return ++this.turn;
      },
    });
    class Holder extends Restorable {
      readonly policy = policy(0);
    }
    const holder = new Holder();
    holder.policy.next();
    const restored = new Holder();
    const own = restored.policy;
    restored.restore(holder.snapshot());
    expect(restored.policy).toBe(own);
    expect(restored.policy.next()).toBe(2);
  });
});

describe('a snapshot', () => {
  const bytes = new Machine().snapshot();

  it('is looked at without its machine', () => {
    const machine = new Machine();
    machine.add(3);
    expect(inspect(machine.snapshot())).toMatchObject({
      class: 'Machine',
      secret: 3,
      order: { class: 'Order', uses: 0 },
    });
  });

  it('is refused when it is of another class', () => {
    class Other extends Restorable {}
    expect(() => new Other().restore(bytes)).toThrow(
      'found a snapshot of Machine, expected one of Other',
    );
  });

  it('is refused when it is of another version or no snapshot at all', () => {
    const later = bytes.slice();
    later[later.indexOf(1, 'moontide snapshot'.length)]++;
    expect(() => new Machine().restore(later)).toThrow('version 2, expected version 1');
    for (const other of [new Uint8Array(), encode({ a: 1 }), encode('other'), Uint8Array.of(255)]) {
      expect(() => new Machine().restore(other)).toThrow(InputError);
    }
    expect(() => new Machine().restore(encode(1))).toThrow(
      'found other bytes, expected a snapshot',
    );
  });

  it('is refused when a field came or went', () => {
    const more = new Machine() as Machine & { extra?: number };
    more.extra = 1;
    expect(() => new Machine().restore(more.snapshot())).toThrow(
      'Machine.extra: found a field of the snapshot, expected a field of the class',
    );
    expect(() => more.restore(bytes)).toThrow(
      'Machine.extra: found a field of the class, expected a field of the snapshot',
    );
  });

  it('is refused when an instance has no place in the fresh machine', () => {
    const machine = new Machine();
    machine.items.push(new Order('new'));
    expect(() => copy(machine)).toThrow(
      'Machine.items: found Order, expected an instance that the constructor of Machine makes',
    );
  });

  it('is refused when it is cut short', () => {
    for (let length = 0; length < bytes.length; length += 7) {
      expect(() => new Machine().restore(bytes.slice(0, length))).toThrow(InputError);
    }
  });

  it('cannot be made of what has no bytes, and says where that is', () => {
    const machine = new Machine();
    machine.items.push([() => 0]);
    expect(() => machine.snapshot()).toThrow('Machine.items: a function has no bytes');
    const view = new Machine();
    view.numbers = new Int32Array(8).subarray(4);
    expect(() => view.snapshot()).toThrow('Machine.numbers is a view of a larger buffer');
  });

  it('needs no base class', () => {
    class Bare {
      n = 0;
    }
    const bare = Object.assign(new Bare(), { n: 5 });
    const other = new Bare();
    restore(other, snapshot(bare));
    expect(other.n).toBe(5);
  });
});
