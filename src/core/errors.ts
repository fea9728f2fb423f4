/**
 * The two kinds of wrong: what the program got wrong (assert) and what it was given (InputError).
 */

/** Bad input. The message is one line: what was found and what was expected. */
export class InputError extends Error {
  /** Where: `file:line` or `file:line:column`, or the option's name; empty when there is none. */
  readonly place: string;

  constructor(message: string, place = '') {
    super(place === '' ? message : `${place}: ${message}`);
    this.name = 'InputError';
    this.place = place;
  }
}

/** A policy threw, or answered what it may not: a pinned victim, an unknown instance. */
export class PolicyError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'PolicyError';
  }
}

/** Programmer errors stop the run, in every build. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${message}`);
}

/** The branch that a complete switch never takes. */
export function unreachable(value: never): never {
  throw new Error(`invariant broken: unexpected ${JSON.stringify(value)}`);
}
