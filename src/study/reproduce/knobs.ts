/**
 * What the paper leaves open, each with the one value that every figure uses; and what else it
 * could be, which `--sensitivity` tries one at a time. None is chosen figure by figure.
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

/** Overrides of every run on Mooncake's cluster, and of every run. */
const BATCHING = 'instance.batching=vllm:maxTokens=131072';
const DECODE = 'model.decodeRequest=3ms';
const SSD = 'cluster.groups.0.ssd=8TB';
/** For figures that state what a node caches. */
export const NO_SSD = 'cluster.groups.0.ssd=0B';

const setting = (key: string, value: string) => ({ value, sets: [`${key}=${value}`] });
const settings = (key: string, values: readonly string[]) =>
  values.map((value) => setting(key, value));

export const KNOBS: readonly Knob[] = [
  {
    name: 'prefill and decode nodes',
    doc: 'Split of the 16 nodes where a figure does not state it (Figures 1, 5, 7, 8, 11, 13).',
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
      'one alone. 0.31 ms is the compute of a roofline. No source fixes it: chosen with the ' +
      'median TBT beside Figure 1 in view.',
    value: '3 ms',
    others: settings('model.decodeRequest', ['0.31ms', '2ms', '3.3ms', '4ms', '5ms']),
    baselines: 'too',
    figures: ['fig1EffectiveCapacityPercent', TABLE_3],
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
      "The paper's pool is of DRAM and SSD; it has no size of the latter. Two drives a node, " +
      'chosen with Figure 11 in view; none in Figure 10, which states what a node caches.',
    value: '8TB',
    others: settings('cluster.groups.0.ssd', ['0B', '2TB', '4TB']),
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
    doc: 'How requests reach the 16 engines of the baselines.',
    value: 'least-loaded',
    others: settings('conductor.prefill', ['random', 'round-robin', 'least-outstanding']),
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

/** A run of a baseline, by its preset. */
export function baselineRun(
  workload: string,
  config: string,
  sets: readonly string[] = [],
): RunSpec {
  return { workload, config, sets: [DECODE, ...sets] };
}
