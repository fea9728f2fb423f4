/**
 * Between a client of the store and the stores of the nodes: objects under names. A key is the
 * hash of a name (kit/hash128.ts), 16 bytes; `keys` of a message lie one behind the other, and what
 * is answered is parallel to them.
 */
import type { Pin } from './topology.ts';

/** Sizes in place of a length in bytes. */
export const ABSENT_SIZE = -1;
/** It lies on SSD, and there is no room to bring it up now. */
export const STUCK_SIZE = -2;

/**
 * What became of each name of a put. `busy`: another client writes it; `later`: moves between tiers
 * that are under way will make room.
 */
export const PutVerdict = {
  granted: 0,
  exists: 1,
  busy: 2,
  noSpace: 3,
  tooLarge: 4,
  later: 5,
} as const;
export type PutVerdict = (typeof PutVerdict)[keyof typeof PutVerdict];

/** Which of these are there; they are leased to nobody. */
export interface ObjectsFind {
  readonly kind: 'objectsFind';
  readonly ask: number;
  readonly keys: Uint8Array;
}

/** Bytes of each object, or ABSENT_SIZE. Answer to ObjectsFind, ObjectsRemove and ObjectsPin. */
export interface ObjectsFound {
  readonly kind: 'objectsFound';
  readonly ask: number;
  readonly sizes: Float64Array;
}

/** Lease these for reading; what lies on SSD alone comes up first. Ended by `leaseRelease`. */
export interface ObjectsRead {
  readonly kind: 'objectsRead';
  readonly lease: number;
  readonly keys: Uint8Array;
}

/**
 * All slots of the objects that are there, in DRAM, one object behind the other: an object has
 * one for every slotBytes of it, and one at least.
 */
export interface ObjectsLeased {
  readonly kind: 'objectsLeased';
  readonly lease: number;
  readonly ttlNs: number;
  readonly segment: number;
  readonly sizes: Float64Array;
  readonly slots: Int32Array;
  readonly generations: Int32Array;
  readonly checksums: Int32Array;
}

/** Room for these objects, which I will write. */
export interface ObjectsPut {
  readonly kind: 'objectsPut';
  readonly put: number;
  readonly names: readonly string[];
  readonly sizes: Float64Array;
  readonly pin: Pin;
}

/** Slots of the objects that were granted, one object behind the other. */
export interface ObjectsGranted {
  readonly kind: 'objectsGranted';
  readonly put: number;
  readonly segment: number;
  /** A PutVerdict for each name. */
  readonly verdicts: Uint8Array;
  readonly slots: Int32Array;
  readonly generations: Int32Array;
}

/** The writer is done: for each granted object 1 if all of it is there, and the slots' CRC-32C. */
export interface ObjectsWritten {
  readonly kind: 'objectsWritten';
  readonly put: number;
  readonly done: Uint8Array;
  readonly checksums: Int32Array;
}

/** What was written can be read; not `ok`: the grant was no more, nothing is there. */
export interface ObjectsStored {
  readonly kind: 'objectsStored';
  readonly put: number;
  readonly ok: boolean;
}

/** Takes them away, pins or not. Who reads them now may finish. */
export interface ObjectsRemove {
  readonly kind: 'objectsRemove';
  readonly ask: number;
  readonly keys: Uint8Array;
}

export interface ObjectsPin {
  readonly kind: 'objectsPin';
  readonly ask: number;
  readonly keys: Uint8Array;
  readonly pin: Pin;
}

/** Names that begin so, from a cursor on (0 at first). */
export interface ObjectsList {
  readonly kind: 'objectsList';
  readonly ask: number;
  readonly prefix: string;
  readonly cursor: number;
  readonly limit: number;
}

/** What is known of these, as far as they are there. */
export interface ObjectsDescribe {
  readonly kind: 'objectsDescribe';
  readonly ask: number;
  readonly names: readonly string[];
}

export interface ObjectsListed {
  readonly kind: 'objectsListed';
  readonly ask: number;
  readonly objects: readonly ListedObject[];
  /** Where to go on; 0: that was all. */
  readonly cursor: number;
}

export interface ListedObject {
  readonly name: string;
  readonly sizeBytes: number;
  readonly pin: Pin;
  /** All of it lies in that tier. */
  readonly inDram: boolean;
  readonly onSsd: boolean;
  readonly leased: boolean;
}

/** From a client to a store. */
export type ObjectAsk =
  | ObjectsFind
  | ObjectsRead
  | ObjectsPut
  | ObjectsWritten
  | ObjectsRemove
  | ObjectsPin
  | ObjectsList
  | ObjectsDescribe;

/** From a store to a client. */
export type ObjectAnswer =
  | ObjectsFound
  | ObjectsLeased
  | ObjectsGranted
  | ObjectsStored
  | ObjectsListed;
