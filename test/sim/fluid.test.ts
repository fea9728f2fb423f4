/** Hand-solved networks: rates in bytes per ns, times in ns. The laws are in fluid-laws.test.ts. */
import { describe, expect, test } from 'vitest';
import { PATH_MAX } from '../../src/sim/flow-graph.ts';
import { FluidNetwork } from '../../src/sim/fluid.ts';

/** A network of the given capacities; resources are 0, 1, … */
function network(...capacities: number[]): FluidNetwork {
  const net = new FluidNetwork();
  for (const [i, capacity] of capacities.entries()) net.addResource(`r${i}`, capacity);
  return net;
}

function rates(net: FluidNetwork, flows: readonly number[]): number[] {
  return flows.map((flow) => net.rate(flow));
}

/** Runs to the end: [flow, end] in the order in which they end. */
function runOut(net: FluidNetwork): [flow: number, endNs: number][] {
  const ended: [number, number][] = [];
  for (let nowNs = net.nextEndNs(); nowNs < Infinity; nowNs = net.nextEndNs()) {
    const flow = net.popEnded(nowNs);
    expect(flow).toBeGreaterThanOrEqual(0);
    ended.push([flow, nowNs]);
  }
  expect(net.flowCount).toBe(0);
  return ended;
}

const BIG = 1e12;

