/** The study as a whole: rows, pools of several nodes, traces of other tools, options. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TraceColumns } from '../../src/core/trace-columns.ts';
import { streamOfTrace, streamWithDecode } from '../../src/study/cache/access-stream.ts';
import { ROUTINGS } from '../../src/study/cache/cluster-pools.ts';
import { collectForeign, openForeign } from '../../src/study/cache/foreign.ts';
import { type CacheStudyOptions, runCacheStudy } from '../../src/study/cache/index.ts';
import { skewedStream } from './cache-streams.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'moontide-cache-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const file = (name: string, content: string | Uint8Array) => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};

interface Turn {
  readonly blocks: readonly number[];
  readonly input: number;
  readonly output?: number;
  readonly session?: number;
}

/** A trace with blocks of 4 tokens, one request a second. */
function traceOf(turns: readonly Turn[]): TraceColumns {
  const blockStart = new Int32Array(turns.length + 1);
  turns.forEach(({ blocks }, i) => {
    blockStart[i + 1] = blockStart[i] + blocks.length;
  });
  const blocks = Int32Array.from(turns.flatMap((turn) => turn.blocks));
  const named = turns.every((turn) => turn.session !== undefined);
  return {
    requests: turns.length,
    blockTokens: 4,
    distinctBlocks: Math.max(...blocks) + 1,
    arrivalNs: Float64Array.from(turns, (_, i) => i * 1e9),
    inputTokens: Int32Array.from(turns, (turn) => turn.input),
    outputTokens: Int32Array.from(turns, (turn) => turn.output ?? 1),
    blockStart,
    blocks,
    session: named ? Int32Array.from(turns, (turn) => turn.session!) : null,
    parent: null,
    thinkNs: null,
    priority: null,
    tenant: null,
    sloClass: null,
    namespace: null,
    sha256: 'none',
  };
}

/** Prompt 0 1 2 (10 of 12 tokens), asked twice, then 0 1 3. */
const small = traceOf([
  { blocks: [0, 1, 2], input: 10 },
  { blocks: [0, 1, 2], input: 10 },
  { blocks: [0, 1, 3], input: 12 },
]);

const rowsOf = async (options: CacheStudyOptions) => (await runCacheStudy(options)).rows;

