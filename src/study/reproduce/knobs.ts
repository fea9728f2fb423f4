/**
 * What the paper leaves open, each with the one value that every figure uses; and what else it
 * could be, which `--sensitivity` tries one at a time. None is chosen figure by figure.
 *
 * Batches. Figure 14 measures batches of one, in Mooncake. What a batch costs is taken from two
 * published profiles of vLLM and its fork, neither of them the paper's:
 * - SplitwiseSim (Patel et al., ISCA 2024; data/perf_model.csv): a decode step of Llama-2-70B,
 *   whose layers are LLaMA3-70B's, on 8 x A100-80GB, prompts of 512 tokens. Medians at 1, 2, 4, 8,
 *   16, 32 and 64 requests: 44.8, 44.6, 45.8, 46.5, 50.4, 53.0 and 71.6 ms. Least squares, less
 *   the context term of Figure 14: 43.9 ms and 0.39 ms for each further request.
 * - Vidur (Agrawal et al., MLSys 2024; data/profiling/a100/cpu_overheads.csv): the CPU's part alone
 *   of Llama-2-70B on 4 GPUs, 8 to 64 requests: 0.42 ms for each.
 * The step of 43.9 ms runs without a CUDA graph. vLLM 0.5 has graphs for contexts of at most 8,192
 * tokens (max_seq_len_to_capture); one longer request takes its whole batch out of them.
 *
 * vLLM 0.5 serves HTTP in the process of its engine: 33 % of the time went to the server where
 * scheduling, with its inputs and outputs, took 29 % (vLLM's blog, 2024-09-05, of version 0.5.3;
 * apart from 0.6 on). 33 / 29 of the 0.42 ms is 0.48 ms.
 *
 * vLLM 0.5's prefix cache hashes each block of 16 tokens with all tokens before it
 * (Sequence.hash_of_block: "O(L^2)"), and for each block that it evicts looks through those of the
 * oldest prompt (LRUEvictor.evict, vLLM issue 6923). The same steps in Python 3.11 on one core of
 * an AMD EPYC take 59 ms for 12,032 tokens, 239 ms for 24,064 and 1.9 s for 65,536, two thirds of
 * it in hashing: 0.43 ms per square of 1,024 tokens.
 */
import type { RunSpec } from './types.ts';

export interface Knob {
  readonly name: string;
  readonly doc: string;
  /** The value of all figures. */
  readonly value: string;
  /** Others, as overrides of the configuration. */
  readonly others: readonly { readonly value: string; readonly sets: readonly string[] }[];
  /** Only runs with an override that begins so have the knob. */
  readonly where?: string;
  /** Whether the runs of the vLLM baselines have it, too, or alone. */
  readonly baselines?: 'too' | 'alone';
  /** Figures that it is tried on; without it, Figures 1, 5, 8 and 11. */
  readonly figures?: readonly string[];
}

/** Nodes of the testbed. */
const NODES = 16;
/** Of them, prefill, where the figure does not say. */
export const PREFILL_NODES = 6;
export const GLOBAL = 'kvcache-centric:threshold=1';
export const TABLE_3 = 'arxivTable3Rejected';

export function split(prefill: number, nodes = NODES): string[] {
  return [`cluster.groups.0.count=${prefill}`, `cluster.groups.1.count=${nodes - prefill}`];
}

/** Overrides of every run on Mooncake's cluster, of every run, and of every run of a baseline. */
const BATCHING = 'instance.batching=vllm:maxTokens=131072';
const DECODE = 'model.decodeRequest=0.4ms';
const SSD = 'cluster.groups.0.ssd=30.72TB';
const VLLM_STEP = ['model.decodeBase=44ms', 'model.decodeRequest=0.9ms'];
export const PREFIX_HASH = 'model.prefixHash=0.43ms';
/** For experiments without: Figure 10, and re-computation in Figure 13. */
export const NO_SSD = 'cluster.groups.0.ssd=0B';

const setting = (key: string, value: string) => ({ value, sets: [`${key}=${value}`] });
const settings = (key: string, values: readonly string[]) =>
  values.map((value) => setting(key, value));

