/**
 * A live cluster under load while agents, the leader and etcd members are killed and stopped and
 * links cut: every request ends with a cause, no wrong byte is served, a new leader acts within
 * 10 s, nothing hangs, and what the leader believes of the stores is what they have. The long form
 * is a soak.
 */
import { describe, expect, it } from 'vitest';
import { chaosRun, FAULTS } from '../support/chaos.ts';
import { hasEtcd, NO_ETCD } from '../support/etcd.ts';
import { describeNative } from '../support/native.ts';
import { hasNetwork, NO_NETWORK } from '../support/network.ts';

const SEEDS = Array.from({ length: 10 }, (_, i) => i);

describeNative('chaos', () => {
  const can = hasEtcd && hasNetwork;
  const why = hasEtcd ? NO_NETWORK : NO_ETCD;
  describe.skipIf(!can && process.env.CI !== 'true')(
    can ? 'with etcd and namespaces' : `with etcd and namespaces (${why})`,
    () => {
      it.each(SEEDS)(
        'seed %i: what must hold holds',
        async (seed) => {
          const first = FAULTS[seed % FAULTS.length];
          const options = { requests: 60, faults: 2, first, stopMs: 10_000 };
          const { recoveries } = await chaosRun(String(seed), options);
          expect(recoveries).toHaveLength(2);
        },
        240_000,
      );
    },
  );
});
