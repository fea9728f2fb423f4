/** `moontide/store`: the client of the store, as an engine uses it. */

export { loadTls, type Tls } from '../control/security.ts';
export { parseRegistry, type RegistryRef } from '../registry/open.ts';
export { StoreBuffer } from './buffers.ts';
export {
  CLIENT_DEFAULTS,
  type GetOutcome,
  type ObjectPlace,
  type PinName,
  type PutEntry,
  type PutOptions,
  type PutOutcome,
  StoreClient,
  type StoreClientOptions,
  type StoreInfo,
} from './client.ts';
export { StoreError, type StoreFailure } from './errors.ts';