export const KNOBS: readonly Knob[] = [
  {
    name: 'prefill and decode nodes',
    doc:
      'Split of the 16 nodes where a figure does not state it (Figures 1, 5, 7, 8, 11, 13): of ' +
      'those tried, the one that comes nearest to Figure 5.',
    value: `${PREFILL_NODES}P+${NODES - PREFILL_NODES}D`,
    others: [5, 7, 8].map((prefill) => ({
      value: `${prefill}P+${NODES - prefill}D`,
      sets: split(prefill),
    })),
  },
  {
    name: 'prefill batching',
    doc:
      'Prompts that wait on a prefill instance go in one pass of at most 131,072 tokens and have ' +
      "their first token at its end: vLLM's scheduler and its default limit, the longest context " +
      '(max_num_batched_tokens).',
    value: 'vllm:maxTokens=131072',
    others: settings('instance.batching', [
      'vllm:maxTokens=32768',
      'vllm:maxTokens=65536',
      'disaggregated',
    ]),
  },
  {
    name: 'prefill_chunk',
    doc: 'Tokens of one prefill step ("> 1000"). Whole prompts, as the batching has it.',
    value: 'none',
    others: ['1024', '2048', '8192'].map((value) => ({
      value: `${value}, one prompt at a time`,
      sets: ['instance.batching=disaggregated', `instance.prefillChunk=${value}`],
    })),
  },
  {
    name: 'CPP group size X',
    doc: 'Nodes that compute the chunks of a prompt in a pipeline.',
    value: '1',
    others: ['2', '3'].map((x) => ({
      value: x,
      sets: [`cluster.groups.0.pipeline=${x}`, 'instance.prefillChunk=2048'],
    })),
    figures: ['fig5MeanTtftSeconds', 'fig8MeanPrefillGpuSeconds'],
  },
  {
    name: 'TBT/batch model',
    doc:
      'Time that each request after the first adds to a decode step; Figure 14 knows batches of ' +
      "one alone. From SplitwiseSim's profile of Llama-2-70B in vLLM on 8 x A100 (0.39 ms, 1 to " +
      "64 requests); the CPU's part is 0.42 ms in Vidur's; the compute of a roofline is 0.31 ms.",
    value: '0.4 ms',
    others: settings('model.decodeRequest', ['0.31ms', '1ms', '2ms', '3ms', '4ms', '5ms']),
    figures: ['fig1EffectiveCapacityPercent', TABLE_3],
  },
  {
    name: 'decode step of vLLM',
    doc:
      "One request without context. SplitwiseSim's profile (as above), measured without CUDA " +
      'graphs; vLLM 0.5 has none for contexts above 8,192 tokens, which nearly every batch has. ' +
      'Figure 14, 26.2 ms, is of Mooncake.',
    value: '44 ms',
    others: settings('model.decodeBase', ['26.2ms', '35ms', '55ms']),
    baselines: 'alone',
    figures: ['fig1EffectiveCapacityPercent'],
  },
  {
    name: 'request in a decode step of vLLM',
    doc: 'The 0.4 ms above, and 0.5 ms for the HTTP server in the process of the engine.',
    value: '0.9 ms',
    others: settings('model.decodeRequest', ['0.31ms', '0.4ms', '2ms', '3ms', '4ms', '5ms']),
    baselines: 'alone',
    figures: ['fig1EffectiveCapacityPercent'],
  },
  {
    name: 'prefix look-up of vLLM',
    doc:
      'CPU time of vllm-prefix per square of 1,024 tokens of a prompt, while the GPUs wait: vLLM ' +
      '0.5 hashes each block with all tokens before it. Its steps, done again on one core of an ' +
      'AMD EPYC.',
    value: '0.43 ms',
    others: settings('model.prefixHash', ['0s', '0.86ms']),
    where: PREFIX_HASH,
    baselines: 'alone',
    figures: ['fig1EffectiveCapacityPercent', 'fig8MeanPrefillGpuSeconds'],
  },
  {
    name: 'kvcache_balancing_threshold',
    doc: 'Ratio of best to local prefix above which Algorithm 1 fetches.',
    value: '1',
    others: settings(
      'conductor.prefill',
      ['1.5', '2', '4'].map((x) => `kvcache-centric:threshold=${x}`),
    ),
    where: 'conductor.prefill=kvcache-centric',
  },
  {
    name: 'DRAM of a node',
    doc: 'Tokens of KV that a node caches; the paper says it for Figure 10 alone.',
    value: '3Mtokens',
    others: ['1Mtokens', '6Mtokens', '10Mtokens', '30Mtokens'].map((value) => ({
      value,
      sets: [`cluster.groups.0.dram=${value}`, `cluster.groups.1.dram=${value}`],
    })),
  },
  {
    name: 'SSD of a prefill node',
    doc:
      "The paper's pool is of DRAM and SSD; it has no size of the latter. The data drives of a " +
      'DGX A100 of 640 GB: eight of 3.84 TB. Figure 10 is an experiment with a stated capacity, ' +
      '3 M tokens a node and no more.',
    value: '30.72TB',
    others: settings('cluster.groups.0.ssd', ['0B', '2TB', '4TB', '5TB', '8TB']).concat({
      value: '4TB, LRU',
      sets: ['cluster.groups.0.ssd=4TB', 'store.ssdEviction=lru'],
    }),
    where: SSD,
  },
  {
    name: 'KV produced by decode',
    doc: 'Whether it counts as cached. Figure 9 has a definition of its own.',
    value: 'not cached',
    others: [{ value: 'cached', sets: ['store.decodeCached=chain'] }],
    figures: ['fig5MeanTtftSeconds', 'fig8MeanPrefillGpuSeconds'],
  },
  {
    name: 'SelectDecodingInstance',
    doc: 'Rule that chooses the decode instance.',
    value: 'least-tbt',
    others: settings('conductor.decode', ['least-kv', 'round-robin']),
  },
  {
    name: 'load of cached KV',
    doc: 'Whether a cached prefix loads layer by layer or before the computation.',
    value: 'layerwise',
    others: settings('instance.loadOverlap', ['serial']),
  },
  {
    name: 'regression coefficients',
    doc: 'Cost of prefill: the fit to Figure 14, or a roofline of the hardware.',
    value: 'Figure 14',
    others: [
      { value: 'roofline', sets: ['model.cost=roofline'] },
      {
        value: 'roofline, chunks of 1024',
        sets: [
          'model.cost=roofline',
          'instance.batching=disaggregated',
          'instance.prefillChunk=1024',
        ],
      },
    ],
  },
  {
    name: 'error of the estimates',
    doc: 'What the scheduler believes over what is.',
    value: '1',
    others: settings('conductor.estimatorBias', ['0.7', '1.3']),
  },
  {
    name: 'staleness of the views',
    doc: 'One way of every control message.',
    value: '0.2 ms',
    others: settings('cluster.controlDelay', ['100ms', '1s']),
  },
  {
    name: 'routing to vLLM engines',
    doc:
      'How requests reach the 16 engines of the baselines: vLLM 0.5 has no router; nginx, which ' +
      'its authors advised, takes servers in turn unless told otherwise.',
    value: 'round-robin',
    others: settings('conductor.prefill', ['random', 'least-outstanding', 'least-loaded']),
    baselines: 'alone',
    figures: ['fig1EffectiveCapacityPercent', 'fig8MeanPrefillGpuSeconds'],
  },
  {
    name: 'chunk of vllm-chunked',
    doc: "Tokens of a pass of the chunked baseline: vLLM 0.5's default.",
    value: '512',
    others: settings(
      'instance.batching',
      ['1024', '2048', '4096'].map((x) => `sarathi:budget=${x}`),
    ).concat({
      value: '4096, context attention 2.2',
      sets: ['instance.batching=sarathi:budget=4096', 'model.contextAttention=2.2'],
    }),
    where: 'instance.batching=sarathi',
    baselines: 'too',
    figures: ['fig1EffectiveCapacityPercent', 'fig8MeanPrefillGpuSeconds'],
  },
  {
    name: 'attention over KV of earlier passes',
    doc:
      'What it costs in vLLM over that within a pass. Before FlashAttention read paged KV, vLLM ' +
      'had a kernel of its own, context_attention_fwd, "pretty slow" (vLLM pull request 3106).',
    value: '1',
    others: settings('model.contextAttention', ['2.2']),
    baselines: 'alone',
    figures: ['fig1EffectiveCapacityPercent', 'fig8MeanPrefillGpuSeconds'],
  },
  {
    name: 't_d of predictive rejection',
    doc: 'How long a request decodes: 1,000 tokens at the TBT SLO of Table 3.',
    value: '100 s',
    others: settings(
      'conductor.admission',
      ['10', '20', '40', '60', '150'].map((x) => `predictive-early-rejection:decodeSeconds=${x}`),
    ),
    where: 'conductor.admission=predictive',
    figures: [TABLE_3],
  },
];

/** The run that most figures share, with overrides of their own. */
export function sharedRun(
  workload: string,
  prefill: string = GLOBAL,
  sets: readonly string[] = [],
): RunSpec {
  const policy = `conductor.prefill=${prefill}`;
  const overrides = [...split(PREFILL_NODES), BATCHING, DECODE, SSD, policy, ...sets];
  return { workload, config: 'mooncake-16', sets: overrides };
}

/** A run of a baseline, by its preset; compute costs what it does elsewhere, but vLLM's steps. */
export function baselineRun(
  workload: string,
  config: string,
  sets: readonly string[] = [],
): RunSpec {
  return { workload, config, sets: [...VLLM_STEP, ...sets] };
}
