import { readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mooncakeSha256, writeMooncake } from '../../src/trace/mooncake-writer.ts';
import { openTrace } from '../../src/trace/open.ts';
import { replaceFile } from '../../src/trace/output.ts';
import { itWithConversation, line, readLines, readText, temporaryFolder } from './files.ts';

const folder = temporaryFolder();

async function writtenText(trace: Awaited<ReturnType<typeof readText>>): Promise<string> {
  const stream = new PassThrough();
  const collected = text(stream);
  await writeMooncake(trace, stream);
  stream.end();
  return collected;
}

describe('writing Mooncake JSONL', () => {
  it('writes lines as the published traces have them', async () => {
    const published =
      '{"timestamp": 0, "input_length": 1024, "output_length": 52, "hash_ids": [0, 1]}\n' +
      '{"timestamp": 3052, "input_length": 513, "output_length": 26, "hash_ids": [0, 2]}\n';
    expect(await writtenText(await readText(published))).toBe(published);
  });

  it('gives back any trace that it wrote, byte for byte and column for column', async () => {
    const rows = fc.array(
      fc.record({
        waitNs: fc.oneof(fc.constant(0), fc.nat({ max: 5e9 }), fc.nat({ max: 9999 })),
        input: fc.integer({ min: 1, max: 4000 }),
        output: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
        session: fc.oneof(fc.constant(null), fc.nat({ max: 3 })),
        delayMs: fc.oneof(fc.constant(null), fc.nat({ max: 1e6 }), fc.constant(0.000_001)),
        priority: fc.integer({ min: -5, max: 5 }),
        hash: fc.nat({ max: 50 }),
      }),
      { minLength: 1, maxLength: 30 },
    );
    await fc.assert(
      fc.asyncProperty(rows, async (list) => {
        let timeNs = 0;
        const lines = list.map(({ waitNs, input, output, session, delayMs, priority, hash }) => {
          timeNs += waitNs;
          return line({
            timestamp: timeNs / 1e6,
            input_length: input,
            output_length: output,
            hash_ids: Array.from({ length: Math.ceil(input / 512) }, (_, index) => hash + index),
            priority,
            ...(session === null ? {} : { session_id: session, delay: delayMs }),
          });
        });
        const trace = await readLines(lines);
        const written = await writtenText(trace);
        const again = await readText(written);
        expect({ ...again, sha256: '' }).toEqual({ ...trace, sha256: '' });
        expect(await writtenText(again)).toBe(written);
        expect(again.sha256).toBe(mooncakeSha256(trace));
      }),
    );
  });

  it('writes lines longer than a chunk', async () => {
    const hash_ids = Array.from({ length: 200_000 }, (_, index) => index);
    const wide = line({ input_length: 200_000, hash_ids });
    const options = { blockTokens: 1 };
    const trace = await readLines([wide, line({ input_length: 2 })], options);
    const again = await readText(await writtenText(trace), options);
    expect(again.blocks).toEqual(trace.blocks);
  });

  it('refuses a parent that the format cannot name', async () => {
    const trace = await readLines([line(), line(), line()]);
    const parent = Int32Array.of(-1, 0, 0);
    const linked = { ...trace, parent, thinkNs: new Float64Array(3) };
    const path = join(folder, 'never.jsonl');
    await expect(writeMooncake(linked, path)).rejects.toThrow('(row 1), expected what Mooncake');
    expect(readdirSync(folder)).not.toContain('never.jsonl');
  });

  itWithConversation('gives the released trace back to the byte', async (path) => {
    const copy = join(folder, 'copy.jsonl');
    await writeMooncake(await openTrace(`mooncake:${path}`), copy);
    expect(readFileSync(copy).equals(readFileSync(path))).toBe(true);
  });
});

describe('a file that is replaced', () => {
  it('appears whole or not at all', async () => {
    const path = join(folder, 'whole.txt');
    writeFileSync(path, 'old');
    async function* broken() {
      yield Buffer.from('half');
      throw new Error('the source broke');
    }
    await expect(replaceFile(path, broken())).rejects.toThrow('the source broke');
    expect(readFileSync(path, 'utf8')).toBe('old');
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    await replaceFile(path, [Buffer.from('new '), Buffer.from('text')]);
    expect(readFileSync(path, 'utf8')).toBe('new text');
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('says where it cannot be', async () => {
    const nowhere = join(folder, 'no', 'folder', 'x.jsonl');
    const message = `${nowhere}: found no such file, expected a file to write`;
    await expect(replaceFile(nowhere, [])).rejects.toThrow(message);
    await expect(replaceFile(folder, [])).rejects.toThrow('found a directory');
  });

  it('may be a device, which stays one', async () => {
    const device = join(folder, 'device');
    symlinkSync('/dev/null', device);
    await replaceFile(device, [Buffer.from('gone')]);
    expect(statSync(device).isCharacterDevice()).toBe(true);
  });
});

describe('a slow stream', () => {
  it('is waited for', async () => {
    const trace = await readLines([line(), line({ timestamp: 1 })]);
    let bytes = 0;
    const slow = new Writable({
      highWaterMark: 1,
      write(chunk: Buffer, _encoding, done) {
        bytes += chunk.length;
        setImmediate(done);
      },
    });
    await writeMooncake(trace, slow);
    expect(slow.writableLength).toBe(0);
    expect(bytes).toBeGreaterThan(100);
  });
});
