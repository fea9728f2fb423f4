/**
 * Everything a machine can be told: messages of other machines, and results of what it started at
 * its host. Bodies are immutable; the `Fact` around them is borrowed during `handle`.
 */
import type { ObjectAnswer, ObjectAsk } from './object-messages.ts';
import type { Outcome, Phase, Request } from './request.ts';
import type { Address, Pin, Role, Tier } from './topology.ts';

export interface Fact {
  /** Host time, never decreasing for one machine. */
  atNs: number;
  /** Sender of a message; the machine's own address for host results. */
  from: Address;
  body: Body;
}

/** Slots of one segment. Remote keys are the host's affair. */
export interface SlotRange {
  /** Incarnation of the segment; another one means that its owner restarted. */
  readonly segment: number;
  readonly slots: readonly number[];
  /** Of each slot, for a reader on another node; empty within the owner's node. */
  readonly generations: readonly number[];
  readonly checksums: readonly number[];
}

// --- ingress, conductor ---------------------------------------------------------------------

/** Ingress to conductor: a new request, or the same again after a reset. */
export interface Arrive {
  readonly kind: 'arrive';
  readonly request: Request;
}

/** The client went away. To the conductor, which passes it to the instances concerned. */
export interface Cancel {
  readonly kind: 'cancel';
  readonly request: number;
  readonly attempt: number;
}

/** Conductor to ingress: the request is over. */
export interface Terminal {
  readonly kind: 'terminal';
  readonly request: number;
  readonly attempt: number;
  readonly outcome: Outcome;
}

/**
 * Conductor to prefill instance. `sequence` counts dispatches to that instance; `after` is the one
 * before, of those that still count: what lies between was lost and will not come.
 */
export interface Dispatch {
  readonly kind: 'dispatch';
  readonly term: number;
  readonly sequence: number;
  readonly after: number;
  readonly request: Request;
  readonly decodeInstance: number;
  /** Nodes to fetch leading blocks from, the preferred one first; empty when none. */
  readonly sources: readonly number[];
  /** Leading blocks that the sources are believed to hold, or 0. */
  readonly sourceBlocks: number;
  /** Leading blocks that the target node is believed to hold. */
  readonly localBlocks: number;
  /** Empty when any source may do for all; else source i serves the blocks before untils[i]. */
  readonly untils: readonly number[];
  /** Node whose DRAM is to keep each block of the prompt; empty: all on the target node. */
  readonly nodes: readonly number[];
  /** Whether what is fetched stays as a copy. */
  readonly keepsFetched: boolean;
}

/** Instance to conductor: prompt done, first token out. */
export interface Prefilled {
  readonly kind: 'prefilled';
  readonly request: number;
  readonly attempt: number;
}

/** Instance to conductor: over, with its outcome. */
export interface Finished {
  readonly kind: 'finished';
  readonly request: number;
  readonly attempt: number;
  readonly outcome: Outcome;
}

/**
 * What an instance does from now on; what it has begun it finishes. Without any role it drains.
 * Operator or rule to conductor, which passes it on to the instance.
 */
export interface SetRoles {
  readonly kind: 'setRoles';
  readonly term: number;
  readonly instance: number;
  readonly roles: readonly Role[];
}

/**
 * Operator to conductor: a node is going. Its instances drain, and nothing is placed on it or
 * copied to it, until it dies or an operator gives one of its instances roles again.
 */
export interface Drain {
  readonly kind: 'drain';
  readonly node: number;
}

/** Instance to conductor: these are its roles now, and again once nothing is left of before. */
export interface RolesSet {
  readonly kind: 'rolesSet';
  readonly instance: number;
  readonly roles: readonly Role[];
  /** Nothing waits, computes or decodes on it. */
  readonly idle: boolean;
}