describe('rows', () => {
  it('count blocks, tokens, requests, bytes and seconds', async () => {
    const { rows, model, trace } = await runCacheStudy({ trace: small, capacities: [null] });
    // Llama3-70B: 327,680 B per token, 4 tokens a block.
    expect(model).toMatchObject({ name: 'llama3-70b', bytesPerBlock: 1_310_720 });
    expect(trace).toMatchObject({ requests: 3, accesses: 9, inputTokens: 32, distinctBlocks: 4 });
    // Hits 0, 3 and 2 blocks; tokens 0, 10 and 8. One request hits in full.
    expect(rows[0]).toMatchObject({
      policy: 'lru',
      capacityBlocks: null,
      capacityBytes: null,
      accesses: 9,
      hits: 5,
      misses: 4,
      hitRatio: 5 / 9,
      tokensRatio: 18 / 32,
      requestsRatio: 2 / 3,
      fullRequestsRatio: 1 / 3,
      bytesRead: 5 * 1_310_720,
      bytesWritten: 4 * 1_310_720,
      blocksWritten: 4,
      evictions: 0,
      declined: 0,
    });
    // Prefill of k = tokens / 1024 takes 0.11316 k + 0.000795 k^2 s; 10 and 8 tokens are saved. The
    // last block of 10 tokens saves half of what all of it would.
    const seconds = (tokens: number) => 0.11316 * (tokens / 1024) + 0.000795 * (tokens / 1024) ** 2;
    expect(rows[0].savedPrefillSeconds).toBeCloseTo(seconds(10) + seconds(8), 7);
  });

  it('tell prefix hits from any hits', async () => {
    // Two slots, FIFO: 0 | 1 | 2, which drops 0 | 0 2. 0 is missing and drops 1; 2 is there behind
    // it.
    const trace = traceOf([
      { blocks: [0], input: 4 },
      { blocks: [1], input: 4 },
      { blocks: [2], input: 4 },
      { blocks: [0, 2], input: 8 },
    ]);
    const base = { trace, policies: ['fifo'], capacities: [2] };
    expect((await rowsOf({ ...base, semantics: 'any' }))[0].hits).toBe(1);
    expect((await rowsOf({ ...base, semantics: 'prefix' }))[0].hits).toBe(0);
  });

  it('touch the blocks of a request in the order that is asked for', async () => {
    // One slot: 0 1, twice. Forward, 1 is there and 0 is asked for first; reverse, 0 is there: a
    // hit of the leading block.
    const turn = { blocks: [0, 1], input: 8 };
    const base = { trace: traceOf([turn, turn]), capacities: [1] };
    expect((await rowsOf({ ...base, order: 'forward' }))[0].hits).toBe(0);
    expect((await rowsOf({ ...base, order: 'reverse' }))[0].hits).toBe(1);
  });

  it('take capacities in blocks, tokens and bytes', async () => {
    const blocks = async (unit: 'blocks' | 'tokens' | 'bytes', capacity: number) =>
      (await rowsOf({ trace: small, unit, capacities: [capacity] }))[0].capacityBlocks;
    expect(await blocks('blocks', 3)).toBe(3);
    expect(await blocks('tokens', 15)).toBe(3);
    expect(await blocks('bytes', 2.5 * 1_310_720)).toBe(2);
  });

  it('are the same for the same seed, and for sampling policies differ with it', async () => {
    const stream = skewedStream();
    const path = file('skewed.txt', stream.blocks.subarray(0, 60_000).join('\n'));
    const study = (seed: number) =>
      rowsOf({ trace: `keys:${path}`, policies: ['random'], capacities: [500], seed });
    expect(await study(1)).toEqual(await study(1));
    expect(await study(2)).not.toEqual(await study(1));
  });

  it('never beat what belady with the right to decline has under any', async () => {
    const requests = fc.array(
      fc.record({ session: fc.nat(5), length: fc.integer({ min: 1, max: 6 }) }),
      { minLength: 1, maxLength: 25 },
    );
    const law = fc.asyncProperty(requests, fc.integer({ min: 1, max: 12 }), async (list, slots) => {
      const turns = list.map(({ session, length }) => ({
        blocks: Array.from({ length }, (_, i) => (i === 0 ? 0 : session * 5 + i)),
        input: 4 * length,
      }));
      const base = { trace: traceOf(turns), capacities: [slots] };
      const bound = await rowsOf({ ...base, policies: ['belady:bypass=true'], semantics: 'any' });
      for (const order of ['forward', 'reverse'] as const) {
        const policies = ['lru', 'leaf-lru', 'belady', 'prefix-cost', 's3-fifo'];
        for (const row of await rowsOf({ ...base, order, policies })) {
          expect(row.hits, `${row.policy} ${order}`).toBeLessThanOrEqual(bound[0].hits);
        }
      }
    });
    await fc.assert(law, { numRuns: 40 });
  });
});

describe('decode-cached', () => {
  it('lets the next turn adopt what decode produced', async () => {
    // 0 1 and 10 tokens of output: 8 tokens of prompt, so blocks 2 and 3 of the answer are full.
    // The next turn presents 2 3 4 behind 1: the first two are the answer. Another prompt does not
    // get them.
    const trace = traceOf([
      { blocks: [0, 1], input: 8, output: 10 },
      { blocks: [0, 1, 2, 3, 4], input: 20 },
      { blocks: [5, 6, 7], input: 12 },
    ]);
    const rows = async (decodeCached: boolean) =>
      (await rowsOf({ trace, capacities: [null], decodeCached }))[0];
    expect((await rows(false)).hits).toBe(2);
    const cached = await rows(true);
    expect([cached.accesses, cached.hits]).toEqual([10, 4]);
    expect(cached.blocksWritten).toBe(8);
  });

  it('keeps a partial last block apart from the full one that decode makes of it', () => {
    // 6 tokens: 0 full, 1 with 2 tokens. 5 more make block 1 full, with another content.
    const stream = streamWithDecode(traceOf([{ blocks: [0, 1], input: 6, output: 5 }]));
    expect([...stream.blocks]).toEqual([0, 1, 2]);
    expect([...stream.promptEnd!]).toEqual([2]);
  });

  it('changes nothing without output', () => {
    const plain = streamOfTrace(small);
    const decoded = streamWithDecode({ ...small, outputTokens: new Int32Array(3) });
    expect([...decoded.blocks]).toEqual([...plain.blocks]);
    expect([...decoded.promptEnd!]).toEqual([...plain.promptEnd!]);
  });
});

