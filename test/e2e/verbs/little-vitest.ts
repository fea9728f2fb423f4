/**
 * As much of vitest as the conformance suite needs, for a machine where plain node takes a while to
 * start: the same files run, one after the other, and a line of JSON says what became of each test.
 */
import {
  ChaiStyleAssertions,
  chai,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
} from '@vitest/expect';

chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);
chai.use(ChaiStyleAssertions);
export const expect = chai.expect;

type Body = (...given: never[]) => unknown;

interface Test {
  readonly name: string;
  readonly run: () => unknown;
}

const tests: Test[] = [];
let path: readonly string[] = [];

/** `%s` is the first of a row; `$name` a field of it. */
function titled(title: string, row: unknown): string {
  const first = Array.isArray(row) ? row[0] : row;
  const fields = (first ?? {}) as Record<string, unknown>;
  return title.replace('%s', String(first)).replace(/\$(\w+)/g, (_, name) => String(fields[name]));
}

function within(name: string, suite: () => void): void {
  const outer = path;
  path = [...path, name];
  suite();
  path = outer;
}

function each(rows: readonly unknown[], add: (title: string, run: () => unknown) => void) {
  return (title: string, body: Body): void => {
    for (const row of rows) {
      const given = (Array.isArray(row) ? row : [row]) as never[];
      add(titled(title, row), () => body(...given));
    }
  };
}

const add = (name: string, run: () => unknown): void => {
  tests.push({ name: [...path, name].join(' > '), run });
};

export const it = Object.assign(add, { each: (rows: readonly unknown[]) => each(rows, add) });

export const describe = Object.assign(within, {
  each: (rows: readonly unknown[]) => each(rows, (name, suite) => within(name, () => suite())),
  skipIf: (skipped: boolean) => (name: string, suite: () => void) => {
    if (!skipped) within(name, suite);
  },
});

const closers: (() => unknown)[] = [];

/** After all tests of all suites. */
export const afterAll = (close: () => unknown): void => {
  closers.push(close);
};

/** Runs the tests whose names match; answers the names of all, and what went wrong with some. */
export async function runAll(wanted: RegExp): Promise<{ ran: string[]; failed: string[] }> {
  const ran: string[] = [];
  const failed: string[] = [];
  for (const { name, run } of tests) {
    if (!wanted.test(name)) continue;
    const startMs = performance.now();
    try {
      await run();
    } catch (error) {
      failed.push(`${name}: ${(error as Error).stack}`);
      console.log(failed.at(-1));
    }
    ran.push(name);
    console.log(`${failed.length} failed, ${(performance.now() - startMs).toFixed()} ms: ${name}`);
  }
  for (const close of closers) await close();
  return { ran, failed };
}
