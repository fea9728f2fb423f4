/**
 * Cost of compute from the shapes of model and accelerator: a roofline.
 *
 * One forward pass takes max(FLOPs / (tp peak MFU), bytes / (tp bandwidth efficiency)), plus a term
 * per layer, one per pass, and the all-reduces 2 L T d 2 B 2 (tp - 1) / tp over NVLink; a request's
 * first chunk adds a constant. Attention is charged on the progress: a chunk [a, b) computes
 * (b^2 - a^2) / 2 pairs, cached tokens cost nothing. A pass reads the weights of the experts that
 * its tokens visit, and the KV of its context once per copy (few KV heads and MLA repeat it).
 *
 * In a pass over several prompts, or with a decode batch alongside, the FLOPs and the bytes of all
 * add up, weights are read once and the fixed terms are paid once: that is what batching saves. The
 * tokens of the decode batch ride in the prompts' matrix products, at prefill's MFU; where they are
 * so many that they alone would take longer at decode's MFU, they take that.
 *
 * `FITTED_TO_FAST25` holds the defaults. Fitted to Mooncake, FAST'25, Figure 14 (LLaMA3-70B,
 * 8 x A800): both prefill MFUs to the linear and the quadratic coefficient, the time per layer to
 * decode at batch 1, the time per request to prefill's constant. Memory efficiency 0.8 is
 * AIConfigurator's; decode MFU 0.18 (A100, A800) and 0.30 (the others) are typical figures of the
 * field. All other accelerators and models take the same values: on H100 the fit then gives 0.45 of
 * peak with its all-reduces, the field's typical prefill MFU.
 *
 * Against SplitwiseSim's profile of Llama-2-70B on 8 GPUs (2023 kernels), not used in the fit:
 * prefill of 512 and 2,048 tokens within 20 %, of 8,192 tokens 39 % (A100) and 56 % (H100) below it
 * (that profile's attention reaches a few percent of peak), decode 44 % and 29 % below it.
 */
import type { CostModel, PassBatch, PassChunk } from '../core/cost.ts';
import { NS_PER_MS, NS_PER_US } from '../core/units.ts';
import type { Accelerator } from './accelerators.ts';
import { DecodeGrid } from './decode-grid.ts';
import {
  type Dtype,
  decodeAttentionFlopsPerPair,
  headFlopsPerToken,
  kvBytesPerToken,
  kvReplicas,
  type LlmShape,
  layerFlopsPerToken,
  prefillAttentionFlopsPerPair,
  weightBytesTouched,
} from './llm.ts';

/** What a real engine reaches of the roofline, and what it adds. */
export interface RooflineFit {
  readonly source: string;
  /** Share of peak in the matrices of prefill, in its attention, and in decode. */
  readonly prefillMfu: number;
  readonly attentionMfu: number;
  readonly decodeMfu: number;
  /** Share of the memory bandwidth. */
  readonly memoryEfficiency: number;
  /** Launches and synchronisation, per layer of each pass. */
  readonly layerNs: number;
  /** Per pass. */
  readonly passNs: number;
  /** Per request, with its first chunk. */
  readonly requestNs: number;
  /** Per request after the first, in each decode step: what an engine does for it on the CPU. */
  readonly decodeRequestNs: number;
}

/** Decode MFU typical of the accelerator. */
function decodeMfu(accelerator: Accelerator): number {
  return accelerator.name === 'a100' || accelerator.name === 'a800' ? 0.18 : 0.3;
}

/** Share of the memory bandwidth that kernels reach; AIConfigurator's. */
export const MEMORY_EFFICIENCY = 0.8;

export function fittedToFast25(accelerator: Accelerator): RooflineFit {
  return {
    source: 'roofline; efficiencies from Mooncake, FAST25, Figure 14 (LLaMA3-70B, 8 x A800)',
    prefillMfu: 0.62,
    attentionMfu: 0.69,
    decodeMfu: decodeMfu(accelerator),
    memoryEfficiency: MEMORY_EFFICIENCY,
    layerNs: 194 * NS_PER_US,
    passNs: 0,
    requestNs: 29.4 * NS_PER_MS,
    decodeRequestNs: 0,
  };
}

export interface RooflineTarget {
  readonly shape: LlmShape;
  readonly accelerator: Accelerator;
  readonly tensorParallel: number;
  readonly weights: Dtype;
  readonly kv: Dtype;
}

/** Bytes of an activation element in an all-reduce. */
const ACTIVATION_BYTES = 2;

export class RooflineCost extends DecodeGrid implements CostModel {
  readonly source: string;
  private readonly shape: LlmShape;
  private readonly weights: Dtype;
  private readonly fixedNs: number;
  private readonly requestNs: number;
  private readonly decodeRequestNs: number;
  /** Times of one unit of work on all GPUs together. */
  private readonly prefillTokenNs: number;
  private readonly prefillPairNs: number;
  private readonly decodeTokenNs: number;
  private readonly decodePairNs: number;
  private readonly byteNs: number;
  private readonly kvTokenNs: number;
  private readonly allReduceTokenNs: number;

