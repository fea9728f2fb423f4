/**
 * The way of a prompt to the instance that decodes it: space is reserved there, the KV streams
 * behind the chunks that make it, and the request is offered once all KV has arrived. While decode
 * has no space, the KV of a finished prompt is parked in DRAM.
 */
import { Count, type IdSource } from './host.ts';
import { type InstanceWorld, late, ownStore, storeOf } from './instance-world.ts';
import { Few } from './kit/few.ts';
import type * as M from './messages.ts';
import { type Prompt, PromptState, type Prompts } from './prompts.ts';
import { attemptKey, Outcome } from './request.ts';
import { type Address, Tier } from './topology.ts';

/** Resets of its peers that a prompt bears: the link between them is gone for long. */
const RESETS_MAX = 10;

/** Times that a hand-off starts again before the request fails. */
const HANDOFF_RETRIES = 2;

interface StreamOf {
  readonly key: number;
  readonly fromToken: number;
}

export class Handoff {
  readonly world: InstanceWorld;
  private readonly ids: IdSource;
  private readonly prompts: Prompts;
  private readonly streams = new Few<StreamOf>();

  constructor(world: InstanceWorld, ids: IdSource, prompts: Prompts) {
    this.world = world;
    this.ids = ids;
    this.prompts = prompts;
  }

  get isEmpty(): boolean {
    return this.streams.size === 0;
  }

  /** The prompt is computed: the rest goes to the decode instance, or out of the way. */
  begin(prompt: Prompt): void {
    prompt.state = PromptState.handoff;
    if (prompt.space === 'granted') this.advance(prompt);
    else this.park(prompt);
  }

  // --- space at the decode node ---------------------------------------------------------------

  reserve(prompt: Prompt): void {
    const { host, settings } = this.world;
    const { id, attempt, inputTokens, outputTokens } = prompt.request;
    prompt.space = 'asked';
    host.send(storeOf(this.world, prompt.decodeInstance), {
      kind: 'reserve',
      request: id,
      attempt,
      instance: prompt.decodeInstance,
      tokens: settings.decodeSpace === 'grow' ? inputTokens : inputTokens + outputTokens,
      ttlNs: settings.reserveTtlNs,
    });
  }

  onReserved(nowNs: number, body: M.Reserved): void {
    const prompt = this.prompts.of(body.request, body.attempt);
    if (prompt?.space !== 'asked' || prompt.state === PromptState.draining) {
      late(this.world);
      return;
    }
    if (body.status === 'refused') {
      if (prompt.state === PromptState.computing) prompt.space = 'none';
      else this.prompts.abandon(prompt, Outcome.rejectedDecodeFull, nowNs);
      return;
    }
    if (body.status === 'queued') return;
    prompt.space = 'granted';
    if (prompt.step !== 0) {
      this.stream(prompt, prompt.stepEnd, prompt.step);
    } else if (prompt.state === PromptState.handoff && prompt.parking !== 'moving') {
      this.advance(prompt);
    }
  }

  // --- streaming and offering -----------------------------------------------------------------

  /** Sends KV of tokens [streamed, toToken), of which `step` is still making the last. */
  stream(prompt: Prompt, toToken: number, step: number): void {
    const tokens = toToken - prompt.streamedTokens;
    // What a failed load has spoiled is not sent, nor may it overtake what comes in its place.
    if (tokens <= 0 || prompt.goodTokens >= 0 || prompt.voidStreams) return;
    const { host, spec, kv, topology } = this.world;
    const { request, decodeInstance } = prompt;
    const id = this.ids.next();
    const key = attemptKey(request.id, request.attempt);
    this.streams.add(id, { key, fromToken: prompt.streamedTokens });
    prompt.streamedTokens = toToken;
    prompt.streams++;
    const parked = prompt.parking === 'parked';
    host.startTransfer({
      id,
      kind: 'stream',
      request: request.id,
      source: {
        node: spec.node,
        tier: parked ? Tier.dram : Tier.hbm,
        instance: parked ? -1 : spec.id,
        slots: null,
      },
      target: {
        node: topology.instances[decodeInstance].node,
        tier: Tier.hbm,
        instance: decodeInstance,
        slots: null,
      },
      tokens,
      bytes: tokens * kv.bytesPerToken[Tier.hbm],
      blocks: 0,
      afterStep: step,
      weight: 1,
    });
  }

