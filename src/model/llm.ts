/**
 * Shapes of language models, and what follows from a shape: parameters, bytes of weights and of KV
 * per token, FLOPs. Norms and biases (below 0.01 % of the parameters) are left out.
 */

/** Element types of weights and of KV. */
export const DTYPE_BYTES = { bf16: 2, fp8: 1 } as const;
export type Dtype = keyof typeof DTYPE_BYTES;

/** Feed-forward layers made of experts, of which each token visits `topK` and all the shared. */
export interface MoeShape {
  readonly experts: number;
  readonly topK: number;
  readonly shared: number;
  /** Width of one expert. */
  readonly ff: number;
  /** Leading layers that keep a dense feed-forward of width `LlmShape.ff`. */
  readonly denseLayers: number;
}

/** Multi-head latent attention: KV is one compressed vector per token and layer. */
export interface MlaShape {
  readonly queryRank: number;
  readonly kvRank: number;
  readonly ropeDim: number;
  readonly nopeDim: number;
  readonly valueDim: number;
}

export interface LlmShape {
  readonly name: string;
  /** Where the numbers come from. */
  readonly source: string;
  readonly layers: number;
  readonly hidden: number;
  readonly vocab: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Width of a dense feed-forward (gated: three matrices). */
  readonly ff: number;
  readonly moe: MoeShape | null;
  readonly mla: MlaShape | null;
}

type Dense = Omit<LlmShape, 'moe' | 'mla'>;

const gqa = (shape: Dense): LlmShape => ({ ...shape, moe: null, mla: null });

const DEEPSEEK_V3: LlmShape = {
  name: 'deepseek-v3',
  source: 'config.json of deepseek-ai/DeepSeek-V3; without its multi-token-prediction layer',
  layers: 61,
  hidden: 7168,
  vocab: 129_280,
  heads: 128,
  kvHeads: 128,
  headDim: 128,
  ff: 18_432,
  moe: { experts: 256, topK: 8, shared: 1, ff: 2048, denseLayers: 3 },
  mla: { queryRank: 1536, kvRank: 512, ropeDim: 64, nopeDim: 128, valueDim: 128 },
};

const SHAPES: readonly LlmShape[] = [
  gqa({
    name: 'llama3-8b',
    source: 'config.json of meta-llama/Meta-Llama-3-8B',
    layers: 32,
    hidden: 4096,
    vocab: 128_256,
    heads: 32,
    kvHeads: 8,
    headDim: 128,
    ff: 14_336,
  }),
  gqa({
    name: 'llama3-70b',
    source: 'config.json of meta-llama/Meta-Llama-3-70B; FAST25 uses its shape with dummy weights',
    layers: 80,
    hidden: 8192,
    vocab: 128_256,
    heads: 64,
    kvHeads: 8,
    headDim: 128,
    ff: 28_672,
  }),
  gqa({
    name: 'llama2-70b',
    source: 'config.json of meta-llama/Llama-2-70b-hf',
    layers: 80,
    hidden: 8192,
    vocab: 32_000,
    heads: 64,
    kvHeads: 8,
    headDim: 128,
    ff: 28_672,
  }),
  gqa({
    name: 'qwen3-32b',
    source: 'config.json of Qwen/Qwen3-32B',
    layers: 64,
    hidden: 5120,
    vocab: 151_936,
    heads: 64,
    kvHeads: 8,
    headDim: 128,
    ff: 25_600,
  }),
  {
    name: 'qwen3-30b-a3b',
    source: 'config.json of Qwen/Qwen3-30B-A3B',
    layers: 48,
    hidden: 2048,
    vocab: 151_936,
    heads: 32,
    kvHeads: 4,
    headDim: 128,
    ff: 6144,
    moe: { experts: 128, topK: 8, shared: 0, ff: 768, denseLayers: 0 },
    mla: null,
  },
  {
    name: 'qwen3-235b-a22b',
    source: 'config.json of Qwen/Qwen3-235B-A22B',
    layers: 94,
    hidden: 4096,
    vocab: 151_936,
    heads: 64,
    kvHeads: 4,
    headDim: 128,
    ff: 12_288,
    moe: { experts: 128, topK: 8, shared: 0, ff: 1536, denseLayers: 0 },
    mla: null,
  },
  {
    name: 'mixtral-8x7b',
    source: 'config.json of mistralai/Mixtral-8x7B-v0.1',
    layers: 32,
    hidden: 4096,
    vocab: 32_000,
    heads: 32,
    kvHeads: 8,
    headDim: 128,
    ff: 14_336,
    moe: { experts: 8, topK: 2, shared: 0, ff: 14_336, denseLayers: 0 },
    mla: null,
  },
  DEEPSEEK_V3,
  { ...DEEPSEEK_V3, name: 'deepseek-r1', source: 'the shape of deepseek-v3' },
];

/** All known models by name. */
export const LLM_SHAPES: ReadonlyMap<string, LlmShape> = new Map(SHAPES.map((s) => [s.name, s]));

/** Elements of KV that one token leaves in one layer. */
function kvElementsPerLayer(shape: LlmShape): number {
  const { mla } = shape;
  return mla ? mla.kvRank + mla.ropeDim : 2 * shape.kvHeads * shape.headDim;
}

