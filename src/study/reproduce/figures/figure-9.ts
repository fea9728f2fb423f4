/**
 * Figure 9: hit rate by cache capacity, one pool under LRU, over the blocks of all requests. What
 * counts as a hit is open; see HIT_DEFINITION. The others are drawn, too, and named in the notes
 * with their distance from the paper.
 */
import { streamOfTrace, streamWithDecode } from '../../cache/access-stream.ts';
import type { TouchOrder } from '../../cache/future.ts';
import { type HitCurve, hitsAt, lruCurve, type Semantics } from '../../cache/lru-curve.ts';
import { lineChart, quantityRows } from '../charts.ts';
import { paperList } from '../paper-data.ts';
import type { Figure } from '../types.ts';
import { NO_TRACE } from '../types.ts';

const TOKENS = [1e4, 1e5, 1e6, 2e6, 4e6, 5e6, 8e6, 1e7, 5e7, 1e8];

interface Definition {
  readonly name: string;
  readonly semantics: Semantics;
  readonly decodeCached: boolean;
  /** Which block of a request is touched first, and so is older. */
  readonly order: TouchOrder;
  readonly of: 'blocks' | 'tokens';
}

const define = (
  name: string,
  semantics: Semantics,
  decodeCached: boolean,
  order: TouchOrder,
  of: Definition['of'],
): Definition => ({ name, semantics, decodeCached, order, of });

const DEFINITIONS: readonly Definition[] = [
  define('blocks, prefix', 'prefix', false, 'forward', 'blocks'),
  define('blocks, any', 'any', false, 'forward', 'blocks'),
  define('tokens, prefix', 'prefix', false, 'forward', 'tokens'),
  define('tokens, prefix, heads last', 'prefix', false, 'reverse', 'tokens'),
  define('blocks, prefix, decode cached', 'prefix', true, 'forward', 'blocks'),
  define('tokens, any, decode cached', 'any', true, 'forward', 'tokens'),
  define('tokens, prefix, decode cached', 'prefix', true, 'forward', 'tokens'),
  define('tokens, prefix, decode cached, heads last', 'prefix', true, 'reverse', 'tokens'),
];

/** The definition that rows are made with. */
const HIT_DEFINITION = 'tokens, prefix, decode cached, heads last';
/** What stands beside it in the figure. */
const PLAIN = 'blocks, prefix';

export const figure9: Figure = {
  key: 'fig9HitRateByCapacityTokens',
  name: 'Figure 9',
  basis: 'predicted',
  isOf: (workload) => workload !== NO_TRACE,
  runs: () => ({}),
  make(input) {
    const { workload, paper } = input;
    const trace = input.trace!;
    const capacities = paperList(paper, 'tokens', TOKENS);
    const plain = streamOfTrace(trace);
    const decode = streamWithDecode(trace);
    const curves = new Map<string, HitCurve>();
    const rates = DEFINITIONS.map((definition) => {
      const { semantics, decodeCached, order, of } = definition;
      const key = `${semantics} ${decodeCached} ${order}`;
      const curve = curves.get(key) ?? lruCurve(decodeCached ? decode : plain, semantics, order);
      curves.set(key, curve);
      return {
        name: definition.name,
        rates: capacities.map((tokens) => rateAt(curve, tokens / trace.blockTokens, of)),
      };
    });
    const chosen = rates.find(({ name }) => name === HIT_DEFINITION)!;
    const quantities = new Map(chosen.rates.map((rate, i) => [`${workload}.${i}`, rate]));
    const line = [{ name: HIT_DEFINITION, path: workload }];
    const chart = lineChart(input, quantities, capacities, line, {
      id: `figure-9-${workload}`,
      title: `Figure 9: hit rate by capacity, ${workload}`,
      note: 'LRU, one pool of all nodes.',
      xTitle: 'capacity, tokens',
      yTitle: '',
      format: '.0%',
      logX: true,
    });
    const others = rates
      .filter(({ name }) => name === PLAIN)
      .map(({ name, rates: ours }) => ({
        name,
        of: 'ours' as const,
        points: capacities.map((x, i) => ({ x, y: ours[i] })),
      }));
    const distances = rates.map(({ name, rates: ours }) => {
      const gaps = ours.map((rate, i) => {
        const theirs = input.paperValue(`${workload}.${i}`);
        return theirs === null ? 0 : Math.abs(rate - theirs);
      });
      return `${name} ${Math.max(...gaps).toFixed(3)}`;
    });
    return {
      quantities: quantityRows(quantities),
      charts: [{ ...chart, series: [...chart.series, ...others] }],
      notes: [`greatest distance from the paper by hit definition: ${distances.join('; ')}`],
    };
  },
};

function rateAt(curve: HitCurve, capacityBlocks: number, of: Definition['of']): number {
  const whole = Math.floor(capacityBlocks);
  if (of === 'blocks') return hitsAt(curve, whole) / curve.accesses;
  return curve.tokens[Math.min(whole, curve.tokens.length - 1)] / curve.inputTokens;
}
