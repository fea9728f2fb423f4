import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../src/core/errors.ts';
import { shippedPath } from '../../src/trace/catalogue.ts';
import { parseGeneratorSpec } from '../../src/trace/generator-spec.ts';

const LINES = [
  'generator: conversations',
  'seed: 3',
  'requests: 100',
  'duration: 1.5min',
  'burstPeriod: 250ms',
  'blockTokens: 16',
  'systemTokens: 20',
  'maxInputTokens: 4000',
  'meanInputTokens: 700',
  'maxOutputTokens: 500',
  'meanOutputTokens: 30.5',
  'turns: { mean: 2, shape: 1 }',
  'thinkTime: { median: 2s, sigma: 0 }',
  'firstPrompt: { shortShare: 0.5, short: &a { median: 9, sigma: 1 }, long: {median: 9, sigma: 1}}',
  'laterPrompt: { shortShare: 0.5, short: { median: 9, sigma: 1 }, long: { median: 9, sigma: 1 } }',
  'output: { shortShare: 0.5, short: { median: 9, sigma: 1 }, long: { median: 9, sigma: 1 } }',
  'edits: { share: 0, keeps: 1 }',
  'resendShare: 0',
];

/** The spec with line `number` (from 1) replaced. */
function parse(number?: number, text = ''): ReturnType<typeof parseGeneratorSpec> {
  const lines = LINES.with(0, LINES[0]);
  if (number !== undefined) lines[number - 1] = text;
  return parseGeneratorSpec(lines.join('\n'), 's.yaml');
}

describe('a generator spec', () => {
  it('gives ns, and everything else as it stands', () => {
    const length = { median: 9, sigma: 1 };
    const mixture = { shortShare: 0.5, short: length, long: length };
    expect(parse().spec).toEqual({
      seed: 3,
      requests: 100,
      durationNs: 90e9,
      burstPeriodNs: 250e6,
      blockTokens: 16,
      systemTokens: 20,
      maxInputTokens: 4000,
      meanInputTokens: 700,
      maxOutputTokens: 500,
      meanOutputTokens: 30.5,
      turns: { mean: 2, shape: 1 },
      thinkNs: { median: 2e9, sigma: 0 },
      firstPrompt: mixture,
      laterPrompt: mixture,
      output: mixture,
      edits: { share: 0, keeps: 1 },
      resendShare: 0,
    });
    expect(parse().placeOf('meanInputTokens')).toBe('s.yaml:9:18');
  });

  it('without bursts keeps to the milliseconds of the format', () => {
    expect(parse(5, 'burstPeriod: 0s').spec.burstPeriodNs).toBe(1e6);
  });

  it('is what ships', () => {
    const path = shippedPath('conversation-like.yaml');
    expect(parseGeneratorSpec(readFileSync(path, 'utf8'), path).spec.requests).toBe(12_031);
  });

  it.each([
    [1, 'generator: agents', '1:12: found "agents", expected "conversations"'],
    [2, 'seed: -1', '2:7: found -1, expected an integer, 0 to'],
    [3, 'requests: 0', '3:11: found 0, expected an integer, 1 to 50000000'],
    [3, 'requests: 1.5', '3:11: found 1.5, expected an integer'],
    [3, 'requests: "7"', '3:11: found "7", expected an integer'],
    [3, 'requests:', '3:10: found nothing, expected an integer'],
    [3, 'requests: [1]', '3:11: found a list, expected an integer'],
    [3, 'request: 5', '3:1: found the key "request", expected one of generator, seed, requests'],
    [3, 'request: 5', '(nearest: requests)'],
    [3, '', '1:1: found no requests, expected it'],
    [3, 'seed: 3', '3:1: found bad YAML (Map keys must be unique), expected a mapping'],
    [4, 'duration: 1', '4:11: found 1, expected a duration such as 1h, 3s or 200ms, above 0'],
    [4, 'duration: 0s', '4:11: found "0s", expected a duration'],
    [4, 'duration: 3 parsecs', '4:11: found "3 parsecs", expected a duration'],
    [7, 'systemTokens: 4000', '7:15: found 4000 system tokens, expected fewer than maxInputTokens'],
    [12, 'turns: { mean: 0.5, shape: 1 }', '12:16: found 0.5, expected a number, 1 to 1000000'],
    [12, 'turns: { mean: 2 }', '12:8: found no shape, expected it'],
    [12, 'turns: 2', '12:8: found 2, expected a mapping with mean, shape'],
    [17, 'edits: { share: 1.1, keeps: 1 }', '17:17: found 1.1, expected a number, 0 to 1'],
    [17, 'edits: { share: .nan, keeps: 1 }', '17:17: found NaN, expected a number'],
    [18, 'resendShare: *a', '18:14: found an alias, expected a number'],
    [18, 'resendShare: {', 'found bad YAML'],
  ])('has an error on line %i for %j', (number, text, message) => {
    let error: unknown;
    try {
      parse(number, text);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(InputError);
    expect((error as Error).message).toContain(message);
    expect((error as Error).message).toMatch(/^s\.yaml:\d+:\d+: found [^\n]*, expected [^\n]*$/);
  });

  it.each(['', 'just text', '- a\n- b'])('is no spec where it reads %j', (text) => {
    expect(() => parseGeneratorSpec(text, 's.yaml')).toThrow(/^s\.yaml:1:1: found /);
  });
});
