/**
 * Cost of compute as polynomials fitted to measurements.
 *
 * `FAST25_A800X8` is fitted to Qin et al., "Mooncake", FAST'25, Figure 14 (LLaMA3-70B on one node
 * of 8 x A800, tensor parallel): prefill of k = tokens / 1,024 takes 0.0449 + 0.11316 k +
 * 0.000795 k^2 s, least squares on the row "prefill at 0 %"; the constant is charged once per
 * request, so that tokens [a, b) cost P(b) - P(a). Decode takes 26.5 ms per token at 8k of context
 * and 0.0355 ms more per further 1k, least squares on the row "decode, 128 tokens", which is
 * measured at batch 1.
 *
 * The paper publishes nothing on larger batches. The context term is charged for the tokens of the
 * whole batch, and each request after the first adds the compute of a roofline: its FLOPs per token
 * over the node's peak at a utilisation of 0.18 (typical of A100 decode), 0.31 ms. That errs to the
 * slow side: a roofline hides this compute behind the reading of weights up to a batch of about 34.
 *
 * Passes. The fit is of prompts of 8,192 tokens and more; it is read as holding one pass per prompt
 * (in the constant) and one per 8,192 tokens. A pass of t < 8,192 tokens that leaves a prompt
 * unfinished costs one pass's launches more, less the share t / 8,192 that the fit holds: that is
 * what small chunks cost. Launches are what the decode step at no context takes beyond the reading
 * of weights (the roofline's, at 0.8 of the memory's bandwidth): 26.2 - 10.8 = 15.4 ms. A decode
 * batch alongside adds the context term for its tokens, and each request of it one token at the
 * prompt's linear rate and what the engine takes for it beyond its compute (none, where the batch
 * term is the roofline's): weights and launches are the pass's. No pass is shorter than its decode
 * step alone.
 *
 * `contextAttention` is for engines whose kernel is slower over KV that is there already than
 * within a prompt: 2 q a (b - a) of the quadratic term of tokens [a, b) is attention over what
 * precedes them, and costs so many times as much. FlashAttention costs the same over both: 1.
 *
 * `prefixHashNs` is for engines that look up a prompt's prefix on the CPU in a time that grows with
 * the square of its length, while the GPUs wait (`hostNs`): vLLM 0.5.
 */
import type { CostModel, PassBatch, PassChunk } from '../core/cost.ts';
import { NS_PER_MS, NS_PER_S } from '../core/units.ts';
import { ACCELERATORS } from './accelerators.ts';
import { DecodeGrid } from './decode-grid.ts';
import { headFlopsPerToken, LLM_SHAPES, layerFlopsPerToken, weightBytes } from './llm.ts';
import { MEMORY_EFFICIENCY } from './roofline.ts';

const KILO_TOKENS = 1024;

export interface PolynomialFit {
  readonly source: string;
  /** Once per request. */
  readonly prefillConstantNs: number;
  /** Per 1,024 tokens, and per square of 1,024 tokens. */
  readonly prefillLinearNs: number;
  readonly prefillQuadraticNs: number;
  /** One step at batch 1 and no context. */
  readonly decodeBaseNs: number;
  /** Per 1,024 tokens of context in the batch. */
  readonly decodeContextNs: number;
  /** Per request beyond the first; and how much of it is the compute of one token. */
  readonly decodeRequestNs: number;
  readonly decodeComputeNs: number;
  /** Launches of one pass, and the tokens per pass that the fit holds it for. */
  readonly launchNs: number;
  readonly passTokens: number;
  /** Cost of attention over KV of earlier passes or the cache, over that within the pass. */
  readonly contextAttention: number;
  /** CPU time for the prefix cache before a prompt's last pass, per square of 1,024 tokens. */
  readonly prefixHashNs: number;
}

/** Utilisation of peak that decode reaches on A100 and A800 (reference figure of the field). */
const A100_DECODE_MFU = 0.18;

