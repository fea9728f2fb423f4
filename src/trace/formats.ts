/** Formats that traces are read from: one row each. A new one is a file with a reader and a row. */
import { InputError } from '../core/errors.ts';
import { oneOf } from '../core/kit/nearest.ts';
import type { TraceColumns } from '../core/trace-columns.ts';
import { looksLikeMooncake, type ReadOptions, readMooncake } from './mooncake.ts';
import type { TraceSource } from './source.ts';
import { takeFirst } from './transform.ts';

export interface TraceFormat {
  /** What stands before the colon of `format:path`. */
  readonly name: string;
  readonly description: string;
  /** Whether a file that begins with this text is probably of the format. */
  readonly matches: (head: string) => boolean;
  readonly read: (source: TraceSource, options: ReadOptions) => Promise<TraceColumns>;
}

export const FORMATS: readonly TraceFormat[] = [
  {
    name: 'mooncake',
    description: 'JSONL: timestamp (ms), input_length, output_length, hash_ids',
    matches: looksLikeMooncake,
    read: async (source, options) => readMooncake(source, options),
  },
  {
    name: 'spec',
    description: 'YAML: parameters of a generator, as in traces/conversation-like.yaml',
    matches: (head) => /^generator\s*:/m.test(head),
    read: readSpec,
  },
];

export function formatNamed(name: string, place: string): TraceFormat {
  const format = FORMATS.find((candidate) => candidate.name === name);
  if (format !== undefined) return format;
  const known = FORMATS.map((candidate) => candidate.name);
  throw new InputError(`found the format "${name}", expected ${oneOf(name, known)}`, place);
}

/** Guesses by content. */
export function formatOf({ bytes, place }: TraceSource): TraceFormat {
  const head = bytes.toString('utf8', 0, HEAD_BYTES);
  const format = FORMATS.find((candidate) => candidate.matches(head));
  if (format !== undefined) return format;
  const known = FORMATS.map(({ name, description }) => `${name} (${description})`).join(', ');
  throw new InputError(`found a file of no known format, expected ${known}`, place);
}

/** Enough for the first line of a Mooncake trace up to its hashes, and for a spec's comments. */
const HEAD_BYTES = 8192;

/** The generator and its YAML parser are loaded only when they are needed. */
async function readSpec(source: TraceSource, options: ReadOptions): Promise<TraceColumns> {
  const [{ parseGeneratorSpec }, { generate }] = await Promise.all([
    import('./generator-spec.ts'),
    import('./generator.ts'),
  ]);
  const { spec, placeOf } = parseGeneratorSpec(source.bytes.toString('utf8'), source.place);
  const trace = generate({ ...spec, seed: options.seed ?? spec.seed }, placeOf);
  return options.limit === undefined ? trace : takeFirst(trace, options.limit);
}
