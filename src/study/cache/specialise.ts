/**
 * A loop that calls a policy's methods is fast only while it has met one policy class: then V8
 * inlines them; after a few classes every call is a lookup, and a study that compares 25 policies
 * would time the dispatch. Type feedback belongs to a function's code, not to its closure, so each
 * policy gets the loop compiled anew from its source text.
 */
import { setFlagsFromString } from 'node:v8';

/**
 * How much V8 may inline into a copy, bytes of bytecode: per call its default, in all four times
 * it, so that a hit and a miss of the larger policies fit. Worth 10 to 30 % on ARC, S3-FIFO and
 * W-TinyLFU (`npm run bench`); what the command line sets for short runs costs as much again here.
 */
const INLINE_BYTES = 460;
const INLINE_ALL_BYTES = 4000;

const copies = new Map<string, unknown>();

/**
 * A copy of `loop` for the policy `name`; the same pair gives the same copy. `loop` may use its
 * parameters and nothing else. Where code generation is forbidden the original does the same work.
 */
export function specialise<F extends (...args: never[]) => unknown>(loop: F, name: string): F {
  const key = `${loop.name} for ${name}`;
  let copy = copies.get(key) as F | undefined;
  if (copy === undefined) {
    setFlagsFromString(`--max-inlined-bytecode-size=${INLINE_BYTES}`);
    setFlagsFromString(`--max-inlined-bytecode-size-cumulative=${INLINE_ALL_BYTES}`);
    try {
      // The name in the text keeps V8's compilation cache from handing out one copy twice.
      copy = new Function(`return ${loop.toString()} // ${JSON.stringify(key)}`)() as F;
    } catch {
      copy = loop;
    }
    copies.set(key, copy);
  }
  return copy;
}
