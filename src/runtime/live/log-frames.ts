/**
 * Frames of a fact log's file: a header with two checksums, then the bytes. A file that ends within
 * a frame was cut by a kill, which is no damage: what lies before is whole. All numbers are little
 * endian.
 *
 * | bytes | what                                                        |
 * | ----- | ----------------------------------------------------------- |
 * | 0-3   | 'M' 'T' 'L', then the kind                                  |
 * | 4-7   | bytes of the payload                                        |
 * | 8-15  | number of its first fact in the machine's life, as a double |
 * | 16-19 | CRC-32C of the payload                                      |
 * | 20-23 | CRC-32C of bytes 0-19                                       |
 */
import { crc32c } from '../crc32c.ts';

export const FrameKind = {
  /** What an ingress plays: TraceColumns in the core's codec. */
  trace: 0,
  /** First bytes of a segment of core/log.ts, and more of it: whole facts. */
  segment: 1,
  facts: 2,
  /** Nothing follows: the machine was stopped. */
  end: 3,
} as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

export const HEADER_BYTES = 24;
const CHECKED_BYTES = 20;
/** 'MTL' below the kind. */
const MARK = 0x4c544d;
const KIND_SHIFT = 24;
/** Of a turn's facts, mostly. */
const KEPT_BYTES = 64 << 10;

export interface FrameHeader {
  readonly kind: FrameKind;
  readonly payloadBytes: number;
  readonly firstFact: number;
  /** As an int32. */
  readonly crc: number;
}

/** Makes frames in a buffer of its own, which holds one until the next is made. */
export class FrameMaker {
  private readonly buffer = Buffer.allocUnsafe(KEPT_BYTES);

  frame(kind: FrameKind, firstFact: number, payload: Uint8Array): Buffer {
    const bytes = HEADER_BYTES + payload.length;
    const frame = bytes > KEPT_BYTES ? Buffer.allocUnsafe(bytes) : this.buffer.subarray(0, bytes);
    frame.writeUInt32LE(kind * 2 ** KIND_SHIFT + MARK, 0);
    frame.writeUInt32LE(payload.length, 4);
    frame.writeDoubleLE(firstFact, 8);
    frame.writeInt32LE(crc32c(payload), 16);
    frame.writeInt32LE(crc32c(frame.subarray(0, CHECKED_BYTES)), CHECKED_BYTES);
    frame.set(payload, HEADER_BYTES);
    return frame;
  }
}

/** Of the first bytes of a frame; null when they are not such. */
export function headerOf(bytes: Buffer): FrameHeader | null {
  const mark = bytes.readUInt32LE(0);
  const kind = Math.floor(mark / 2 ** KIND_SHIFT);
  if (mark % 2 ** KIND_SHIFT !== MARK || kind > FrameKind.end) return null;
  const crc = bytes.readInt32LE(CHECKED_BYTES);
  if (crc !== crc32c(bytes.subarray(0, CHECKED_BYTES))) return null;
  return {
    kind: kind as FrameKind,
    payloadBytes: bytes.readUInt32LE(4),
    firstFact: bytes.readDoubleLE(8),
    crc: bytes.readInt32LE(16),
  };
}
