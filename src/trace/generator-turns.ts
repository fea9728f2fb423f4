/** The conversations of a generated trace before lengths are scaled and blocks are given. */
import type { GeneratorSpec, LengthMixture } from './generator.ts';
import { RandomStream } from './random.ts';

export const TurnKind = { first: 0, follow: 1, edit: 2, resend: 3 } as const;
export type TurnKind = (typeof TurnKind)[keyof typeof TurnKind];

/** Columns, one entry a turn; a conversation's turns stand together, in their order. */
export interface Turns {
  readonly conversation: Int32Array;
  readonly kind: Uint8Array;
  /** Arrival in burst periods from the start. */
  readonly tick: Float64Array;
  /** Tokens that the user adds, before scaling. */
  readonly prompt: Float64Array;
  /** Tokens that the model answers, before scaling. */
  readonly output: Float64Array;
  /** Part of the history that an edit keeps. */
  readonly kept: Float64Array;
}

/**
 * Draws conversations until they have as many turns as the spec wants requests. Column by column:
 * every column has its stream, so that a parameter of one changes nothing in the others.
 */
export function drawTurns(spec: GeneratorSpec): Turns {
  const { requests } = spec;
  const turns: Turns = {
    conversation: new Int32Array(requests),
    kind: new Uint8Array(requests),
    tick: new Float64Array(requests),
    prompt: new Float64Array(requests),
    output: new Float64Array(requests),
    kept: new Float64Array(requests),
  };
  drawArrivals(spec, turns);
  drawKinds(spec, turns);
  const { firstPrompt, laterPrompt, output } = spec;
  drawLengths(turns.prompt, turns.kind, firstPrompt, laterPrompt, streamOf(spec, 'prompts'));
  drawLengths(turns.output, turns.kind, output, output, streamOf(spec, 'outputs'));
  return turns;
}

function streamOf(spec: GeneratorSpec, name: string): RandomStream {
  return new RandomStream(spec.seed, name);
}

/** First turns are marked as such, later ones as following. */
function drawArrivals(spec: GeneratorSpec, turns: Turns): void {
  const pace = new Pace(spec);
  let conversation = 0;
  let turn = 0;
  while (turn < spec.requests) {
    let tick = pace.firstTick();
    for (let number = 1; turn < spec.requests; number++) {
      turns.conversation[turn] = conversation;
      turns.tick[turn] = tick;
      turns.kind[turn++] = number === 1 ? TurnKind.first : TurnKind.follow;
      if (!pace.continues(number)) break;
      tick = pace.nextTick(tick);
      if (tick >= pace.ticks) break;
    }
    conversation++;
  }
}

function drawKinds(spec: GeneratorSpec, turns: Turns): void {
  const { edits, resendShare } = spec;
  const stream = streamOf(spec, 'edits');
  // Uniform about its mean, as widely as fits between nothing and everything.
  const spread = Math.min(edits.keeps, 1 - edits.keeps);
  for (let turn = 0; turn < turns.kind.length; turn++) {
    const which = stream.uniform();
    turns.kept[turn] = edits.keeps + spread * (2 * stream.uniform() - 1);
    if (turns.kind[turn] === TurnKind.first || which >= edits.share + resendShare) continue;
    turns.kind[turn] = which < edits.share ? TurnKind.edit : TurnKind.resend;
  }
}

function drawLengths(
  lengths: Float64Array,
  kind: Uint8Array,
  first: LengthMixture,
  later: LengthMixture,
  stream: RandomStream,
): void {
  for (let turn = 0; turn < lengths.length; turn++) {
    const { shortShare, short, long } = kind[turn] === TurnKind.first ? first : later;
    lengths[turn] = stream.logNormal(stream.chance(shortShare) ? short : long);
  }
}

/** When turns come. */
class Pace {
  /** Ticks that arrivals may fall on: 0 .. ticks - 1. */
  readonly ticks: number;
  private readonly spec: GeneratorSpec;
  /** Parameters of the beta-geometric law. */
  private readonly a: number;
  private readonly b: number;
  private readonly starts: RandomStream;
  private readonly turns: RandomStream;
  private readonly think: RandomStream;

  constructor(spec: GeneratorSpec) {
    const { turns, durationNs, burstPeriodNs } = spec;
    this.spec = spec;
    this.ticks = Math.max(1, Math.floor(durationNs / burstPeriodNs));
    this.a = turns.shape;
    // Mean (a + b - 1) / (b - 1), solved for b; a mean of one turn makes b infinite.
    this.b = 1 + turns.shape / (turns.mean - 1);
    this.starts = streamOf(spec, 'starts');
    this.turns = streamOf(spec, 'turns');
    this.think = streamOf(spec, 'think');
  }

  firstTick(): number {
    return Math.floor(this.starts.uniform() * this.ticks);
  }

  continues(number: number): boolean {
    return this.turns.chance((this.a + number - 1) / (this.a + this.b + number - 1));
  }

  /** At least one tick later: nobody answers within the burst. */
  nextTick(tick: number): number {
    const thinkNs = this.think.logNormal(this.spec.thinkNs);
    return tick + Math.max(1, Math.round(thinkNs / this.spec.burstPeriodNs));
  }
}
