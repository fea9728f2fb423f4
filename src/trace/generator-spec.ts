/** Reads a generator's spec: YAML, every key required, no other key known. */
import {
  isAlias,
  isMap,
  isScalar,
  LineCounter,
  type Node,
  parseDocument,
  type YAMLMap,
} from 'yaml';
import { InputError } from '../core/errors.ts';
import { oneOf } from '../core/kit/nearest.ts';
import { NS_PER_MS, NS_PER_S, NS_PER_US } from '../core/units.ts';
import type { GeneratorSpec, LengthMixture } from './generator.ts';
import type { LogNormal } from './random.ts';

/** The value of a node, or an InputError at its place. */
type Rule<T> = (node: Node, file: SpecFile) => T;

export interface PlacedSpec {
  readonly spec: GeneratorSpec;
  /** `file:line:column` of a top-level key's value. */
  readonly placeOf: (key: string) => string;
}

/** @throws InputError with `file:line:column` */
export function parseGeneratorSpec(text: string, path: string): PlacedSpec {
  const file = new SpecFile(text, path);
  const raw = specRule(file.root, file);
  const { generator: _, duration, burstPeriod, thinkTime, ...rest } = raw;
  const { median, sigma } = thinkTime;
  if (raw.systemTokens >= raw.maxInputTokens) {
    const found = `${raw.systemTokens} system tokens`;
    throw new InputError(
      `found ${found}, expected fewer than maxInputTokens, ${raw.maxInputTokens}`,
      file.placeOf('systemTokens'),
    );
  }
  const burstPeriodNs = burstPeriod === 0 ? NS_PER_MS : burstPeriod;
  return {
    spec: { ...rest, durationNs: duration, burstPeriodNs, thinkNs: { median, sigma } },
    placeOf: (key) => file.placeOf(key),
  };
}

class SpecFile {
  readonly root: Node;
  private readonly path: string;
  private readonly counter = new LineCounter();

  constructor(text: string, path: string) {
    this.path = path;
    const document = parseDocument(text, { lineCounter: this.counter, prettyErrors: false });
    const [problem] = document.errors;
    if (problem) {
      const place = this.place(problem.pos[0]);
      throw new InputError(`found bad YAML (${problem.message}), expected a mapping`, place);
    }
    if (!isMap(document.contents)) throw this.bad(document.contents, 'a mapping of keys');
    this.root = document.contents;
  }

  placeOf(key: string): string {
    const pair = (this.root as YAMLMap).items.find((item) => keyOf(item.key) === key);
    return this.placeOfNode((pair?.value ?? null) as Node | null);
  }

  placeOfNode(node: Node | null): string {
    return this.place(node?.range?.[0] ?? 0);
  }

  bad(node: Node | null, expected: string): InputError {
    return new InputError(`found ${shown(node)}, expected ${expected}`, this.placeOfNode(node));
  }

  private place(offset: number): string {
    const { line, col } = this.counter.linePos(offset);
    return `${this.path}:${line}:${col}`;
  }
}

function shown(node: Node | null): string {
  if (node === null || (isScalar(node) && node.value === null)) return 'nothing';
  if (isScalar(node)) return typeof node.value === 'string' ? `"${node.value}"` : `${node.value}`;
  if (isMap(node)) return 'a mapping';
  return isAlias(node) ? 'an alias' : 'a list';
}

function keyOf(key: unknown): string {
  return isScalar(key) ? String(key.value) : '';
}

/** A mapping with exactly these keys. */
function mapping<T>(rules: { readonly [K in keyof T]: Rule<T[K]> }): Rule<T> {
  return (node, file) => {
    if (!isMap(node)) throw file.bad(node, `a mapping with ${Object.keys(rules).join(', ')}`);
    const known = Object.keys(rules) as (keyof T & string)[];
    const nodes = new Map<string, Node | null>();
    for (const { key, value } of node.items) {
      const name = keyOf(key);
      if (!(known as string[]).includes(name)) {
        const place = file.placeOfNode(key as Node);
        throw new InputError(`found the key "${name}", expected ${oneOf(name, known)}`, place);
      }
      nodes.set(name, value as Node | null);
    }
    const values: Partial<T> = {};
    for (const key of known) {
      const value = nodes.get(key);
      if (value === undefined) {
        throw new InputError(`found no ${key}, expected it`, file.placeOfNode(node));
      }
      if (value === null) throw file.bad(node, `a value for ${key}`);
      values[key] = rules[key](value, file);
    }
    return values as T;
  };
}

function number(least: number, most: number, whole = false): Rule<number> {
  return (node, file) => {
    const value = isScalar(node) ? node.value : null;
    const fits = typeof value === 'number' && value >= least && value <= most;
    if (fits && (!whole || Number.isInteger(value))) return value;
    const range = most === Number.POSITIVE_INFINITY ? `at least ${least}` : `${least} to ${most}`;
    throw file.bad(node, `${whole ? 'an integer' : 'a number'}, ${range}`);
  };
}

function integer(least: number, most: number): Rule<number> {
  return number(least, most, true);
}

const DURATION = /^(\d+(?:\.\d+)?)\s*(h|min|s|ms|us)$/;
const UNIT_NS: Readonly<Record<string, number>> = {
  h: 3600 * NS_PER_S,
  min: 60 * NS_PER_S,
  s: NS_PER_S,
  ms: NS_PER_MS,
  us: NS_PER_US,
};

/** Whole ns from `1h`, `3s`, `1.5ms`; zero where it makes sense. */
function duration(leastNs: number): Rule<number> {
  return (node, file) => {
    const value = isScalar(node) ? String(node.value) : '';
    const [, amount, unit] = DURATION.exec(value) ?? [];
    const ns = amount === undefined ? Number.NaN : Math.round(Number(amount) * UNIT_NS[unit]);
    if (ns >= leastNs && ns <= Number.MAX_SAFE_INTEGER) return ns;
    throw file.bad(node, `a duration such as 1h, 3s or 200ms${leastNs > 0 ? ', above 0' : ''}`);
  };
}

const generatorName: Rule<'conversations'> = (node, file) => {
  if (isScalar(node) && node.value === 'conversations') return 'conversations';
  throw file.bad(node, '"conversations", the only generator there is');
};

const TOKENS_MAX = 2 ** 31 - 1;
/** e^5 between the median and one sigma: beyond any use. */
const SIGMA_MAX = 5;

const tokens = integer(1, TOKENS_MAX);
const share = number(0, 1);
const sigma = number(0, SIGMA_MAX);
const logNormal = mapping<LogNormal>({ median: number(1e-3, TOKENS_MAX), sigma });
const lengths = mapping<LengthMixture>({ shortShare: share, short: logNormal, long: logNormal });

const specRule = mapping({
  generator: generatorName,
  seed: integer(0, Number.MAX_SAFE_INTEGER),
  requests: integer(1, 50_000_000),
  duration: duration(1),
  burstPeriod: duration(0),
  blockTokens: tokens,
  systemTokens: integer(0, TOKENS_MAX),
  maxInputTokens: tokens,
  meanInputTokens: number(1, TOKENS_MAX),
  maxOutputTokens: tokens,
  meanOutputTokens: number(1, TOKENS_MAX),
  turns: mapping({ mean: number(1, 1e6), shape: number(1e-3, 1e6) }),
  thinkTime: mapping({ median: duration(1), sigma }),
  firstPrompt: lengths,
  laterPrompt: lengths,
  output: lengths,
  edits: mapping({ share, keeps: share }),
  resendShare: share,
});
