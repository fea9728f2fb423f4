/**
 * HBM for the working blocks of one instance: who holds how much, and who waits. Space goes out
 * first come, first served, so that a large request is not passed for ever by small ones.
 *
 * With a cache (`instance.hbmCache`), what is not held keeps blocks of requests that computed them.
 * A request that asks for memory shares the leading blocks that are cached (Acquired.hbmTokens) and
 * holds bytes of its own for the rest alone; as its blocks are computed (Computed), their bytes go
 * over to the cache, leased to it until it is released. Cached blocks that nobody reads are free
 * space to whoever asks.
 */
import { assert } from './errors.ts';
import type { HbmCache } from './hbm-cache.ts';
import type { Acquire, GrowingSequence, Reserve, Unpark } from './messages.ts';
import { attemptKey, type Request, requestOf } from './request.ts';
import type { Address } from './topology.ts';

/** Space held by one request. */
export interface Holding {
  readonly attempt: number;
  hbmBytes: number;
  /** Of these, pages that came while it decoded. */
  grownBytes: number;
  /** Tokens whose KV is parked in DRAM. */
  parkedTokens: number;
  /** Loads, saves and parkings under way; the space is free when it is released and these ended. */
  moves: number;
  released: boolean;
  /** An unclaimed reservation dies at this time; Infinity once claimed. */
  expiresNs: number;
  /** Slots of the HBM cache that it reads: found there, or computed by it. */
  shared: number[];
  /** Leading blocks that were offered to the cache. */
  offeredBlocks: number;
  /** Blocks in DRAM that were fetched for it alone and go when they are loaded. */
  passing: readonly number[];
}

export interface Waiting {
  readonly from: Address;
  readonly ask: Acquire | Reserve | Unpark;
  readonly bytes: number;
}

const NONE: readonly number[] = [];

/** Tokens of one page of KV: vLLM's block. */
const PAGE_TOKENS = 16;

/** Tokens in whole pages, as far as there are any. */
function pagesOf(tokens: number, most: number): number {
  return Math.min(Math.ceil(tokens / PAGE_TOKENS) * PAGE_TOKENS, Math.max(tokens, most));
}

interface Attempt {
  readonly request: number;
  readonly attempt: number;
}

export class WorkingMemory {
  readonly instance: number;
  readonly capacityBytes: number;
  /** Blocks kept in what is free; null when none are. */
  readonly cache: HbmCache | null;
  readonly waiting: Waiting[] = [];
  /** Of the waiting, those that reserve for decode. */
  waitingReserves = 0;
  /** A wake for the next expiry is on its way. */
  wakes = false;
  private usedBytes = 0;
  private readonly holdings = new Map<number, Holding>();

  constructor(instance: number, capacityBytes: number, cache: HbmCache | null = null) {
    this.instance = instance;
    this.capacityBytes = capacityBytes;
    this.cache = cache;
  }

  /**
   * Whether so much is free, or can be made free by giving up cached blocks. A `prompt` needs less
   * by its leading blocks that are cached, and these are not given up for it.
   */
  fits(bytes: number, prompt: Request | null = null): boolean {
    const { cache } = this;
    if (cache === null) return this.usedBytes + bytes <= this.capacityBytes;
    const free = this.capacityBytes - this.usedBytes;
    if (prompt === null) return cache.shrinkTo(free - bytes);
    const shared = cache.lease(prompt.blocks);
    let fits = cache.shrinkTo(free - bytes + cache.bytesOf(shared.length, prompt));
    // A partial last block takes a whole slot, which may be what is missing.
    if (!fits && shared.length === prompt.blocks.length) {
      cache.unlease([shared.pop()!]);
      fits = cache.shrinkTo(free - bytes + cache.bytesOf(shared.length, prompt));
    }
    cache.unlease(shared);
    return fits;
  }

  hold(request: number, attempt: number, hbmBytes: number, expiresNs: number): Holding {
    assert(this.of(request, attempt) === undefined, 'a request holds working memory twice');
    const holding: Holding = {
      attempt,
      hbmBytes,
      grownBytes: 0,
      parkedTokens: 0,
      moves: 0,
      released: false,
      expiresNs,
      shared: [],
      offeredBlocks: 0,
      passing: NONE,
    };
    this.usedBytes += hbmBytes;
    this.holdings.set(attemptKey(request, attempt), holding);
    return holding;
  }

  /** Holds `bytes` for a prompt, less its leading blocks that are cached: it shares those. */
  holdPrompt(prompt: Request, bytes: number): Holding {
    const { cache } = this;
    const shared = cache === null ? [] : cache.lease(prompt.blocks);
    if (cache !== null) {
      cache.touch(shared);
      bytes -= cache.bytesOf(shared.length, prompt);
    }
    const holding = this.hold(prompt.id, prompt.attempt, bytes, Number.POSITIVE_INFINITY);
    holding.shared = shared;
    holding.offeredBlocks = shared.length;
    return holding;
  }

  /** Blocks of a prompt before `toBlock` are computed: their bytes go over to the cache. */
  keep(prompt: Request, toBlock: number): void {
    const { cache } = this;
    const holding = this.of(prompt.id, prompt.attempt);
    if (cache === null || holding === undefined || holding.released) return;
    for (let i = holding.offeredBlocks; i < toBlock; i++) {
      const bytes = cache.bytesOf(i + 1, prompt) - cache.bytesOf(i, prompt);
      if (bytes > holding.hbmBytes || cache.pool.find(prompt.blocks.at(i)) >= 0) continue;
      // A partial last block takes a whole slot: what is missing must be free.
      const others = this.usedBytes - bytes + cache.blockBytes;
      if (!cache.shrinkTo(this.capacityBytes - others)) continue;
      const slot = cache.keep(prompt.blocks, i);
      if (slot < 0) continue;
      holding.shared.push(slot);
      holding.hbmBytes -= bytes;
      this.usedBytes -= bytes;
    }
    holding.offeredBlocks = Math.max(holding.offeredBlocks, toBlock);
  }