/** Store to conductor: blocks that became readable and that went. `sequence` has no holes. */
export interface Delta {
  readonly kind: 'delta';
  readonly node: number;
  readonly tier: Tier;
  /** Owner of an hbm tier, else -1. */
  readonly instance: number;
  readonly sequence: number;
  readonly stored: readonly number[];
  readonly removed: readonly number[];
}

/** Store to conductor after a reset or an overflow: all readable blocks of a tier. */
export interface BlockInventory {
  readonly kind: 'blockInventory';
  readonly node: number;
  readonly tier: Tier;
  readonly instance: number;
  readonly incarnation: number;
  readonly sequence: number;
  readonly blocks: readonly number[];
}

/** Instance to conductor after a reset: what it has seen and what lives. */
export interface RequestInventory {
  readonly kind: 'requestInventory';
  readonly instance: number;
  readonly incarnation: number;
  readonly roles: readonly Role[];
  /** Term of the last conductor that was heard, and the last dispatch sequence of it. */
  readonly term: number;
  readonly dispatchSequence: number;
  readonly live: readonly LiveRequest[];
  /** The last that ended here: their `finished` may have been lost. */
  readonly ended: readonly EndedRequest[];
}

export interface LiveRequest {
  readonly request: number;
  readonly attempt: number;
  readonly phase: Phase;
  readonly decodeInstance: number;
}

/**
 * Conductor to the decode instance of a request whose prefill instance has died: an end of it, if
 * it has been handed over or never will be.
 */
export interface Probe {
  readonly kind: 'probe';
  readonly request: number;
  readonly attempt: number;
}

export interface EndedRequest {
  readonly request: number;
  readonly attempt: number;
  readonly outcome: Outcome;
}

// --- instance and its store (one node, no delay) --------------------------------------------

/** Instance to store: bring leading blocks [local hit, sourceBlocks) from a peer. */
export interface FetchBlocks {
  readonly kind: 'fetchBlocks';
  readonly request: Request;
  readonly instance: number;
  readonly sources: readonly number[];
  /** As in Dispatch. */
  readonly untils: readonly number[];
  readonly sourceBlocks: number;
  readonly keepsFetched: boolean;
}

/** Conductor to store: bring leading blocks of a prompt from another node, for whoever may come. */
export interface Replicate {
  readonly kind: 'replicate';
  readonly request: Request;
  readonly source: number;
  readonly blocks: number;
}

/** Instance to store, when a request comes: bring what is on SSD of its prompt into DRAM. */
export interface Prefetch {
  readonly kind: 'prefetch';
  readonly request: Request;
}

/** Store to instance: the fetch is over; `blocks` arrived from the peer. */
export interface Fetched {
  readonly kind: 'fetched';
  readonly request: number;
  readonly attempt: number;
  readonly blocks: number;
}

/** Instance to store: lease the longest local prefix, reserve HBM and start the load into it. */
export interface Acquire {
  readonly kind: 'acquire';
  readonly request: Request;
  readonly instance: number;
  /** HBM for working blocks, tokens. */
  readonly hbmTokens: number;
}

/** Store to instance: no working memory now; `acquired` follows. */
export interface AcquireWaits {
  readonly kind: 'acquireWaits';
  readonly request: number;
  readonly attempt: number;
}

/** Store to instance: the memory is there, and what is cached of the prompt. */
export interface Acquired {
  readonly kind: 'acquired';
  readonly request: number;
  readonly attempt: number;
  /** Leading blocks that are cached on this node, in whatever tier. */
  readonly hitBlocks: number;
  /** Tokens of these: prefill begins after them. At least one token is left to compute. */
  readonly cachedTokens: number;
  /** Of the cached tokens, those in the instance's HBM, on SSD, and just fetched from a peer. */
  readonly hbmTokens: number;
  readonly ssdTokens: number;
  readonly peerTokens: number;
  /** Transfers that bring what is not in HBM there. */
  readonly loads: readonly number[];
}

