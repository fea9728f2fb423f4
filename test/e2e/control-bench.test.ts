/** The control-plane bench at a tenth of its rate: everything is decided, ended and told once. */
import { describe, expect, it } from 'vitest';
import { type ControlOptions, controlBench } from '../../src/study/bench/control.ts';
import { hasEtcd, NO_ETCD } from '../support/etcd.ts';

const OPTIONS: ControlOptions = {
  agents: 8,
  perSec: 200,
  seconds: 2,
  warmSec: 1,
  promptBlocks: 24,
  etcd: 0,
  nodeBlocks: 500,
  pin: false,
  realTime: false,
  sets: [],
  logs: null,
};

async function check(options: ControlOptions): Promise<void> {
  const result = await controlBench(options);
  const { conductor } = result;
  expect(result.requests).toBeGreaterThan(400);
  expect(result.completed).toBe(result.requests);
  expect(conductor.decisions).toBeGreaterThan(200);
  expect(conductor.latencyNsP50).toBeGreaterThan(0);
  expect(conductor.latencyNsMax).toBeGreaterThanOrEqual(conductor.latencyNsP99);
  expect(conductor.messagesIn).toBeGreaterThanOrEqual(3 * conductor.decisions);
  expect(conductor.resets).toBe(0);
  expect(result.removedBlocks).toBeGreaterThan(0);
  expect(result.registryWrites).toBe(0);
}

describe('the control-plane bench', () => {
  it('decides all with a registry in memory', () => check(OPTIONS), 60_000);
});

describe.skipIf(!hasEtcd && process.env.CI !== 'true')(
  `the control-plane bench with etcd${hasEtcd ? '' : ` (${NO_ETCD})`}`,
  () => {
    it('writes nothing to it while it decides', () => check({ ...OPTIONS, etcd: 1 }), 90_000);
  },
);
