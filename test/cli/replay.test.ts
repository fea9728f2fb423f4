/** `moontide replay` as a user runs it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Result } from '../../src/metrics/result.ts';
import { moontide } from '../support/cli.ts';
import { CONVERSATION, realTrace } from '../support/traces.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'moontide-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function replayJson(args: readonly string[], input?: string | Buffer): Result {
  const { code, stdout, stderr } = moontide(['replay', ...args, '--json'], input);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout);
}

/** Eight requests of two conversations. */
const LINES = Array.from({ length: 8 }, (_, i) => ({
  timestamp: 400 * i,
  input_length: 1500 + 500 * i,
  output_length: 1 + 7 * i,
  hash_ids: Array.from({ length: Math.ceil((1500 + 500 * i) / 512) }, (_, b) => 10 * b + (i % 2)),
}));
const TEXT = `${LINES.map((line) => JSON.stringify(line)).join('\n')}\n`;

describe('replay', () => {
  it('prints the same bytes for equal inputs', () => {
    const args = ['replay', 'demo', '--limit', '400', '--prefill', 'random', '--json'];
    const first = moontide(args);
    expect(first.code).toBe(0);
    expect(moontide(args).stdout).toBe(first.stdout);
    expect(moontide([...args, '--seed', '2']).stdout).not.toBe(first.stdout);
  });

  it('takes stdin, gzip and reordered fields for the same trace', () => {
    const reordered = LINES.map(({ timestamp, input_length, output_length, hash_ids }) =>
      JSON.stringify({ hash_ids, output_length, timestamp, input_length }),
    ).join('\n');
    const plain = replayJson(['mooncake:-'], TEXT);
    expect(replayJson(['mooncake:-'], gzipSync(TEXT))).toEqual(plain);
    const other = replayJson(['mooncake:-'], reordered);
    expect(other.trace.sha256).not.toBe(plain.trace.sha256);
    const sameSum = { ...other, trace: { ...other.trace, sha256: plain.trace.sha256 } };
    expect(sameSum).toEqual(plain);
  });

  it('runs a policy of the user from a TypeScript file, unbuilt', () => {
    const path = join(folder, 'mine.ts');
    const source = `
      import { definePrefill, type PrefillChoice } from 'moontide/policy';
      export default definePrefill({
        source: 'test',
        params: { to: { type: 'integer', default: 0, doc: 'instance' } },
        create: (_context, { to }) => ({
          choose(): PrefillChoice {
            return { instance: to, sourceNode: -1, sourceBlocks: 0, ttftNs: 0 };
          },
        }),
      });`;
    writeFileSync(path, source);
    const result = replayJson(['mooncake:-', '--prefill', `${path}:to=3`], TEXT);
    expect(result.requests.completed).toBe(8);
    expect(result.busiest.some(({ name }) => name === 'prefill-3/gpus')).toBe(true);
    expect(JSON.stringify(result)).not.toContain(folder);
  });

  it('blames the line of a policy that throws, and a choice that cannot be', () => {
    const thrower = join(folder, 'thrower.ts');
    writeFileSync(
      thrower,
      `import { definePrefill } from 'moontide/policy';
export default definePrefill({ source: 'test', params: {}, create: () => ({
  choose() {
    throw new Error('boom');
  } }) });`,
    );
    const threw = moontide(['replay', 'mooncake:-', '--prefill', thrower, '--json'], TEXT);
    expect(threw).toMatchObject({ code: 1, stdout: '' });
    expect(threw.stderr).toMatch(/thrower\.ts:4:\d+.*boom/);
    const wrong = join(folder, 'wrong.ts');
    writeFileSync(
      wrong,
      `import { defineDecode } from 'moontide/policy';
export default defineDecode({ source: 'test', params: {}, create: () => ({ choose: () => 0 }) });`,
    );
    const chose = moontide(['replay', 'mooncake:-', '--decode', wrong, '--json'], TEXT);
    expect(chose).toMatchObject({ code: 1, stdout: '' });
    expect(chose.stderr).toMatch(/decode policy chose 0, not a decode instance/);
  });

  it('prints a table that says whether it is good', () => {
    const { code, stdout } = moontide(['replay', 'demo', '--limit', '200']);
    expect(code).toBe(0);
    for (const part of ['of requests met TTFT', 'TTFT', 'TBT', 'queue', 'own DRAM', 'busiest']) {
      expect(stdout).toContain(part);
    }
  });

  it('loads the stream of arrivals faster with --rate', () => {
    const slow = replayJson(['demo', '--limit', '300']);
    const fast = replayJson(['demo', '--limit', '300', '--rate', '4']);
    expect(fast.durationNs).toBeLessThan(slow.durationNs);
    expect(fast.ttftNs.mean!).toBeGreaterThan(slow.ttftNs.mean!);
  });
});

const conversation = realTrace(CONVERSATION);

describe.skipIf(conversation === null)('the conversation trace on mooncake-16', () => {
  const runs = new Map<string, Result>();
  const POLICIES = ['random', 'least-loaded', 'local-cache-aware', 'kvcache-centric'];

  beforeAll(() => {
    for (const prefill of POLICIES) {
      const args = [`mooncake:${conversation}`, '--config', 'mooncake-16', '--prefill', prefill];
      runs.set(prefill, replayJson(args));
    }
  }, 120_000);

  it('handles every request', () => {
    for (const { requests, trace } of runs.values()) {
      expect(trace.requests).toBe(12_031);
      expect(requests).toMatchObject({ arrived: 12_031, completed: 12_031, inFlight: 0 });
    }
  });

  it('orders the mean TTFT as Figure 5 of the paper does', () => {
    const means = POLICIES.map((policy) => runs.get(policy)!.ttftNs.mean!);
    expect([...means].sort((a, b) => b - a)).toEqual(means);
  });

  it('accounts for every token, byte and nanosecond', () => {
    for (const { hit, trace, breakdown, e2eNs, bytes } of runs.values()) {
      const { hbm, dram, ssd, peer, miss } = hit.bySource;
      expect(hbm + dram + ssd + peer + miss).toBe(trace.inputTokens);
      const parts = Object.values(breakdown).reduce<number>((sum, ns) => sum + ns!, 0);
      expect(parts).toBeCloseTo(e2eNs.mean!, -2);
      expect(bytes.railsIn).toBe(bytes.railsOut);
    }
  });

  it('never hits more than unlimited capacity would (0.3664 of blocks)', () => {
    for (const { hit } of runs.values()) expect(hit.blocksRatio).toBeLessThanOrEqual(0.3664);
  });

  it('differs in the checksum alone when the fields are reordered', () => {
    const lines = readFileSync(conversation!, 'utf8').trimEnd().split('\n');
    const reordered = lines.map((line) => {
      const { timestamp, input_length, output_length, hash_ids } = JSON.parse(line);
      return JSON.stringify({ hash_ids, timestamp, output_length, input_length });
    });
    const plain = runs.get('kvcache-centric')!;
    const args = ['mooncake:-', '--prefill', 'kvcache-centric'];
    const other = replayJson(args, `${reordered.join('\n')}\n`);
    expect(other.trace.sha256).not.toBe(plain.trace.sha256);
    expect({ ...other, trace: null }).toEqual({ ...plain, trace: null });
  });
});
