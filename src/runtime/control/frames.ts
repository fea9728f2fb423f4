/**
 * What crosses a link: frames, each a number that counts up within its stream and the messages of
 * one turn. Bytes of a peer are read with bounds on depth and size, so that a short frame can't ask
 * for much memory or stack.
 */
import { Decoder, Encoder, type TypedArray, type TypedArrayClass } from '../../core/codec.ts';
import { InputError } from '../../core/errors.ts';

/** One frame; a larger one breaks the link. An inventory of a million blocks has about 5 MB. */
export const FRAME_BYTES_MAX = 64 << 20;
/** Values within values; messages need seven. */
const DEPTH_MAX = 16;
/** Elements of all typed arrays of a frame: runs of equal ones take a few bytes each. */
const ELEMENTS_MAX = 16 << 20;

export function encodeFrame(number: number, messages: readonly unknown[]): Buffer {
  const encoder = new Encoder();
  encoder.value(number);
  encoder.value(messages);
  return Buffer.from(encoder.take());
}

/**
 * The messages of frame `number` of a stream.
 * @throws InputError for anything else: another number means that frames are lost or sent again
 */
export function decodeFrame(bytes: Uint8Array, number: number): readonly unknown[] {
  const decoder = new FrameDecoder(bytes);
  const found = decoder.value();
  if (found !== number) throw new InputError(`found frame ${String(found)}, expected ${number}`);
  const messages = decoder.value();
  if (!Array.isArray(messages)) throw new InputError('found no list of messages');
  decoder.end();
  return messages;
}

class FrameDecoder extends Decoder {
  private depth = 0;
  private elements = 0;

  protected override object(tag: number, like: unknown): unknown {
    if (++this.depth > DEPTH_MAX) this.fail('deeper values', `at most ${DEPTH_MAX} levels`);
    const value = super.object(tag, like);
    this.depth--;
    return value;
  }

  protected override arrayFor(type: TypedArrayClass, length: number, like: unknown): TypedArray {
    this.elements += length;
    if (this.elements > ELEMENTS_MAX) this.fail('more elements', `at most ${ELEMENTS_MAX}`);
    return super.arrayFor(type, length, like);
  }
}
