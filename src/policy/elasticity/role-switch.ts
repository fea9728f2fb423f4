/**
 * Role switch: when one pool's load is above `high` and the other's below `low`, the instance of
 * the idle pool that has the least to do changes sides, once it is done. `least` instances stay in
 * each pool; after a switch both rest for `cooldown`. Loads as in thresholds.
 * Instances with both roles are left alone.
 */
import {
  type ClusterView,
  defineElasticity,
  type ElasticityPolicy,
  leastBy,
  type PolicyContext,
  poolLoads,
  type Role,
  type RoleChange,
} from '../../core/policy-kit.ts';

interface SwitchParams {
  readonly high: number;
  readonly low: number;
  readonly least: number;
  readonly interval: number;
  readonly cooldown: number;
  readonly startup: number;
}

class RoleSwitch implements ElasticityPolicy {
  readonly intervalNs: number;
  private readonly context: PolicyContext;
  private readonly params: SwitchParams;
  private restsNs = 0;

  constructor(context: PolicyContext, params: SwitchParams) {
    this.intervalNs = params.interval * 1e9;
    this.context = context;
    this.params = params;
  }

  adjust(view: ClusterView): readonly RoleChange[] {
    const { high, low, cooldown } = this.params;
    if (view.nowNs < this.restsNs) return [];
    const { prefill, decode } = poolLoads(this.context, view);
    let change: RoleChange | null = null;
    if (prefill > high && decode < low) change = this.move('decode', 'prefill', view);
    else if (decode > high && prefill < low) change = this.move('prefill', 'decode', view);
    if (change === null) return [];
    this.restsNs = view.nowNs + cooldown * 1e9;
    return [change];
  }

  private move(from: Role, to: Role, view: ClusterView): RoleChange | null {
    const { least, startup } = this.params;
    const pool = from === 'prefill' ? view.prefillInstances : view.decodeInstances;
    const own = pool.filter((of) => view.rolesOf(of).length === 1);
    if (pool.length <= least || own.length === 0) return null;
    const work = (of: number) => (from === 'prefill' ? view.queueNs(of) : view.decodeTokens(of));
    const instance = leastBy(own, work);
    return { instance, roles: [to], startupNs: startup * 1e9 };
  }
}

const seconds = (by: number, least: number, doc: string) =>
  ({ type: 'number', default: by, min: least, doc }) as const;

export default defineElasticity({
  source: 'Splitwise, ISCA 2024 (mixed pool), and Mooncake, FAST 2025, 5 (conversion); rule ours',
  params: {
    high: { type: 'number', default: 0.3, min: 0, doc: 'load of the busy pool' },
    low: { type: 'number', default: 0.25, min: 0, doc: 'load of the idle pool' },
    least: { type: 'integer', default: 1, min: 1, doc: 'instances that stay in each pool' },
    interval: seconds(5, 1e-9, 'seconds between two looks'),
    cooldown: seconds(30, 0, 'seconds without a further switch'),
    startup: seconds(0, 0, 'seconds from the end of the old work to the new'),
  },
  create: (context, params) => new RoleSwitch(context, params),
});