describe('shares', () => {
  test('a lone flow gets its bottleneck', () => {
    const net = network(25, 10, 40);
    const flow = net.start(0, [0, 1, 2], 1000, Infinity, 1);
    expect(net.rate(flow)).toBe(10);
    expect(runOut(net)).toEqual([[flow, 100]]);
  });

  test('a flow without resources runs at its cap', () => {
    const net = network();
    const flow = net.start(5, [], 1000, 8, 1);
    expect(net.rate(flow)).toBe(8);
    // 5 + 1000 / 8 = 130
    expect(runOut(net)).toEqual([[flow, 130]]);
  });

  test('three flows in a row (parking lot)', () => {
    const net = network(10, 16);
    const through = net.start(0, [0, 1], BIG, Infinity, 1);
    const first = net.start(0, [0], BIG, Infinity, 1);
    const second = net.start(0, [1], BIG, Infinity, 1);
    // r0 is full first, at level 5: through and first get 5. r1 has 16 - 5 = 11 left for second.
    expect(rates(net, [through, first, second])).toEqual([5, 5, 11]);
    expect([net.load(0), net.load(1)]).toEqual([10, 16]);
  });

  test('four links, five flows, three levels', () => {
    const net = network(6, 12, 20, 100);
    const a = net.start(0, [0, 1], BIG, Infinity, 1);
    const b = net.start(0, [0, 2], BIG, Infinity, 1);
    const c = net.start(0, [0], BIG, Infinity, 1);
    const d = net.start(0, [1, 2], BIG, Infinity, 1);
    const e = net.start(0, [2, 3], BIG, Infinity, 1);
    // r0: 6 / 3 = 2, r1: 12 / 2 = 6, r2: 20 / 3. So r0 fixes a = b = c = 2.
    // r1: 12 - 2 = 10 for d; r2: 20 - 2 = 18 for d and e, 9 each. So r2 fixes d = e = 9 < 10.
    expect(rates(net, [a, b, c, d, e])).toEqual([2, 2, 2, 9, 9]);
    expect([0, 1, 2, 3].map((r) => net.load(r))).toEqual([6, 11, 20, 9]);
  });

  test('weights share in proportion, on every bottleneck', () => {
    const net = network(12, 9);
    const heavy = net.start(0, [0], BIG, Infinity, 3);
    const light = net.start(0, [0, 1], BIG, Infinity, 1);
    const half = net.start(0, [1], BIG, Infinity, 0.5);
    // r0: 12 / (3 + 1) = 3 per weight, r1: 9 / (1 + 0.5) = 6. heavy = 9, light = 3.
    // r1 then has 9 - 3 = 6 left for half.
    expect(rates(net, [heavy, light, half])).toEqual([9, 3, 6]);
  });

  test('what a capped flow leaves goes to the others', () => {
    const net = network(20);
    const slow = net.start(0, [0], BIG, 2, 1);
    const middle = net.start(0, [0], BIG, 7, 1);
    const free = net.start(0, [0], BIG, Infinity, 1);
    // Level 20 / 3 > 2 fixes slow; (20 - 2) / 2 = 9 > 7 fixes middle; 20 - 2 - 7 = 11 are left.
    expect(rates(net, [slow, middle, free])).toEqual([2, 7, 11]);
  });

  test('caps and weights: a light flow meets its cap later', () => {
    const net = network(30);
    const heavy = net.start(0, [0], BIG, 6, 4);
    const light = net.start(0, [0], BIG, 6, 1);
    const free = net.start(0, [0], BIG, Infinity, 1);
    // Level 30 / 6 = 5: heavy would get 20, so its cap 6 holds. (30 - 6) / 2 = 12 > 6 fixes
    // light. 30 - 12 = 18 are left.
    expect(rates(net, [heavy, light, free])).toEqual([6, 6, 18]);
  });

  test('caps that just fit are all granted', () => {
    const net = network(10);
    const flows = [1, 2, 3, 4].map((cap) => net.start(0, [0], BIG, cap, 1));
    expect(rates(net, flows)).toEqual([1, 2, 3, 4]);
    // One more of 5: level 15 / 5 … 10 / 5 = 2 fixes 1 and 2; (10 - 3) / 3 = 7 / 3 fixes the rest.
    flows.push(net.start(0, [0], BIG, 5, 1));
    const expected = [1, 2, 7 / 3, 7 / 3, 7 / 3];
    for (const [i, rate] of rates(net, flows).entries()) expect(rate).toBeCloseTo(expected[i], 12);
  });

  test('an oversubscribed fabric over four nodes', () => {
    // NICs of 25 out (0..3) and in (4..7), a fabric (8) of 50 for all of them: 2 to 1.
    const net = network(25, 25, 25, 25, 25, 25, 25, 25, 50);
    const send = (from: number, to: number, cap = Infinity) =>
      net.start(0, [from, 8, 4 + to], BIG, cap, 1);
    const flows = [send(0, 1), send(0, 2), send(1, 2), send(2, 3, 4), send(3, 2)];
    // Fabric: 50 / 5 = 10. In 2 has three flows: 25 / 3 = 8 1/3 is full first, but the cap 4 of
    // 2->3 comes before. Then 0->2, 1->2 and 3->2 get 25 / 3. Fabric: 50 - 4 - 25 = 21 for 0->1,
    // but out 0 has 25 - 25 / 3 = 50 / 3.
    const expected = [50 / 3, 25 / 3, 25 / 3, 4, 25 / 3];
    for (const [i, rate] of rates(net, flows).entries()) expect(rate).toBeCloseTo(expected[i], 12);
    // With a fabric of 40: 40 - 4 - 25 = 11 are left for 0->1.
    net.setCapacity(0, 8, 40);
    expect(net.rate(flows[0])).toBeCloseTo(11, 12);
    expect(net.load(8)).toBeCloseTo(40, 12);
    // With a fabric of 24: 4 fits under 24 / 5; the other four get (24 - 4) / 4 = 5.
    net.setCapacity(0, 8, 24);
    expect(rates(net, flows)).toEqual([5, 5, 5, 4, 5]);
  });

  test('an infinite resource never binds and counts', () => {
    const net = network(10, Infinity);
    const a = net.start(0, [0, 1], 100, Infinity, 1);
    const b = net.start(0, [1], 100, 40, 1);
    expect(rates(net, [a, b])).toEqual([10, 40]);
    expect(net.load(1)).toBe(50);
    runOut(net);
    expect(net.bytesMoved(1, 10)).toBe(200);
  });
});

