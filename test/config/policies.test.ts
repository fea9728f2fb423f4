/** Loading policies: built-in by name, a user's file unbuilt, and every way it can be wrong. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { listPolicies, loadPolicies, loadPolicy, policyNames } from '../../src/config/policies.ts';
import { parsePolicyRef } from '../../src/config/policy-ref.ts';
import { resolveConfig } from '../../src/config/resolve.ts';
import { placeInFile } from '../../src/config/user-policy.ts';
import { editDistance, nearest } from '../../src/core/kit/nearest.ts';
import { POLICY_KINDS, type PolicyKind } from '../../src/core/policy.ts';
import { complaint, temporaryFile } from './files.ts';

const load = <K extends PolicyKind>(kind: K, spec: string) =>
  loadPolicy(parsePolicyRef(kind, spec, `--${kind}`));

const MINE = `import { defineDecode, type DecodePolicy } from 'moontide/policy';
import { favourite } from './favourite.ts';

class Mine implements DecodePolicy {
  private readonly depth: number;
  constructor(depth: number) {
    this.depth = depth;
  }
  choose(): number {
    if (this.depth === 13) throw new Error('unlucky');
    return favourite + this.depth;
  }
}

export default defineDecode({
  source: 'mine',
  params: {
    depth: { type: 'integer', default: 2, min: 1, max: 20, doc: 'how deep' },
    mode: { type: 'choice', default: 'a', choices: ['a', 'b'], doc: 'which' },
    fast: { type: 'boolean', default: false, doc: 'hurry' },
    share: { type: 'number', default: 0.5, min: 0, doc: 'of it' },
  },
  create: (_, params) => new Mine(params.depth),
});
`;

/** A user's policy in two files; the path of the first. */
function userPolicy(text = MINE, folder = '.'): string {
  const path = temporaryFile(join(folder, 'mine.ts'), text);
  writeFileSync(join(dirname(path), 'favourite.ts'), 'export const favourite: number = 40;\n');
  return path;
}

describe('references', () => {
  test.each([
    ['lru', 'lru', {}],
    ['s3-fifo:small=0.1,threshold=2', 's3-fifo', { small: '0.1', threshold: '2' }],
    ['2q:a = 1', '2q', { a: '1' }],
  ])('%s', (spec, name, params) => {
    expect(parsePolicyRef('eviction', spec, '')).toMatchObject({ name, params, path: null });
  });

  test.each([
    ['./mine.ts', 'mine.ts', {}],
    ['../a/b.js:depth=3', 'b.js', { depth: '3' }],
    ['/abs/c.mjs:x=1,y=2', 'c.mjs', { x: '1', y: '2' }],
    ['d.mts', 'd.mts', {}],
  ])('%s is a file', (spec, name, params) => {
    const ref = parsePolicyRef('prefill', spec, '');
    expect(ref).toMatchObject({ name, params });
    expect(ref.path).toMatch(new RegExp(`^/.*${name}$`));
  });

  test.each(['', 'Lru', 'lru:', 'lru:x', 'lru:x=', 'lru:=1', 'lru:a=1,,b=2', 'a b'])(
    '%j is refused',
    async (spec) => {
      expect(await complaint(() => parsePolicyRef('eviction', spec, '--eviction'))).toBe(
        `--eviction: found ${JSON.stringify(spec)} as eviction policy, expected name, ` +
          'name:key=value,key=value or ./file.ts:key=value',
      );
    },
  );

  test('a parameter given twice', async () => {
    expect(await complaint(() => parsePolicyRef('eviction', 'x:a=1,a=2', '--eviction'))).toBe(
      '--eviction: found parameter a twice in "x:a=1,a=2", expected it once',
    );
  });
});

