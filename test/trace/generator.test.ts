import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TraceColumns } from '../../src/core/trace-columns.ts';
import { shippedPath } from '../../src/trace/catalogue.ts';
import { type GeneratorSpec, generate } from '../../src/trace/generator.ts';
import { parseGeneratorSpec } from '../../src/trace/generator-spec.ts';
import { traceInfo } from '../../src/trace/info.ts';
import { readMooncake } from '../../src/trace/mooncake.ts';
import { writeMooncake } from '../../src/trace/mooncake-writer.ts';
import { loadSource } from '../../src/trace/source.ts';
import { temporaryFolder } from './files.ts';

const shipped = shippedPath('conversation-like.yaml');
const { spec } = parseGeneratorSpec(readFileSync(shipped, 'utf8'), shipped);
const demo = generate(spec);
const folder = temporaryFolder();

function small(changes: Partial<GeneratorSpec> = {}): GeneratorSpec {
  return { ...spec, requests: 2000, ...changes };
}

/** Rows of each session, in order. */
function sessionsOf({ session, requests }: TraceColumns): number[][] {
  const rows: number[][] = [];
  for (let row = 0; row < requests; row++) {
    rows[session![row]] ??= [];
    rows[session![row]].push(row);
  }
  return rows;
}

function sharedPrefix({ blocks, blockStart }: TraceColumns, a: number, b: number): number {
  const length = Math.min(blockStart[a + 1] - blockStart[a], blockStart[b + 1] - blockStart[b]);
  let shared = 0;
  while (shared < length && blocks[blockStart[a] + shared] === blocks[blockStart[b] + shared]) {
    shared++;
  }
  return shared;
}

describe('the shipped spec', () => {
  const info = traceInfo(demo);

  it('has the published statistics of the conversation workload', () => {
    expect(info.requests).toBe(12_031);
    expect(Math.abs(info.inputTokens.mean / 12_035 - 1)).toBeLessThan(0.02);
    expect(Math.abs(info.outputTokens.mean / 343 - 1)).toBeLessThan(0.02);
    expect(Math.abs(info.reuse.blocksRatio - 0.366)).toBeLessThan(0.02);
    expect(info.durationNs).toBeGreaterThan(3500e9);
    expect(info.durationNs).toBeLessThanOrEqual(3600e9);
  });

  it('comes in bursts 3 s apart, about Poisson distributed', () => {
    expect(info.arrivals.burstPeriodNs).toBe(3e9);
    const sizes = new Int32Array(1200);
    for (const timeNs of demo.arrivalNs) sizes[timeNs / 3e9]++;
    const mean = 12_031 / 1200;
    const variance = sizes.reduce((sum, size) => sum + (size - mean) ** 2, 0) / 1200;
    expect(variance / mean).toBeGreaterThan(0.8);
    expect(variance / mean).toBeLessThan(1.6);
  });

  it('has one hot root block in every request', () => {
    for (let row = 0; row < demo.requests; row++) expect(demo.blocks[demo.blockStart[row]]).toBe(0);
    expect(info.blocks.hottestShare).toBe(1);
  });

  it('has heavy-tailed lengths', () => {
    expect(info.inputTokens.p99 / info.inputTokens.p50).toBeGreaterThan(8);
    expect(info.inputTokens.max).toBeGreaterThan(100_000);
    expect(info.inputTokens.max).toBeLessThanOrEqual(spec.maxInputTokens);
    expect(info.outputTokens.max).toBe(spec.maxOutputTokens);
  });

  it('has later turns that extend earlier prompts', () => {
    let later = 0;
    let extending = 0;
    for (const rows of sessionsOf(demo)) {
      for (let turn = 1; turn < rows.length; turn++) {
        const [before, row] = [rows[turn - 1], rows[turn]];
        const history = demo.inputTokens[before] + demo.outputTokens[before];
        const full = Math.floor(demo.inputTokens[before] / 512);
        later++;
        if (demo.inputTokens[row] > history && sharedPrefix(demo, before, row) >= full) extending++;
      }
    }
    expect(later / demo.requests).toBeGreaterThan(0.3);
    expect(extending / later).toBeGreaterThan(0.75);
    expect(info.sessions!.turns.max).toBeGreaterThan(10);
  });

  it('is the same trace wherever it is made', () => {
    expect(generate(spec)).toEqual(demo);
    // Changes with the generator or the spec: then say so in the changelog.
    expect(demo.sha256).toBe('0592cde1122bf656960da90c1dea49d216f22ed52d51f9eac982f98cec1ab326');
  });

  it('is named by the checksum of its file, which reads back the same', async () => {
    const path = `${folder}/demo.jsonl`;
    await writeMooncake(demo, path);
    const again = readMooncake(await loadSource(path));
    expect(again).toEqual(demo);
  });
});