  constructor(target: RooflineTarget, fit: RooflineFit = fittedToFast25(target.accelerator)) {
    super();
    const { shape, accelerator, tensorParallel } = target;
    this.source = fit.source;
    this.shape = shape;
    this.weights = target.weights;
    this.fixedNs = fit.passNs + shape.layers * fit.layerNs;
    this.requestNs = fit.requestNs;
    this.decodeRequestNs = fit.decodeRequestNs;

    const attentionPeak = tensorParallel * accelerator.bf16FlopsPerNs;
    const fp8 = target.weights === 'fp8' && accelerator.fp8FlopsPerNs > 0;
    const peak = fp8 ? tensorParallel * accelerator.fp8FlopsPerNs : attentionPeak;
    // The head runs for the last token of a prompt only, which is not worth a term.
    this.prefillTokenNs = layerFlopsPerToken(shape) / (peak * fit.prefillMfu);
    this.prefillPairNs = prefillAttentionFlopsPerPair(shape) / (attentionPeak * fit.attentionMfu);
    const decodeFlops = layerFlopsPerToken(shape) + headFlopsPerToken(shape);
    this.decodeTokenNs = decodeFlops / (peak * fit.decodeMfu);
    this.decodePairNs = decodeAttentionFlopsPerPair(shape) / (attentionPeak * fit.decodeMfu);
    this.byteNs = 1 / (tensorParallel * accelerator.memoryBytesPerNs * fit.memoryEfficiency);
    const kvBytes = kvBytesPerToken(shape, target.kv) * kvReplicas(shape, tensorParallel);
    this.kvTokenNs = kvBytes * this.byteNs;
    this.allReduceTokenNs = allReduceTokenNs(shape, accelerator, tensorParallel);
  }

  /**
   * The time of one pass over one chunk. Splitting a prompt adds the fixed cost of a pass per
   * chunk, and the reading of weights where a chunk is too short to hide it.
   */
  prefillNs(fromTokens: number, toTokens: number, first: boolean): number {
    const tokens = toTokens - fromTokens;
    const once = first ? this.requestNs : 0;
    if (tokens <= 0) return Math.round(once);
    const pairs = (tokens * (toTokens + fromTokens)) / 2;
    const compute = tokens * this.prefillTokenNs + pairs * this.prefillPairNs;
    const memory = this.weightsNs(tokens) + toTokens * this.kvTokenNs;
    const allReduce = tokens * this.allReduceTokenNs;
    return Math.round(Math.max(compute, memory) + allReduce + this.fixedNs + once);
  }

  passNs(chunks: readonly PassChunk[], decode: PassBatch | null): number {
    if (chunks.length === 1 && decode === null) {
      const [{ fromToken, toToken, first }] = chunks;
      return this.prefillNs(fromToken, toToken, first);
    }
    let tokens = 0;
    let pairs = 0;
    let context = decode === null ? 0 : decode.contextTokens;
    let onceNs = 0;
    for (const { fromToken, toToken, first } of chunks) {
      tokens += toToken - fromToken;
      pairs += ((toToken - fromToken) * (toToken + fromToken)) / 2;
      context += toToken;
      if (first) onceNs += this.requestNs;
    }
    const batch = decode === null ? 0 : decode.batch;
    const { prefillTokenNs, decodeTokenNs } = this;
    const riding = tokens * prefillTokenNs + batch * Math.min(prefillTokenNs, decodeTokenNs);
    const matrices = Math.max(riding, batch * decodeTokenNs);
    const ownPairs = decode === null ? 0 : decode.contextTokens * this.decodePairNs;
    const compute = matrices + pairs * this.prefillPairNs + ownPairs;
    const memory = this.weightsNs(tokens + batch) + context * this.kvTokenNs;
    const allReduce = (tokens + batch) * this.allReduceTokenNs;
    const passNs = Math.round(Math.max(compute, memory) + allReduce + this.fixedNs + onceNs);
    return decode === null
      ? passNs
      : Math.max(passNs, this.decodeStepNs(batch, decode.contextTokens));
  }

  protected override stepNs(batch: number, contextTokens: number): number {
    const compute = batch * this.decodeTokenNs + contextTokens * this.decodePairNs;
    const memory = this.weightsNs(batch) + contextTokens * this.kvTokenNs;
    const own = batch * this.allReduceTokenNs + (batch - 1) * this.decodeRequestNs;
    return Math.max(compute, memory) + own + this.fixedNs;
  }

  private weightsNs(tokens: number): number {
    return weightBytesTouched(this.shape, this.weights, tokens) * this.byteNs;
  }
}

/** Two ring all-reduces per layer, over NVLink or else PCIe. */
function allReduceTokenNs(shape: LlmShape, accelerator: Accelerator, tp: number): number {
  const bytes = 2 * shape.layers * shape.hidden * ACTIVATION_BYTES * ((2 * (tp - 1)) / tp);
  return bytes / (accelerator.nvlinkBytesPerNs || accelerator.pcieBytesPerNs);
}
