/** Exit codes, and what a user reads when something goes wrong. */

export const EXIT = { done: 0, failed: 1, badInput: 2 } as const;

/** By name: a policy's file carries a copy of the error classes of its own. */
function isNamed(error: unknown, name: string): error is Error {
  return error instanceof Error && error.name === name;
}

/** Prints one line for bad input; a stack besides for what is our fault. Answers the exit code. */
export function reportError(error: unknown): number {
  if (isNamed(error, 'InputError')) {
    process.stderr.write(`moontide: ${error.message}\n`);
    return EXIT.badInput;
  }
  if (['PolicyError', 'RegistryError', 'StoreError'].some((name) => isNamed(error, name))) {
    process.stderr.write(`moontide: ${(error as Error).message}\n`);
    return EXIT.failed;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`moontide: ${text}\n`);
  return EXIT.failed;
}
