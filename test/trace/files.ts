/** Traces for tests: rows as text, sources in memory, a folder of its own, the real trace. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, it } from 'vitest';
import type { TraceColumns } from '../../src/core/trace-columns.ts';
import { cacheFolder, entryOf, loadCatalogue } from '../../src/trace/catalogue.ts';
import { findTrace } from '../../src/trace/fetch.ts';
import { type ReadOptions, readMooncake } from '../../src/trace/mooncake.ts';
import { sourceOf } from '../../src/trace/source.ts';

/** A good line; `changes` replace fields or, where undefined, remove them. */
export function line(changes: Record<string, unknown> = {}): string {
  return JSON.stringify({
    timestamp: 0,
    input_length: 600,
    output_length: 5,
    hash_ids: [0, 1],
    ...changes,
  });
}

export async function readLines(
  lines: readonly string[],
  options: ReadOptions = {},
): Promise<TraceColumns> {
  return readText(`${lines.join('\n')}\n`, options);
}

export async function readText(text: string, options: ReadOptions = {}): Promise<TraceColumns> {
  return readMooncake(await sourceOf('t.jsonl', Buffer.from(text)), options);
}

/** A folder that goes when the file's tests are done. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'moontide-trace-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const conversation = await findTrace('conversation', entryOf('conversation', loadCatalogue()), [
  ...(process.env.MOONTIDE_TRACES ? [process.env.MOONTIDE_TRACES] : []),
  cacheFolder(),
]);

/** A test on the released conversation trace: fails without it in CI, elsewhere says what to do. */
export function itWithConversation(name: string, test: (path: string) => void | Promise<void>) {
  const missing = 'no conversation trace: npx moontide trace fetch conversation';
  if (conversation === null && process.env.CI !== 'true') {
    it.skip(`${name} (skipped: ${missing})`, () => {});
    return;
  }
  it(name, async () => {
    if (conversation === null) throw new Error(missing);
    await test(conversation.place);
  });
}
