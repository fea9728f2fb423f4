/**
 * Makes a trace of conversations. What it draws, and why in this form, all of it a parameter:
 *
 * - Arrivals. Conversations begin uniformly over the duration; every arrival waits for the next
 *   tick of `burstPeriodNs`, as behind a gateway that admits in batches, so that the requests of a
 *   tick are about Poisson distributed. Turns that would come after the end are not sent, so the
 *   share of later turns grows at first, as in a trace that begins in the middle of a day.
 * - Turns. After turn k comes another with probability (a + k - 1) / (a + b + k - 1): the
 *   beta-geometric law, which is what a geometric law becomes when its parameter differs from user
 *   to user (Beta(a, b)). `turns.shape` is a, b follows from `turns.mean`.
 * - Lengths. Prompts and outputs are short or long, each log-normal: typing or documents, remarks
 *   or answers. Prompts are then scaled as a whole to the mean input asked for, outputs likewise.
 * - Reuse. A later turn's prompt is the earlier prompt and output with a new prompt after them:
 *   the full blocks of the earlier prompt are shared. Two things dilute or sharpen that: an edit
 *   rewrites the history from a random block on; a resend repeats the prompt as it was.
 * - Every request begins with the same system prompt.
 */
import { InputError } from '../core/errors.ts';
import type { TraceColumns } from '../core/trace-columns.ts';
import { drawTurns, TurnKind, type Turns } from './generator-turns.ts';
import { mooncakeSha256 } from './mooncake-writer.ts';
import type { LogNormal } from './random.ts';

/** Short with probability `shortShare`, else long. Tokens before scaling. */
export interface LengthMixture {
  readonly shortShare: number;
  readonly short: LogNormal;
  readonly long: LogNormal;
}

export interface GeneratorSpec {
  readonly seed: number;
  readonly requests: number;
  readonly durationNs: number;
  readonly blockTokens: number;
  /** Arrivals come on multiples of this; 1 ms where there are no bursts. */
  readonly burstPeriodNs: number;
  /** The system prompt: its full blocks are shared by all requests. */
  readonly systemTokens: number;
  /** The context window: longer prompts are cut, a conversation that outgrows it starts over. */
  readonly maxInputTokens: number;
  readonly meanInputTokens: number;
  readonly maxOutputTokens: number;
  readonly meanOutputTokens: number;
  readonly turns: { readonly mean: number; readonly shape: number };
  /** From one turn's arrival to the next one's, ns. */
  readonly thinkNs: LogNormal;
  readonly firstPrompt: LengthMixture;
  readonly laterPrompt: LengthMixture;
  readonly output: LengthMixture;
  /** Share of later turns that rewrite the history, and the mean part of it that they keep. */
  readonly edits: { readonly share: number; readonly keeps: number };
  /** Share of later turns that send the prompt before once more. */
  readonly resendShare: number;
}

/** Tokens of each turn. */
interface Lengths {
  readonly input: Int32Array;
  readonly output: Int32Array;
  /** 1 where the conversation outgrew the window and began anew. */
  readonly startedOver: Uint8Array;
}

const SCALE_STEPS = 40;
/** How far a mean may end from what was asked, as a share of it. */
const MEAN_TOLERANCE = 1e-3;

/**
 * The trace of a spec: the same for the same spec on any machine.
 * @throws InputError where a mean cannot be reached; `placeOf` tells where the spec says it
 */
export function generate(
  spec: GeneratorSpec,
  placeOf: (key: keyof GeneratorSpec) => string = String,
): TraceColumns {
  const turns = drawTurns(spec);
  const { requests } = spec;
  const lengths: Lengths = {
    input: new Int32Array(requests),
    output: new Int32Array(requests),
    startedOver: new Uint8Array(requests),
  };
  for (const [key, layOut] of [
    ['meanOutputTokens', layOutputs],
    ['meanInputTokens', layInputs],
  ] as const) {
    const found = scaleToMean(spec[key], (scale) => layOut(spec, turns, scale, lengths));
    if (found === null) continue;
    throw new InputError(
      `found ${spec[key]}, with these lengths it comes to ${found}, expected a mean in their reach`,
      placeOf(key),
    );
  }
  const trace = assemble(spec, turns, lengths);
  return { ...trace, sha256: mooncakeSha256(trace) };
}

/**
 * Leaves `layOut` at the scale that gives the mean; where none does, returns what it came to. Means
 * grow with the scale, at most in proportion, so that correcting by the ratio converges.
 */
function scaleToMean(wanted: number, layOut: (scale: number) => number): number | null {
  let scale = 1;
  let mean = 0;
  for (let step = 0; step < SCALE_STEPS; step++) {
    mean = layOut(scale);
    if (Math.abs(mean - wanted) <= MEAN_TOLERANCE * wanted) return null;
    scale *= wanted / mean;
  }
  return Math.round(mean);
}

/** Sets output tokens; returns their mean. */
function layOutputs(spec: GeneratorSpec, turns: Turns, scale: number, lengths: Lengths): number {
  const { output } = lengths;
  let sum = 0;
  for (let turn = 0; turn < spec.requests; turn++) {
    const tokens = Math.min(spec.maxOutputTokens, atLeastOne(scale * turns.output[turn]));
    output[turn] = tokens;
    sum += tokens;
  }
  return sum / spec.requests;
}

