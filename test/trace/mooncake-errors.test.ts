import { describe, expect, it } from 'vitest';
import { InputError } from '../../src/core/errors.ts';
import { line, readText } from './files.ts';

const late = (changes: Record<string, unknown> = {}) => line({ timestamp: 10, ...changes });
const GOOD = late();

/** What stands on line 3, after two good ones, and what is said of it. */
const CASES: readonly (readonly [what: string, bad: string, message: string])[] = [
  ['text', 'nonsense', 'found nonsense, which is no JSON, expected'],
  [
    'a truncated line',
    late().slice(0, 30),
    'found {"timestamp":10,"input_length", which is no JSON',
  ],
  ['an array', '[1, 2]', 'found [1, 2], expected'],
  ['a number', '5', 'found 5, expected'],
  ['null', 'null', 'found null, expected'],
  ['no timestamp', late({ timestamp: undefined }), 'found no timestamp, expected'],
  ['a text timestamp', late({ timestamp: '5' }), 'found timestamp "5", expected'],
  ['a timestamp below 0', late({ timestamp: -1 }), 'found timestamp -1, expected'],
  ['unsorted timestamps', late({ timestamp: 9 }), 'found timestamp 9 after 10, expected'],
  ['a year of waiting', late({ timestamp: 3.2e10 }), 'less than 100 days after the first, 10'],
  ['no input_length', late({ input_length: undefined }), 'found no input_length, expected'],
  ['input_length 0', late({ input_length: 0 }), 'found input_length 0, expected'],
  ['a negative input_length', late({ input_length: -5 }), 'found input_length -5, expected'],
  ['a fraction of a token', late({ input_length: 1.5 }), 'found input_length 1.5, expected'],
  ['too long an input', late({ input_length: 2 ** 31 }), 'found input_length 2147483648, expected'],
  ['a text input_length', late({ input_length: '600' }), 'found input_length "600", expected'],
  ['no output_length', late({ output_length: undefined }), 'found no output_length, expected'],
  ['a negative output', late({ output_length: -1 }), 'found output_length -1, expected'],
  ['no hash_ids', late({ hash_ids: undefined }), 'found no hash_ids, expected'],
  ['hash_ids of text', late({ hash_ids: 'ab' }), 'found hash_ids "ab", expected'],
  ['a fractional id', late({ hash_ids: [1, 2.5] }), 'found 2.5 at hash_ids[1], expected'],
  ['a text id', late({ hash_ids: ['a', 2] }), 'found "a" at hash_ids[0], expected'],
  ['an id of null', late({ hash_ids: [1, null] }), 'found null at hash_ids[1], expected'],
  ['an id beyond 2^53', late({ hash_ids: [0, 2 ** 53] }), 'found 9007199254740992 at hash_ids[1]'],
  ['too few ids', late({ hash_ids: [1] }), 'found 1 hash_ids for 600 input tokens, expected'],
  [
    'too many ids',
    late({ hash_ids: [1, 2, 3] }),
    'found 3 hash_ids for 600 input tokens, expected',
  ],
  ['a delay alone', late({ delay: 5 }), 'found a delay, expected'],
  ['a bad session', late({ session_id: [1] }), 'found session_id [1], expected'],
  ['a bad priority', late({ priority: 0.5 }), 'found priority 0.5, expected'],
];

describe('errors of Mooncake JSONL', () => {
  it.each(CASES)('names the place of %s', async (_what, bad, message) => {
    const error = await readText(`${GOOD}\n${GOOD}\n${bad}\n`).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(InputError);
    expect(error.place).toBe('t.jsonl:3');
    expect(error.message).toContain(message);
    expect(error.message).toMatch(/^t\.jsonl:3: found .*, expected [^\n]*$/);
  });

  it('counts empty lines', async () => {
    await expect(readText(`${GOOD}\n\n\nx\n`)).rejects.toThrow('t.jsonl:4: found x, which');
  });

  it('counts lines across chunks', async () => {
    const many = Array.from({ length: 5000 }, () => GOOD);
    await expect(readText([...many, '{'].join('\n'))).rejects.toThrow('t.jsonl:5001: found {');
  });

  it('names a negative delay', async () => {
    const turns = [line({ session_id: 1 }), line({ session_id: 1, delay: -2 })];
    await expect(readText(turns.join('\n'))).rejects.toThrow('t.jsonl:2: found delay -2, expected');
  });

  it.each(['', '\n', ' \n\n'])('calls %j an empty trace', async (text) => {
    const message = 't.jsonl: found no requests, expected one JSON object a line';
    await expect(readText(text)).rejects.toThrow(message);
  });

  it('cuts what it shows of a long line, and keeps it on one', async () => {
    const error = await readText(`"a\tb${'x'.repeat(500)}\n`).catch((thrown) => thrown);
    expect(error.message.length).toBeLessThan(200);
    expect(error.message).not.toContain('\t');
  });
});
