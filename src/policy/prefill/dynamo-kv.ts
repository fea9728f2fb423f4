/**
 * Dynamo's KV router: cost = scale * max(0, prefill blocks - credit) + decode blocks. Prefill
 * blocks are those of the prompts under way on the instance and of this one; the credit is what it
 * holds of this one, blocks in host memory and on disk counting less than on the device; decode
 * blocks are those of its requests in decode and of this one. At temperature 0 the least cost wins
 * (equal: the least id; there: drawn), above it the instance is drawn by a softmax over the costs,
 * which are first brought to 0 .. 1.
 */
import {
  type ClusterView,
  definePrefill,
  leastBy,
  localChoice,
  type PolicyContext,
  type PrefillChoice,
  type PrefillPolicy,
  type PrefixMatch,
  type Request,
  Tier,
} from '../../core/policy-kit.ts';

interface DynamoParams {
  readonly scale: number;
  readonly host: number;
  readonly disk: number;
  readonly temperature: number;
}

class DynamoKv implements PrefillPolicy {
  private readonly context: PolicyContext;
  private readonly params: DynamoParams;

  constructor(context: PolicyContext, params: DynamoParams) {
    this.context = context;
    this.params = params;
  }

  choose(request: Request, match: PrefixMatch, view: ClusterView): PrefillChoice {
    const { prefillInstances } = view;
    const cost = (of: number) => this.cost(request, of, match, view);
    const { temperature } = this.params;
    const instance =
      temperature === 0
        ? leastBy(prefillInstances, cost)
        : this.draw(prefillInstances, prefillInstances.map(cost), temperature);
    return localChoice(this.context, request, instance, match, view);
  }

  private cost(request: Request, of: number, match: PrefixMatch, view: ClusterView): number {
    const { scale, host, disk } = this.params;
    const { blockTokens } = this.context;
    const own = request.inputTokens / blockTokens;
    const prefillBlocks = view.queuedTokens(of) / blockTokens + own;
    const decodeBlocks = view.decodingNow(of).tokens / blockTokens + own;
    const credit =
      match.tierBlocks(request, of, Tier.hbm) +
      host * match.tierBlocks(request, of, Tier.dram) +
      disk * match.tierBlocks(request, of, Tier.ssd);
    return scale * Math.max(0, prefillBlocks - credit) + decodeBlocks;
  }

  private draw(instances: readonly number[], costs: readonly number[], heat: number): number {
    const least = Math.min(...costs);
    const spread = Math.max(...costs) - least || 1;
    const odds = costs.map((cost) => Math.exp(-(cost - least) / spread / heat));
    let left = this.context.random() * odds.reduce((sum, one) => sum + one, 0);
    const drawn = odds.findIndex((one) => {
      left -= one;
      return left < 0;
    });
    return instances[drawn < 0 ? instances.length - 1 : drawn];
  }
}

export default definePrefill({
  source: 'NVIDIA Dynamo, KV router: cost function and softmax sampling',
  params: {
    scale: { type: 'number', default: 1, min: 0, doc: 'weight of blocks to prefill' },
    host: { type: 'number', default: 0.75, min: 0, max: 1, doc: 'credit of a block in DRAM' },
    disk: { type: 'number', default: 0.25, min: 0, max: 1, doc: 'credit of a block on SSD' },
    temperature: { type: 'number', default: 0, min: 0, doc: 'above 0 draws by softmax' },
  },
  create: (context, params) => new DynamoKv(context, params),
});
