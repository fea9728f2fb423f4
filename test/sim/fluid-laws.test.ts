/** Laws of the fluid network under random changes, and its equality with the plain one. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FluidNetwork } from '../../src/sim/fluid.ts';
import { copyByFields } from '../core/copy-by-fields.ts';
import { ReferenceNetwork } from './reference-fluid.ts';

const RESOURCES = 6;

interface Command {
  readonly verb: 'start' | 'stop' | 'setCap' | 'setCapacity';
  readonly afterNs: number;
  readonly path: readonly number[];
  readonly bytes: number;
  readonly cap: number;
  readonly weight: number;
  readonly capacity: number;
  readonly which: number;
}

// Small whole numbers make ties and caps that just fit; the others make rounding.
const rate = fc.oneof(
  fc.integer({ min: 0, max: 20 }),
  fc.double({ min: 0.01, max: 20, noNaN: true }),
);
const command: fc.Arbitrary<Command> = fc.record({
  verb: fc.constantFrom('start', 'start', 'start', 'stop', 'setCap', 'setCapacity'),
  afterNs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 300 })),
  path: fc.subarray([...Array(RESOURCES).keys()]),
  bytes: fc.integer({ min: 0, max: 20_000 }),
  cap: fc.oneof(rate, fc.constant(Infinity)),
  weight: fc.oneof(fc.constant(1), fc.double({ min: 0.01, max: 100, noNaN: true })),
  capacity: rate,
  which: fc.nat(),
});
const commands = fc.array(command, { maxLength: 60, size: 'max' });
const capacities = fc.array(rate, { minLength: RESOURCES, maxLength: RESOURCES });

interface Live {
  readonly flow: number;
  /** Number of its start. */
  readonly start: number;
  readonly path: readonly number[];
  readonly bytes: number;
  readonly weight: number;
  cap: number;
}

/** Plays commands on a network and keeps what it did; subclasses compare and check. */
class Play {
  readonly live: Live[] = [];
  readonly log: number[][] = [];
  readonly capacities: number[];
  readonly net: FluidNetwork;
  nowNs = 0;
  private starts = 0;

  constructor(net: FluidNetwork, capacities: readonly number[], fabric: readonly number[] = []) {
    this.net = net;
    this.capacities = [...capacities, ...fabric];
    for (const [r, capacity] of this.capacities.entries()) net.addResource(`r${r}`, capacity);
  }

  /** Called when a flow is about to leave, at its end or, with the bytes moved, before. */
  onStart(_flow: Live): void {}
  onEnd(_flow: Live): void {}
  onStop(_flow: Live, _movedBytes: number): void {}
  onSetCap(_flow: Live): void {}
  onSetCapacity(_resource: number): void {}
  onNextEnd(_endNs: number): void {}
  /** Called after the last change of an instant. */
  check(): void {}

  /** Asks nothing between changes of one instant, so that many are solved at once. */
  run(list: readonly Command[]): this {
    for (const one of list) {
      if (one.afterNs > 0) {
        this.check();
        this.runUntil(this.nowNs + one.afterNs);
      }
      this.apply(one);
    }
    this.check();
    return this;
  }

  /** Opens everything, so that all flows end. */
  drain(): this {
    for (let r = 0; r < RESOURCES; r++) this.setCapacity(r, 10);
    for (const flow of this.live) this.setCap(flow, 1);
    this.check();
    this.runUntil(Infinity);
    expect(this.live).toEqual([]);
    return this;
  }

  private runUntil(untilNs: number): void {
    for (;;) {
      const endNs = this.net.nextEndNs();
      this.onNextEnd(endNs);
      if (endNs > untilNs || endNs === Infinity) break;
      expect(endNs).toBeGreaterThanOrEqual(this.nowNs);
      this.nowNs = endNs;
      const flow = this.net.popEnded(endNs);
      const ended = this.take(this.live.findIndex((one) => one.flow === flow));
      this.log.push([endNs, flow, ended.start]);
      this.onEnd(ended);
    }
    if (untilNs < Infinity) this.nowNs = untilNs;
  }