describe('nodes with pools of their own', () => {
  const turns = Array.from({ length: 120 }, (_, i) => {
    const session = (i * 7) % 12;
    return { blocks: [0, 1 + session, 20 + session], input: 12, session };
  });
  const trace = traceOf(turns);

  it.each(ROUTINGS)('%s serves every request once', async (routing) => {
    const [row] = await rowsOf({ trace, nodes: 4, routing, capacities: [null] });
    expect(row.accesses).toBe(360);
    // At least one copy of each of the 25 blocks, at most one on each node.
    expect(row.blocksWritten).toBeGreaterThanOrEqual(25);
    expect(row.blocksWritten).toBeLessThanOrEqual(100);
    const [shared] = await rowsOf({ trace, capacities: [null] });
    expect(row.hits).toBeLessThanOrEqual(shared.hits);
  });

  it('affine keeps a session on its node: only the shared block is copied', async () => {
    const [row] = await rowsOf({ trace, nodes: 4, routing: 'affine', capacities: [null] });
    const copies = row.blocksWritten - 24;
    expect(copies).toBeLessThanOrEqual(4);
    expect(row.misses).toBe(row.blocksWritten);
  });

  it('without sessions affine goes by the first block that few share', async () => {
    const anonymous = { ...trace, session: null };
    const named = await rowsOf({ trace, nodes: 4, routing: 'affine', capacities: [null] });
    const found = await rowsOf({
      trace: anonymous,
      nodes: 4,
      routing: 'affine',
      capacities: [null],
    });
    expect(Math.abs(found[0].misses - named[0].misses)).toBeLessThanOrEqual(4);
  });

  it('one node is the shared pool', async () => {
    const base = { trace, policies: ['lru', 'arc'], capacities: [8] };
    expect(await rowsOf({ ...base, nodes: 1 })).toEqual(await rowsOf(base));
  });
});

