/** Prefill and decode are chosen apart: each policy takes the best instance of its role. */
import { type DisaggregationPolicy, defineDisaggregation } from '../../core/policy-kit.ts';

const APART: DisaggregationPolicy = { separates: () => true };

export default defineDisaggregation({
  source: 'Mooncake, FAST 2025, section 3; DistServe, OSDI 2024',
  params: {},
  create: () => APART,
});
