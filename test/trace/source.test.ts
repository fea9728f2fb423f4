import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import * as zlib from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { readMooncake } from '../../src/trace/mooncake.ts';
import { loadSource } from '../../src/trace/source.ts';
import { line, temporaryFolder } from './files.ts';

const folder = temporaryFolder();
const TEXT = `${line()}\n${line({ timestamp: 3 })}\n`;
const SHA256 = createHash('sha256').update(TEXT).digest('hex');

function write(name: string, bytes: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

describe('the bytes of a trace', () => {
  it('are summed as they are', async () => {
    const source = await loadSource(write('plain.jsonl', TEXT));
    expect(source.sha256).toBe(SHA256);
    expect(source.bytes.toString()).toBe(TEXT);
  });

  it('are decompressed whatever the name says, and summed decompressed', async () => {
    const source = await loadSource(write('named.jsonl', zlib.gzipSync(TEXT)));
    expect(source.sha256).toBe(SHA256);
    expect(readMooncake(source).requests).toBe(2);
  });

  it('may be several gzip members', async () => {
    const [first, second] = TEXT.split(/(?<=\n)/);
    const members = Buffer.concat([zlib.gzipSync(first), zlib.gzipSync(second)]);
    expect((await loadSource(write('members.gz', members))).sha256).toBe(SHA256);
  });

  it('are refused where gzip data is cut off', async () => {
    const path = write('cut.gz', zlib.gzipSync(TEXT).subarray(0, -10));
    await expect(loadSource(path)).rejects.toThrow(`${path}: found damaged gzip data`);
  });

  it('are zstd where Node reads it, and else an error that says what to do', async () => {
    // The frame of an empty file.
    const empty = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x24, 0, 1, 0, 0, 0x99, 0xe9, 0xd8, 0x51);
    const path = write('empty.zst', empty);
    if ('zstdDecompressSync' in zlib) {
      expect((await loadSource(path)).bytes.length).toBe(0);
    } else {
      await expect(loadSource(path)).rejects.toThrow('zstd -dc FILE | moontide … mooncake:-');
    }
  });

  it('come from stdin as -', () => {
    const module = pathToFileURL(join(import.meta.dirname, '../../src/trace/open.ts')).href;
    const script = `
      const { openTrace } = await import('${module}');
      const { requests, sha256 } = await openTrace('mooncake:-');
      console.log(JSON.stringify([requests, sha256]));`;
    const args = ['--import', 'tsx', '--input-type=module', '-e', script];
    const { stdout } = spawnSync(process.execPath, args, { input: zlib.gzipSync(TEXT) });
    expect(JSON.parse(stdout.toString())).toEqual([2, SHA256]);
  });

  it('are missed with one line', async () => {
    const missing = join(folder, 'nothing.jsonl');
    const message = `${missing}: found no such file, expected a readable file`;
    await expect(loadSource(missing)).rejects.toThrow(message);
    await expect(loadSource(folder)).rejects.toThrow(`${folder}: found a directory, expected`);
  });
});
