/**
 * The prefill side of an instance: queues the prompts that are dispatched to it, begins them in
 * turn once their blocks and their working memory are there, and computes them in chunks. How many
 * have begun at a time, and how much of each goes into a pass, is the batching policy's affair.
 */
import type { DecodeSide } from './decode-side.ts';
import { assert } from './errors.ts';
import type { Handoff } from './handoff.ts';
import { type Chunk, type DecodeBatch, type IdSource, Mark } from './host.ts';
import { type InstanceWorld, late, ownStore } from './instance-world.ts';
import type * as M from './messages.ts';
import { type Prompt, PromptState, type Prompts } from './prompts.ts';
import { attemptKey, Outcome } from './request.ts';
import type { RequestEnds } from './request-ends.ts';
import { CONDUCTOR } from './topology.ts';

const NONE: readonly number[] = [];

export class PrefillSide {
  readonly world: InstanceWorld;
  private readonly ids: IdSource;
  private readonly ends: RequestEnds;
  private readonly queue: Prompts;
  private readonly handoff: Handoff;
  private readonly decode: DecodeSide;
  /** Sequence number of the last dispatch taken. */
  dispatchSequence = 0;
  /** Term of the last conductor heard; commands of earlier ones are refused. */
  term = 0;
  /** Begun and not done, in that order; only the last may still lack its memory. */
  private readonly begun: Prompt[] = [];
  /** On the GPUs, or 0. */
  private step = 0;

  constructor(
    world: InstanceWorld,
    ids: IdSource,
    ends: RequestEnds,
    queue: Prompts,
    handoff: Handoff,
    decode: DecodeSide,
  ) {
    this.world = world;
    this.ids = ids;
    this.ends = ends;
    this.queue = queue;
    this.handoff = handoff;
    this.decode = decode;
  }

  get isIdle(): boolean {
    return this.begun.length === 0 && this.step === 0;
  }

  get isStepping(): boolean {
    return this.step !== 0;
  }

  /** The last that began asks for its memory, or waits for it. */
  get isAsking(): boolean {
    const { begun } = this;
    if (begun.length === 0) return false;
    const { state } = begun[begun.length - 1];
    return state === PromptState.acquiring || state === PromptState.starved;
  }

  /** An answer about memory is on its way: it comes before time goes on. */
  get isAcquiring(): boolean {
    const { begun } = this;
    return begun.length > 0 && begun[begun.length - 1].state === PromptState.acquiring;
  }

  /** Begun prompts, those without memory too. */
  get prompts(): readonly Prompt[] {
    return this.begun;
  }

  /** Prompts that can be computed now. */
  get computable(): readonly Prompt[] {
    return this.isAsking ? this.begun.slice(0, -1) : this.begun;
  }

  // --- the queue ------------------------------------------------------------------------------

  onDispatch(nowNs: number, body: M.Dispatch): void {
    const { request } = body;
    const { queue: prompts, ends, decode } = this;
    const key = attemptKey(request.id, request.attempt);
    if (body.term > this.term) {
      // A new leader counts from one.
      this.term = body.term;
      this.dispatchSequence = 0;
    }
    // After a hole, which only a reset makes, the conductor sends again from there.
    const { dispatchSequence } = this;
    const next = body.after <= dispatchSequence && dispatchSequence < body.sequence;
    if (body.term < this.term || !next) {
      late(this.world);
      return;
    }
    this.dispatchSequence = body.sequence;
    if (prompts.get(key) !== undefined || ends.has(key) || decode.hasTaken(key)) {
      ends.sayAgain(request);
      return;
    }
    const { host, spec } = this.world;
    host.mark(request.id, Mark.dispatchedNs, nowNs);
    host.mark(request.id, Mark.prefillInstance, spec.id);
    if (prompts.isQueueFull) {
      ends.report(request, Outcome.rejectedQueueFull, nowNs);
      return;
    }
    const { sources, untils, sourceBlocks, keepsFetched } = body;
    const fetches = sources.length > 0 && sourceBlocks > body.localBlocks;
    prompts.enqueue(key, body, fetches, nowNs);
    if (this.world.settings.prefetch)
      host.send(ownStore(this.world), { kind: 'prefetch', request });
    if (!fetches) return;
    const instance = spec.id;
    host.send(ownStore(this.world), {
      kind: 'fetchBlocks',
      request,
      instance,
      sources,
      untils,
      sourceBlocks,
      keepsFetched,
    });
  }

  onFetched(nowNs: number, body: M.Fetched): void {
    const prompt = this.queue.of(body.request, body.attempt);
    if (prompt?.state !== PromptState.fetching) {
      late(this.world);
      return;
    }
    this.world.host.mark(body.request, Mark.fetchedNs, nowNs);
    prompt.state = PromptState.ready;
  }