describe('traces of other tools', () => {
  /** Records of oracleGeneral: time, id, size, next. */
  const records = (rows: readonly (readonly [number, bigint])[]) => {
    const bytes = Buffer.alloc(24 * rows.length);
    rows.forEach(([seconds, id], i) => {
      bytes.writeUInt32LE(seconds, 24 * i);
      bytes.writeBigUInt64LE(id, 24 * i + 4);
      bytes.writeUInt32LE(4096, 24 * i + 12);
      bytes.writeBigInt64LE(-1n, 24 * i + 16);
    });
    return bytes;
  };

  it('reads keys, one a line, numbers and texts alike', async () => {
    const path = file('keys.txt', '7\nabc\r\n7\n007\nabc\n12345678901234567890\n7');
    const stream = collectForeign(await openForeign('keys', path));
    expect([...stream.blocks]).toEqual([0, 1, 0, 2, 1, 3, 0]);
    expect(stream.distinctBlocks).toBe(4);
  });

  it('reads oracleGeneral, ids of 64 bits and times', async () => {
    const rows = [
      [5, 2n ** 63n + 1n],
      [5, 1n],
      [9, 2n ** 32n + 1n],
      [9, 2n ** 63n + 1n],
    ] as const;
    const stream = collectForeign(
      await openForeign('oracle-general', file('og.bin', records(rows))),
    );
    expect([...stream.blocks]).toEqual([0, 1, 2, 0]);
    expect([...stream.timeNs!]).toEqual([5e9, 5e9, 9e9, 9e9]);
  });

  it('gives the same rows whole, in pieces, compressed, and in both formats', async () => {
    const keys = skewedStream().blocks.subarray(0, 100_000);
    const text = file('long.txt', keys.join('\n'));
    const zipped = file('long.txt.gz', gzipSync(keys.join('\n')));
    const binary = file('long.bin', records([...keys].map((key, i) => [i >> 8, BigInt(key)])));
    const policies = ['lru', 's3-fifo', 'arc'];
    const study = (trace: string, extra: Partial<CacheStudyOptions> = {}) =>
      rowsOf({ trace, policies, capacities: [300, 3000], ...extra });
    const whole = await study(`keys:${text}`, { curve: 'exact' });
    expect(whole[0].accesses).toBe(100_000);
    expect(whole[0].bytesWritten).toBeNull();
    expect(await study(`keys:${text}`)).toEqual(whole);
    expect(await study(`keys:${zipped}`)).toEqual(whole);
    expect(await study(`oracle-general:${binary}`)).toEqual(whole);
  });

  it.each([
    ['keys', 'a\n\nb\n', /bad:2: found an empty line, expected a key/],
    ['keys', '', /bad: found no keys, expected one a line/],
    ['oracle-general', 'x'.repeat(30), /found 6 bytes after record 1, expected records of 24/],
    ['oracle-general', '', /found no records/],
  ] as const)('%s: %j is bad input', async (format, content, message) => {
    const trace = `${format}:${file('bad', content)}`;
    await expect(runCacheStudy({ trace, capacities: [10] })).rejects.toThrow(message);
  });

  it('names the record whose time falls', async () => {
    const rows = [
      [5, 1n],
      [4, 2n],
    ] as const;
    const trace = `oracle-general:${file('falls.bin', records(rows))}`;
    await expect(runCacheStudy({ trace, capacities: [10] })).rejects.toThrow(
      /record 2: found time 4 after 5/,
    );
  });

  it('says what bare keys do not have', async () => {
    const trace = `keys:${file('one.txt', '1')}`;
    const study = (options: Partial<CacheStudyOptions>) => runCacheStudy({ trace, ...options });
    await expect(study({ unit: 'bytes' })).rejects.toThrow(/found unit bytes for a trace of bare/);
    await expect(study({ decodeCached: true })).rejects.toThrow(/decode-cached/);
    await expect(runCacheStudy({ trace: 'keys:/no/such/file' })).rejects.toThrow(/no such file/);
  });
});

describe('options', () => {
  it.each([
    [{ policies: ['lur'] }, /unknown eviction policy "lur"/],
    [{ policies: ['s3-fifo:smal=0.1'] }, /unknown parameter smal/],
    [{ policies: [] }, /policies: found none/],
    [{ capacities: [0] }, /capacities: found 0, expected a positive number or inf/],
    [{ capacities: [3], unit: 'tokens' }, /found 3 tokens, expected at least one block, 4 tokens/],
    [{ capacities: [3], nodes: 4 }, /found 3 blocks for 4 nodes/],
    [{ nodes: 1.5 }, /nodes: found 1.5/],
    [{ semantics: 'some' }, /semantics: found "some", expected prefix or any/],
    [{ targets: [0.5] }, /found targets without a curve/],
    [{ curve: 'exact', targets: [2] }, /targets: found 2, expected a share/],
  ])('%j is refused', async (options, message) => {
    const all = { trace: small, ...options } as CacheStudyOptions;
    await expect(runCacheStudy(all)).rejects.toThrow(message as RegExp);
  });

  it('answers targets in blocks and bytes', async () => {
    const study = await runCacheStudy({ trace: small, curve: 'exact', targets: [1] });
    // 0 1 2 three slots long: the second request needs 3, the third then no more.
    expect(study.curve!.targets).toEqual([
      { share: 1, capacityBlocks: 3, capacityBytes: 3 * 1_310_720 },
    ]);
    expect(study.curve!.points.at(-1)).toMatchObject({ capacityBlocks: 4, hitRatio: 5 / 9 });
  });
});
