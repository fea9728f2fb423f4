/** The README's examples do what it says. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { moontide } from '../support/cli.ts';

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');

describe('README', () => {
  it('has a policy that runs', () => {
    const code = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
    expect(code).toContain('definePrefill');
    const folder = mkdtempSync(join(tmpdir(), 'moontide-'));
    const path = join(folder, 'mine.ts');
    writeFileSync(path, code);
    const args = ['replay', 'demo', '--limit', '300', '--prefill', `${path}:slack=4`, '--json'];
    const { code: exit, stdout, stderr } = moontide(args);
    rmSync(folder, { recursive: true });
    expect(stderr).toBe('');
    expect(exit).toBe(0);
    expect(JSON.parse(stdout).requests.completed).toBe(300);
  });

  it('has a scenario that plays', () => {
    const scenario = /```yaml\n(# faults[\s\S]*?)```/.exec(readme)?.[1] ?? '';
    const [, given] = /npx moontide (replay demo --scenario .*)/.exec(readme) ?? [];
    const folder = mkdtempSync(join(tmpdir(), 'moontide-'));
    const path = join(folder, 'faults.yaml');
    writeFileSync(path, scenario);
    const args = given.replace('faults.yaml', path).split(' ');
    const { code, stdout, stderr } = moontide([...args, '--limit', '1000', '--json']);
    rmSync(folder, { recursive: true });
    expect([code, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout).requests.completed).toBeGreaterThan(900);
  });

  it('names only commands that exist', () => {
    const commands = [...readme.matchAll(/npx moontide ([a-z]+)(?: (info|fetch|generate))?/g)];
    expect(commands.length).toBeGreaterThan(8);
    for (const [, command, sub] of commands) {
      const args = sub === undefined ? [command, '--help'] : [command, sub, '--help'];
      expect(moontide(args).code, args.join(' ')).toBe(0);
    }
  });
});
