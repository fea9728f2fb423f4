/** Saves go to the DRAM of the node that computed them. Mooncake's `local_first` with room. */
import { definePlacement } from '../../core/policy-kit.ts';

export default definePlacement({
  source: 'Qin et al., FAST 2025: prefill nodes keep what they compute',
  params: {},
  create: () => ({ spreads: false, place: (_block, ownNode) => ownNode }),
});
