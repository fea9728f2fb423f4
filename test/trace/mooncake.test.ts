import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { line, readLines, readText } from './files.ts';

interface Row {
  timestamp: number;
  input_length: number;
  output_length: number;
  hash_ids: number[];
}

const BLOCK_TOKENS = 16;

/** Rows that obey the format, as a list with rising timestamps. */
const rows = fc
  .array(
    fc.record({
      wait: fc.oneof(fc.integer({ min: 0, max: 5000 }), fc.constantFrom(0.5, 0.000_001, 12.25)),
      input: fc.integer({ min: 1, max: 200 }),
      output: fc.integer({ min: 0, max: 3000 }),
      hashes: fc.array(fc.oneof(fc.nat({ max: 30 }), fc.maxSafeInteger()), {
        minLength: 13,
        maxLength: 13,
      }),
    }),
    { minLength: 1, maxLength: 40 },
  )
  .map((drawn) => {
    let timestamp = 0;
    return drawn.map(({ wait, input, output, hashes }): Row => {
      timestamp += wait;
      const hash_ids = hashes.slice(0, Math.ceil(input / BLOCK_TOKENS));
      return { timestamp, input_length: input, output_length: output, hash_ids };
    });
  });

/** How a line may be written: order of fields, spaces, fields that nobody knows. */
const styles = fc.record({
  order: fc.shuffledSubarray(['timestamp', 'input_length', 'output_length', 'hash_ids', 'extra'], {
    minLength: 5,
  }),
  space: fc.constantFrom('', ' ', '\t'),
  end: fc.constantFrom('\n', '\r\n', ' \n'),
});

function written(row: Row, style: { order: string[]; space: string; end: string }): string {
  const { order, space, end } = style;
  const fields: Record<string, unknown> = { ...row, extra: { hash_ids: ['"', 'ü'], n: null } };
  const pairs = order.map((key) => `"${key}":${space}${JSON.stringify(fields[key])}`);
  return `${space}{${pairs.join(`,${space}`)}}${end}`;
}

describe('reading Mooncake JSONL', () => {
  it('gives what JSON.parse gives, however the lines are written', async () => {
    const lines = rows.chain((list) =>
      fc.tuple(
        fc.constant(list),
        fc.array(styles, { minLength: list.length, maxLength: list.length }),
      ),
    );
    await fc.assert(
      fc.asyncProperty(lines, async ([list, lineStyles]) => {
        const text = list.map((row, index) => written(row, lineStyles[index])).join('');
        const trace = await readText(text, { blockTokens: BLOCK_TOKENS });
        const ids = new Map<number, number>();
        for (const hash of list.flatMap((row) => row.hash_ids)) {
          if (!ids.has(hash)) ids.set(hash, ids.size);
        }
        expect(trace.requests).toBe(list.length);
        expect(trace.blockTokens).toBe(BLOCK_TOKENS);
        expect(trace.distinctBlocks).toBe(ids.size);
        list.forEach((row, index) => {
          const { blocks, blockStart } = trace;
          const own = blocks.subarray(blockStart[index], blockStart[index + 1]);
          expect([...own]).toEqual(row.hash_ids.map((hash) => ids.get(hash)));
          const arrivalNs = Math.round((row.timestamp - list[0].timestamp) * 1e6);
          expect(trace.arrivalNs[index]).toBe(arrivalNs);
          expect(trace.inputTokens[index]).toBe(row.input_length);
          expect(trace.outputTokens[index]).toBe(Math.max(1, row.output_length));
        });
        expect(trace.blockStart[trace.requests]).toBe(trace.blocks.length);
      }),
    );
  });

  it('counts time from the first request', async () => {
    const trace = await readLines([line({ timestamp: 27_482 }), line({ timestamp: 27_485 })]);
    expect([...trace.arrivalNs]).toEqual([0, 3e6]);
  });

  it('reads a request without output as one of one token', async () => {
    const trace = await readLines([line({ output_length: 0 })]);
    expect([...trace.outputTokens]).toEqual([1]);
  });

  it('passes over empty lines, a byte order mark and a missing last newline', async () => {
    const trace = await readText(`\u{feff}${line()}\n\n  \n${line({ timestamp: 1 })}`);
    expect(trace.requests).toBe(2);
  });

  it('leaves null what the trace does not say', async () => {
    const trace = await readLines([line()]);
    const { session, parent, thinkNs, priority, tenant, sloClass, namespace } = trace;
    for (const column of [session, parent, thinkNs, priority, tenant, sloClass, namespace]) {
      expect(column).toBeNull();
    }
  });

  it('stops at the limit, with the checksum of the whole', async () => {
    const lines = [line(), line({ timestamp: 4 }), 'this is not read'];
    const [limited, whole] = [await readLines(lines, { limit: 2 }), await readLines([line()])];
    expect(limited.requests).toBe(2);
    expect(limited.blockStart.length).toBe(3);
    expect(limited.sha256).not.toBe(whole.sha256);
    expect(limited.sha256).toBe((await readLines(lines, { limit: 1 })).sha256);
  });

  it('grows beyond what the size of the text promised', async () => {
    const many = 3000;
    const hash_ids = Array.from({ length: many }, (_, index) => index % 10);
    const lines = [line({ input_length: many, hash_ids }), line({ input_length: 2 })];
    const trace = await readLines(lines, { blockTokens: 1 });
    expect(trace.blocks.length).toBe(many + 2);
    expect(trace.distinctBlocks).toBe(10);
  });

  describe("aiperf's fields", () => {
    const turn = (changes: Record<string, unknown>) => line({ timestamp: undefined, ...changes });

    it('links the turns of a session by delay', async () => {
      const trace = await readLines([
        line({ session_id: 'a' }),
        line({ timestamp: 5 }),
        line({ timestamp: 9, session_id: 7 }),
        turn({ session_id: 'a', delay: 2.5 }),
        line({ timestamp: 11, session_id: 7 }),
        turn({ session_id: 'a', delay: 0 }),
      ]);
      expect([...trace.session!]).toEqual([0, -1, 1, 0, 1, 0]);
      expect([...trace.parent!]).toEqual([-1, -1, -1, 0, -1, 3]);
      expect([...trace.thinkNs!]).toEqual([0, 0, 0, 2.5e6, 0, 0]);
      // A line without a time stands where the line before it does.
      expect([...trace.arrivalNs]).toEqual([0, 5e6, 9e6, 9e6, 11e6, 11e6]);
    });

    it('takes priorities, 0 where there is none', async () => {
      const trace = await readLines([line(), line({ priority: -3 }), line({ priority: null })]);
      expect([...trace.priority!]).toEqual([0, -3, 0]);
    });

    it('takes null for nothing', async () => {
      const trace = await readLines([line({ session_id: null, delay: null, priority: null })]);
      expect(trace.session).toBeNull();
    });
  });
});
