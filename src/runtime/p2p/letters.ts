/** What peers of a swarm say to each other. */
import { InputError } from '../../core/errors.ts';

export type P2pLetter =
  /** I am here: 1 for each shard that I have. */
  | readonly ['hello', has: Uint8Array]
  | readonly ['have', shard: number]
  /** May I read it? `id` is the reader's. */
  | readonly ['want', id: number, shard: number]
  /** Read it here; `behind` others were before you. */
  | readonly ['grant', id: number, slot: number, generation: number, behind: number]
  | readonly ['no', id: number]
  /** The reader has it, or gave it up. */
  | readonly ['done', id: number];

const NUMBERS: Readonly<Record<string, number>> = { have: 1, want: 2, grant: 4, no: 1, done: 1 };

/** @throws InputError for anything else */
export function p2pLetter(found: unknown, shards: number): P2pLetter {
  if (Array.isArray(found)) {
    const [kind, ...given] = found;
    const wanted = typeof kind === 'string' ? NUMBERS[kind] : undefined;
    const [first] = given;
    if (kind === 'hello' && given.length === 1 && first instanceof Uint8Array) {
      if (first.length === shards && first.every((has) => has <= 1)) return ['hello', first];
    } else if (wanted === given.length && given.every(isCount)) {
      const shard = kind === 'have' ? first : kind === 'want' ? given[1] : 0;
      if (shard < shards) return found as unknown as P2pLetter;
    }
  }
  throw new InputError('found no letter of a swarm');
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
