/** What a policy file needs; users import it as `moontide/policy`. */
export { BucketMap, type WeightedNode } from './bucket-map.ts';
export type { Estimator } from './cost.ts';
export { FrequencyList } from './kit/frequency-list.ts';
export { FrequencySketch } from './kit/frequency-sketch.ts';
export { GhostLists } from './kit/ghost-lists.ts';
export { ReuseModel } from './kit/reuse-model.ts';
export { SlotHeap } from './kit/slot-heap.ts';
export { SlotLinks, SlotList } from './kit/slot-list.ts';
export { SlotSampler } from './kit/slot-sampler.ts';
export * from './policy.ts';
export {
  decodePoolLoad,
  drawn,
  leastBy,
  localChoice,
  poolLoads,
  predictLocalTtftNs,
  predictPrefillNs,
  verdictAtDecode,
} from './predict.ts';
export { dealEvenly, dealToLevel, EndwiseRails, pairRails, usableRails } from './rail-kit.ts';
export { BlockSpan, cachedTokens, type Request } from './request.ts';
export { type Role, Tier } from './topology.ts';