/** Bytes of KV per token, all layers, one copy. */
export function kvBytesPerToken(shape: LlmShape, dtype: Dtype): number {
  return shape.layers * kvElementsPerLayer(shape) * DTYPE_BYTES[dtype];
}

/**
 * Copies of each token's KV over `tensorParallel` GPUs: latent KV can't be split by head, and a
 * model with fewer KV heads than GPUs repeats them.
 */
export function kvReplicas(shape: LlmShape, tensorParallel: number): number {
  return shape.mla ? tensorParallel : Math.max(1, tensorParallel / shape.kvHeads);
}

/** Parameters of one layer's attention. */
function attentionParameters(shape: LlmShape): number {
  const { hidden, heads, kvHeads, headDim, mla } = shape;
  if (!mla) return hidden * headDim * (2 * heads + 2 * kvHeads);
  const query = mla.queryRank * (hidden + heads * (mla.nopeDim + mla.ropeDim));
  const down = hidden * (mla.kvRank + mla.ropeDim);
  const up = mla.kvRank * heads * (mla.nopeDim + mla.valueDim);
  return query + down + up + heads * mla.valueDim * hidden;
}

/** Parameters of one expert of one layer; 0 for a dense model. */
function expertParameters(shape: LlmShape): number {
  return shape.moe ? 3 * shape.hidden * shape.moe.ff : 0;
}

/** Layers with experts. */
function moeLayers(shape: LlmShape): number {
  return shape.moe ? shape.layers - shape.moe.denseLayers : 0;
}

/** Parameters of all layers but the routed experts: every forward pass reads them. */
function commonParameters(shape: LlmShape): number {
  const sparse = moeLayers(shape);
  const router = shape.moe ? shape.hidden * shape.moe.experts : 0;
  const shared = shape.moe ? shape.moe.shared * expertParameters(shape) : 0;
  return (
    shape.layers * attentionParameters(shape) +
    (shape.layers - sparse) * 3 * shape.hidden * shape.ff +
    sparse * (router + shared)
  );
}

/** Parameters of the output projection; the input embedding has as many. */
function headParameters(shape: LlmShape): number {
  return shape.vocab * shape.hidden;
}

/** All parameters, input and output embeddings counted apart. */
export function parameterCount(shape: LlmShape): number {
  const experts = shape.moe ? shape.moe.experts * moeLayers(shape) * expertParameters(shape) : 0;
  return commonParameters(shape) + experts + 2 * headParameters(shape);
}

/** Parameters that one token visits, both embeddings included, as model cards count them. */
export function activeParameterCount(shape: LlmShape): number {
  return layerParametersPerToken(shape) + 2 * headParameters(shape);
}

function layerParametersPerToken(shape: LlmShape): number {
  const routed = shape.moe ? shape.moe.topK * moeLayers(shape) * expertParameters(shape) : 0;
  return commonParameters(shape) + routed;
}

/** Bytes of all weights. */
export function weightBytes(shape: LlmShape, dtype: Dtype): number {
  return parameterCount(shape) * DTYPE_BYTES[dtype];
}

/** FLOPs of all layers' matrices for one token; attention scores and the head come on top. */
export function layerFlopsPerToken(shape: LlmShape): number {
  return 2 * layerParametersPerToken(shape);
}

/** FLOPs of the output projection for one token. */
export function headFlopsPerToken(shape: LlmShape): number {
  return 2 * headParameters(shape);
}

/** FLOPs of attention per pair of query and key, all layers, on expanded keys and values. */
export function prefillAttentionFlopsPerPair(shape: LlmShape): number {
  const { mla } = shape;
  const width = mla ? mla.nopeDim + mla.ropeDim + mla.valueDim : 2 * shape.headDim;
  return 2 * shape.layers * shape.heads * width;
}

/** The same while decoding; MLA then works on the latent vectors, which are wider. */
export function decodeAttentionFlopsPerPair(shape: LlmShape): number {
  const { mla } = shape;
  const width = mla ? 2 * mla.kvRank + mla.ropeDim : 2 * shape.headDim;
  return 2 * shape.layers * shape.heads * width;
}

/**
 * Bytes of weights that one forward pass over `tokens` tokens reads: the routed experts that at
 * least one token visits, N (1 - ((N - k) / N)^tokens) expected when routing is uniform. The input
 * embedding is a look-up and not read.
 */
export function weightBytesTouched(shape: LlmShape, dtype: Dtype, tokens: number): number {
  let parameters = commonParameters(shape) + headParameters(shape);
  if (shape.moe) {
    const { experts, topK } = shape.moe;
    const touched = experts * (1 - powInteger((experts - topK) / experts, tokens));
    parameters += touched * moeLayers(shape) * expertParameters(shape);
  }
  return parameters * DTYPE_BYTES[dtype];
}

/** base^exponent by squaring: unlike Math.pow it has the same bits on every machine. */
function powInteger(base: number, exponent: number): number {
  let result = 1;
  for (let rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result *= base;
    base *= base;
  }
  return result;
}