describe('built-in policies', () => {
  test('every file of src/policy/ is listed, with its source and parameters', async () => {
    const entries = await listPolicies();
    expect(entries.map(({ kind, name }) => `${kind}/${name}`)).toContain('eviction/lru');
    for (const kind of POLICY_KINDS) {
      const files = readdirSync(`src/policy/${kind}`).filter((file) => file.endsWith('.ts'));
      expect(policyNames(kind)).toEqual(files.map((file) => file.slice(0, -3)).sort());
    }
    for (const { kind, name, source, params } of entries) {
      expect(source, `${kind}/${name}`).toMatch(/\S/);
      for (const param of Object.values(params)) expect(param.doc).toMatch(/\S/);
      // Defaults given as text are parsed to themselves: they obey their own ranges.
      const given = Object.entries(params).map(([key, param]) => `${key}=${param.default}`);
      const loaded = await load(kind, given.length > 0 ? `${name}:${given.join()}` : name);
      expect(loaded.params).toEqual((await load(kind, name)).params);
    }
  });

  test('those of the preset load', async () => {
    const { policies } = resolveConfig(await loadConfig());
    const made = await loadPolicies(policies);
    expect(made.prefill.name).toBe('kvcache-centric');
    expect(made.eviction.name).toBe('lru');
    expect(typeof made.decode.create).toBe('function');
    expect(typeof made.admission.create).toBe('function');
  });

  test('an unknown name', async () => {
    const message = await complaint(() => load('eviction', 'lruu'));
    expect(message).toMatch(
      /^--eviction: found unknown eviction policy "lruu", expected one of .*\(nearest: lru\), or/,
    );
    for (const name of policyNames('eviction')) expect(message).toContain(name);
  });

  test('a parameter of a policy that has none', async () => {
    expect(await complaint(() => load('eviction', 'lru:k=2'))).toBe(
      '--eviction: found unknown parameter k of eviction policy lru, expected none',
    );
  });
});

