/** The instance that computes a prompt also decodes it, where it has both roles. */
import { type DisaggregationPolicy, defineDisaggregation } from '../../core/policy-kit.ts';

const TOGETHER: DisaggregationPolicy = { separates: () => false };

export default defineDisaggregation({
  source: 'Coupled engines: vLLM, SGLang without disaggregation',
  params: {},
  create: () => TOGETHER,
});
