/**
 * Where a request would go now, and why: the conductor's policies asked in their first state about
 * its view and directory, so that nothing that it decides is touched. Policies that remember what
 * they chose, or draw lots, may choose otherwise when the request comes.
 */
import { type Cluster, type ClusterPlan, routingPolicies } from '../../config/wire.ts';
import { DirectoryMatch } from '../../core/directory-match.ts';
import { InputError } from '../../core/errors.ts';
import { BlockSpan, cachedTokens, type Request } from '../../core/request.ts';

const BLOCKS_MAX = 100_000;
const TOKENS_MAX = 10_000_000;
const NS_PER_MS = 1e6;

export interface RouteQuery {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly blocks: readonly number[];
}

/** One prefill instance, as the estimator sees it. */
export interface Candidate {
  readonly instance: string;
  readonly node: string;
  readonly queueMs: number;
  /** Cached there, and what a fetch from the best node would add. */
  readonly cachedTokens: number;
  readonly fetchedTokens: number;
  readonly prefillMs: number;
  readonly fetchMs: number;
  /** Without a fetch, and with it; null where a fetch brings nothing. */
  readonly ttftMs: number;
  readonly ttftWithFetchMs: number | null;
}

/** @throws InputError for what is no query: `{blocks}`, or `{inputTokens}`, and `outputTokens` */
export function queryOf(found: unknown, blockTokens: number, blocksMax: number): RouteQuery {
  if (found === null || typeof found !== 'object' || Array.isArray(found)) {
    throw new InputError('found no object, expected {"blocks": […]} or {"inputTokens": n}');
  }
  const { blocks = [], inputTokens, outputTokens = 1, ...more } = found as Partial<RouteQuery>;
  const [extra] = Object.keys(more);
  if (extra !== undefined) {
    throw new InputError(`found ${extra}, expected blocks, inputTokens, outputTokens`);
  }
  const isBlock = (id: unknown) =>
    Number.isSafeInteger(id) && (id as number) >= 0 && (id as number) < blocksMax;
  if (!Array.isArray(blocks) || blocks.length > BLOCKS_MAX || !blocks.every(isBlock)) {
    throw new InputError(`expected at most ${BLOCKS_MAX} block ids below ${blocksMax}`, 'blocks');
  }
  const tokens = inputTokens ?? blocks.length * blockTokens;
  check(tokens, 'inputTokens');
  check(outputTokens, 'outputTokens');
  const least = Math.max(0, blocks.length - 1) * blockTokens;
  if (tokens <= least || (blocks.length > 0 && tokens > blocks.length * blockTokens)) {
    throw new InputError(
      `found ${tokens} for ${blocks.length} blocks of ${blockTokens}`,
      'inputTokens',
    );
  }
  return { inputTokens: tokens, outputTokens, blocks };
}

function check(value: unknown, name: string): void {
  const whole = Number.isSafeInteger(value) && (value as number) > 0;
  if (!whole || (value as number) > TOKENS_MAX) {
    throw new InputError(`found ${JSON.stringify(value)}, expected 1 to ${TOKENS_MAX}`, name);
  }
}

export function whereWouldItGo(plan: ClusterPlan, { conductor }: Cluster, query: RouteQuery) {
  const { topology, settings, policies: names } = plan;
  const { views, directory } = conductor;
  const { inputTokens, outputTokens } = query;
  const request: Request = {
    id: 0,
    attempt: 0,
    tenant: 0,
    priority: 0,
    sloClass: 0,
    session: -1,
    parent: -1,
    namespace: 0,
    blocks: new BlockSpan(Int32Array.from(query.blocks), 0, query.blocks.length),
    inputTokens,
    outputTokens,
    arrivalNs: views.nowNs,
  };
  const policies = routingPolicies(plan);
  const { spreads } = policies.placement;
  const reach = !settings.conductor.pooled ? 'local' : spreads ? 'spread' : 'whole';
  const match = new DirectoryMatch(directory, topology, reach);
  match.of(request.blocks);
  if (views.allPrefillInstances.length === 0 || views.decodeInstances.length === 0) {
    return { instance: null, why: 'no instance that lives has the role that it needs' };
  }
  const candidates = views.allPrefillInstances.map((id) => candidateOf(id));
  const apart = policies.disaggregation.separates(request, match, views);
  views.offerPrefill(apart);
  const choice = policies.prefill.choose(request, match, views);
  const together = !apart && views.coupledInstances.includes(choice.instance);
  const decode = together
    ? choice.instance
    : policies.decode.choose(request, choice.instance, views);
  views.offerPrefill(true);
  const fetches = choice.sourceNode >= 0 && choice.sourceBlocks > 0;
  const blocks = Math.max(match.localBlocks(choice.instance), fetches ? choice.sourceBlocks : 0);
  return {
    instance: topology.instances[choice.instance].name,
    node: topology.nodes[views.nodeOf(choice.instance)].name,
    fetchFrom: fetches ? topology.nodes[choice.sourceNode].name : null,
    cachedTokens: tokensOf(blocks),
    ttftMs: choice.ttftNs / NS_PER_MS,
    decodeInstance: topology.instances[decode].name,
    decodeRequests: views.decodeRequests(decode),
    policies: { prefill: names.prefill.name, decode: names.decode.name },
    candidates,
  };

  function tokensOf(cached: number): number {
    return cached === 0 ? 0 : cachedTokens(cached, topology.kv.blockTokens, inputTokens);
  }

  function candidateOf(id: number): Candidate {
    const { estimator } = plan;
    const node = views.nodeOf(id);
    const here = tokensOf(match.localBlocks(id));
    const there = reach === 'local' || match.bestNode === node ? 0 : tokensOf(match.bestBlocks);
    const fetched = Math.max(0, there - here);
    const queueNs = views.queueNs(id);
    const prefillNs = estimator.prefillNs(id, inputTokens, here);
    const fetchNs = fetched === 0 ? 0 : estimator.transferNs(match.bestNode, node, fetched);
    const shortNs = estimator.prefillNs(id, inputTokens, here + fetched);
    const ms = (ns: number) => ns / NS_PER_MS;
    return {
      instance: topology.instances[id].name,
      node: topology.nodes[node].name,
      queueMs: ms(queueNs),
      cachedTokens: here,
      fetchedTokens: fetched,
      prefillMs: ms(prefillNs),
      fetchMs: ms(fetchNs),
      ttftMs: ms(queueNs + prefillNs),
      ttftWithFetchMs: fetched === 0 ? null : ms(queueNs + fetchNs + shortNs),
    };
  }
}