describe('any spec', () => {
  const specs = fc
    .record({
      seed: fc.nat(),
      requests: fc.integer({ min: 1, max: 300 }),
      durationNs: fc.integer({ min: 1, max: 7200 }).map((seconds) => seconds * 1e9),
      burstPeriodNs: fc.constantFrom(1e6, 250e6, 3e9),
      blockTokens: fc.constantFrom(16, 256, 512),
      systemTokens: fc.nat({ max: 2000 }),
      meanTurns: fc.double({ min: 1, max: 8, noNaN: true }),
      edits: fc.record({
        share: fc.double({ min: 0, max: 1, noNaN: true }),
        keeps: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
      resendShare: fc.double({ min: 0, max: 1, noNaN: true }),
    })
    .map(({ meanTurns, ...rest }): GeneratorSpec => {
      return { ...spec, ...rest, meanInputTokens: 6000, turns: { mean: meanTurns, shape: 1.5 } };
    });

  it('gives a well-formed trace with the requests and means asked for', () => {
    fc.assert(
      fc.property(specs, (drawn) => {
        let trace: TraceColumns;
        try {
          trace = generate(drawn);
        } catch (error) {
          // A handful of requests may not reach a mean.
          expect(String(error)).toContain('expected a mean in their reach');
          fc.pre(false);
          return;
        }
        expect(trace.requests).toBe(drawn.requests);
        const info = traceInfo(trace);
        expect(Math.abs(info.inputTokens.mean / 6000 - 1)).toBeLessThan(0.002);
        expect(Math.abs(info.outputTokens.mean / 343 - 1)).toBeLessThan(0.002);
        let next = 0;
        for (let row = 0; row < trace.requests; row++) {
          expect(trace.arrivalNs[row] % drawn.burstPeriodNs).toBe(0);
          expect(trace.arrivalNs[row]).toBeLessThan(drawn.durationNs);
          if (row > 0)
            expect(trace.arrivalNs[row]).toBeGreaterThanOrEqual(trace.arrivalNs[row - 1]);
          expect(trace.inputTokens[row]).toBeGreaterThan(drawn.systemTokens);
          expect(trace.inputTokens[row]).toBeLessThanOrEqual(drawn.maxInputTokens);
          expect(trace.outputTokens[row]).toBeGreaterThanOrEqual(1);
          expect(trace.outputTokens[row]).toBeLessThanOrEqual(drawn.maxOutputTokens);
          const own = trace.blocks.subarray(trace.blockStart[row], trace.blockStart[row + 1]);
          expect(own.length).toBe(Math.ceil(trace.inputTokens[row] / drawn.blockTokens));
          expect(new Set(own).size).toBe(own.length);
          for (const block of own) {
            expect(block).toBeLessThanOrEqual(next);
            if (block === next) next++;
          }
          const system = Math.floor(drawn.systemTokens / drawn.blockTokens);
          expect(sharedPrefix(trace, 0, row)).toBeGreaterThanOrEqual(system);
        }
        expect(trace.distinctBlocks).toBe(next);
      }),
      { numRuns: 60 },
    );
  });
});

describe('the parameters', () => {
  const reuse = (changes: Partial<GeneratorSpec>) => traceInfo(generate(small(changes))).reuse;
  /** What the one shared system block alone gives. */
  const rootOnly = (trace: TraceColumns) => (trace.requests - 1) / trace.blocks.length;

  it('of turns: a mean of one leaves conversations of one turn, and the root alone to hit', () => {
    const trace = generate(small({ turns: { mean: 1, shape: 1.56 } }));
    const info = traceInfo(trace);
    expect(info.sessions!.count).toBe(2000);
    expect(info.reuse.blocksRatio).toBe(rootOnly(trace));
  });

  it('of turns: the mean is met where the hour does not cut conversations off', () => {
    const turns = { mean: 3, shape: 4 };
    const thinkNs = { median: 1e6, sigma: 0 };
    const trace = generate(small({ turns, thinkNs, burstPeriodNs: 1e6, requests: 30_000 }));
    // A standard error of about 0.03 turns.
    expect(Math.abs(traceInfo(trace).sessions!.turns.mean - 3)).toBeLessThan(0.15);
  });

  it('of reuse: edits that keep nothing leave the root alone, resends repeat everything', () => {
    const nothing = { edits: { share: 1, keeps: 0 }, resendShare: 0 };
    expect(reuse(nothing).blocksRatio).toBe(rootOnly(generate(small(nothing))));
    const all = traceInfo(generate(small({ edits: { share: 0, keeps: 0 }, resendShare: 1 })));
    expect(all.reuse.fullHits).toBe(2000 - all.sessions!.count);
    const half = reuse({ edits: { share: 1, keeps: 0.5 }, resendShare: 0 }).blocksRatio;
    const whole = reuse({ edits: { share: 0, keeps: 0 }, resendShare: 0 }).blocksRatio;
    expect(half).toBeGreaterThan(reuse(nothing).blocksRatio);
    expect(half).toBeLessThan(whole);
  });

  it('of think time: its median is the gap between turns', () => {
    const thinkNs = { median: 60e9, sigma: 0 };
    const trace = generate(small({ thinkNs }));
    for (const rows of sessionsOf(trace)) {
      for (let turn = 1; turn < rows.length; turn++) {
        expect(trace.arrivalNs[rows[turn]] - trace.arrivalNs[rows[turn - 1]]).toBe(60e9);
      }
    }
  });

  it('have streams of their own: other outputs leave arrivals and kinds of turns alone', () => {
    const long = { median: 900, sigma: 0.2 };
    const before = generate(small());
    const after = generate(small({ output: { shortShare: 0, short: long, long } }));
    expect(after.outputTokens).not.toEqual(before.outputTokens);
    expect(after.arrivalNs).toEqual(before.arrivalNs);
    expect(after.session).toEqual(before.session);
  });

  it('of means: one out of reach is an error at its place', () => {
    const place = (key: string) => `s.yaml:${key}`;
    const tooLong = { ...small(), meanInputTokens: 125_990, maxInputTokens: 126_000 };
    expect(() => generate(tooLong, place)).toThrow(/^s\.yaml:meanInputTokens: found 125990, with/);
    const tooShort = { ...small(), meanInputTokens: 800 };
    expect(() => generate(tooShort, place)).toThrow('expected a mean in their reach');
  });

  it('of the seed: every seed keeps the means, none makes another’s trace', () => {
    const sums = new Set<string>();
    for (let seed = 0; seed < 5; seed++) {
      const trace = generate({ ...spec, seed });
      sums.add(trace.sha256);
      const info = traceInfo(trace);
      expect(Math.abs(info.inputTokens.mean / 12_035 - 1)).toBeLessThan(0.002);
      expect(Math.abs(info.reuse.blocksRatio - 0.366)).toBeLessThan(0.03);
    }
    expect(sums.size).toBe(5);
  });
});
