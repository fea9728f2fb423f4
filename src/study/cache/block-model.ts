/** What a block weighs and costs: from the model and hardware that are configured. */
import type { ResolvedConfig } from '../../config/resolve.ts';
import type { AccessStream } from './access-stream.ts';

export interface BlockModel {
  /** The language model's name. */
  readonly name: string;
  readonly tokens: number;
  /** Null for keys of other tools. */
  readonly bytes: number | null;
  /** Where the prefill times come from. */
  readonly cost: string;
  prefillNs(fromTokens: number, toTokens: number): number;
}

/** Keys of other tools: a block is a block. */
export const FOREIGN_BLOCK: BlockModel = {
  name: '',
  tokens: 1,
  bytes: null,
  cost: '',
  prefillNs: () => 0,
};

/** Prefill as the first instance that prefills does it, without the constant per request. */
export function modelOf({ topology, truth }: ResolvedConfig): BlockModel {
  const instance = topology.instances.findIndex(({ roles }) => roles.includes('prefill'));
  const { model, bytesPerToken, blockTokens } = topology.kv;
  return {
    name: model,
    tokens: blockTokens,
    bytes: bytesPerToken[0] * blockTokens,
    cost: truth[instance].source,
    prefillNs: (from, to) => truth[instance].prefillNs(from, to, false),
  };
}

/** Time to recompute the block at each depth that the stream reaches. */
export function recomputeTimes(stream: AccessStream, model: BlockModel): Float64Array {
  const { start, requests } = stream;
  let depths = 1;
  if (start !== null) {
    for (let r = 0; r < requests; r++) depths = Math.max(depths, start[r + 1] - start[r]);
  }
  return Float64Array.from({ length: depths }, (_, depth) =>
    model.prefillNs(depth * model.tokens, (depth + 1) * model.tokens),
  );
}
