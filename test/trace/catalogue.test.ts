import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  type CatalogueEntry,
  cacheFolder,
  candidates,
  entryOf,
  loadCatalogue,
  shippedPath,
} from '../../src/trace/catalogue.ts';
import { temporaryFolder } from './files.ts';

const catalogue = loadCatalogue();
const folder = temporaryFolder();

describe('the catalogue', () => {
  it.each(Object.entries(catalogue))('says of %s what is needed', (_name, entry) => {
    expect(entry.description).not.toBe('');
    expect(['Apache-2.0', 'CC-BY-4.0']).toContain(entry.licence);
    expect([entry.file, entry.url].filter((origin) => origin !== undefined)).toHaveLength(1);
    if (entry.file !== undefined) expect(existsSync(shippedPath(entry.file))).toBe(true);
    if (entry.url !== undefined) expect(new URL(entry.url).protocol).toBe('https:');
    if (entry.url !== undefined) expect(entry.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(Object.keys(entry).sort()).toEqual(
      expect.arrayContaining(['description', 'format', 'licence']),
    );
  });

  it('has the published traces and the demo', () => {
    const names = ['demo', 'conversation', 'synthetic', 'toolagent'];
    expect(Object.keys(catalogue)).toEqual(expect.arrayContaining(names));
  });

  it('names the nearest of an unknown name', () => {
    const message = 'found the trace "conversion", expected one of demo, conversation';
    expect(() => entryOf('conversion', catalogue)).toThrow(message);
    expect(() => entryOf('conversion', catalogue)).toThrow('(nearest: conversation)');
    expect(() => entryOf('toString', catalogue)).toThrow('found the trace "toString"');
  });
});

describe('the cache folder', () => {
  it('is $MOONTIDE_CACHE, else in the cache folder of the user', () => {
    expect(cacheFolder({ MOONTIDE_CACHE: '/a', XDG_CACHE_HOME: '/b' })).toBe('/a');
    expect(cacheFolder({ XDG_CACHE_HOME: '/b' })).toBe('/b/moontide/traces');
    expect(cacheFolder({})).toBe(join(homedir(), '.cache/moontide/traces'));
  });
});

describe('candidates for a trace', () => {
  it('are found by name, by size, by a part of the name, in this order', () => {
    const entry: CatalogueEntry = {
      description: 'x',
      licence: 'Apache-2.0',
      format: 'mooncake',
      url: 'https://example.org/a/Chat_Trace.jsonl',
      sizeBytes: 5,
      sha256: '0'.repeat(64),
    };
    writeFileSync(join(folder, 'unrelated.txt'), '1234');
    writeFileSync(join(folder, 'my-chat.jsonl'), '1');
    writeFileSync(join(folder, 'any.jsonl'), '12345');
    writeFileSync(join(folder, 'chat_trace.jsonl.gz'), '1');
    mkdirSync(join(folder, 'chat_trace.jsonl'));
    const names = candidates(folder, 'chat', entry).map((path) => basename(path));
    expect(names).toEqual(['chat_trace.jsonl.gz', 'any.jsonl', 'my-chat.jsonl']);
    expect(candidates(join(folder, 'missing'), 'chat', entry)).toEqual([]);
  });
});
