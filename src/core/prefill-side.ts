/**
 * The prefill side of an instance: queues the prompts that are dispatched to it, takes them in turn
 * once their blocks and their working memory are there, and computes them in chunks.
 */
import type { DecodeSide } from './decode-side.ts';
import type { Handoff } from './handoff.ts';
import { type IdSource, Mark } from './host.ts';
import { type InstanceWorld, late, ownStore } from './instance-world.ts';
import type * as M from './messages.ts';
import { chunkEnd, type Prompt, PromptState, type Prompts } from './prompts.ts';
import { attemptKey, Outcome } from './request.ts';
import type { RequestEnds } from './request-ends.ts';
import { CONDUCTOR } from './topology.ts';

const NONE: readonly number[] = [];

export class PrefillSide {
  readonly world: InstanceWorld;
  private readonly ids: IdSource;
  private readonly ends: RequestEnds;
  private readonly prompts: Prompts;
  private readonly handoff: Handoff;
  private readonly decode: DecodeSide;
  /** Sequence number of the last dispatch taken. */
  dispatchSequence = 0;
  /** On the GPUs, or next on them. */
  private current: Prompt | null = null;

  constructor(
    world: InstanceWorld,
    ids: IdSource,
    ends: RequestEnds,
    prompts: Prompts,
    handoff: Handoff,
    decode: DecodeSide,
  ) {
    this.world = world;
    this.ids = ids;
    this.ends = ends;
    this.prompts = prompts;
    this.handoff = handoff;
    this.decode = decode;
  }

  get isIdle(): boolean {
    return this.current === null;
  }

  // --- the queue ------------------------------------------------------------------------------

  onDispatch(nowNs: number, body: M.Dispatch): void {
    const { request } = body;
    const { prompts, ends, decode } = this;
    const key = attemptKey(request.id, request.attempt);
    // After a hole, which only a reset makes, the conductor sends again from there.
    if (body.sequence !== this.dispatchSequence + 1) {
      late(this.world);
      return;
    }
    this.dispatchSequence = body.sequence;
    if (prompts.get(key) !== undefined || ends.has(key) || decode.hasTaken(key)) return;
    const { host, spec } = this.world;
    host.mark(request.id, Mark.dispatchedNs, nowNs);
    host.mark(request.id, Mark.prefillInstance, spec.id);
    if (prompts.isQueueFull) {
      ends.report(request, Outcome.rejectedQueueFull, nowNs);
      return;
    }
    const { sources, sourceBlocks } = body;
    const fetches = sources.length > 0 && sourceBlocks > body.localBlocks;
    prompts.enqueue(key, body, fetches);
    if (!fetches) return;
    const instance = spec.id;
    const ask: M.FetchBlocks = { kind: 'fetchBlocks', request, instance, sources, sourceBlocks };
    host.send(ownStore(this.world), ask);
  }

  onFetched(nowNs: number, body: M.Fetched): void {
    const prompt = this.prompts.of(body.request, body.attempt);
    if (prompt?.state !== PromptState.fetching) {
      late(this.world);
      return;
    }
    this.world.host.mark(body.request, Mark.fetchedNs, nowNs);
    prompt.state = PromptState.ready;
  }

  /** The prompt whose turn it is; a new one begins by asking for its working memory. */
  turn(): Prompt | null {
    if (this.current !== null) return this.current;
    const prompt = this.prompts.takeReady();
    if (prompt === undefined) return null;
    this.current = prompt;
    prompt.state = PromptState.acquiring;
    const { host, spec } = this.world;
    const { request } = prompt;
    const own = prompt.decodeInstance === spec.id;
    const hbmTokens = request.inputTokens + (own ? request.outputTokens : 0);
    host.send(ownStore(this.world), { kind: 'acquire', request, instance: spec.id, hbmTokens });
    return prompt;
  }

  onAcquired(nowNs: number, body: M.Acquired): void {
    const prompt = this.prompts.of(body.request, body.attempt);
    const asked = prompt?.state === PromptState.acquiring || prompt?.state === PromptState.starved;
    if (prompt === undefined || this.current !== prompt || !asked) {
      late(this.world);
      return;
    }
    const { host, kv } = this.world;
    const { request } = prompt;
    const { cachedTokens, hbmTokens, ssdTokens, peerTokens } = body;
    prompt.state = PromptState.computing;
    prompt.loads = body.loads;
    prompt.hitBlocks = body.hitBlocks;
    prompt.doneTokens = cachedTokens;
    host.mark(request.id, Mark.dramTokens, cachedTokens - hbmTokens - ssdTokens - peerTokens);
    host.mark(request.id, Mark.peerTokens, peerTokens);
    const again = request.attempt > 0;
    if (hbmTokens > 0 || again) host.mark(request.id, Mark.hbmTokens, hbmTokens);
    if (ssdTokens > 0 || again) host.mark(request.id, Mark.ssdTokens, ssdTokens);
    if (body.hitBlocks < prompt.expectedBlocks) {
      const stale = (prompt.expectedBlocks - body.hitBlocks) * kv.blockTokens;
      host.mark(request.id, Mark.staleTokens, stale);
    }
    if (prompt.cancelled) this.drop(prompt, nowNs);
    else if (this.prompts.leaves(prompt)) this.handoff.reserve(prompt);
  }