  /** Parked KV comes back. */
  takeBack(holding: Holding, bytes: number): void {
    this.usedBytes += bytes;
    holding.hbmBytes += bytes;
  }

  /**
   * Gives each sequence pages for the most steps up to `steps` that there is room for, and takes
   * back what it holds beyond. Answers the steps.
   */
  grow(sequences: readonly GrowingSequence[], steps: number, tokenBytes: number): number {
    const holdings = sequences.map(({ request, attempt }) => this.of(request, attempt));
    let grownBytes = 0;
    for (const holding of holdings) grownBytes += holding?.grownBytes ?? 0;
    const most = Math.floor(this.capacityBytes / tokenBytes);
    const needOf = ({ tokens, basis }: GrowingSequence, more: number) =>
      Math.max(0, pagesOf(tokens + more, most) - basis) * tokenBytes;
    const fitsAll = (more: number) => {
      let need = -grownBytes;
      for (const sequence of sequences) need += needOf(sequence, more);
      return need <= 0 || this.fits(need);
    };
    let low = 0;
    let high = steps;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (fitsAll(middle)) low = middle;
      else high = middle - 1;
    }
    sequences.forEach((sequence, i) => {
      const holding = holdings[i];
      assert(holding !== undefined, 'a sequence grows that holds no memory');
      // Without room for a step each keeps what it has.
      const bytes = low > 0 ? needOf(sequence, low) : holding.grownBytes;
      this.usedBytes += bytes - holding.grownBytes;
      holding.hbmBytes += bytes - holding.grownBytes;
      holding.grownBytes = bytes;
    });
    return low;
  }

  /** Whether any attempt of a request holds space, or space for its parked KV. */
  holds(request: number): boolean {
    for (const key of this.holdings.keys()) if (requestOf(key) === request) return true;
    return false;
  }

  /** The holding of this attempt, or undefined when it is gone. */
  of(request: number, attempt: number): Holding | undefined {
    return this.holdings.get(attemptKey(request, attempt));
  }

  freeHbm(holding: Holding): void {
    this.usedBytes -= holding.hbmBytes;
    holding.hbmBytes = 0;
    holding.grownBytes = 0;
    if (this.cache === null) return;
    this.cache.unlease(holding.shared);
    holding.shared.length = 0;
  }

  drop(request: number, holding: Holding): void {
    this.freeHbm(holding);
    this.holdings.delete(attemptKey(request, holding.attempt));
  }

  /**
   * The instance died. Nobody waits any more, and what is held goes, at once or when the last move
   * has ended. Answers the parked tokens of what went.
   */
  releaseAll(): number {
    this.waiting.length = 0;
    this.waitingReserves = 0;
    let parkedTokens = 0;
    for (const [key, holding] of this.holdings) {
      holding.released = true;
      if (holding.moves > 0) continue;
      parkedTokens += holding.parkedTokens;
      this.freeHbm(holding);
      this.holdings.delete(key);
    }
    return parkedTokens;
  }

  wait(waiting: Waiting): void {
    this.waiting.push(waiting);
    if (waiting.ask.kind === 'reserve') this.waitingReserves++;
  }

  /** Whether this fits now. A prompt that holds memory from before waits until that has gone. */
  serves({ ask, bytes }: Waiting): boolean {
    if (ask.kind !== 'acquire') return this.fits(bytes);
    const { request } = ask;
    return this.of(request.id, request.attempt) === undefined && this.fits(bytes, request);
  }

  /** Takes the first of those who wait, if it fits. */
  nextServed(): Waiting | undefined {
    if (this.waiting.length === 0 || !this.serves(this.waiting[0])) return undefined;
    const next = this.waiting.shift()!;
    if (next.ask.kind === 'reserve') this.waitingReserves--;
    return next;
  }

  /** Place of a reservation among those who wait, or -1. */
  findReserve(of: Attempt): number {
    return this.waiting.findIndex(
      ({ ask }) =>
        ask.kind === 'reserve' && ask.request === of.request && ask.attempt === of.attempt,
    );
  }

  stopWaiting(of: Attempt): void {
    const at = this.findReserve(of);
    if (at < 0) return;
    this.waiting.splice(at, 1);
    this.waitingReserves--;
  }

  /** When the next unclaimed reservation runs out; Infinity when none does. */
  firstExpiryNs(): number {
    let firstNs = Number.POSITIVE_INFINITY;
    for (const { expiresNs } of this.holdings.values()) firstNs = Math.min(firstNs, expiresNs);
    return firstNs;
  }

  /** Drops reservations whose ttl ran out. */
  dropExpired(nowNs: number): void {
    for (const [key, holding] of this.holdings) {
      if (holding.expiresNs > nowNs) continue;
      this.freeHbm(holding);
      this.holdings.delete(key);
    }
  }

  /** No one holds or waits for anything. */
  get isIdle(): boolean {
    return this.holdings.size === 0 && this.waiting.length === 0;
  }

  check(): void {
    let used = 0;
    for (const holding of this.holdings.values()) used += holding.hbmBytes;
    assert(used === this.usedBytes, 'HBM in use disagrees with its holders');
    const cached = this.cache?.usedBytes ?? 0;
    assert(used + cached <= this.capacityBytes, 'more HBM in use than there is');
    this.cache?.pool.check();
  }
}
