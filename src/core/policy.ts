/**
 * Ports of the policies. A policy owns order or choice, never bytes, leases or time. A policy file
 * exports by default what one of the `define…` functions makes of it; its file name is its name.
 */
import type { BucketMap } from './bucket-map.ts';
import type { Estimator } from './cost.ts';
import type { Request } from './request.ts';
import type { Role, Tier } from './topology.ts';

// --- parameters -------------------------------------------------------------------------------

/** A parameter that `--eviction name:key=value` can set. */
export type Param =
  | { type: 'number'; default: number; min?: number; max?: number; doc: string }
  | { type: 'integer'; default: number; min?: number; max?: number; doc: string }
  | { type: 'boolean'; default: boolean; doc: string }
  | { type: 'choice'; default: string; choices: readonly string[]; doc: string };
export type Params = Readonly<Record<string, Param>>;

export type ParamValue<P extends Param> = P extends { type: 'boolean' }
  ? boolean
  : P extends { type: 'choice' }
    ? string
    : number;
export type ParamValues<T extends Params> = { readonly [K in keyof T]: ParamValue<T[K]> };

export interface PolicyModule<Context, Policy, T extends Params = Params> {
  readonly kind: PolicyKind;
  /** Paper, section or code that it follows, and where it departs. */
  readonly source: string;
  readonly params: T;
  create(context: Context, params: ParamValues<T>): Policy;
}

export const POLICY_KINDS = [
  'eviction',
  'prefill',
  'decode',
  'disaggregation',
  'admission',
  'elasticity',
  'rail',
  'batching',
  'queue',
  'tiering',
  'placement',
  'replication',
] as const;
export type PolicyKind = (typeof POLICY_KINDS)[number];

/** What the policies of each kind are made of, and what they are. */
export interface PolicyPorts {
  readonly eviction: { readonly context: EvictionContext; readonly policy: EvictionPolicy };
  readonly prefill: { readonly context: PolicyContext; readonly policy: PrefillPolicy };
  readonly decode: { readonly context: PolicyContext; readonly policy: DecodePolicy };
  readonly disaggregation: {
    readonly context: PolicyContext;
    readonly policy: DisaggregationPolicy;
  };
  readonly admission: { readonly context: PolicyContext; readonly policy: AdmissionPolicy };
  readonly elasticity: { readonly context: PolicyContext; readonly policy: ElasticityPolicy };
  readonly rail: { readonly context: RailContext; readonly policy: RailPolicy };
  readonly batching: { readonly context: EngineContext; readonly policy: BatchingPolicy };
  readonly queue: { readonly context: EngineContext; readonly policy: QueuePolicy };
  readonly tiering: { readonly context: TieringContext; readonly policy: TieringPolicy };
  readonly placement: { readonly context: PlacementContext; readonly policy: PlacementPolicy };
  readonly replication: { readonly context: PolicyContext; readonly policy: ReplicationPolicy };
}

/** What the files of each kind export. */
export type PolicyModules = {
  readonly [K in PolicyKind]: PolicyModule<PolicyPorts[K]['context'], PolicyPorts[K]['policy']>;
};

type Definition<C, P, T extends Params> = Omit<PolicyModule<C, P, T>, 'kind'>;

export function defineEviction<const T extends Params>(
  definition: Definition<EvictionContext, EvictionPolicy, T>,
): PolicyModule<EvictionContext, EvictionPolicy, T> {
  return { kind: 'eviction', ...definition };
}

export function definePrefill<const T extends Params>(
  definition: Definition<PolicyContext, PrefillPolicy, T>,
): PolicyModule<PolicyContext, PrefillPolicy, T> {
  return { kind: 'prefill', ...definition };
}

export function defineDecode<const T extends Params>(
  definition: Definition<PolicyContext, DecodePolicy, T>,
): PolicyModule<PolicyContext, DecodePolicy, T> {
  return { kind: 'decode', ...definition };
}

export function defineDisaggregation<const T extends Params>(
  definition: Definition<PolicyContext, DisaggregationPolicy, T>,
): PolicyModule<PolicyContext, DisaggregationPolicy, T> {
  return { kind: 'disaggregation', ...definition };
}

export function defineAdmission<const T extends Params>(
  definition: Definition<PolicyContext, AdmissionPolicy, T>,
): PolicyModule<PolicyContext, AdmissionPolicy, T> {
  return { kind: 'admission', ...definition };
}

