/**
 * Set-up of V8, imported before anything else. A run lasts about a second and much of that is
 * compilation; with less inlining the optimising compiler has less to do, which saves 9 % of the
 * CPU of a replay of 12,000 requests (paired runs). Loops that run for long raise it again for
 * themselves: src/study/cache/specialise.ts.
 */
import { setFlagsFromString } from 'node:v8';

setFlagsFromString('--max-inlined-bytecode-size=60');
setFlagsFromString('--max-inlined-bytecode-size-cumulative=60');
