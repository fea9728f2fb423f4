/** What the hosts of a live cluster say to each other, beside their machines' messages. */
import { InputError } from '../../core/errors.ts';
import type { Seen } from './reporter.ts';
import type { Holding, MemberStatus } from './status.ts';

export type HostLetter =
  /** How are you? The answer comes after all that was seen before. */
  | readonly ['status?']
  | readonly ['status', status: MemberStatus]
  /** What do you have of the blocks, or believe that others have? */
  | readonly ['audit?']
  | readonly ['audit', holdings: readonly Holding[]]
  /** Tell me what you see. */
  | readonly ['watch']
  | readonly ['seen', seen: readonly Seen[]]
  /** The leader to an agent that has drained: go. */
  | readonly ['depart'];

const KINDS: Record<HostLetter[0], (given: unknown) => boolean> = {
  'status?': () => true,
  status: (given) => typeof given === 'object' && given !== null,
  'audit?': () => true,
  audit: Array.isArray,
  watch: () => true,
  seen: Array.isArray,
  depart: () => true,
};

/** Null: a letter of another kind. @throws InputError */
export function hostLetterOf(letter: unknown): HostLetter | null {
  if (!Array.isArray(letter) || !Object.hasOwn(KINDS, String(letter[0]))) return null;
  const [kind, given] = letter as [HostLetter[0], unknown];
  if (!KINDS[kind](given)) throw new InputError(`found no ${kind}`);
  return letter as unknown as HostLetter;
}
