/** What stores and their clients say of themselves in the registry, and to each other. */
import { InputError } from '../../core/errors.ts';
import type { LeaseRelease, Message } from '../../core/messages.ts';
import type { ObjectAnswer, ObjectAsk } from '../../core/object-messages.ts';
import type { RailSpec } from '../data-plane.ts';

/** Keys of the registry: one entry for each store and each client, gone with its lease. */
export const STORES = 'store/nodes/';
export const CLIENTS = 'store/clients/';
/** How long a dead process is believed alive, ms. */
export const STORE_TTL_MS = 5000;

/** A store. Its segment is a key to its bytes, so the registry needs credentials. */
export interface StoreEntry {
  readonly name: string;
  readonly endpoint: string;
  readonly incarnation: number;
  readonly slotBytes: number;
  readonly slots: number;
  readonly objectBytesMax: number;
  /** base64 */
  readonly segment: string;
}

export interface StoreSettings {
  /** A multiple of 4096; an object takes whole slots. All stores of a cluster have the same. */
  readonly slotBytes: number;
  readonly dramBytes: number;
  /** Null: no SSD tier. What is in the folder goes. */
  readonly ssd: { readonly folder: string; readonly bytes: number } | null;
  /** Policies, as on the command line. */
  readonly eviction: string;
  readonly ssdEviction: string;
  readonly tiering: string;
  /** Length of a read lease; the owner may reuse a slot after ttl + guard. */
  readonly leaseTtlNs: number;
  readonly guardNs: number;
  readonly objectBytesMax: number;
  readonly rails: readonly RailSpec[];
}

/** Lease and watermarks as in Mooncake Store; rails for one machine. */
export const STORE_DEFAULTS: StoreSettings = {
  slotBytes: 1 << 20,
  dramBytes: 1 << 30,
  ssd: null,
  eviction: 'lru',
  ssdEviction: 'fifo',
  tiering: 'write-back',
  leaseTtlNs: 10e9,
  guardNs: 2e9,
  objectBytesMax: 64 << 20,
  rails: [
    { kind: 'local', bytesPerNs: null, options: {} },
    { kind: 'tcp', bytesPerNs: null, options: {} },
  ],
};

/** Objects whose bytes were not what their checksums say: the store looks for itself. */
export interface ObjectsSuspect {
  readonly kind: 'objectsSuspect';
  readonly keys: Uint8Array;
}

export interface StoreStatAsk {
  readonly kind: 'storeStat';
  readonly ask: number;
}

/** Numbers of one store. */
export interface StoreStat {
  readonly kind: 'storeStats';
  readonly ask: number;
  readonly objects: number;
  readonly objectBytes: number;
  readonly slotBytes: number;
  readonly dramSlots: number;
  readonly dramUsedSlots: number;
  readonly ssdSlots: number;
  readonly ssdUsedSlots: number;
  /** Since it began: objects that policies gave up, and that were found damaged. */
  readonly evictedObjects: number;
  readonly damagedObjects: number;
}

export type StoreAsk = ObjectAsk | LeaseRelease | ObjectsSuspect | StoreStatAsk;
export type StoreAnswer = ObjectAnswer | StoreStat;
/** First word of what stores and clients say to each other over their links. */
export const STORE_LETTER = 'store';
export type StoreLetter = readonly [typeof STORE_LETTER, StoreAsk | StoreAnswer];

/** Bounds of one message. */
export const KEYS_MAX = 4096;
export const NAME_CHARS_MAX = 1024;
const KEY_BYTES = 16;

/** @throws InputError for what no client may say */
export function checkAsk(found: unknown): StoreAsk {
  const ask = (found ?? {}) as StoreAsk;
  if (!isAsk(ask)) throw new InputError('found no question to a store');
  return ask;
}

function isAsk(ask: StoreAsk): boolean {
  switch (ask.kind) {
    case 'objectsFind':
    case 'objectsRemove':
      return isId(ask.ask) && isKeys(ask.keys);
    case 'objectsPin':
      return isId(ask.ask) && isKeys(ask.keys) && isIn(ask.pin, 0, 2);
    case 'objectsRead':
      return isId(ask.lease) && isKeys(ask.keys);
    case 'objectsSuspect':
      return isKeys(ask.keys);
    case 'leaseRelease':
      return isId(ask.lease);
    case 'objectsPut':
      return (
        isId(ask.put) && isIn(ask.pin, 0, 2) && isNames(ask.names) && isSizes(ask.sizes, ask.names)
      );
    case 'objectsWritten':
      return isId(ask.put) && ask.done instanceof Uint8Array && ask.checksums instanceof Int32Array;
    case 'objectsList':
      return isId(ask.ask) && isName(ask.prefix) && isId(ask.cursor) && isIn(ask.limit, 1, 1e6);
    case 'objectsDescribe':
      return isId(ask.ask) && isNames(ask.names);
    case 'storeStat':
      return isId(ask.ask);
    default:
      return false;
  }
}

const isIn = (value: unknown, least: number, most: number): boolean =>
  Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most;
const isId = (value: unknown): boolean => isIn(value, 0, Number.MAX_SAFE_INTEGER);
const isName = (value: unknown): boolean =>
  typeof value === 'string' && value.length <= NAME_CHARS_MAX;

function isKeys(keys: unknown): boolean {
  const bytes = keys instanceof Uint8Array ? keys.length : -1;
  return bytes >= 0 && bytes % KEY_BYTES === 0 && bytes <= KEYS_MAX * KEY_BYTES;
}

function isNames(names: unknown): boolean {
  return Array.isArray(names) && names.length <= KEYS_MAX && names.every(isName);
}

function isSizes(sizes: unknown, names: readonly string[]): boolean {
  return sizes instanceof Float64Array && sizes.length === names.length && sizes.every(isId);
}

export type StoreMessage = Extract<Message, { kind: StoreAnswer['kind'] }>;
