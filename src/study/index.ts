/** The library: what the command line does, as functions. */
export type { TraceColumns } from '../core/trace-columns.ts';
export type { Result } from '../metrics/result.ts';
export {
  analyseTrace,
  type CacheStudyOptions,
  type CacheStudyResult,
  runCacheStudy,
} from './cache/index.ts';
export { type Replay, type ReplayOptions, replay } from './replay.ts';
export { type ReproduceOptions, type Reproduction, reproduce } from './reproduce/index.ts';
export { VERSION } from './version.ts';
