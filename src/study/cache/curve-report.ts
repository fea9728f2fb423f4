/** The LRU curve of a study: points to draw, and what capacity a share of the hits needs. */
import type { AccessStream } from './access-stream.ts';
import type { BlockModel } from './block-model.ts';
import type { Plan } from './check-options.ts';
import { ratio } from './contest.ts';
import { type HitCurve, lruCurve, target } from './lru-curve.ts';
import type { CacheStudyResult, CurvePoint } from './options.ts';
import { sampledLruCurve } from './sampled-curve.ts';

/** Points of a drawn curve: capacities in steps of an eighth of an octave. */
const POINTS_PER_OCTAVE = 8;

export function curveOf(
  plan: Plan,
  kind: 'exact' | 'sampled',
  stream: AccessStream,
  model: BlockModel,
): NonNullable<CacheStudyResult['curve']> {
  const { semantics, order, sampleRate, targets } = plan;
  const sampled =
    kind === 'sampled' ? sampledLruCurve(stream, semantics, order, { rate: sampleRate }) : null;
  const curve = sampled ?? lruCurve(stream, semantics, order);
  return {
    kind,
    points: pointsOf(curve, sampled?.hitsError ?? null),
    targets: targets.map((share) => {
      const capacityBlocks = target(curve, share);
      const capacityBytes = model.bytes === null ? null : capacityBlocks * model.bytes;
      return { share, capacityBlocks, capacityBytes };
    }),
  };
}

function pointsOf(curve: HitCurve, hitsError: Float64Array | null): CurvePoint[] {
  const last = curve.hits.length - 1;
  const points: CurvePoint[] = [];
  for (let step = 0, before = 0; before < last; step++) {
    const capacity = Math.min(last, Math.round(2 ** (step / POINTS_PER_OCTAVE)));
    if (capacity === before) continue;
    before = capacity;
    points.push({
      capacityBlocks: capacity,
      hitRatio: ratio(curve.hits[capacity], curve.accesses),
      tokensRatio: ratio(curve.tokens[capacity], curve.inputTokens),
      hitRatioError: hitsError === null ? null : ratio(hitsError[capacity], curve.accesses),
    });
  }
  return points;
}
