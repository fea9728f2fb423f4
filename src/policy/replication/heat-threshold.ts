/**
 * Mooncake Store's hot replication (kvcache-ai/Mooncake, 2026; off by default there): a key that is
 * got 8 times in 10 s gets one more replica in memory, up to 2, on a node that uses less than 0.85
 * of its memory, and then rests for 30 s. Here the leading blocks of a request that are all hot are
 * copied together, to the emptiest node; windows are whole multiples of their length.
 */
import {
  defineReplication,
  type Replica,
  type ReplicationView,
  type Request,
} from '../../core/policy-kit.ts';

const NS_PER_S = 1e9;
const NONE: readonly Replica[] = [];

interface HeatParams {
  readonly gets: number;
  readonly window: number;
  readonly replicas: number;
  readonly below: number;
  readonly cooldown: number;
}

class HeatThreshold {
  readonly keepsFetched = true;
  readonly watches = true;
  private readonly params: HeatParams;
  private window = -1;
  /** Gets of each block in this window. */
  private readonly gets = new Map<number, number>();
  /** When a block may be copied again. */
  private readonly restsUntilNs = new Map<number, number>();

  constructor(params: HeatParams) {
    this.params = params;
  }

  onRequest({ blocks }: Request, view: ReplicationView): readonly Replica[] {
    const { gets, restsUntilNs, params } = this;
    const window = Math.floor(view.nowNs / (params.window * NS_PER_S));
    if (window !== this.window) gets.clear();
    this.window = window;
    let hot = 0;
    let cold = false;
    for (let i = 0; i < blocks.length; i++) {
      const block = blocks.at(i);
      const count = (gets.get(block) ?? 0) + 1;
      gets.set(block, count);
      const replicas = view.replicas(block);
      cold ||= count < params.gets || replicas === 0;
      if (!cold && replicas < params.replicas && (restsUntilNs.get(block) ?? 0) <= view.nowNs) {
        hot = i + 1;
      }
    }
    return hot === 0 ? NONE : this.copy(blocks, hot, view);
  }

  onComputed(): readonly Replica[] {
    return NONE;
  }

  private copy(blocks: Request['blocks'], hot: number, view: ReplicationView): readonly Replica[] {
    const last = blocks.at(hot - 1);
    const source = view.nodes.find((node) => view.holds(node, last));
    let target = -1;
    for (const node of view.nodes) {
      if (view.holds(node, last) || view.usedRatio(node) >= this.params.below) continue;
      if (target < 0 || view.usedRatio(node) < view.usedRatio(target)) target = node;
    }
    if (source === undefined || target < 0) return NONE;
    const untilNs = view.nowNs + this.params.cooldown * NS_PER_S;
    for (let i = 0; i < hot; i++) this.restsUntilNs.set(blocks.at(i), untilNs);
    return [{ source, target, blocks: hot }];
  }
}

export default defineReplication({
  source: 'kvcache-ai/Mooncake mooncake-store hot replication, 2026',
  params: {
    gets: { type: 'integer', default: 8, min: 1, doc: 'gets in a window that make a block hot' },
    window: { type: 'number', default: 10, min: 0.000_001, doc: 'seconds' },
    replicas: { type: 'integer', default: 2, min: 1, doc: 'most nodes with a copy' },
    below: { type: 'number', default: 0.85, min: 0, max: 1, doc: 'use of DRAM of a target' },
    cooldown: { type: 'number', default: 30, min: 0, doc: 'seconds between copies of a block' },
  },
  create: (_context, params) => new HeatThreshold(params),
});