describe('ends', () => {
  test('a flow speeds up when another ends', () => {
    const net = network(10);
    const short = net.start(0, [0], 100, Infinity, 1);
    const long = net.start(0, [0], 300, Infinity, 1);
    // 5 each: short ends at 20, long has moved 100 by then; its other 200 go at 10: 20 + 20.
    expect(runOut(net)).toEqual([
      [short, 20],
      [long, 40],
    ]);
  });

  test('a late start, a cap and a stop', () => {
    const net = network(10);
    const a = net.start(0, [0], 1000, Infinity, 1);
    expect(net.nextEndNs()).toBe(100);
    // At 40 a has 600 left. b takes its share: 5 and 5.
    const b = net.start(40, [0], 500, Infinity, 1);
    expect(net.nextEndNs()).toBe(140);
    // At 60 a has 500 left, b 400. b's cap of 2 leaves 8 to a: 60 + 500 / 8 = 122.5 -> 123.
    net.setCap(60, b, 2);
    expect([net.remainingBytes(60, a), net.remainingBytes(60, b)]).toEqual([500, 400]);
    expect(net.nextEndNs()).toBe(123);
    // At 100 b has moved 100 + 40 * 2 = 180. a has 500 - 40 * 8 = 180 left: 100 + 18.
    expect(net.stop(100, b)).toBe(180);
    expect(runOut(net)).toEqual([[a, 118]]);
    expect(net.bytesMoved(0, 118)).toBe(1180);
  });

  test('changes count from their own time, asked or not', () => {
    const net = network(10);
    const a = net.start(0, [0], 1000, Infinity, 1);
    const b = net.start(20, [0], 1000, Infinity, 1);
    net.setCap(40, b, 1);
    // a: 1000 - 20 * 10 - 20 * 5 - 10 * 9 = 610, b: 1000 - 20 * 5 - 10 * 1 = 890.
    expect([net.remainingBytes(50, a), net.remainingBytes(50, b)]).toEqual([610, 890]);
    expect(net.bytesMoved(0, 50)).toBe(500);
  });

  test('an end is the next whole ns', () => {
    const net = network(3);
    // 10 / 3 = 3.33 -> 4.
    expect(net.nextEndNs()).toBe(Infinity);
    net.start(0, [0], 10, Infinity, 1);
    expect(net.nextEndNs()).toBe(4);
    expect(net.popEnded(3)).toBe(-1);
    expect(net.remainingBytes(3, 0)).toBe(1);
    expect(net.popEnded(4)).toBe(0);
  });

  test('nothing to move ends at once, though nothing can flow', () => {
    const net = network(0);
    const flow = net.start(7, [0], 0, Infinity, 1);
    expect(net.nextEndNs()).toBe(7);
    expect(net.popEnded(7)).toBe(flow);
  });

  test('equal ends leave in the order of their starts', () => {
    const net = network(8);
    // Slots are given again, so that the order of ids is not that of starts.
    const gone = [0, 1, 2].map(() => net.start(0, [0], 64, Infinity, 1));
    net.stop(0, gone[0]);
    net.stop(0, gone[2]);
    const a = net.start(0, [], 64, 1, 1);
    const b = net.start(0, [], 128, 2, 1);
    const c = net.start(0, [], 32, 0.5, 1);
    net.stop(0, gone[1]);
    const d = net.start(0, [0], 512, Infinity, 1);
    const order = [a, b, c, d].map((flow) => [flow, 64]);
    expect(runOut(net)).toEqual(order);
  });

  test('several that end together do not disturb one another', () => {
    const net = network(9);
    const flows = [0, 1, 2].map(() => net.start(0, [0], 30, Infinity, 1));
    const rest = net.start(0, [0], 60, 0, 1);
    expect(net.nextEndNs()).toBe(10);
    expect([1, 2, 3, 4].map(() => net.popEnded(10))).toEqual([...flows, -1]);
    net.setCap(10, rest, Infinity);
    // 10 + 60 / 9 = 16.67
    expect(net.nextEndNs()).toBe(17);
  });
});

