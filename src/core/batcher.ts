/**
 * Asks the batching policy what runs next on an instance's GPUs, and checks its answers: which
 * prompts begin, how many tokens of each are computed in the next pass, who decodes alongside.
 */
import { PolicyError } from './errors.ts';
import type { BatchingPolicy, EngineView } from './policy.ts';
import type { Prompt } from './prompts.ts';
import type { InstanceSettings } from './settings.ts';

/** The next pass: tokens of each begun prompt, in their order; empty for decode alone. */
export interface Pass {
  readonly tokens: readonly number[];
  readonly decode: boolean;
}

export class Engine implements EngineView {
  nowNs = 0;
  prompts: readonly Prompt[] = [];
  decoding = 0;
  joining = 0;
  readonly chunkTokens: number;
  readonly batchRequests: number;

  constructor({ chunkTokens, batchRequests }: InstanceSettings) {
    this.chunkTokens = chunkTokens;
    this.batchRequests = batchRequests;
  }
}

export class Batcher {
  readonly engine: Engine;
  private readonly policy: BatchingPolicy;

  constructor(policy: BatchingPolicy, settings: InstanceSettings) {
    this.policy = policy;
    this.engine = new Engine(settings);
  }

  /** Whether `next` asks for its working memory now. */
  begins(next: Prompt): boolean {
    return this.policy.begins(next, this.engine);
  }

  /** How many of the requests that wait may join the decode batch now. */
  room(): number {
    const { engine, policy } = this;
    if (policy.joins !== undefined && !policy.joins(engine)) return 0;
    return Math.max(0, engine.batchRequests - engine.decoding);
  }

  /** The next pass over the prompts of `engine`. */
  plan(): Pass {
    const { engine, policy } = this;
    const { prompts } = engine;
    const decoding = engine.decoding + engine.joining;
    const { tokens, decode } = policy.plan(engine);
    if (tokens.length > prompts.length) {
      throw new PolicyError(`the batching policy planned ${tokens.length} of ${prompts.length}`);
    }
    let any = false;
    for (let i = 0; i < tokens.length; i++) {
      const { promptTokens, doneTokens } = prompts[i];
      const left = promptTokens - doneTokens;
      if (!Number.isInteger(tokens[i]) || tokens[i] < 0 || tokens[i] > left) {
        throw new PolicyError(`the batching policy planned ${tokens[i]} of ${left} tokens`);
      }
      if (tokens[i] > 0) any = true;
    }
    if (!any && decoding === 0) throw new PolicyError('the batching policy planned nothing');
    return { tokens: any ? tokens : [], decode: decode && decoding > 0 };
  }
}