  onAcquireWaits(body: M.AcquireWaits): void {
    const prompt = this.prompts.of(body.request, body.attempt);
    if (prompt?.state !== PromptState.acquiring) {
      late(this.world);
      return;
    }
    prompt.state = PromptState.starved;
  }

  // --- computing ------------------------------------------------------------------------------

  startChunk(prompt: Prompt, nowNs: number): void {
    const { host, settings, spec, kv } = this.world;
    const { request, doneTokens } = prompt;
    const toToken = chunkEnd(prompt, settings.chunkTokens);
    const last = toToken === request.inputTokens;
    const first = prompt.chunks++ === 0;
    if (first) host.mark(request.id, Mark.startedNs, nowNs);
    const step = this.ids.next();
    prompt.step = step;
    host.startStep({
      id: step,
      chunks: [
        {
          request: request.id,
          fromToken: doneTokens,
          toToken,
          first,
          last,
          loads: first ? prompt.loads : NONE,
        },
      ],
    });
    const whole = Math.floor(toToken / kv.blockTokens);
    const toBlock = last ? request.blocks.length : whole;
    const fromBlock = first ? prompt.hitBlocks : Math.floor(doneTokens / kv.blockTokens);
    if (toBlock > fromBlock) {
      const store = ownStore(this.world);
      const instance = spec.id;
      host.send(store, { kind: 'saveBlocks', request, instance, step, fromBlock, toBlock });
    }
    if (prompt.space === 'granted') this.handoff.stream(prompt, toToken, step);
  }

  onStepEnded(nowNs: number, body: M.StepEnded): void {
    const prompt = this.current;
    if (prompt === null || body.step !== prompt.step) {
      late(this.world);
      return;
    }
    prompt.step = 0;
    prompt.computeNs += body.computeNs;
    prompt.doneTokens = chunkEnd(prompt, this.world.settings.chunkTokens);
    if (this.world.settings.hbmCache) this.keepComputed(prompt);
    if (prompt.cancelled) this.drop(prompt, nowNs);
    else if (prompt.doneTokens === prompt.request.inputTokens) this.finish(prompt, nowNs);
  }

  /** Tells the store which blocks are whole in HBM, so that others can share them. */
  private keepComputed({ request, doneTokens }: Prompt): void {
    const { host, spec, kv } = this.world;
    const whole = doneTokens === request.inputTokens;
    const toBlock = whole ? request.blocks.length : Math.floor(doneTokens / kv.blockTokens);
    const store = ownStore(this.world);
    host.send(store, { kind: 'computed', request, instance: spec.id, toBlock });
  }

  private finish(prompt: Prompt, nowNs: number): void {
    const { host, spec } = this.world;
    const { request } = prompt;
    const { id, attempt } = request;
    host.mark(id, Mark.firstTokenNs, nowNs);
    host.mark(id, Mark.computeNs, prompt.computeNs);
    host.send(CONDUCTOR, { kind: 'prefilled', request: id, attempt });
    this.current = null;
    if (request.outputTokens === 1) {
      this.prompts.end(prompt);
      this.ends.report(request, Outcome.completed, nowNs);
    } else if (prompt.decodeInstance === spec.id) {
      this.prompts.forget(prompt);
      this.decode.join(request);
    } else this.handoff.begin(prompt);
  }

  // --- cancels --------------------------------------------------------------------------------

  /** Gives a prompt up, at once or when the answer that it waits for is there. */
  cancel(prompt: Prompt, nowNs: number): void {
    if (prompt.state === PromptState.draining) return;
    prompt.cancelled = true;
    const busy = this.current === prompt || prompt.offered;
    if (!busy) this.prompts.abandon(prompt, Outcome.cancelled, nowNs);
  }

  private drop(prompt: Prompt, nowNs: number): void {
    this.current = null;
    this.prompts.abandon(prompt, Outcome.cancelled, nowNs);
  }
}