  private apply(one: Command): void {
    const { live, net, nowNs } = this;
    const index = one.which % Math.max(1, live.length);
    if (one.verb === 'start') this.start(one);
    else if (one.verb === 'setCapacity') this.setCapacity(one.which % RESOURCES, one.capacity);
    else if (live.length === 0) return;
    else if (one.verb === 'setCap') this.setCap(live[index], one.cap);
    else {
      const flow = this.take(index);
      const movedBytes = net.stop(nowNs, flow.flow);
      this.log.push([nowNs, flow.flow, movedBytes]);
      this.onStop(flow, movedBytes);
    }
  }

  private start({ path, bytes, cap, weight }: Command): void {
    if (path.length === 0) cap = Math.min(cap, 20);
    const whole = this.capacities.length > RESOURCES ? [...path, RESOURCES] : path;
    const flow = this.net.start(this.nowNs, whole, bytes, cap, weight);
    this.live.push({ flow, start: this.starts++, path, bytes, weight, cap });
    this.log.push([this.nowNs, flow]);
    this.onStart(this.live[this.live.length - 1]);
  }

  private setCap(flow: Live, cap: number): void {
    if (flow.path.length === 0) cap = Math.min(cap, 20);
    flow.cap = cap;
    this.net.setCap(this.nowNs, flow.flow, cap);
    this.onSetCap(flow);
  }

  private setCapacity(resource: number, capacity: number): void {
    this.capacities[resource] = capacity;
    this.net.setCapacity(this.nowNs, resource, capacity);
    this.onSetCapacity(resource);
  }

  private take(index: number): Live {
    expect(index).toBeGreaterThanOrEqual(0);
    return this.live.splice(index, 1)[0];
  }
}

/** The plain network beside it: rates to 1e-9, ends to the ns, since ceil may fall either way. */
class AgainstReference extends Play {
  private readonly reference: ReferenceNetwork;

  constructor(net: FluidNetwork, capacities: readonly number[]) {
    super(net, capacities);
    this.reference = new ReferenceNetwork(capacities);
  }

  override onStart({ start, path, bytes, cap, weight }: Live): void {
    expect(this.reference.start(this.nowNs, path, bytes, cap, weight)).toBe(start);
  }

  override onEnd({ start, bytes }: Live): void {
    this.reference.advance(this.nowNs);
    const { leftBytes, rate } = this.reference.flow(start);
    expect(leftBytes).toBeLessThanOrEqual(rate + 1e-9 * bytes);
    this.reference.end(this.nowNs, start);
  }

  override onStop({ start, bytes }: Live, movedBytes: number): void {
    const expected = this.reference.stop(this.nowNs, start);
    expect(Math.abs(movedBytes - expected)).toBeLessThanOrEqual(1e-9 * bytes);
  }

  override onSetCap({ start, cap }: Live): void {
    this.reference.setCap(this.nowNs, start, cap);
  }

  override onSetCapacity(resource: number): void {
    this.reference.setCapacity(this.nowNs, resource, this.capacities[resource]);
  }

  override onNextEnd(endNs: number): void {
    const expected = this.reference.nextEndNs();
    if (endNs === expected) return;
    expect(Math.abs(endNs - expected)).toBeLessThanOrEqual(1 + 1e-9 * expected);
  }

  override check(): void {
    for (const { flow, start } of this.live) {
      const expected = this.reference.flow(start).rate;
      const found = this.net.rate(flow);
      if (Math.abs(found - expected) > 1e-9 * (1 + expected)) expect(found).toBe(expected);
    }
  }
}

/**
 * A rate vector is weighted max-min fair if and only if no resource is overloaded and every flow is
 * at its cap or has a bottleneck: a full resource where no flow has more per weight.
 */
