/** The estimator on a topology small enough to compute by hand. */
import { expect, test } from 'vitest';
import type { CostModel } from '../../src/core/cost.ts';
import type { Node, Topology } from '../../src/core/topology.ts';
import { ModelEstimator, scaled } from '../../src/model/estimator.ts';

function node(id: number, rails: number, railEfficiency: number): Node {
  return {
    id,
    name: `node${id}`,
    group: 'g',
    gpus: 8,
    numaDomains: 2,
    rails: Array.from({ length: rails }, (_, i) => ({
      name: `rail${i}`,
      bytesPerNs: 25,
      numa: 0,
      gpus: [0],
    })),
    hostToDeviceBytesPerNs: 100,
    hostToDeviceLatencyNs: 0,
    railEfficiency,
    socketBytesPerNs: 0.5,
    railCpuNsPerByte: 0,
    railLatencyNs: 5000 * (id + 1),
    dramCapacityBytes: 0,
    ssdCapacityBytes: 0,
    ssdReadBytesPerNs: 0.5,
    ssdWriteBytesPerNs: 0.25,
    ssdLatencyNs: 2_000,
  };
}

function topology(fabricBytesPerNs: number): Topology {
  return {
    nodes: [node(0, 4, 0.5), node(1, 1, 0.8)],
    instances: [],
    kv: { model: 'm', layers: 1, bytesPerToken: [100, 50, 50], blockTokens: 16 },
    fabricBytesPerNs,
    racks: [],
    sliceBytes: 65_536,
    controlDelayNs: 0,
  };
}

const cost: CostModel = {
  source: 'test',
  prefillNs: (from, to, first) => (to - from) * 10 + (first ? 7 : 0),
  passNs: () => 0,
  decodeStepNs: (batch, context) => batch * 1000 + context,
  decodeRun: () => {},
};

test('a transfer runs at the rate of the slowest part, after the longest latency', () => {
  const estimate = new ModelEstimator(topology(Number.POSITIVE_INFINITY), [cost]);
  // Node 0: 4 * 25 * 0.5 = 50 B/ns; node 1: 25 * 0.8 = 20 B/ns. 4,000 tokens of 50 B: 200,000 B.
  expect(estimate.transferNs(0, 1, 4000)).toBe(10_000 + 10_000);
  expect(estimate.transferNs(1, 0, 4000)).toBe(10_000 + 10_000);
  expect(estimate.transferNs(1, 1, 4000)).toBe(0);
  expect(estimate.transferNs(0, 1, 0)).toBe(0);
  const narrow = new ModelEstimator(topology(10), [cost]);
  expect(narrow.transferNs(0, 1, 4000)).toBe(10_000 + 20_000);
});

test('prefill counts uncached tokens and the constant; decode is what the model says', () => {
  const estimate = new ModelEstimator(topology(1), [cost]);
  expect(estimate.prefillNs(0, 100, 40)).toBe(607);
  expect(estimate.decodeStepNs(0, 3, 500)).toBe(3500);
});

test('a bias scales every answer and the truth not at all', () => {
  const truth = new ModelEstimator(topology(1), [cost]);
  const biased = scaled(truth, 1.5);
  expect(biased.prefillNs(0, 100, 40)).toBe(Math.round(607 * 1.5));
  expect(biased.decodeStepNs(0, 3, 500)).toBe(5250);
  expect(biased.transferNs(0, 1, 4000)).toBe(Math.round(truth.transferNs(0, 1, 4000) * 1.5));
  expect(scaled(truth, 1)).toBe(truth);
});
