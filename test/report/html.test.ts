/** The report's file: complete in itself, safe against what it carries, equal for equal runs. */
import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { reportHtml } from '../../src/report/html.ts';
import { sampleRun } from './sample-run.ts';

const EVIL = '</script><script>alert(1)</script>&"<!--';

describe('a report', () => {
  let html = '';
  beforeAll(() => {
    html = reportHtml([sampleRun(EVIL)]);
  });

  const scripts = (text: string) =>
    [...text.matchAll(/<script>([\s\S]*?)<\/script>/g)].map(([, code]) => code);

  it('is the same for the same run', () => {
    expect(reportHtml([sampleRun(EVIL)])).toBe(html);
  });

  it('asks for nothing outside itself', () => {
    expect(html).not.toMatch(/<(?:link|img|iframe|object|embed)\b/);
    expect(html).not.toMatch(/\b(?:src|href)="/);
    expect(html).not.toContain('@import');
  });

  it('forbids all scripts but its own, and eval', () => {
    const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(html)![1];
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toMatch(/unsafe-eval|script-src[^;]*unsafe-inline|https?:/);
    const hashes = scripts(html).map(
      (code) => `'sha256-${createHash('sha256').update(code).digest('base64')}'`,
    );
    expect(hashes).toHaveLength(2);
    expect(policy).toContain(`script-src ${hashes.join(' ')};`);
  });

  it('shows a name as text, whatever it is', () => {
    expect(html).not.toContain('<script>alert(1)');
    const data = /<script type="application\/json" id="data">([\s\S]*?)<\/script>/.exec(html)![1];
    expect(JSON.parse(data).page.runs[0].name).toBe(EVIL);
    expect(html).toContain('&lt;/script&gt;&lt;script&gt;alert(1)');
  });

  it('carries the licences of what it inlines', () => {
    expect(html).toContain('University of Washington Interactive Data Lab');
    expect(html).toContain('Mike Bostock');
  });
});
