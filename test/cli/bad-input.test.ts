/** Bad input gets one clear line with place and expectation, exit 2, and nothing on stdout. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { moontide } from '../support/cli.ts';

const GOOD = '{"timestamp":0,"input_length":600,"output_length":5,"hash_ids":[0,1]}';
let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'moontide-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function expectRefusal(args: readonly string[], ...expected: (string | RegExp)[]): void {
  const before = readdirSync(folder);
  const { code, stdout, stderr } = moontide(args);
  expect(stderr.trimEnd().split('\n'), stderr).toHaveLength(1);
  for (const part of expected) expect(stderr).toMatch(part);
  expect(stdout).toBe('');
  expect(code).toBe(2);
  expect(readdirSync(folder)).toEqual(before);
}

function expectBadTrace(lines: readonly string[], ...expected: (string | RegExp)[]): void {
  const path = file('trace.jsonl', lines.join('\n'));
  expectRefusal(['replay', `mooncake:${path}`], ...expected);
}

function line(fields: Record<string, unknown>): string {
  return JSON.stringify({ ...JSON.parse(GOOD), ...fields });
}

describe('bad traces', () => {
  it('a missing file', () => {
    expectRefusal(['replay', `mooncake:${join(folder, 'none.jsonl')}`], /none\.jsonl/, /expected/);
  });

  it('a truncated line', () => {
    expectBadTrace([GOOD, GOOD.slice(0, 30)], /trace\.jsonl:2/, /expected/);
  });

  it('a line that is not JSON', () => {
    expectBadTrace([GOOD, 'hello'], /trace\.jsonl:2/, /expected/);
  });

  it('a negative length', () => {
    expectBadTrace([line({ input_length: -1 })], /trace\.jsonl:1/, /-1/, /expected/);
    expectBadTrace([line({ output_length: -3 })], /trace\.jsonl:1/, /-3/, /expected/);
  });

  it('timestamps that go back', () => {
    const late = line({ timestamp: 50 });
    expectBadTrace([GOOD, late, line({ timestamp: 20 })], /trace\.jsonl:3/, /20/, /expected/);
  });

  it('ids that are not integers', () => {
    expectBadTrace([GOOD, line({ hash_ids: [0, 1.5] })], /trace\.jsonl:2/, /1\.5/, /expected/);
  });

  it('lengths that disagree with the number of blocks', () => {
    expectBadTrace([line({ hash_ids: [0, 1, 2] })], /trace\.jsonl:1/, /3/, /expected 2/);
  });

  it('an empty trace', () => {
    expectBadTrace([''], /trace\.jsonl/, /expected/);
  });

  it('an unknown name', () => {
    expectRefusal(['replay', 'demmo'], /demmo/, /demo/);
  });
});

describe('bad configuration', () => {
  const trace = () => `mooncake:${file('good.jsonl', GOOD)}`;

  it('an unknown policy', () => {
    expectRefusal(['replay', trace(), '--prefill', 'kvcache-centrik'], /kvcache-centric/);
  });

  it('a policy that needs the future, which a replay does not have', () => {
    expectRefusal(['replay', trace(), '--eviction', 'belady'], /belady/, /future/, /cache/);
  });

  it('an unknown parameter of a policy', () => {
    expectRefusal(['replay', trace(), '--prefill', 'kvcache-centric:treshold=2'], /threshold/);
  });

  it('an unknown key, with its place and the nearest known one', () => {
    const config = file('config.yaml', 'conductor:\n  prefil: random\n');
    expectRefusal(['replay', trace(), '-c', config], /config\.yaml:2:3/, /prefil/, /prefill/);
  });

  it('an unknown key in --set', () => {
    expectRefusal(['replay', trace(), '--set', 'store.evict=lru'], /store\.evict/, /eviction/);
  });

  it('VRAM that is too small for one request', () => {
    const huge = line({
      input_length: 2_000_000,
      hash_ids: Array.from({ length: 3907 }, (_, i) => i),
    });
    expectBadTrace([GOOD, huge], /:2/, /tokens/, /decode|prefill/);
  });

  it('a kind of policy that there is not', () => {
    expectRefusal(['policies', 'prefil'], /policies/, /"prefil".*prefill/);
  });

  it('numbers of options', () => {
    expectRefusal(['replay', trace(), '--limit', '0'], /--limit/, /at least 1/);
    expectRefusal(['replay', trace(), '--rate', '-1'], /--rate/, /above 0/);
    expectRefusal(['replay', trace(), '--rate', '0'], /--rate/, /above 0/);
    expectRefusal(['replay', trace(), '--seed', 'x'], /--seed/, /whole number/);
  });
});

describe('usage', () => {
  it('an unknown option exits 2', () => {
    expect(moontide(['replay', 'demo', '--nonsense']).code).toBe(2);
  });

  it('a schema of nothing is refused, that of scenarios printed', () => {
    expectRefusal(['schema', 'scenarios'], /found "scenarios"/, /expected .*scenario/);
    const { code, stdout } = moontide(['schema', 'scenario']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout).properties.events.items.anyOf).toHaveLength(9);
  });

  it('no command exits 2, --help exits 0 with an example', () => {
    expect(moontide([]).code).toBe(2);
    for (const command of [['replay'], ['trace', 'info'], ['policies'], ['schema']]) {
      const help = moontide([...command, '--help']);
      expect(help.code).toBe(0);
      expect(help.stdout).toMatch(/Example/);
    }
  });
});
