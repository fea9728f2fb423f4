/** Exit codes, and what a user reads when something goes wrong. */
import { InputError, PolicyError } from '../core/errors.ts';

export const EXIT = { done: 0, failed: 1, badInput: 2 } as const;

/** Prints one line for bad input; a stack besides for what is our fault. Answers the exit code. */
export function reportError(error: unknown): number {
  if (error instanceof InputError) {
    process.stderr.write(`moontide: ${error.message}\n`);
    return EXIT.badInput;
  }
  if (error instanceof PolicyError) {
    process.stderr.write(`moontide: ${error.message}\n`);
    return EXIT.failed;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`moontide: ${text}\n`);
  return EXIT.failed;
}