/**
 * Store to instance: a load of a prompt broke off, and these blocks of its cached prefix are not in
 * HBM. What a pass makes from there on is void: the store keeps nothing of it.
 */
export interface LoadFailed {
  readonly kind: 'loadFailed';
  readonly request: number;
  readonly attempt: number;
  readonly blocks: readonly number[];
}

/** Instance to store, with an HBM cache: the KV of blocks before `toBlock` is in HBM and whole. */
export interface Computed {
  readonly kind: 'computed';
  readonly request: Request;
  readonly instance: number;
  readonly toBlock: number;
}

/** Instance to store: write blocks [fromBlock, toBlock) to the cache while `step` makes them. */
export interface SaveBlocks {
  readonly kind: 'saveBlocks';
  readonly request: Request;
  readonly instance: number;
  /** 0 when they are made. */
  readonly step: number;
  readonly fromBlock: number;
  readonly toBlock: number;
  /** Node whose DRAM is to keep each of these blocks; empty: all on the own one. */
  readonly nodes: readonly number[];
  /** They are what decode filled up: Request.decoded, after the full blocks of the prompt. */
  readonly answer: boolean;
}

/** Instance to store: working blocks are not needed any more (saves under way finish first). */
export interface Release {
  readonly kind: 'release';
  readonly request: number;
  readonly attempt: number;
  readonly instance: number;
}

/** Instance to its own store: move the finished KV from HBM to DRAM until decode has room. */
export interface Park {
  readonly kind: 'park';
  readonly request: number;
  readonly attempt: number;
  readonly instance: number;
  readonly tokens: number;
}

/** Store to instance: parked, or no room for it. */
export interface Parked {
  readonly kind: 'parked';
  readonly request: number;
  readonly attempt: number;
  readonly ok: boolean;
}

/** Operator or client to a store: hold these blocks, as far as they are there. */
export interface PinBlocks {
  readonly kind: 'pinBlocks';
  readonly blocks: readonly number[];
  readonly pin: Pin;
}

/** One attempt of a request. */
export interface AttemptOf {
  readonly request: number;
  readonly attempt: number;
}

/**
 * Instance to its store: room for the next `steps` tokens of each sequence, or as many as there is
 * room for. What `drop` holds is free first; what a sequence holds too much goes back.
 */
export interface Grow {
  readonly kind: 'grow';
  readonly instance: number;
  readonly drop: readonly AttemptOf[];
  readonly sequences: readonly GrowingSequence[];
  readonly steps: number;
}

export interface GrowingSequence extends AttemptOf {
  /** Tokens whose KV it has, and those that it held room for before it grew. */
  readonly tokens: number;
  readonly basis: number;
}

/** Answer to Grow: steps that there is room for. */
export interface Grown {
  readonly kind: 'grown';
  readonly instance: number;
  readonly steps: number;
}

/** Instance to its store: parked KV comes back to HBM as soon as there is room for it. */
export interface Unpark {
  readonly kind: 'unpark';
  readonly request: number;
  readonly attempt: number;
  readonly instance: number;
  readonly tokens: number;
}

/** Store to instance: it is back. */
export interface Unparked {
  readonly kind: 'unparked';
  readonly request: number;
  readonly attempt: number;
}

// --- prefill to decode ------------------------------------------------------------------------

/** Prefill instance to the store of the decode node: space for input and output. */
export interface Reserve {
  readonly kind: 'reserve';
  readonly request: number;
  readonly attempt: number;
  readonly instance: number;
  readonly tokens: number;
  readonly ttlNs: number;
}

/** Answer to Reserve. `queued`: no room now, `reserved` follows; else granted or refused. */
export interface Reserved {
  readonly kind: 'reserved';
  readonly request: number;
  readonly attempt: number;
  readonly status: 'granted' | 'queued' | 'refused';
}

/** Prefill instance to the store of the decode node: the space is not needed after all. */
export interface Unreserve {
  readonly kind: 'unreserve';
  readonly request: number;
  readonly attempt: number;
  readonly instance: number;
}