  onStreamEnded(nowNs: number, body: M.TransferEnded): void {
    const stream = this.streams.take(body.transfer);
    const prompt = stream === undefined ? undefined : this.prompts.get(stream.key);
    if (stream === undefined || prompt === undefined) {
      late(this.world);
      return;
    }
    if (--prompt.streams === 0) prompt.voidStreams = false;
    if (!body.ok) this.world.host.count(Count.transferFailed, 1);
    if (prompt.state === PromptState.draining) {
      if (prompt.streams === 0) this.prompts.letGo(prompt);
      return;
    }
    if (!body.ok) {
      prompt.handoffRetries++;
      prompt.streamedTokens = Math.min(prompt.streamedTokens, stream.fromToken);
      if (prompt.handoffRetries > HANDOFF_RETRIES && prompt.state === PromptState.handoff) {
        this.prompts.abandon(prompt, Outcome.failed, nowNs);
        return;
      }
    }
    if (prompt.state === PromptState.handoff) this.advance(prompt);
  }

  /** What streams of the prompt is void: all of it is sent again. */
  spoil(prompt: Prompt): void {
    prompt.streamedTokens = 0;
    prompt.voidStreams = prompt.streams > 0;
  }

  /** Streams what is left, then offers the request to the decode instance. */
  private advance(prompt: Prompt): void {
    const { request } = prompt;
    if (prompt.streamedTokens < request.inputTokens) this.stream(prompt, request.inputTokens, 0);
    else if (prompt.streams === 0 && !prompt.offered) {
      prompt.offered = true;
      this.offer(prompt);
    }
  }

  private offer({ request, decodeInstance }: Prompt): void {
    const { host, addresses } = this.world;
    host.send(addresses.instance(decodeInstance), { kind: 'handoff', request });
  }

  onHandoffTaken(nowNs: number, body: M.HandoffTaken): void {
    const { prompts } = this;
    const prompt = prompts.of(body.request, body.attempt);
    if (prompt === undefined || !prompt.offered) {
      late(this.world);
      return;
    }
    if (body.ok) {
      prompts.end(prompt);
      if (prompt.cancelled) this.forwardCancel(prompt);
      return;
    }
    prompt.offered = false;
    prompt.streamedTokens = 0;
    if (prompt.cancelled) prompts.abandon(prompt, Outcome.cancelled, nowNs);
    else if (++prompt.handoffRetries > HANDOFF_RETRIES) {
      prompts.abandon(prompt, Outcome.failed, nowNs);
    } else this.reserve(prompt);
  }

  private forwardCancel({ request, decodeInstance }: Prompt): void {
    const { host, addresses } = this.world;
    const { id, attempt } = request;
    host.send(addresses.instance(decodeInstance), { kind: 'cancel', request: id, attempt });
  }

  // --- parking --------------------------------------------------------------------------------

  private park(prompt: Prompt): void {
    const { id, attempt, inputTokens } = prompt.request;
    const { host, spec } = this.world;
    if (prompt.space === 'none') this.reserve(prompt);
    prompt.parking = 'moving';
    host.send(ownStore(this.world), {
      kind: 'park',
      request: id,
      attempt,
      instance: spec.id,
      tokens: inputTokens,
    });
  }

  onParked(nowNs: number, body: M.Parked): void {
    const prompt = this.prompts.of(body.request, body.attempt);
    if (prompt?.parking !== 'moving' || prompt.state === PromptState.draining) {
      late(this.world);
      return;
    }
    prompt.parking = body.ok ? 'parked' : 'no';
    if (prompt.space === 'granted') this.advance(prompt);
    else if (!body.ok) this.prompts.abandon(prompt, Outcome.rejectedDecodeFull, nowNs);
  }

  // --- resets ---------------------------------------------------------------------------------

  /** Asks again what a store or an instance that began anew was asked before. */
  onPeerReset(peer: Address, nowNs: number): void {
    const { world, prompts } = this;
    for (const prompt of [...prompts.values()]) {
      if (!prompts.leaves(prompt) || prompt.state === PromptState.draining) continue;
      const { space, offered, decodeInstance } = prompt;
      const decoder = world.addresses.instance(decodeInstance);
      // Its store forgets who waits for memory of an instance that began anew.
      const asked = storeOf(world, decodeInstance) === peer || decoder === peer;
      const asks = space === 'asked' && asked;
      const offers = offered && decoder === peer;
      if (!asks && !offers) continue;
      if (++prompt.resets > RESETS_MAX && prompt.state === PromptState.handoff) {
        prompts.abandon(prompt, Outcome.failed, nowNs);
      } else if (offers) this.offer(prompt);
      else this.reserve(prompt);
    }
  }
}
