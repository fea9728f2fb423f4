/**
 * Chunked pipeline parallelism: one engine over several nodes, each with an equal share of the
 * layers (Mooncake, FAST 2025, section 5.1). A prompt is cut into chunks that follow one another
 * through the stages: chunk i leaves stage j at
 *
 *   end(i, j) = max(end(i - 1, j), end(i, j - 1) + handOver(i)) + time(i) / stages
 *
 * where time(i) is what the pass takes on one node with all layers, and the hand-over of a chunk's
 * activations is tokens x hidden x 2 B at the rate of the node's rails, plus their latency. Prompts
 * of one pass follow each other without a gap; a decode batch is one more chunk, the last. A decode
 * step by itself goes through all stages in turn: it takes no less than on one node.
 */
import {
  type CostModel,
  DECODE_FIXED_POINT,
  type DecodePolynomial,
  type PassBatch,
  type PassChunk,
} from '../core/cost.ts';

/** Bytes of one element of an activation. */
const ACTIVATION_BYTES = 2;

export interface PipelineShape {
  readonly stages: number;
  /** Tokens of a chunk; a longer piece of a prompt is cut. */
  readonly chunkTokens: number;
  /** Width of the activations, elements. */
  readonly hidden: number;
  /** What the rails of one node carry together. */
  readonly bytesPerNs: number;
  readonly latencyNs: number;
}

export class PipelineCost implements CostModel {
  readonly source: string;
  private readonly whole: CostModel;
  private readonly shape: PipelineShape;
  /** End of the last chunk on each stage; of the pass that is being computed. */
  private readonly endNs: Float64Array;

  /** @param whole cost of all layers on one node */
  constructor(whole: CostModel, shape: PipelineShape) {
    this.source = `${whole.source}; ${shape.stages} stages`;
    this.whole = whole;
    this.shape = shape;
    this.endNs = new Float64Array(shape.stages);
  }

  prefillNs(fromToken: number, toToken: number, first: boolean): number {
    return this.passNs([{ fromToken, toToken, first, last: true }], null);
  }

  hostNs(chunks: readonly PassChunk[]): number {
    return this.whole.hostNs?.(chunks) ?? 0;
  }

  passNs(chunks: readonly PassChunk[], decode: PassBatch | null): number {
    const { endNs, whole } = this;
    const { chunkTokens } = this.shape;
    endNs.fill(0);
    for (const { fromToken, toToken, first, last } of chunks) {
      for (let from = fromToken; from < toToken; from += chunkTokens) {
        const to = Math.min(from + chunkTokens, toToken);
        const piece = {
          fromToken: from,
          toToken: to,
          first: first && from === fromToken,
          last: last && to === toToken,
        };
        this.follow(whole.passNs([piece], null), to - from);
      }
    }
    if (decode !== null) {
      const { batch, contextTokens } = decode;
      this.follow(whole.decodeStepNs(batch, contextTokens), batch);
    }
    return Math.round(endNs[endNs.length - 1]);
  }

  /** One more chunk goes through the stages. */
  private follow(wholeNs: number, tokens: number): void {
    const { endNs } = this;
    const handOverNs = this.handOverNs(tokens);
    const stageNs = wholeNs / endNs.length;
    endNs[0] += stageNs;
    for (let stage = 1; stage < endNs.length; stage++) {
      endNs[stage] = Math.max(endNs[stage], endNs[stage - 1] + handOverNs) + stageNs;
    }
  }

  private handOverNs(tokens: number): number {
    const { hidden, bytesPerNs, latencyNs } = this.shape;
    return Math.round(latencyNs + (tokens * hidden * ACTIVATION_BYTES) / bytesPerNs);
  }

  decodeStepNs(batch: number, contextTokens: number): number {
    const passes = this.shape.stages - 1;
    return this.whole.decodeStepNs(batch, contextTokens) + passes * this.handOverNs(batch);
  }

  decodeRun(batch: number, contextTokens: number, out: DecodePolynomial): void {
    this.whole.decodeRun(batch, contextTokens, out);
    out.linear += (this.shape.stages - 1) * this.handOverNs(batch) * DECODE_FIXED_POINT;
  }
}
