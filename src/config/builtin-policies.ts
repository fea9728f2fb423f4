/**
 * The built-in policies as modules. In the command line's bundle this file is replaced by a table
 * of them all (scripts/bundle-cli.mjs).
 */
import type { PolicyKind } from '../core/policy.ts';

/** `.ts` when this file runs from its sources, `.js` when compiled. */
const EXTENSION = import.meta.url.endsWith('.ts') ? '.ts' : '.js';

/** The module of `src/policy/<kind>/<name>`, which exists. */
export function importBuiltin(kind: PolicyKind, name: string): Promise<{ default: unknown }> {
  const url = new URL(`../policy/${kind}/${name}${EXTENSION}`, import.meta.url);
  return import(/* @vite-ignore */ url.href);
}
