/**
 * Autoscaling: when the load of a pool is above `high`, an instance on standby joins it; when it is
 * below `low`, its instance with the least to do goes on standby, down to `least` of them. A pool
 * that has changed rests for `cooldown`. Load of prefill: predicted time until a queue is done over
 * the TTFT target; of decode: predicted step time over the TBT target, or the share of memory
 * promised if that is more; means over the instances.
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

interface Thresholds {
  readonly high: number;
  readonly low: number;
  readonly least: number;
  readonly interval: number;
  readonly cooldown: number;
  readonly startup: number;
}

class ThresholdScaling implements ElasticityPolicy {
  readonly intervalNs: number;
  private readonly context: PolicyContext;
  private readonly params: Thresholds;
  /** Until when the pool rests. */
  private readonly restsNs = { prefill: 0, decode: 0 };

  constructor(context: PolicyContext, params: Thresholds) {
    this.intervalNs = params.interval * 1e9;
    this.context = context;
    this.params = params;
  }

  adjust(view: ClusterView): readonly RoleChange[] {
    const loads = poolLoads(this.context, view);
    const standby = [...view.standbyInstances];
    const changes: RoleChange[] = [];
    for (const role of ['prefill', 'decode'] as const) {
      const change = this.adjustPool(role, loads[role], standby, view);
      if (change === null) continue;
      changes.push(change);
      this.restsNs[role] = view.nowNs + this.params.cooldown * 1e9;
    }
    return changes;
  }

  private adjustPool(
    role: Role,
    load: number,
    standby: number[],
    view: ClusterView,
  ): RoleChange | null {
    const { high, low, least, startup } = this.params;
    if (view.nowNs < this.restsNs[role]) return null;
    if (load > high && standby.length > 0) {
      return { instance: standby.shift()!, roles: [role], startupNs: startup * 1e9 };
    }
    const pool = role === 'prefill' ? view.prefillInstances : view.decodeInstances;
    const own = pool.filter((of) => view.rolesOf(of).length === 1);
    if (load >= low || pool.length <= least || own.length === 0) return null;
    const work = (of: number) => (role === 'prefill' ? view.queueNs(of) : view.decodeTokens(of));
    const instance = leastBy(own, work);
    return { instance, roles: [], startupNs: 0 };
  }
}

const seconds = (by: number, least: number, doc: string) =>
  ({ type: 'number', default: by, min: least, doc }) as const;

export default defineElasticity({
  source: 'Threshold autoscaling, as Kubernetes HPA has it; loads of Mooncake, arXiv 2407.00079, 7',
  params: {
    high: { type: 'number', default: 0.3, min: 0, doc: 'load above which an instance joins' },
    low: { type: 'number', default: 0.05, min: 0, doc: 'load below which one goes on standby' },
    least: { type: 'integer', default: 1, min: 1, doc: 'instances that stay in each pool' },
    interval: seconds(5, 1e-9, 'seconds between two looks'),
    cooldown: seconds(30, 0, 'seconds that a pool rests after a change'),
    startup: seconds(60, 0, 'seconds until an instance from standby can work'),
  },
  create: (context, params) => new ThresholdScaling(context, params),
});
