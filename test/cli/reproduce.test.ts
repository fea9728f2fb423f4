/** `moontide reproduce` as a user runs it. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { moontide } from '../support/cli.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'moontide-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Forty requests of four conversations. */
function smallTrace(): string {
  const lines = Array.from({ length: 40 }, (_, i) => ({
    timestamp: 300 * i,
    input_length: 1500 + 200 * i,
    output_length: 1 + (i % 9),
    hash_ids: Array.from({ length: Math.ceil((1500 + 200 * i) / 512) }, (_, b) => 10 * b + (i % 4)),
  }));
  const path = join(folder, 'small.jsonl');
  writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return path;
}

describe('reproduce', () => {
  it('prints rows as JSON and writes result, page and figures, the same on each run', () => {
    const out = join(folder, 'out');
    const args = ['reproduce', 'fast25', '--trace', `conversation=mooncake:${smallTrace()}`];
    const first = moontide([...args, '--json', '-o', out]);
    expect(first.code).toBe(0);
    const { rows } = JSON.parse(first.stdout);
    expect(rows.length).toBeGreaterThan(100);
    expect(readFileSync(join(out, 'result.json'), 'utf8')).toBe(first.stdout);
    expect(readdirSync(out)).toEqual(
      expect.arrayContaining(['report.html', 'figure-5-conversation.svg', 'figure-14.png']),
    );
    const page = readFileSync(join(out, 'report.html'), 'utf8');
    expect(page).toContain('fig5MeanTtftSeconds');
    expect(page).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)/);
    expect(moontide([...args, '--json']).stdout).toBe(first.stdout);
  });

  it('says in one line what is wrong, and writes nothing', () => {
    const bad = join(folder, 'bad.json');
    writeFileSync(bad, '[1, 2]');
    const cases: [string[], string][] = [
      [['fast24'], 'found the paper "fast24", expected fast25'],
      [['fast25', '--trace', 'chat=demo'], '--trace: found the workload "chat"'],
      [['fast25', '--trace', '=x'], '--trace: found "=x", expected NAME=TRACE'],
      [['fast25', '--paper-data', bad], 'found no object, expected figures as in paper.json'],
      [['fast25', '--paper-data', join(folder, 'none.json')], 'found no such file'],
      [['fast25', '-o', folder], 'expected a new or empty folder'],
    ];
    for (const [args, message] of cases) {
      const { code, stdout, stderr } = moontide(['reproduce', ...args]);
      expect(stderr).toContain(message);
      expect(stderr.trim().split('\n')).toHaveLength(1);
      expect(code).toBe(2);
      expect(stdout).toBe('');
    }
  });
});