class Fairness extends Play {
  override check(): void {
    const levels = this.live.map(({ flow, weight }) => this.net.rate(flow) / weight);
    const loads = this.capacities.map((_, r) => this.net.load(r));
    for (const [r, load] of loads.entries()) {
      expect(load).toBeLessThanOrEqual(this.capacities[r] * (1 + 1e-9));
    }
    for (const [i, { flow, path, cap }] of this.live.entries()) {
      const rate = this.net.rate(flow);
      expect(rate).toBeLessThanOrEqual(cap);
      const bottleneck = path.some((r) => {
        const most = Math.max(...levels.filter((_, j) => this.live[j].path.includes(r)));
        return loads[r] >= this.capacities[r] * (1 - 1e-9) && levels[i] >= most * (1 - 1e-9);
      });
      expect(rate === cap || bottleneck, `flow ${i} at ${rate} of ${cap}`).toBe(true);
    }
  }
}

/** Bytes that flows have moved are bytes that resources have counted. */
class Conservation extends Play {
  readonly goneBytes = Array<number>(RESOURCES).fill(0);

  override onEnd({ path, bytes }: Live): void {
    for (const r of path) this.goneBytes[r] += bytes;
  }

  override onStop({ path }: Live, movedBytes: number): void {
    for (const r of path) this.goneBytes[r] += movedBytes;
  }

  override check(): void {
    for (let r = 0; r < RESOURCES; r++) {
      let moved = this.goneBytes[r];
      for (const { flow, path, bytes } of this.live) {
        const left = this.net.remainingBytes(this.nowNs, flow);
        expect(left).toBeGreaterThanOrEqual(0);
        expect(left).toBeLessThanOrEqual(bytes);
        if (path.includes(r)) moved += bytes - left;
      }
      const counted = this.net.bytesMoved(r, this.nowNs);
      expect(Math.abs(counted - moved)).toBeLessThanOrEqual(1e-9 * moved);
    }
  }
}

const withoutStops = commands.map((list) => list.filter((one) => one.verb !== 'stop'));

describe('laws', () => {
  test('incremental equals solving everything at every change', () => {
    const law = fc.property(capacities, commands, (sizes, list) => {
      new AgainstReference(new FluidNetwork(1), sizes).run(list).drain();
    });
    fc.assert(law, { numRuns: 300 });
  });

  test('no resource is overloaded and every flow is stopped by its cap or a bottleneck', () => {
    const law = fc.property(capacities, commands, (sizes, list) => {
      new Fairness(new FluidNetwork(), sizes).run(list).drain();
    });
    fc.assert(law, { numRuns: 300 });
  });

  test('bytes moved equal bytes accounted', () => {
    const law = fc.property(capacities, commands, (sizes, list) => {
      new Conservation(new FluidNetwork(), sizes).run(list).drain();
    });
    fc.assert(law);
  });

  test('to the last byte when flows run to their ends', () => {
    const law = fc.property(capacities, withoutStops, (sizes, list) => {
      const play = new Conservation(new FluidNetwork(), sizes).run(list).drain();
      for (const [r, bytes] of play.goneBytes.entries()) {
        expect(play.net.bytesMoved(r, play.nowNs)).toBe(bytes);
      }
    });
    fc.assert(law);
  });

  test('equal inputs give equal outputs, however the tables grew', () => {
    const law = fc.property(capacities, commands, (sizes, list) => {
      const small = new Play(new FluidNetwork(1), sizes).run(list).drain();
      const large = new Play(new FluidNetwork(256), sizes).run(list).drain();
      expect(small.log).toEqual(large.log);
    });
    fc.assert(law);
  });

  test('a fabric that cannot bind changes nothing', () => {
    // 60 flows of at most 20 bytes per ns.
    const fabric = fc.constantFrom(1200, Infinity);
    const law = fc.property(capacities, commands, fabric, (sizes, list, capacity) => {
      const without = new Play(new FluidNetwork(), sizes).run(list).drain();
      const within = new Play(new FluidNetwork(), sizes, [capacity]).run(list).drain();
      expect(within.log).toEqual(without.log);
    });
    fc.assert(law);
  });

  test('a copy by fields continues alike', () => {
    const law = fc.property(capacities, commands, commands, (sizes, before, after) => {
      const play = new Play(new FluidNetwork(2), sizes).run(before);
      const copy = copyByFields(play);
      expect(copy.run(after).drain().log).toEqual(play.run(after).drain().log);
    });
    fc.assert(law);
  });
});