/** Decode instance to its store: the KV of a reservation is complete, keep it. */
export interface Claim {
  readonly kind: 'claim';
  readonly request: number;
  readonly attempt: number;
  readonly instance: number;
}

/** Answer to Claim; false when the reservation's ttl ran out. */
export interface Claimed {
  readonly kind: 'claimed';
  readonly request: number;
  readonly attempt: number;
  readonly ok: boolean;
}

/** Prefill instance to decode instance: the KV is complete. Resent after a reset until acked. */
export interface Handoff {
  readonly kind: 'handoff';
  readonly request: Request;
}

/** Decode instance to prefill instance: it is mine now. */
export interface HandoffTaken {
  readonly kind: 'handoffTaken';
  readonly request: number;
  readonly attempt: number;
  /** False when the reservation was gone (its ttl ran out). */
  readonly ok: boolean;
}

// --- store to store ---------------------------------------------------------------------------

/** Destination store to source store: lease the longest leading run of these blocks. */
export interface LeaseRequest {
  readonly kind: 'leaseRequest';
  readonly lease: number;
  readonly blocks: readonly number[];
}

/** The longest leading run in one tier, possibly empty. */
export interface LeaseGrant {
  readonly kind: 'leaseGrant';
  readonly lease: number;
  readonly tier: Tier;
  /** The source has the block after the run as well, in another tier. */
  readonly more: boolean;
  readonly ttlNs: number;
  readonly range: SlotRange;
}

export interface LeaseRelease {
  readonly kind: 'leaseRelease';
  readonly lease: number;
}

/** Source store to destination store: slots for blocks that I will write. */
export interface WriteRequest {
  readonly kind: 'writeRequest';
  readonly write: number;
  readonly blocks: readonly number[];
  /** The block before each in its chain, or -1, and its place in that chain. */
  readonly parents: readonly number[];
  readonly depths: readonly number[];
}

/** Slots for the blocks at `places` of those asked for: the others are there, or have no room. */
export interface WriteGrant {
  readonly kind: 'writeGrant';
  readonly write: number;
  readonly places: readonly number[];
  readonly range: SlotRange;
}

/** Source store to destination store: so many leading blocks of the grant are written. */
export interface WriteEnded {
  readonly kind: 'writeEnded';
  readonly write: number;
  readonly blocksDone: number;
  readonly checksums: Int32Array | null;
}

/** Source store to destination store after a reset: of all its writes there, those under way. */
export interface WritesOpen {
  readonly kind: 'writesOpen';
  readonly writes: readonly number[];
}

// --- homes of blocks --------------------------------------------------------------------------

/**
 * Conductor to all stores: the node of each bucket, where blocks have homes. A store that was the
 * home of blocks and is no more moves them. Live it goes by the registry, and so to successors.
 */
export interface Buckets {
  readonly kind: 'buckets';
  /** Of the conductor; within a term versions grow. */
  readonly term: number;
  readonly version: number;
  readonly owners: readonly number[];
}

/** Store to the new home of blocks that it has: come and get them. */
export interface MoveBlocks {
  readonly kind: 'moveBlocks';
  readonly move: number;
  readonly blocks: readonly number[];
  /** As in WriteRequest. */
  readonly parents: readonly number[];
  readonly depths: readonly number[];
}

/** Answer to MoveBlocks: those at `places` are readable here; `copied` of them came for it. */
export interface BlocksMoved {
  readonly kind: 'blocksMoved';
  readonly move: number;
  readonly places: readonly number[];
  readonly copied: number;
}

/** Store to conductor: how far its moves for a map are. */
export interface MovesLeft {
  readonly kind: 'movesLeft';
  readonly node: number;
  readonly term: number;
  readonly version: number;
  /** Blocks that have not gone to their home yet. */
  readonly blocks: number;
}

