/** What a policy file needs; users import it as `moontide/policy`. */
export type { Estimator } from './cost.ts';
export { SlotLinks, SlotList } from './kit/slot-list.ts';
export * from './policy.ts';
export { BlockSpan, cachedTokens, type Request } from './request.ts';
