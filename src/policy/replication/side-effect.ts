/**
 * No copies but those that fetches leave behind: where Algorithm 1 sends a request to an instance
 * that lacks its prefix, the fetched blocks stay there, and hot ones come to be everywhere.
 */
import { defineReplication } from '../../core/policy-kit.ts';

export default defineReplication({
  source: 'Qin et al., FAST 2025, Algorithm 1',
  params: {},
  create: () => ({ keepsFetched: true, watches: false, onRequest: () => [], onComputed: () => [] }),
});