export function defineRail<const T extends Params>(
  definition: Definition<RailContext, RailPolicy, T>,
): PolicyModule<RailContext, RailPolicy, T> {
  return { kind: 'rail', ...definition };
}

export function defineBatching<const T extends Params>(
  definition: Definition<EngineContext, BatchingPolicy, T>,
): PolicyModule<EngineContext, BatchingPolicy, T> {
  return { kind: 'batching', ...definition };
}

export function defineQueue<const T extends Params>(
  definition: Definition<EngineContext, QueuePolicy, T>,
): PolicyModule<EngineContext, QueuePolicy, T> {
  return { kind: 'queue', ...definition };
}

export function defineTiering<const T extends Params>(
  definition: Definition<TieringContext, TieringPolicy, T>,
): PolicyModule<TieringContext, TieringPolicy, T> {
  return { kind: 'tiering', ...definition };
}

export function defineReplication<const T extends Params>(
  definition: Definition<PolicyContext, ReplicationPolicy, T>,
): PolicyModule<PolicyContext, ReplicationPolicy, T> {
  return { kind: 'replication', ...definition };
}

export function definePlacement<const T extends Params>(
  definition: Definition<PlacementContext, PlacementPolicy, T>,
): PolicyModule<PlacementContext, PlacementPolicy, T> {
  return { kind: 'placement', ...definition };
}

export function defineElasticity<const T extends Params>(
  definition: Definition<PolicyContext, ElasticityPolicy, T>,
): PolicyModule<PolicyContext, ElasticityPolicy, T> {
  return { kind: 'elasticity', ...definition };
}

// --- eviction ---------------------------------------------------------------------------------

/** `victim` answers this when it can't name a slot: the insertion is dropped. */
export const REFUSE = -1;

/** Slots that must not go now: leased, being filled, or pinned. */
export interface Pinned {
  /** Number of slots with a flag; 0 lets a policy skip the look. */
  readonly count: number;
  readonly flags: Uint8Array;
}

export type RemovalCause = 'evict' | 'invalidate';

/** What an eviction policy may know. One object per tier; `nowNs` and `incomingDepth` move. */
export interface EvictionContext {
  readonly capacitySlots: number;
  readonly blockBytes: number;
  readonly blockTokens: number;
  /** Time of the fact that is being handled. */
  readonly nowNs: number;
  /** Uniform in [0, 1), a named stream of this policy. */
  random(): number;
  /** Time to recompute one block at `depth` (0 = root) with its prefix cached. */
  recomputeNs(depth: number): number;
  /** Offline replays only: position of the next access to a block in the stream, or null. */
  readonly future: Future | null;
}

/** The future of a recorded access stream. */
export interface Future {
  /** Index of the access that is being handled. */
  readonly position: number;
  /** Index of the next access to the same block after access `position`; Infinity when none. */
  nextUse(position: number): number;
}

/**
 * The order of one tier. Slots are 0 .. capacitySlots-1; a slot holds one block. For a miss the
 * tier calls onMiss, then (if full) victim and onRemove, then onInsert. Where there is `reclaim`,
 * it comes before victim, and onRemove follows for each slot that it names.
 */
export interface EvictionPolicy {
  /** A block that is not resident was asked for. */
  onMiss?(block: number): void;
  /** `parentSlot` is the slot of the preceding block of its chain, or -1; `depth` 0 is the root. */
  onInsert(slot: number, block: number, parentSlot: number, depth: number): void;
  onHit(slot: number): void;
  onRemove(slot: number, cause: RemovalCause): void;
  /** The slot to free for block `incoming`: resident, not pinned. REFUSE when there is none. */
  victim(incoming: number, pinned: Pinned): number;
  /**
   * Slots to free in one round, for policies that free in batches or at limits of their own.
   * `count` slots are needed now; 0 asks what should go although there is room (expired, above a
   * watermark): before a miss is inserted, and whenever a request comes.
   */
  reclaim?(count: number, pinned: Pinned): readonly number[];
  /** Slots that the policy believes resident, re-derived from its own structures: a check. */
  size(): number;
}

// --- tiering ----------------------------------------------------------------------------------

/** What becomes on SSD of a block that is in DRAM; nothing when it is there already. */
export const CopyDown = {
  none: 0,
  /** A copy is written at once. */
  now: 1,
  /** A copy is written at the next heartbeat, if the block is still there. */
  later: 2,
} as const;
export type CopyDown = (typeof CopyDown)[keyof typeof CopyDown];

