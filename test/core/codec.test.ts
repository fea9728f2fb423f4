/** What was encoded comes back; what was not encoded is refused in a line. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Decoder, decode, Encoder, encode } from '../../src/core/codec.ts';
import { InputError } from '../../src/core/errors.ts';
import { BlockSpan } from '../../src/core/request.ts';

const typedArrays = fc.oneof(
  fc.int8Array(),
  fc.uint8Array(),
  fc.uint8ClampedArray(),
  fc.int16Array(),
  fc.uint16Array(),
  fc.int32Array(),
  fc.uint32Array(),
  fc.float32Array(),
  fc.float64Array(),
);

const leaves = fc.oneof(
  fc.constantFrom(null, undefined, true, false, 0, -0, Number.NaN, 2 ** 53 - 1, -(2 ** 53 - 1)),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double(),
  fc.string({ unit: 'binary' }),
  typedArrays,
);

/** Any key that an object can be given by assignment. */
const keys = fc.string().filter((key) => key !== '__proto__');

const values = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    leaves,
    fc.array(tie('value')),
    fc.dictionary(keys, tie('value'), { noNullPrototype: true }),
    fc.array(fc.tuple(tie('value'), tie('value'))).map((entries) => new Map(entries)),
    fc.array(tie('value')).map((items) => new Set(items)),
  ),
})).value;

const spans = fc.tuple(fc.int32Array({ minLength: 1 }), fc.nat(), fc.nat()).map(([ids, a, b]) => {
  const from = a % ids.length;
  return new BlockSpan(ids, from, from + (b % (ids.length - from + 1)));
});

describe('codec', () => {
  it('brings every plain value back', () => {
    fc.assert(
      fc.property(values, (value) => {
        expect(decode(encode(value))).toStrictEqual(value);
      }),
    );
  });

  it('keeps the sign of zero and what is not finite', () => {
    for (const value of [-0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      expect(Object.is(decode(encode(value)), value)).toBe(true);
      expect(decode(encode(Float64Array.of(value, 0, value)))).toEqual(
        Float64Array.of(value, 0, value),
      );
    }
  });

  it('brings back the ids of a span and not the array around it', () => {
    fc.assert(
      fc.property(spans, (span) => {
        const copy = decode(encode(span)) as BlockSpan;
        expect(copy).toBeInstanceOf(BlockSpan);
        expect([...copy.ids]).toEqual([...span.ids.subarray(span.from, span.to)]);
        expect([copy.from, copy.to]).toEqual([0, span.length]);
      }),
    );
    const long = new BlockSpan(new Int32Array(1e6), 10, 13);
    expect(encode(long).length).toBeLessThan(8);
  });

  it('reads many values from one stream, in order', () => {
    fc.assert(
      fc.property(fc.array(values), (list) => {
        const encoder = new Encoder();
        for (const value of list) encoder.value(value);
        const decoder = new Decoder(encoder.take());
        expect(list.map(() => decoder.value())).toEqual(list);
        expect(decoder.done).toBe(true);
      }),
    );
  });

  it('is small: keys and strings once, whole numbers and runs short', () => {
    const fact = { kind: 'transferEnded', transfer: 3, ok: true };
    const one = encode([fact]).length;
    const many = encode(new Array(101).fill(fact)).length;
    expect((many - one) / 100).toBeLessThan(8);
    expect(encode(127)).toHaveLength(1);
    expect(encode(1_000)).toHaveLength(3);
    expect(encode(new Int32Array(1e6).fill(-1)).length).toBeLessThan(16);
  });

  it('has no bytes for what is not plain', () => {
    class Own {}
    expect(() => encode(() => 0)).toThrow('a function has no bytes');
    expect(() => encode([1n])).toThrow('a bigint has no bytes');
    expect(() => encode({ own: new Own() })).toThrow('an instance of Own has no bytes');
    expect(() => encode(JSON.parse('{"__proto__": 1}'))).toThrow('__proto__');
  });

  it('refuses bytes that are cut short', () => {
    fc.assert(
      fc.property(values, fc.double({ min: 0, max: 1, maxExcluded: true }), (value, part) => {
        const bytes = encode(value);
        const short = bytes.slice(0, Math.floor(part * bytes.length));
        expect(() => decode(short)).toThrow(InputError);
      }),
    );
  });

  it('answers changed bytes with a value or an InputError, never with anything else', () => {
    const change = fc.tuple(values, fc.nat(), fc.nat(255));
    fc.assert(
      fc.property(change, ([value, place, byte]) => {
        const bytes = encode([value, value]);
        bytes[place % bytes.length] = byte;
        try {
          decode(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(InputError);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('says what it found and where', () => {
    expect(() => decode(Uint8Array.of())).toThrow('found the end at byte 0, expected more bytes');
    expect(() => decode(Uint8Array.of(0xff))).toThrow(
      'found byte 0xff at byte 1, expected a value',
    );
    expect(() => decode(Uint8Array.of(1, 2))).toThrow('found 1 more bytes at byte 1');
  });
});
