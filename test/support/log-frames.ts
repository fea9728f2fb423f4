/** Where the frames of a fact log lie. */
import { HEADER_BYTES, headerOf } from '../../src/runtime/live/log-frames.ts';

/** Where each frame of a whole file begins. */
export function framesAt(bytes: Buffer): number[] {
  const starts: number[] = [];
  for (let at = 0; at < bytes.length; ) {
    starts.push(at);
    at += HEADER_BYTES + headerOf(bytes.subarray(at))!.payloadBytes;
  }
  return starts;
}
