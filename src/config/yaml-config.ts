/**
 * A configuration that someone wrote: YAML text or a preset, overrides on top, through the schema.
 * Every complaint is one line with the place, what was found and what was expected.
 */
import { dirname, resolve } from 'node:path';
import { isMap, isScalar, LineCounter, type Node, parse, parseDocument, YAMLError } from 'yaml';
import { InputError } from '../core/errors.ts';
import type { ConfigPath, LoadedConfig } from './load.ts';
import { anchorPolicy, mapPolicies } from './policy-ref.ts';
import { configSchema } from './schema.ts';
import { defaultAt, explainIssues, pathText } from './schema-errors.ts';

/** Tells where a key (`ofKey`) or a value was written. */
type Locate = (path: ConfigPath, ofKey?: boolean) => string;

interface Override {
  readonly path: ConfigPath;
  readonly value: unknown;
  readonly text: string;
}

export function configFromPreset(
  name: string,
  input: Readonly<Record<string, unknown>>,
  sets: readonly string[],
): LoadedConfig {
  const raw = structuredClone(input) as Record<string, unknown>;
  return validate(raw, () => `preset ${name}`, sets);
}

export function configFromYaml(file: string, text: string, sets: readonly string[]): LoadedConfig {
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, prettyErrors: false });
  const at = (offset: number): string => {
    const { line, col } = counter.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const [problem] = document.errors;
  if (problem) throw yamlError(problem, at(problem.pos[0]));
  if (document.contents !== null && !isMap(document.contents)) {
    throw new InputError('found no mapping, expected keys such as model: and cluster:', at(0));
  }
  const locate: Locate = (path, ofKey = false) => at(offsetOf(document.contents, path, ofKey));
  let raw: Record<string, unknown>;
  try {
    raw = (document.toJS() as Record<string, unknown> | null) ?? {};
  } catch (error) {
    const found = `found bad YAML (${(error as Error).message})`;
    throw new InputError(`${found}, expected a YAML mapping`, at(0));
  }
  return validate(anchorPolicies(raw, dirname(resolve(file))), locate, sets);
}

function yamlError(problem: YAMLError, place: string): InputError {
  const [line] = problem.message.split('\n');
  return new InputError(`found bad YAML (${line}), expected a YAML mapping`, place);
}

/** Offset of the deepest node that exists on the way to `path`. */
function offsetOf(root: Node | null, path: ConfigPath, ofKey: boolean): number {
  let node: unknown = root;
  let offset = 0;
  for (const [depth, part] of path.entries()) {
    if (isMap(node)) {
      const pair = node.items.find(
        ({ key }) => isScalar(key) && String(key.value) === String(part),
      );
      if (!pair) break;
      const last = depth === path.length - 1;
      const target = (last && ofKey) || pair.value === null ? pair.key : pair.value;
      offset = (target as Node).range?.[0] ?? offset;
      node = pair.value;
    } else {
      const item = (node as { items?: unknown[] } | null)?.items?.[Number(part)];
      if (!item) break;
      offset = (item as Node).range?.[0] ?? offset;
      node = item;
    }
  }
  return offset;
}

/** Files of policies are meant from the folder of the configuration that names them. */
function anchorPolicies(raw: Record<string, unknown>, folder: string): Record<string, unknown> {
  return mapPolicies(raw, (spec) => anchorPolicy(spec, folder));
}

function validate(
  written: Record<string, unknown>,
  locate: Locate,
  sets: readonly string[],
): LoadedConfig {
  const overrides = sets.map(parseOverride);
  for (const override of overrides) setPath(written, override);
  const raw = anchorPolicies(written, process.cwd());
  const placeOf: Locate = (path, ofKey) => {
    const override = overrides.findLast((o) => o.path.every((part, i) => sameKey(part, path[i])));
    return override ? `--set ${override.text}` : locate(path, ofKey);
  };
  const result = configSchema.safeParse(raw);
  if (!result.success) {
    const { path, ofKey, message } = explainIssues(result.error.issues, raw);
    throw new InputError(message, placeOf(path, ofKey));
  }
  return { config: result.data, placeOf };
}

function sameKey(a: PropertyKey, b: PropertyKey | undefined): boolean {
  return b !== undefined && String(a) === String(b);
}

/** `a.b.0.c=value` or `a.b[0].c=value`; the value is YAML, so that lists and numbers work. */
function parseOverride(text: string): Override {
  const place = `--set ${text}`;
  const match = /^([^=\s]+)=(.*)$/s.exec(text);
  const parts = match?.[1].replaceAll(/\[(\d+)\]/g, '.$1').split('.') ?? [];
  if (!match || parts.some((part) => !/^(?:[A-Za-z]\w*|\d+)$/.test(part))) {
    throw new InputError(
      `found ${JSON.stringify(text)}, expected key.key=value such as targets.ttft=10s`,
      '--set',
    );
  }
  try {
    const path = parts.map((part) => (/^\d+$/.test(part) ? Number(part) : part));
    return { path, value: parse(match[2]), text };
  } catch (error) {
    throw error instanceof YAMLError ? yamlError(error, place) : error;
  }
}

/** Writes one override into `raw`; what is not written on its way starts from its default. */
function setPath(raw: Record<string, unknown>, { path, value, text }: Override): void {
  let target: Record<PropertyKey, unknown> = raw;
  for (const [depth, part] of path.entries()) {
    if (Array.isArray(target) && !(typeof part === 'number' && part < target.length)) {
      const list = pathText(path.slice(0, depth));
      const expected = `expected 0 to ${target.length - 1}`;
      throw new InputError(
        `found index ${String(part)} into ${list}, ${expected}`,
        `--set ${text}`,
      );
    }
    if (depth === path.length - 1) {
      target[part] = value;
      return;
    }
    const here = path.slice(0, depth + 1);
    target[part] ??= defaultAt(here);
    const next = target[part];
    if (typeof next !== 'object' || next === null) {
      const found = `found ${JSON.stringify(next)} in ${pathText(here)}`;
      throw new InputError(`${found}, expected keys below it`, `--set ${text}`);
    }
    target = next as Record<PropertyKey, unknown>;
  }
}