  /** Begins a prompt: it asks for its working memory. */
  begin(prompt: Prompt): void {
    this.queue.take(prompt);
    this.begun.push(prompt);
    prompt.state = PromptState.acquiring;
    const { host, spec, settings } = this.world;
    const { request } = prompt;
    const reserves = prompt.decodeInstance === spec.id && settings.decodeSpace === 'reserve';
    const hbmTokens = prompt.promptTokens + (reserves ? request.outputTokens : 0);
    host.send(ownStore(this.world), { kind: 'acquire', request, instance: spec.id, hbmTokens });
  }

  onAcquired(nowNs: number, body: M.Acquired): void {
    const prompt = this.queue.of(body.request, body.attempt);
    if (prompt === undefined || !this.isAsking || this.begun.at(-1) !== prompt) {
      late(this.world);
      return;
    }
    prompt.state = PromptState.computing;
    prompt.acquired = body;
    this.beginAt(prompt, body, body.hitBlocks, body.cachedTokens);
    if (prompt.cancelled) this.drop(prompt, nowNs);
    else if (prompt.made === 0 && this.queue.leaves(prompt)) this.handoff.reserve(prompt);
  }

  /** The prompt is computed from token `tokens` on: what was found is worth no more. */
  private beginAt(prompt: Prompt, found: M.Acquired, hitBlocks: number, tokens: number): void {
    const { host, kv } = this.world;
    const { id, attempt } = prompt.request;
    prompt.hitBlocks = hitBlocks;
    prompt.doneTokens = tokens;
    if (prompt.made > 0) return;
    const { cachedTokens, hbmTokens, ssdTokens, peerTokens } = found;
    // What is left of it is counted as if the tiers lay one behind the other.
    const hbm = Math.min(hbmTokens, tokens);
    const dram = Math.min(cachedTokens - hbmTokens - ssdTokens - peerTokens, tokens - hbm);
    const peer = Math.min(peerTokens, tokens - hbm - dram);
    host.mark(id, Mark.dramTokens, dram);
    host.mark(id, Mark.peerTokens, peer);
    const again = attempt > 0;
    if (hbmTokens > 0 || again) host.mark(id, Mark.hbmTokens, hbm);
    if (ssdTokens > 0 || again) host.mark(id, Mark.ssdTokens, tokens - hbm - dram - peer);
    if (hitBlocks < prompt.expectedBlocks) {
      const stale = (prompt.expectedBlocks - hitBlocks) * kv.blockTokens;
      host.mark(id, Mark.staleTokens, stale);
    }
  }

  /** The prompt falls back to before the first block that is missing, now or after its step. */
  onLoadFailed(body: M.LoadFailed): void {
    const prompt = this.queue.of(body.request, body.attempt);
    if (prompt?.state !== PromptState.computing) {
      late(this.world);
      return;
    }
    const { blocks } = prompt.request;
    let good = 0;
    while (good < prompt.hitBlocks && !body.blocks.includes(blocks.at(good))) good++;
    if (good === prompt.hitBlocks) return;
    const tokens = good * this.world.kv.blockTokens;
    if (prompt.step === 0) this.fallBack(prompt, tokens);
    else if (prompt.goodTokens < 0 || tokens < prompt.goodTokens) {
      prompt.goodTokens = tokens;
      this.handoff.spoil(prompt);
    }
  }

  private fallBack(prompt: Prompt, tokens: number): void {
    const { acquired } = prompt;
    assert(acquired !== null, 'a prompt computes without memory');
    prompt.goodTokens = -1;
    this.beginAt(prompt, acquired, tokens / this.world.kv.blockTokens, tokens);
  }

  onAcquireWaits(body: M.AcquireWaits): void {
    const prompt = this.queue.of(body.request, body.attempt);
    if (prompt?.state !== PromptState.acquiring) {
      late(this.world);
      return;
    }
    prompt.state = PromptState.starved;
  }

  // --- computing ------------------------------------------------------------------------------

  /** Starts a pass over `tokens[i]` of the i-th begun prompt, and `decode` alongside. */
  startStep(tokens: readonly number[], decode: DecodeBatch | null, nowNs: number): void {
    const { begun, world } = this;
    const step = this.ids.next();
    this.step = step;
    const chunks: Chunk[] = [];
    for (let i = 0; i < tokens.length; i++) {
      if (tokens[i] > 0) chunks.push(this.chunk(begun[i], tokens[i], step, nowNs));
    }
    world.host.startStep({ id: step, chunks, decode });
    for (let i = 0; i < tokens.length; i++) if (tokens[i] > 0) this.follow(begun[i], step);
  }

  private chunk(prompt: Prompt, tokens: number, step: number, nowNs: number): Chunk {
    const { request, doneTokens, promptTokens } = prompt;
    const toToken = doneTokens + tokens;
    const first = prompt.chunks++ === 0;
    if (first && prompt.made === 0) this.world.host.mark(request.id, Mark.startedNs, nowNs);
    prompt.step = step;
    prompt.stepEnd = toToken;
    return {
      request: request.id,
      fromToken: doneTokens,
      toToken,
      first,
      last: toToken === promptTokens,
      loads: first ? prompt.acquired!.loads : NONE,
    };
  }