/** Sets input tokens; returns their mean. */
function layInputs(spec: GeneratorSpec, turns: Turns, scale: number, lengths: Lengths): number {
  const { input, output, startedOver } = lengths;
  let sum = 0;
  for (let turn = 0; turn < spec.requests; turn++) {
    const prompt = atLeastOne(scale * turns.prompt[turn]);
    const kind = turns.kind[turn];
    const history =
      kind === TurnKind.first ? spec.systemTokens : input[turn - 1] + output[turn - 1];
    let tokens = kind === TurnKind.resend ? input[turn - 1] : history + prompt;
    startedOver[turn] = tokens > spec.maxInputTokens ? 1 : 0;
    if (tokens > spec.maxInputTokens) {
      tokens = Math.min(spec.maxInputTokens, spec.systemTokens + prompt);
    }
    input[turn] = tokens;
    sum += tokens;
  }
  return sum / spec.requests;
}

/** Sorts the turns by arrival and gives them blocks. */
function assemble(spec: GeneratorSpec, turns: Turns, lengths: Lengths): TraceColumns {
  const { requests, blockTokens } = spec;
  const order = arrivalOrder(turns.tick);
  const arrivalNs = new Float64Array(requests);
  const inputTokens = new Int32Array(requests);
  const outputTokens = new Int32Array(requests);
  const session = new Int32Array(requests);
  const blockStart = new Int32Array(requests + 1);
  /** Name of each conversation, in order of arrival. */
  const nameOf = new Int32Array(requests).fill(-1);
  const firstTick = turns.tick[order[0]];
  let sessions = 0;
  for (let row = 0; row < requests; row++) {
    const turn = order[row];
    const conversation = turns.conversation[turn];
    if (nameOf[conversation] === -1) nameOf[conversation] = sessions++;
    session[row] = nameOf[conversation];
    arrivalNs[row] = (turns.tick[turn] - firstTick) * spec.burstPeriodNs;
    inputTokens[row] = lengths.input[turn];
    outputTokens[row] = lengths.output[turn];
    blockStart[row + 1] = blockStart[row] + Math.ceil(inputTokens[row] / blockTokens);
  }
  const blocks = new Int32Array(blockStart[requests]);
  const sharing = sharingOf(spec, turns, lengths, order);
  const distinctBlocks = fillBlocks(blocks, blockStart, sharing);
  const none = { parent: null, thinkNs: null, priority: null, tenant: null, sloClass: null };
  const columns = { arrivalNs, inputTokens, outputTokens, blockStart, blocks, session };
  const head = { requests, blockTokens, distinctBlocks };
  return { ...head, ...columns, ...none, namespace: null, sha256: '' };
}

/** Each row's leading `shared[row]` blocks are those of row `source[row]`, which came before. */
interface Sharing {
  readonly source: Int32Array;
  readonly shared: Int32Array;
}

function sharingOf(
  spec: GeneratorSpec,
  turns: Turns,
  lengths: Lengths,
  order: Int32Array,
): Sharing {
  const source = new Int32Array(order.length);
  const shared = new Int32Array(order.length);
  const rowOf = new Int32Array(order.length);
  // The first row makes the system prompt's blocks, where the first turns find them.
  rowOf[order[0]] = 0;
  for (let row = 1; row < order.length; row++) {
    const turn = order[row];
    rowOf[turn] = row;
    source[row] = turns.kind[turn] === TurnKind.first ? 0 : rowOf[turn - 1];
    shared[row] = sharedBlocks(spec, turns, lengths, turn);
  }
  return { source, shared };
}

/** Returns the number of distinct blocks. */
function fillBlocks(
  blocks: Int32Array,
  blockStart: Int32Array,
  { source, shared }: Sharing,
): number {
  let distinct = 0;
  for (let row = 0; row < source.length; row++) {
    let to = blockStart[row];
    let from = blockStart[source[row]];
    for (let left = shared[row]; left > 0; left--) blocks[to++] = blocks[from++];
    while (to < blockStart[row + 1]) blocks[to++] = distinct++;
  }
  return distinct;
}

/** Leading blocks that a turn shares with the turn before, or a first turn with all. */
function sharedBlocks(spec: GeneratorSpec, turns: Turns, lengths: Lengths, turn: number): number {
  const system = Math.floor(spec.systemTokens / spec.blockTokens);
  const kind = turns.kind[turn];
  if (kind === TurnKind.first || lengths.startedOver[turn] === 1) return system;
  const before = lengths.input[turn - 1];
  if (kind === TurnKind.resend) return Math.ceil(before / spec.blockTokens);
  const full = Math.floor(before / spec.blockTokens);
  if (kind === TurnKind.edit) return system + Math.floor(turns.kept[turn] * (full - system));
  return full;
}

/** Turns by tick, those of one tick as they were drawn: a turn never comes before its parent. */
function arrivalOrder(tick: Float64Array): Int32Array {
  const turns = tick.length;
  const keys = new Float64Array(turns);
  for (let turn = 0; turn < turns; turn++) keys[turn] = tick[turn] * turns + turn;
  keys.sort();
  const order = new Int32Array(turns);
  for (let row = 0; row < turns; row++) order[row] = keys[row] % turns;
  return order;
}

function atLeastOne(tokens: number): number {
  return Math.max(1, Math.round(tokens));
}