/** What becomes of a block that was read from SSD. */
export const Promotion = {
  none: 0,
  /** DRAM gets a copy. */
  copy: 1,
  /** It moves to DRAM: its slot on SSD is free afterwards. */
  move: 2,
} as const;
export type Promotion = (typeof Promotion)[keyof typeof Promotion];

/** What a tiering policy may know of the node whose DRAM and SSD it stands between. */
export interface TieringContext {
  readonly dramSlots: number;
  readonly ssdSlots: number;
  /** Time of the fact that is being handled. */
  readonly nowNs: number;
}

/** What moves between DRAM and SSD, and when. Only nodes with an SSD ask. */
export interface TieringPolicy {
  /** Between two heartbeats, ns; needed for `CopyDown.later` alone. */
  readonly heartbeatNs: number;
  /** A block became readable in DRAM. */
  onStored(block: number): CopyDown;
  /** It was read from DRAM by a prompt. */
  onHit(block: number): CopyDown;
  /** It is about to leave DRAM, and is not on SSD: whether it is written there first. */
  onEvict(block: number): boolean;
  /** A prompt read it from SSD. `dramUsedRatio` is the share of DRAM slots in use. */
  onSsdHit(block: number, dramUsedRatio: number): Promotion;
}

// --- placement --------------------------------------------------------------------------------

/** The nodes with DRAM for cached blocks, of which there is at least one. */
export interface PlacementContext {
  readonly nodes: readonly { readonly id: number; readonly dramSlots: number }[];
  /** Uniform in [0, 1), a named stream of this policy. */
  random(): number;
}

/** What the conductor believes of the nodes' DRAM. */
export interface PlacementView {
  /** Ids of the live nodes with DRAM for cached blocks; another array when they change. */
  readonly nodes: readonly number[];
  /** Share of a node's slots that hold blocks. */
  usedRatio(node: number): number;
}

/** Which node's DRAM keeps a block that is computed. */
export interface PlacementPolicy {
  /** False when all stay where they are computed: `place` is not asked. */
  readonly spreads: boolean;
  /** The node for a block that `ownNode` will compute: one of the view's nodes. */
  place(block: number, ownNode: number, view: PlacementView): number;
  /**
   * Of a policy that gives each block a home: the map for these nodes, of which there is one; a
   * later version than before when it differs. The stores are told of it, and move blocks.
   */
  mapFor?(nodes: readonly number[]): BucketMap;
  /** The map of an earlier conductor: the next one is made from it. */
  adopt?(map: BucketMap): void;
}

// --- replication ------------------------------------------------------------------------------

export interface ReplicationView extends PlacementView {
  readonly nowNs: number;
  /** Nodes that hold a block, in whatever tier. */
  replicas(block: number): number;
  holds(node: number, block: number): boolean;
}

/** A copy to make: so many leading blocks of a prompt, from one node to another. */
export interface Replica {
  readonly source: number;
  readonly target: number;
  readonly blocks: number;
}

/** Which blocks are copied ahead of requests for them, and whether fetches leave copies behind. */
export interface ReplicationPolicy {
  /** False when fetched blocks go again once their request has loaded them. */
  readonly keepsFetched: boolean;
  /** False when it never copies: then it is not asked. */
  readonly watches: boolean;
  /** A request was given to an instance. */
  onRequest(request: Request, view: ReplicationView): readonly Replica[];
  /** Its prompt is done, and saved on `node` but for what is still under way. */
  onComputed(request: Request, node: number, view: ReplicationView): readonly Replica[];
}

// --- scheduling -------------------------------------------------------------------------------

export interface PolicyContext {
  /** Uniform in [0, 1), a named stream of this policy. */
  random(): number;
  readonly estimate: Estimator;
  readonly slo: Slo;
  readonly blockTokens: number;
}

export interface Slo {
  readonly ttftNs: number;
  readonly tbtNs: number;
}

