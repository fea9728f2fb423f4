/**
 * A live cluster under load while agents, stores, the leader and etcd members are killed and
 * stopped, links cut and disks filled: every request ends with a cause, no wrong byte is served, a
 * new leader acts within 10 s, nothing hangs, what was acknowledged is there while one who has it
 * lives, and what the leader believes of the nodes' stores is what they have. The long form is a
 * soak.
 */
import { describe, expect, it } from 'vitest';
import { withChaos } from '../support/chaos.ts';
import { FAULTS } from '../support/chaos-faults.ts';
import { hasEtcd, NO_ETCD } from '../support/etcd.ts';
import { describeNative } from '../support/native.ts';
import { hasNetwork, NO_NETWORK } from '../support/network.ts';

/** Of each cluster. */
const SEEDS = [
  [0, 1, 2, 3, 4],
  [5, 6, 7, 8, 9],
];

describeNative('chaos', () => {
  const can = hasEtcd && hasNetwork;
  const why = hasEtcd ? NO_NETWORK : NO_ETCD;
  describe.skipIf(!can && process.env.CI !== 'true')(
    can ? 'with etcd and namespaces' : `with etcd and namespaces (${why})`,
    () => {
      it.each(SEEDS)(
        'seeds %i %i %i %i %i: what must hold holds',
        async (...seeds) => {
          await withChaos(10_000, async (cluster) => {
            for (const seed of seeds) {
              const first = FAULTS[seed % FAULTS.length];
              const more = seed % 2;
              const run = await cluster.run(String(seed), { requests: 40, first, more });
              expect(run.recoveries).toHaveLength(1 + more);
              expect(run.objects.acknowledged).toBeGreaterThan(0);
            }
            await cluster.checkWell();
          });
        },
        400_000,
      );
    },
  );
});
