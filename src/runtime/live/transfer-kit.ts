/** What all transfers of a live node share: the node they are of, its pages, and how they end. */
import type { Transfer } from '../../core/host.ts';
import type { TransferEnded } from '../../core/messages.ts';
import type { Tier } from '../../core/topology.ts';
import type { DataPlane, Segment } from '../data-plane.ts';
import { type LiveMemory, PARKED } from './live-memory.ts';
import type { LiveSsd } from './live-ssd.ts';
import type { NodeWord } from './node-words.ts';
import type { PromptsSeen } from './prompts-seen.ts';

/** The store's slots of one tier, as its host must know them. */
export interface TierSlots {
  block(slot: number): number;
  depth(slot: number): number;
  readonly generations: Int32Array;
}

export interface LiveTransfersWorld {
  readonly node: number;
  readonly incarnation: number;
  readonly plane: DataPlane;
  readonly memory: LiveMemory;
  /** Null: the node has none. */
  readonly ssd: LiveSsd | null;
  readonly prompts: PromptsSeen;
  readonly blockTokens: number;
  slotsOf(tier: Tier): TierSlots;
  /** Another node's pool, or null while it is not known. */
  segmentOf(node: number): { readonly segment: Segment; readonly incarnation: number } | null;
  say(node: number, word: NodeWord): void;
  /** A slot that a timed-out operation held is free of it. */
  slotReleased(tier: Tier, slot: number): void;
  /** What stands in a slot can't be read any more. */
  slotLost(tier: Tier, slot: number): void;
  onWrongByte(what: string): void;
}

/** Called once, later. */
export type Ended = (ended: Omit<TransferEnded, 'kind' | 'transfer'>) => void;

/** Offers and questions of one life of a node. */
const LIFE_IDS = 2 ** 32;

/**
 * Before the first number of a life's offers or questions. No other life has those: an answer to an
 * earlier one may still come, over a channel of this one.
 */
export function firstId({ incarnation }: LiveTransfersWorld): number {
  return incarnation * LIFE_IDS;
}

/** The page of a block of a request's prompt; -1: it is no block of it, or no page is left. */
export function pageOf(
  { memory, prompts }: LiveTransfersWorld,
  owner: number,
  request: number,
  block: number,
): number {
  const index = prompts.indexOf(request, block);
  return index < 0 ? -1 : memory.page(owner, request, index);
}

/** The page of a block that was computed, or that decode has filled up. */
export function madePage(
  world: LiveTransfersWorld,
  owner: number,
  request: number,
  block: number,
): number {
  const { memory, prompts } = world;
  // A save may begin when the prompt's KV has been parked.
  const parked =
    memory.pagesOf(owner, request).length === 0 && memory.pagesOf(PARKED, request).length > 0;
  const page = pageOf(world, parked ? PARKED : owner, request, block);
  const prompt = prompts.get(request)?.blocks.length ?? 0;
  if (page >= 0 && prompts.indexOf(request, block) >= prompt) memory.compute(page, block);
  return page;
}

/** CRC-32C of blocks, as the core has them. */
export function sumsOf({ memory }: LiveTransfersWorld, blocks: readonly number[]): Int32Array {
  return Int32Array.from(blocks, (block) => memory.contents.sum(block) | 0);
}

export function none(cause: TransferEnded['cause']): Omit<TransferEnded, 'kind' | 'transfer'> {
  return { ok: false, blocksDone: 0, cause, checksums: null };
}

export function allOf({ blocks }: Transfer, checksums: Int32Array | null) {
  return { ok: true, blocksDone: blocks, cause: '' as const, checksums };
}

export function endOf(
  transfer: Transfer,
  { done, cause }: { done: number; cause: TransferEnded['cause'] },
  checksums: Int32Array,
) {
  if (cause === '') return allOf(transfer, checksums);
  return { ok: false, blocksDone: Math.min(done, transfer.blocks), cause, checksums };
}
