/** Traces: opening, fetching, making, describing and writing them. */
export { type Catalogue, type CatalogueEntry, cacheFolder, loadCatalogue } from './catalogue.ts';
export { type Fetched, type FetchOptions, fetchTrace } from './fetch.ts';
export { FORMATS, type TraceFormat } from './formats.ts';
export type { GeneratorSpec } from './generator.ts';
export { type Distribution, type TraceInfo, traceInfo } from './info.ts';
export type { ReadOptions } from './mooncake.ts';
export { writeMooncake } from './mooncake-writer.ts';
export { type OpenOptions, openTrace } from './open.ts';
export { scaleRate, takeFirst } from './transform.ts';
