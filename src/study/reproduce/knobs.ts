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
}

/** Nodes of the testbed. */
const NODES = 16;
/** Of them, prefill, where the figure does not say. */
export const PREFILL_NODES = 6;

export function split(prefill: number, nodes = NODES): string[] {
  return [`cluster.groups.0.count=${prefill}`, `cluster.groups.1.count=${nodes - prefill}`];
}

const policy = (kind: string, value: string) => ({ value, sets: [`conductor.${kind}=${value}`] });
const setting = (key: string, value: string) => ({ value, sets: [`${key}=${value}`] });

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
    name: 'kvcache_balancing_threshold',
    doc: 'Ratio of best to local prefix above which Algorithm 1 fetches.',
    value: '1',
    others: ['1.5', '2', '4'].map((value) =>
      policy('prefill', `kvcache-centric:threshold=${value}`),
    ),
  },
  {
    name: 'prefill batching',
    doc:
      'Prompts that wait on a prefill instance are computed in one pass of at most 131,072 tokens ' +
      "and have their first token at its end: vLLM's scheduler and its default limit, the longest " +
      'context (max_num_batched_tokens).',
    value: 'vllm:maxTokens=131072',
    others: ['vllm:maxTokens=32768', 'vllm:maxTokens=65536', 'disaggregated'].map((value) =>
      setting('instance.batching', value),
    ),
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
    name: 'SelectDecodingInstance',
    doc: 'Rule that chooses the decode instance.',
    value: 'least-tbt',
    others: ['least-kv', 'round-robin'].map((value) => policy('decode', value)),
  },
  {
    name: 'load of cached KV',
    doc: 'Whether a cached prefix loads layer by layer or before the computation.',
    value: 'layerwise',
    others: [setting('instance.loadOverlap', 'serial')],
  },
  {
    name: 'cost model',
    doc: 'Fit to Figure 14, or a roofline of the hardware.',
    value: 'polynomial',
    others: [setting('model.cost', 'roofline')],
  },
  {
    name: 'error of the estimates',
    doc: 'What the scheduler believes over what is.',
    value: '1',
    others: ['0.7', '1.3'].map((value) => setting('conductor.estimatorBias', value)),
  },
];

/** Overrides of the preset that every figure has. */
const SHARED = [...split(PREFILL_NODES), 'instance.batching=vllm:maxTokens=131072'];

/** The run that most figures share, with overrides of their own. */
export function sharedRun(
  workload: string,
  prefill: string = 'kvcache-centric:threshold=1',
  sets: readonly string[] = [],
): RunSpec {
  const overrides = [...SHARED, `conductor.prefill=${prefill}`, ...sets];
  return { workload, config: 'mooncake-16', sets: overrides };
}