  /** Sends what the step makes of a prompt to the cache, and to the decode instance. */
  private follow(prompt: Prompt, step: number): void {
    const { host, spec, kv } = this.world;
    const { request, doneTokens, stepEnd } = prompt;
    const whole = Math.floor(stepEnd / kv.blockTokens);
    const toBlock = stepEnd >= request.inputTokens ? request.blocks.length : whole;
    const first = prompt.chunks === 1;
    const fromBlock = first ? prompt.hitBlocks : Math.floor(doneTokens / kv.blockTokens);
    if (toBlock > fromBlock) {
      const store = ownStore(this.world);
      const instance = spec.id;
      const spread = prompt.nodes.length > 0;
      const nodes = spread ? prompt.nodes.slice(fromBlock, toBlock) : NONE;
      host.send(store, {
        kind: 'saveBlocks',
        request,
        instance,
        step,
        fromBlock,
        toBlock,
        nodes,
        answer: false,
      });
    }
    if (prompt.space === 'granted') this.handoff.stream(prompt, stepEnd, step);
  }

  onStepEnded(nowNs: number, body: M.StepEnded): void {
    if (body.step !== this.step) {
      late(this.world);
      return;
    }
    this.step = 0;
    if (body.decoded > 0) this.decode.advanceBy(1, nowNs);
    const { begun } = this;
    let kept = 0;
    for (let i = 0; i < begun.length; i++) {
      const prompt = begun[i];
      if (prompt.step !== body.step || !this.endChunk(prompt, body.computeNs, nowNs)) {
        begun[kept++] = prompt;
      }
    }
    while (begun.length > kept) begun.pop();
  }

  /** Answers whether the prompt is done, or given up. */
  private endChunk(prompt: Prompt, computeNs: number, nowNs: number): boolean {
    prompt.step = 0;
    prompt.computeNs += computeNs;
    if (prompt.goodTokens >= 0) this.fallBack(prompt, prompt.goodTokens);
    else {
      prompt.doneTokens = prompt.stepEnd;
      if (this.world.settings.hbmCache) this.keepComputed(prompt);
    }
    if (prompt.cancelled) this.queue.abandon(prompt, Outcome.cancelled, nowNs);
    else if (prompt.doneTokens === prompt.promptTokens) this.finish(prompt, nowNs);
    else return false;
    return true;
  }

  /** Tells the store which blocks are whole in HBM, so that others can share them. */
  private keepComputed({ request, doneTokens }: Prompt): void {
    const { host, spec, kv } = this.world;
    const whole = doneTokens >= request.inputTokens;
    const toBlock = whole ? request.blocks.length : Math.floor(doneTokens / kv.blockTokens);
    const store = ownStore(this.world);
    host.send(store, { kind: 'computed', request, instance: spec.id, toBlock });
  }

  private finish(prompt: Prompt, nowNs: number): void {
    const { host, spec } = this.world;
    const { request } = prompt;
    const { id, attempt } = request;
    if (prompt.made > 0) {
      this.finishAgain(prompt, nowNs);
      return;
    }
    host.mark(id, Mark.firstTokenNs, nowNs);
    host.mark(id, Mark.computeNs, prompt.computeNs);
    host.send(CONDUCTOR, { kind: 'prefilled', request: id, attempt });
    if (request.outputTokens === 1) {
      this.queue.end(prompt);
      this.ends.report(request, Outcome.completed, nowNs);
    } else if (prompt.decodeInstance === spec.id) {
      this.queue.forget(prompt);
      this.decode.join(request);
    } else this.handoff.begin(prompt);
  }

  /** What gave way in decode is computed again, and has made a token by that. */
  private finishAgain(prompt: Prompt, nowNs: number): void {
    const { request, promptTokens } = prompt;
    const made = prompt.made + 1;
    this.world.host.mark(request.id, Mark.recomputedNs, nowNs);
    if (made < request.outputTokens) {
      this.queue.forget(prompt);
      this.decode.rejoin(request, made, promptTokens);
    } else {
      this.queue.end(prompt);
      this.ends.report(request, Outcome.completed, nowNs);
    }
  }

  // --- cancels --------------------------------------------------------------------------------

  /** Gives a prompt up, at once or when the answer that it waits for is there. */
  cancel(prompt: Prompt, nowNs: number): void {
    if (prompt.state === PromptState.draining) return;
    prompt.cancelled = true;
    // One that has memory and is in no pass would hold it until its next.
    const idle = prompt.state === PromptState.computing && prompt.step === 0;
    const busy = this.begun.includes(prompt) && !idle;
    if (busy || prompt.offered) return;
    this.drop(prompt, nowNs);
  }

  private drop(prompt: Prompt, nowNs: number): void {
    const at = this.begun.indexOf(prompt);
    if (at >= 0) this.begun.splice(at, 1);
    this.queue.abandon(prompt, Outcome.cancelled, nowNs);
  }
}
