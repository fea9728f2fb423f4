import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { openTrace } from '../../src/trace/open.ts';
import { itWithConversation, line, temporaryFolder } from './files.ts';

const folder = temporaryFolder();
const path = join(folder, 'some.thing');
writeFileSync(path, gzipSync(`${line()}\n${line({ timestamp: 2 })}\n`));

/** No traces but those of the package. */
const env = { MOONTIDE_CACHE: join(folder, 'cache') };

describe('opening a trace', () => {
  it('goes by format and path', async () => {
    expect((await openTrace(`mooncake:${path}`)).requests).toBe(2);
  });

  it('guesses the format of a path by its content', async () => {
    expect((await openTrace(path)).requests).toBe(2);
  });

  it('passes on limit and block size', async () => {
    expect((await openTrace(path, { limit: 1 })).requests).toBe(1);
    expect((await openTrace(path, { blockTokens: 300 })).blockTokens).toBe(300);
    await expect(openTrace(path, { limit: 0 })).rejects.toThrow('limit: found 0, expected');
    await expect(openTrace(path, { blockTokens: 0 })).rejects.toThrow('block tokens: found 0');
  });

  it('reads a path with a colon', async () => {
    const odd = join(folder, 'mooncake:odd');
    writeFileSync(odd, line());
    expect((await openTrace(odd)).requests).toBe(1);
  });

  it('names the formats where one is unknown', async () => {
    const message = `moncake:${path}: found the format "moncake", expected one of mooncake, spec`;
    await expect(openTrace(`moncake:${path}`)).rejects.toThrow(`${message} (nearest: mooncake)`);
  });

  it('names the catalogue and the formats where a name is unknown', async () => {
    const error = await openTrace('convrsation').catch((thrown) => thrown);
    expect(error.name).toBe('InputError');
    expect(error.message).toContain(
      'convrsation: found no such file or name, expected one of demo',
    );
    expect(error.message).toContain('(nearest: conversation)');
    expect(error.message).toContain('FORMAT:PATH with mooncake or spec');
  });

  it('says what a file should be that is of no known format', async () => {
    const csv = join(folder, 'a.csv');
    writeFileSync(csv, 'TIMESTAMP,ContextTokens,GeneratedTokens\n');
    await expect(openTrace(csv)).rejects.toThrow(`${csv}: found a file of no known format, expec`);
  });

  it('says how to get a trace of the catalogue that is not here', async () => {
    const message = `conversation: found no copy in ${env.MOONTIDE_CACHE}, expected one: moontide`;
    await expect(openTrace('conversation', { env })).rejects.toThrow(message);
  });

  it('says that a format of the catalogue has no reader', async () => {
    const message = 'azure-2023-conv: found the format "azure-2023", expected one of mooncake';
    await expect(openTrace('azure-2023-conv', { env })).rejects.toThrow(message);
  });

  it('opens the demo without anything else', async () => {
    const demo = await openTrace('demo', { env, limit: 100 });
    expect(demo.requests).toBe(100);
    expect(demo.distinctBlocks).toBe(new Set(demo.blocks).size);
    expect((await openTrace('demo', { env, limit: 100, seed: 2 })).sha256).not.toBe(demo.sha256);
  });

  itWithConversation(
    'finds the released trace by its checksum, whatever its name',
    async (file) => {
      const MOONTIDE_TRACES = join(file, '..');
      const trace = await openTrace('conversation', { env: { ...env, MOONTIDE_TRACES } });
      expect(trace.sha256).toBe('b8cbb061a85206d729d91cdc2981f43c9e0d99209dce588d3af5f7934408b9df');
      expect(trace.requests).toBe(12_031);
      const first = await openTrace('conversation', { env: { MOONTIDE_TRACES }, limit: 1 });
      expect([...first.blocks]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
      expect(first.inputTokens[0]).toBe(6758);
    },
  );
});