/** The conductor's belief about its instances, from facts alone. */
export interface ClusterView {
  readonly nowNs: number;
  /** Ids of live instances with the role. */
  readonly prefillInstances: readonly number[];
  readonly decodeInstances: readonly number[];
  /** Those with both roles. */
  readonly coupledInstances: readonly number[];
  /** Those without a role: idle, and not on their way to one. */
  readonly standbyInstances: readonly number[];
  nodeOf(instance: number): number;
  /** Its roles now; none while it drains. */
  rolesOf(instance: number): readonly Role[];
  /** Predicted ns until the instance has done what is queued on it. */
  queueNs(instance: number): number;
  /** Predicted ns until a node has sent the blocks that were asked of it; 0 if not looked at. */
  sendingNs(node: number): number;
  /** Requests dispatched to it whose prefill is not done. */
  queuedRequests(instance: number): number;
  queuedTokens(instance: number): number;
  /** Requests bound for or in decode on it, the tokens they hold, and its capacity. */
  decodeRequests(instance: number): number;
  decodeTokens(instance: number): number;
  decodeCapacityTokens(instance: number): number;
  /** The load of requests that decode on it now: their prompts are done. */
  decodingNow(instance: number): Load;
  /** Of those, what will still decode at `atNs` if each takes `lastsNs` in decode. */
  decodingAt(instance: number, atNs: number, lastsNs: number): Load;
  /** Prompts under way, anywhere, that are predicted to be done by then and to decode still. */
  arrivingBy(atNs: number, lastsNs: number): Load;
  /** Mean time in decode of the requests that completed so far; 0 before the first. */
  readonly decodeNsMean: number;
}

export interface Load {
  readonly requests: number;
  /** Inputs and outputs: the room that they take at their end. */
  readonly tokens: number;
}

/** How much of one request's prompt is cached where; valid during the decision. */
export interface PrefixMatch {
  /** Leading blocks on the instance's own node. */
  localBlocks(instance: number): number;
  /** Longest leading run on any node, and the node (least id among equals; -1 when none). */
  readonly bestBlocks: number;
  readonly bestNode: number;
  /** Of the leading blocks on the instance's node, those whose fastest copy there is in `tier`. */
  tierBlocks(request: Request, instance: number, tier: Tier): number;
}

export interface PrefillChoice {
  readonly instance: number;
  /** Node to fetch `sourceBlocks` leading blocks from first, or -1. */
  readonly sourceNode: number;
  readonly sourceBlocks: number;
  /** Predicted time to the first token, for admission. */
  readonly ttftNs: number;
}

export interface PrefillPolicy {
  choose(request: Request, match: PrefixMatch, view: ClusterView): PrefillChoice;
}

export interface DecodePolicy {
  /** A decode instance's id. */
  choose(request: Request, prefillInstance: number, view: ClusterView): number;
}

/** Whether another instance than the one that computes the prompt may decode it. */
export interface DisaggregationPolicy {
  /**
   * Asked before an instance is chosen. True: the prefill policy chooses among all prefill
   * instances, the decode policy among all decode instances. False: one instance with both roles
   * does both, chosen by the prefill policy; where there is none it is as if true.
   */
  separates(request: Request, match: PrefixMatch, view: ClusterView): boolean;
}

/** Which instances do what; asked from time to time while there is work. */
export interface ElasticityPolicy {
  /** Between two looks, ns; 0 never looks. */
  readonly intervalNs: number;
  /** What shall change; nothing when it is well as it is. */
  adjust(view: ClusterView): readonly RoleChange[];
}

export interface RoleChange {
  /** Alive and not in a change. */
  readonly instance: number;
  /** None: it goes on standby. Another instance must keep each role that this one loses. */
  readonly roles: readonly Role[];
  /** From the end of its earlier work until it can do the new. */
  readonly startupNs: number;
}

/** '' admits; else why not. */
export type Verdict = '' | 'ttft' | 'tbt' | 'policy';

export interface AdmissionPolicy {
  /** On arrival. */
  verdict(
    request: Request,
    choice: PrefillChoice,
    decodeInstance: number,
    view: ClusterView,
  ): Verdict;
  /**
   * Once more when the prompt is done and its KV goes to the decode instance, whose load does not
   * count the request yet. A request that is rejected here has wasted its prefill.
   */
  verdictAtDecode?(request: Request, decodeInstance: number, view: ClusterView): Verdict;
}

// --- rails ------------------------------------------------------------------------------------

/**
 * The rails of one node as the node that decides knows them: a row of each column is a rail. What
 * others load on a peer's rails it does not know, only what it put there itself.
 */