describe('capacity', () => {
  test('changes, stalls and comes back', () => {
    const net = network(10, 100);
    const a = net.start(0, [0, 1], 1000, Infinity, 1);
    const b = net.start(0, [1], 1000, 20, 1);
    expect(net.nextEndNs()).toBe(50);
    // At 10 a has 900 left, b 800.
    net.setCapacity(10, 0, 0);
    expect(rates(net, [a, b])).toEqual([0, 20]);
    expect(net.popEnded(50)).toBe(b);
    expect(net.nextEndNs()).toBe(Infinity);
    expect(net.remainingBytes(1000, a)).toBe(900);
    // 2000 + 900 / 4 = 2225
    net.setCapacity(2000, 0, 4);
    expect(net.nextEndNs()).toBe(2225);
    // At 2100 500 are left; 100 is now the least of the path: 2105.
    net.setCapacity(2100, 0, 1000);
    expect(runOut(net)).toEqual([[a, 2105]]);
  });

  test('a slower resource begins to bind, a faster one ceases to', () => {
    const net = network(100);
    const flows = [10, 20, 30].map((cap) => net.start(0, [0], BIG, cap, 1));
    expect(rates(net, flows)).toEqual([10, 20, 30]);
    net.setCapacity(0, 0, 45);
    // 45 / 3 = 15 > 10; (45 - 10) / 2 = 17.5 for the others.
    expect(rates(net, flows)).toEqual([10, 17.5, 17.5]);
    net.setCapacity(0, 0, 60);
    expect(rates(net, flows)).toEqual([10, 20, 30]);
  });

  test('a rounding rest at the end of a flow is no reason to stall', () => {
    const net = network(0.7);
    const flow = net.start(0, [0], 63, Infinity, 1);
    // 63 / 0.7 = 90, but in doubles 63 - 0.7 * 90 = 7e-15 > 0.
    expect(net.nextEndNs()).toBe(90);
    net.setCapacity(90, 0, 0);
    expect(net.nextEndNs()).toBe(90);
    expect(net.remainingBytes(90, flow)).toBe(0);
    expect(net.popEnded(90)).toBe(flow);
    expect(net.bytesMoved(0, 90)).toBe(63);
  });

  test('a stalled flow can be stopped', () => {
    const net = network(10);
    const flow = net.start(0, [0], 1000, Infinity, 1);
    net.setCapacity(30, 0, 0);
    expect(net.stop(90, flow)).toBe(300);
    expect(net.bytesMoved(0, 90)).toBe(300);
    expect(net.load(0)).toBe(0);
  });
});

describe('borders', () => {
  test('names, ids and generations', () => {
    const net = network(1, 2);
    expect([net.resourceCount, net.resourceName(1)]).toEqual([2, 'r1']);
    const a = net.start(0, [0], 10, 1, 1);
    const generation = net.generation(a);
    expect(net.popEnded(10)).toBe(a);
    const b = net.start(10, [1], 10, 1, 1);
    expect(b).toBe(a);
    expect(net.generation(b)).toBe(generation + 1);
  });

  test.each<[message: string, wrong: (net: FluidNetwork, flow: number) => void]>([
    ['time runs backwards', (net, flow) => net.setCap(99, flow, 1)],
    ['time runs backwards', (net, flow) => net.setCap(NaN, flow, 1)],
    ['not live', (net, flow) => net.setCap(100, flow + 1, 1)],
    ['not live', (net, flow) => net.stop(100, flow) + net.stop(100, flow)],
    ['twice', (net) => net.start(100, [0, 1, 0], 1, 1, 1)],
    ['unknown resource', (net) => net.start(100, [3], 1, 1, 1)],
    ['too long', (net) => net.start(100, Array(PATH_MAX + 1).fill(0), 1, 1, 1)],
    ['finite rate', (net) => net.start(100, [2], 1, Infinity, 1)],
    ['finite rate', (net) => net.start(100, [], 1, Infinity, 1)],
    ['finite rate', (net) => net.start(100, [0], 1, -1, 1)],
    ['bytes', (net) => net.start(100, [0], -1, 1, 1)],
    ['weight', (net) => net.start(100, [0], 1, 1, 0)],
    ['capacity', (net) => net.setCapacity(100, 0, -1)],
    ['capacity', (net) => net.addResource('bad', NaN)],
  ])('a programmer error stops the run: %s', (message, wrong) => {
    const net = network(10, 10, Infinity);
    const flow = net.start(100, [0, 1], 1000, Infinity, 1);
    expect(() => wrong(net, flow)).toThrow(message);
  });

  test('an end that was passed over is an error', () => {
    const net = network(10);
    net.start(0, [0], 1000, Infinity, 1);
    expect(() => net.load(0)).not.toThrow();
    expect(() => net.bytesMoved(0, 101)).toThrow('ended before now');
    expect(net.popEnded(100)).toBe(0);
    expect(net.bytesMoved(0, 101)).toBe(1000);
  });
});