function fast25(): PolynomialFit {
  const shape = LLM_SHAPES.get('llama3-70b')!;
  const peakFlopsPerNs = 8 * ACCELERATORS.get('a800')!.bf16FlopsPerNs;
  const flops = layerFlopsPerToken(shape) + headFlopsPerToken(shape);
  const decodeBaseNs = 26.5 * NS_PER_MS - 8 * 0.0355 * NS_PER_MS;
  const { memoryBytesPerNs } = ACCELERATORS.get('a800')!;
  const weightsNs = weightBytes(shape, 'bf16') / (8 * memoryBytesPerNs * MEMORY_EFFICIENCY);
  const computeNs = flops / (peakFlopsPerNs * A100_DECODE_MFU);
  return {
    source: 'Mooncake, FAST25, Figure 14: LLaMA3-70B on 8 x A800; batch term from a roofline',
    prefillConstantNs: 0.0449 * NS_PER_S,
    prefillLinearNs: 0.11316 * NS_PER_S,
    prefillQuadraticNs: 0.000795 * NS_PER_S,
    decodeBaseNs,
    decodeContextNs: 0.0355 * NS_PER_MS,
    decodeRequestNs: computeNs,
    decodeComputeNs: computeNs,
    launchNs: decodeBaseNs - weightsNs,
    passTokens: 8192,
    contextAttention: 1,
    prefixHashNs: 0,
  };
}

export const FAST25_A800X8: PolynomialFit = fast25();

export class PolynomialCost extends DecodeGrid implements CostModel {
  readonly source: string;
  private readonly fit: PolynomialFit;
  private readonly constantNs: number;
  private readonly prefixHashNs: number;
  /** What the engine takes for a request of the decode batch beyond its compute. */
  private readonly engineNs: number;

  constructor(fit: PolynomialFit) {
    super();
    this.source = fit.source;
    this.fit = fit;
    this.constantNs = Math.round(fit.prefillConstantNs);
    this.prefixHashNs = fit.prefixHashNs;
    this.engineNs = Math.max(0, fit.decodeRequestNs - fit.decodeComputeNs);
  }

  /** Exact: prefillNs(a, c) = prefillNs(a, b) + prefillNs(b, c), the constant aside. */
  prefillNs(fromTokens: number, toTokens: number, first: boolean): number {
    const work = this.promptNs(toTokens) - this.promptNs(fromTokens);
    return first ? work + this.constantNs : work;
  }

  passNs(chunks: readonly PassChunk[], decode: PassBatch | null): number {
    let workNs = 0;
    let tokens = 0;
    let whole = true;
    for (const { fromToken, toToken, first, last } of chunks) {
      workNs += this.prefillNs(fromToken, toToken, first);
      tokens += toToken - fromToken;
      if (!last) whole = false;
    }
    const { launchNs, passTokens, decodeContextNs, prefillLinearNs, contextAttention } = this.fit;
    if (contextAttention !== 1) workNs += (contextAttention - 1) * this.contextNs(chunks);
    if (!whole && tokens < passTokens) workNs += launchNs * (1 - tokens / passTokens);
    if (decode === null) return Math.round(workNs);
    const { batch, contextTokens } = decode;
    const riding = contextTokens * decodeContextNs + batch * prefillLinearNs;
    const passNs = Math.round(workNs + riding / KILO_TOKENS + batch * this.engineNs);
    return Math.max(passNs, this.decodeStepNs(batch, contextTokens));
  }

  hostNs(chunks: readonly PassChunk[]): number {
    if (this.prefixHashNs === 0) return 0;
    let squares = 0;
    for (const { toToken, last } of chunks) if (last) squares += toToken * toToken;
    return Math.round((this.prefixHashNs * squares) / KILO_TOKENS ** 2);
  }

  /** Attention of chunks over what precedes them. */
  private contextNs(chunks: readonly PassChunk[]): number {
    let pairs = 0;
    for (const { fromToken, toToken } of chunks) pairs += fromToken * (toToken - fromToken);
    return (2 * this.fit.prefillQuadraticNs * pairs) / KILO_TOKENS ** 2;
  }

  private promptNs(tokens: number): number {
    const k = tokens / KILO_TOKENS;
    return Math.round(k * (this.fit.prefillLinearNs + k * this.fit.prefillQuadraticNs));
  }

  protected override stepNs(batch: number, contextTokens: number): number {
    const { decodeBaseNs, decodeContextNs, decodeRequestNs } = this.fit;
    const k = contextTokens / KILO_TOKENS;
    return decodeBaseNs + decodeContextNs * k + decodeRequestNs * (batch - 1);
  }
}