export interface Rails {
  readonly count: number;
  /** What the rail carries at best, bytes per ns. */
  readonly bytesPerNs: Float64Array;
  /** Bytes given to the rail that are not through yet. */
  readonly queuedBytes: Float64Array;
  /**
   * Moving average of the rate at which the rail worked off what was given to it: bytes of a slice
   * and of those before it, over the time from its posting to its end. `bytesPerNs` at first.
   */
  readonly observedBytesPerNs: Float64Array;
  /** Moving average of the time from a slice's posting to its end, ns; 0 at first. */
  readonly observedNs: Float64Array;
  /** 1: must not be used, because it is down or rests after errors. */
  readonly resting: Uint8Array;
}

/** One end of a transfer. */
export interface RailEnd {
  readonly rails: Rails;
  /** 1: the rail is near the memory, by its GPU or its NUMA domain; 0: the way crosses a socket. */
  readonly near: Uint8Array;
}

/** A transfer to be spread over rails, or what is left of it after errors. Borrowed. */
export interface RailTransfer {
  readonly source: RailEnd;
  readonly target: RailEnd;
  readonly bytes: number;
  /** All slices have this size but the last, which may be shorter. */
  readonly sliceBytes: number;
  readonly slices: number;
}

export interface RailContext {
  /** Uniform in [0, 1), a named stream of this policy. */
  random(): number;
}

/**
 * Spreads transfers over rails; one policy object per deciding node. The answer is a number of
 * slices for every pair of rails: a simulator moves them as one flow each, a live engine deals its
 * slices out in turn. Where slices fail, what is left is asked again as a transfer of its own.
 */
export interface RailPolicy {
  /**
   * Every transfer is spread evenly over all rails that don't rest: a simulator may take the equal,
   * healthy rails of a node as one resource and never ask.
   */
  readonly even?: true;
  /**
   * Adds its slices to `pairs`, which comes zeroed: those from source rail s to target rail t at
   * `pairs[s * target.rails.count + t]`. Their sum is `transfer.slices`. Rails that rest get none
   * unless all rails of that end rest.
   */
  spread(transfer: RailTransfer, pairs: Int32Array): void;
  /** A slice, or a run of them on one pair, has ended; `rails` have learned from it already. */
  onSliceEnded?(end: SliceEnd): void;
}

/** Borrowed. */
export interface SliceEnd {
  readonly source: Rails;
  readonly target: Rails;
  readonly sourceRail: number;
  readonly targetRail: number;
  readonly bytes: number;
  /** Since it was posted. */
  readonly durationNs: number;
  readonly ok: boolean;
}

// --- within an engine -------------------------------------------------------------------------

/** What the policies of one instance may know. */
export interface EngineContext extends PolicyContext {
  /** The instance, for `estimate`. */
  readonly instance: number;
}

/** A prompt on an instance. */
export interface PromptView {
  readonly request: Request;
  /** Tokens to compute in all: the input, and what was decoded before a preemption. */
  readonly promptTokens: number;
  /** Of these, tokens whose KV is there; before the prompt begins, those believed cached. */
  readonly doneTokens: number;
}

/** The prompts and the decode batch of an engine between two passes. */
export interface EngineView {
  readonly nowNs: number;
  /** Prompts that have begun and are not done, in the order in which they began. */
  readonly prompts: readonly PromptView[];
  /** Requests in the decode batch, those that wait to join it, and how many it may hold. */
  readonly decoding: number;
  readonly joining: number;
  readonly batchRequests: number;
  /** The setting `prefillChunk`, tokens. */
  readonly chunkTokens: number;
}

export interface BatchPlan {
  /** Tokens to compute of each of the view's prompts, in their order; missing ones are 0. */
  readonly tokens: readonly number[];
  /** Whether the decode batch makes a token in the same pass. */
  readonly decode: boolean;
}

/** Which work goes into the next pass. Where no prompt is computed the batch decodes in a run. */
export interface BatchingPolicy {
  /** Whether `next`, the first of the queue, begins now: it then asks for its working memory. */
  begins(next: PromptView, engine: EngineView): boolean;
  /** The next pass. All prompts of `engine` have their memory. */
  plan(engine: EngineView): BatchPlan;
  /** Whether requests that wait may join the decode batch; without it, always. */
  joins?(engine: EngineView): boolean;
}

/** The order in which prompts take their turn. */
export interface QueuePolicy {
  /** Asked once, at dispatch. Least rank first; equal ranks in order of dispatch. */
  rank(prompt: PromptView, nowNs: number): number;
}

export type EvictionModule = PolicyModules['eviction'];
