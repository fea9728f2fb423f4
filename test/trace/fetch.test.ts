import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Catalogue, CatalogueEntry } from '../../src/trace/catalogue.ts';
import { fetchTrace } from '../../src/trace/fetch.ts';
import { openTrace } from '../../src/trace/open.ts';
import { line, temporaryFolder } from './files.ts';

const TEXT = Array.from({ length: 2000 }, (_, index) => `${line({ timestamp: index })}\n`).join('');
const SHA256 = createHash('sha256').update(TEXT).digest('hex');

let served = TEXT;
let requests = 0;
const server = createServer((request, response) => {
  requests++;
  if (request.url === '/missing.jsonl') response.writeHead(404).end();
  else if (request.url === '/broken.jsonl') {
    response.writeHead(200, { 'content-length': '999999' });
    response.write('half');
    setTimeout(() => response.destroy(), 10);
  } else {
    response.writeHead(200, { 'content-length': String(served.length) }).end(served);
  }
});

const root = temporaryFolder();
let folders = 0;
let origin = '';

function newFolder(): string {
  const folder = join(root, `f${folders++}`);
  mkdirSync(folder);
  return folder;
}

function entry(changes: Partial<CatalogueEntry> = {}): CatalogueEntry {
  const description = 'a test';
  const url = `${origin}/chat_trace.jsonl`;
  return { description, licence: 'x', format: 'mooncake', url, sha256: SHA256, ...changes };
}

function unknownSum(): CatalogueEntry {
  const { sha256: _, ...rest } = entry();
  return rest;
}

beforeAll(async () => {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

async function failure(catalogue: Catalogue, options: { from?: string } = {}) {
  const cacheDir = newFolder();
  const error = await fetchTrace('chat', { catalogue, cacheDir, ...options }).catch((e) => e);
  expect(readdirSync(cacheDir)).toEqual([]);
  expect(error.name).toBe('InputError');
  return error.message as string;
}

describe('fetching a trace', () => {
  it('downloads it once, verified, and opens it by name', async () => {
    const cacheDir = join(newFolder(), 'made', 'here');
    const catalogue = { chat: entry() };
    const steps: [number, number | null][] = [];
    const onProgress = (done: number, total: number | null) => steps.push([done, total]);
    const before = requests;
    const first = await fetchTrace('chat', { catalogue, cacheDir, onProgress });
    const path = join(cacheDir, 'chat_trace.jsonl');
    const common = { path, sizeBytes: TEXT.length, sha256: SHA256, verified: true };
    expect(first).toEqual({ ...common, cached: false });
    expect(steps.at(-1)).toEqual([TEXT.length, TEXT.length]);
    expect(readdirSync(cacheDir)).toEqual(['chat_trace.jsonl']);
    expect(await fetchTrace('chat', { catalogue, cacheDir })).toEqual({ ...common, cached: true });
    expect(requests - before).toBe(1);
    const env = { MOONTIDE_CACHE: cacheDir };
    expect((await openTrace('chat', { catalogue, env })).requests).toBe(2000);
  });

  it('replaces a damaged copy', async () => {
    const cacheDir = newFolder();
    const path = join(cacheDir, 'chat_trace.jsonl');
    writeFileSync(path, 'damaged');
    const fetched = await fetchTrace('chat', { catalogue: { chat: entry() }, cacheDir });
    expect(fetched.cached).toBe(false);
    expect(readFileSync(path, 'utf8')).toBe(TEXT);
  });

  it('takes a copy from a folder, under another name and compressed', async () => {
    const from = newFolder();
    writeFileSync(join(from, 'chat-1.jsonl'), 'another file of a name like it');
    writeFileSync(join(from, 'my-chat.jsonl.gz'), gzipSync(TEXT));
    const cacheDir = newFolder();
    const before = requests;
    const fetched = await fetchTrace('chat', { catalogue: { chat: entry() }, cacheDir, from });
    expect(requests).toBe(before);
    expect(fetched.sha256).toBe(SHA256);
    expect(readFileSync(fetched.path, 'utf8')).toBe(TEXT);
  });

  it('records the checksum of a trace whose sum nobody has published', async () => {
    const cacheDir = newFolder();
    const catalogue = { chat: unknownSum() };
    const fetched = await fetchTrace('chat', { catalogue, cacheDir });
    expect(fetched.verified).toBe(false);
    expect(readFileSync(`${fetched.path}.sha256`, 'utf8')).toBe(`${SHA256}\n`);
    expect((await fetchTrace('chat', { catalogue, cacheDir })).cached).toBe(true);
    const env = { MOONTIDE_CACHE: cacheDir };
    expect((await openTrace('chat', { catalogue, env })).sha256).toBe(SHA256);
    // From now on another file of the name is another trace.
    writeFileSync(fetched.path, 'tampered');
    served = `${TEXT}\n`;
    const again = fetchTrace('chat', { catalogue, cacheDir });
    await expect(again).rejects.toThrow(`expected ${SHA256}`);
    served = TEXT;
    expect(existsSync(`${fetched.path}.sha256`)).toBe(true);
  });

  it('says that a name is unknown or needs no fetching', async () => {
    await expect(fetchTrace('conversatoin')).rejects.toThrow('(nearest: conversation)');
    await expect(fetchTrace('demo')).rejects.toThrow('found "demo", which needs no fetching');
  });

  it('says that the checksum is another', async () => {
    const other = 'a'.repeat(64);
    const downloaded = await failure({ chat: entry({ sha256: other }) });
    expect(downloaded).toBe(
      `${origin}/chat_trace.jsonl: found the sha256 ${SHA256}, expected ${other}`,
    );
    const from = newFolder();
    writeFileSync(join(from, 'chat_trace.jsonl'), TEXT);
    const copied = await failure({ chat: entry({ sha256: other }) }, { from });
    expect(copied).toContain(`chat_trace.jsonl: found the sha256 ${SHA256}, expected ${other}`);
  });

  it('says that the folder does not have it', async () => {
    const from = newFolder();
    const message = await failure({ chat: entry() }, { from });
    expect(message).toBe(`${from}: found no such trace, expected chat_trace.jsonl or a copy of it`);
  });

  it('says what the server said', async () => {
    const message = await failure({ chat: entry({ url: `${origin}/missing.jsonl` }) });
    expect(message).toContain('/missing.jsonl: found HTTP status 404, expected');
  });

  it('says that there is no network, and what to do', async () => {
    const message = await failure({ chat: entry({ url: 'http://127.0.0.1:1/x.jsonl' }) });
    expect(message).toMatch(/found no connection \(.+\), expected .*trace fetch chat --from DIR/);
  });

  it('leaves nothing of a download that broke off', async () => {
    const message = await failure({ chat: entry({ url: `${origin}/broken.jsonl` }) });
    expect(message).toContain('/broken.jsonl: found no connection');
  });
});