// --- results of what a machine started at its host ------------------------------------------

export interface Wake {
  readonly kind: 'wake';
  readonly token: number;
}

export interface TransferEnded {
  readonly kind: 'transferEnded';
  readonly transfer: number;
  readonly ok: boolean;
  /** Leading blocks that arrived whole; all of them when ok. */
  readonly blocksDone: number;
  readonly cause: '' | 'unknownSegment' | 'checksum' | 'lost' | 'timeout';
  /** CRC32C of each block, where the host computes it. */
  readonly checksums: Int32Array | null;
}

/** An operation on a quarantined slot has ended: it may be used again. */
export interface SlotReleased {
  readonly kind: 'slotReleased';
  readonly tier: Tier;
  readonly slot: number;
}

/** To a store: the drives of a tier have failed, and all that lay on them is gone. */
export interface TierLost {
  readonly kind: 'tierLost';
  readonly tier: Tier;
}

/** To a store: the tier works again, empty. */
export interface TierBack {
  readonly kind: 'tierBack';
  readonly tier: Tier;
}

/** What stands in a slot can't be read any more. */
export interface SlotLost {
  readonly kind: 'slotLost';
  readonly tier: Tier;
  readonly slot: number;
  /** A later one is of another block, and sound. */
  readonly generation: number;
}

export interface StepEnded {
  readonly kind: 'stepEnded';
  readonly step: number;
  /** From start to end, and the part of it that computed (the rest waited for KV). */
  readonly durationNs: number;
  readonly computeNs: number;
  /** Requests of the decode batch that got a token in it, and what they added to computeNs. */
  readonly decoded: number;
  readonly decodeNs: number;
}

/** Steps [0, steps) of a decode run ended; each gave every request of the batch one token. */
export interface RunEnded {
  readonly kind: 'runEnded';
  readonly run: number;
  readonly steps: number;
  /** Duration of step i at gapsNs[from + i]; borrowed. */
  readonly gapsNs: Float64Array;
  readonly from: number;
}

/** Membership says that `peer` is dead: what it had is gone. Who comes back says so itself. */
export interface PeerGone {
  readonly kind: 'peerGone';
  readonly peer: Address;
}

/** The channel to `peer` broke: messages under way in both directions may be lost. */
export interface PeerReset {
  readonly kind: 'peerReset';
  readonly peer: Address;
}

export type Body =
  | Arrive
  | Cancel
  | Terminal
  | Dispatch
  | Prefilled
  | Finished
  | SetRoles
  | Drain
  | RolesSet
  | Probe
  | Delta
  | BlockInventory
  | RequestInventory
  | FetchBlocks
  | Prefetch
  | Replicate
  | Fetched
  | Acquire
  | AcquireWaits
  | Acquired
  | LoadFailed
  | Computed
  | SaveBlocks
  | Release
  | Park
  | Grow
  | Grown
  | Unpark
  | Unparked
  | PinBlocks
  | Parked
  | Reserve
  | Reserved
  | Unreserve
  | Claim
  | Claimed
  | Handoff
  | HandoffTaken
  | LeaseRequest
  | LeaseGrant
  | LeaseRelease
  | WriteRequest
  | WriteGrant
  | WriteEnded
  | WritesOpen
  | Buckets
  | MoveBlocks
  | BlocksMoved
  | MovesLeft
  | ObjectAsk
  | ObjectAnswer
  | Wake
  | TransferEnded
  | SlotReleased
  | TierLost
  | TierBack
  | SlotLost
  | StepEnded
  | RunEnded
  | PeerGone
  | PeerReset;

export type BodyKind = Body['kind'];

/** What one machine may send another: the bodies above but the host's own results. */
export type Message = Exclude<
  Body,
  | Wake
  | TransferEnded
  | SlotReleased
  | SlotLost
  | TierLost
  | TierBack
  | StepEnded
  | RunEnded
  | PeerGone
  | PeerReset
>;
