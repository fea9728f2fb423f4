/** Every block stays where it was computed: what a fetch brings goes again once it is loaded. */
import { defineReplication } from '../../core/policy-kit.ts';

export default defineReplication({
  source: 'textbook: the baseline of hot-spot replication',
  params: {},
  create: () => ({
    keepsFetched: false,
    watches: false,
    onRequest: () => [],
    onComputed: () => [],
  }),
});