describe("a user's own file", () => {
  test('runs unbuilt, with its imports, given and default parameters', async () => {
    const path = userPolicy();
    const before = readdirSync(tmpdir()).filter((name) => name.startsWith('moontide-policy-'));
    const loaded = await load('decode', `${path}:depth=5,fast=true`);
    expect(loaded).toMatchObject({ name: 'mine.ts', path });
    expect(loaded.params).toEqual({ depth: 5, mode: 'a', fast: true, share: 0.5 });
    const policy = loaded.module.create(null as never, loaded.params);
    expect(policy.choose(null as never, 0, null as never)).toBe(45);
    const after = readdirSync(tmpdir()).filter((name) => name.startsWith('moontide-policy-'));
    expect(after).toEqual(before);
  });

  test('its hash follows the code, not the folder', async () => {
    const hash = async (text?: string, folder?: string) =>
      (await load('decode', userPolicy(text, folder))).sha256;
    const first = await hash();
    expect(first).toMatch(/^[0-9a-f]{64}$/);
    expect(await hash(MINE, 'deeper/down')).toBe(first);
    expect(await hash(MINE.replace('favourite + ', 'favourite - '))).not.toBe(first);
  });

  test('an exception points into the file: line 10, where it throws', () => {
    const path = userPolicy();
    const script = `
      import { loadPolicy } from './src/config/policies.ts';
      import { parsePolicyRef } from './src/config/policy-ref.ts';
      import { placeInFile } from './src/config/user-policy.ts';
      const ref = parsePolicyRef('decode', ${JSON.stringify(`${path}:depth=13`)}, '');
      const { module, params } = await loadPolicy(ref);
      try {
        module.create(null, params).choose();
      } catch (error) {
        console.log(placeInFile(error, ref.path), error.stack);
      }`;
    // A process of its own: a test runner maps stacks in its own way.
    const run = spawnSync(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '--eval', script],
      { encoding: 'utf8' },
    );
    expect(run.stderr).toBe('');
    expect(run.stdout.split(' ')[0]).toBe(`${path}:10:34`);
    expect(run.stdout).not.toContain('policy.mjs');
  });

  test('an exception that did not pass through the file has no place in it', () => {
    expect(placeInFile(new Error('elsewhere'), '/nowhere/mine.ts')).toBeNull();
    expect(placeInFile('text', '/nowhere/mine.ts')).toBeNull();
  });

  const refused = async (text: string, spec = '') => {
    const path = userPolicy(text);
    return complaint(() => load('decode', `${path}${spec}`), path);
  };
  const DEFAULT_EXPORT =
    "expected what defineDecode() of 'moontide/policy' returns as default export";

  test.each([
    [
      'no default export',
      'export const x = 1;',
      `mine.ts: found no default export, ${DEFAULT_EXPORT}`,
    ],
    [
      'another kind of export',
      'export default () => 1;',
      `mine.ts: found a default export of type function, ${DEFAULT_EXPORT}`,
    ],
    [
      'not made by define…',
      "export default { source: 'x', params: {}, create() {} };",
      `mine.ts: found a default export without kind, ${DEFAULT_EXPORT}`,
    ],
    [
      'another kind of policy',
      MINE.replaceAll('defineDecode', 'definePrefill'),
      `mine.ts: found a policy of kind prefill, ${DEFAULT_EXPORT}`,
    ],
    [
      'no create',
      "export default { kind: 'decode', source: 'x', params: {} };",
      `mine.ts: found no create (a function), ${DEFAULT_EXPORT}`,
    ],
    [
      'no params',
      "export default { kind: 'decode', source: 'x', create() {} };",
      `mine.ts: found no params (a mapping, possibly empty), ${DEFAULT_EXPORT}`,
    ],
    [
      'unknown type of parameter',
      MINE.replace("'integer'", "'integr'"),
      'mine.ts: params.depth: found type integr, expected one of number, integer, boolean, ' +
        'choice (nearest: integer)',
    ],
    [
      'default out of its own range',
      MINE.replace('default: 2', 'default: 0'),
      'mine.ts: params.depth: found default 0, expected a whole number from 1 to 20',
    ],
    [
      'syntax error',
      'export default {\n  source: \n};',
      'mine.ts:3:1: found an error (Unexpected "}"), expected code that compiles',
    ],
    [
      'import of nothing',
      "import './nothing.ts';\nexport default 1;",
      'mine.ts:1:8: found an error (Could not resolve "./nothing.ts"), expected code that compiles',
    ],
  ])('%s', async (_, text, message) => {
    expect(await refused(text)).toBe(message);
  });

  test.each([
    [
      ':dept=3',
      'found unknown parameter dept of decode policy mine.ts, expected depth, mode, fast, share ' +
        '(nearest: depth)',
    ],
    [
      ':depth=1.5',
      'found depth=1.5 for decode policy mine.ts, expected a whole number from 1 to 20',
    ],
    [':depth=21', 'found depth=21 for decode policy mine.ts, expected a whole number from 1 to 20'],
    [':mode=c', 'found mode=c for decode policy mine.ts, expected one of a, b'],
    [':fast=yes', 'found fast=yes for decode policy mine.ts, expected true or false'],
    [':share=-1', 'found share=-1 for decode policy mine.ts, expected a number of at least 0'],
    [':share=x', 'found share=x for decode policy mine.ts, expected a number of at least 0'],
  ])('parameter %s', async (spec, message) => {
    expect(await refused(MINE, spec)).toBe(`--decode: ${message}`);
  });

  test('an exception on import, a missing file, a folder', async () => {
    expect(await refused("throw new Error('too\\nbad');")).toMatch(
      /^mine\.ts(:1:7)?: found an exception on import \(too\), expected none$/,
    );
    const gone = join(tmpdir(), 'moontide-gone.ts');
    expect(existsSync(gone)).toBe(false);
    expect(await complaint(() => load('decode', gone))).toBe(
      `--decode: found no file ${gone}, expected a policy's source`,
    );
    const path = temporaryFile('x', '');
    mkdirSync(join(dirname(path), 'folder.ts'));
    expect(await complaint(() => load('decode', join(dirname(path), 'folder.ts')))).toMatch(
      /^--decode: found no file .*folder\.ts, expected a policy's source$/,
    );
  });
});

test('the nearest word: fewest edits, none when all are far', () => {
  expect(editDistance('kitten', 'sitting')).toBe(3);
  expect(editDistance('', 'abc')).toBe(3);
  expect(nearest('tbtt', ['ttft', 'tbt'])).toBe('tbt');
  expect(nearest('TTFT', ['ttft', 'tbt'])).toBe('ttft');
  expect(nearest('zebra', ['ttft', 'monitoring'])).toBeNull();
});
