/** Complaints of the schema as one line: what was found, what was expected, the nearest key. */
import type { z } from 'zod';
import { oneOf } from '../core/kit/nearest.ts';
import type { ConfigPath } from './load.ts';
import { configJsonSchema } from './schema.ts';

/** The parts of a JSON Schema that messages are made from. */
interface SchemaNode {
  readonly type?: string;
  readonly expected?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly maximum?: number;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly anyOf?: readonly SchemaNode[];
}

let root: SchemaNode | null = null;

/** The schema of the key at `path`, or null when there is no such key. */
function schemaAt(path: ConfigPath): SchemaNode | null {
  root ??= configJsonSchema(true) as SchemaNode;
  let node: SchemaNode | undefined = root;
  for (const part of path) {
    const branch: SchemaNode = branchWithChildren(node);
    node = typeof part === 'number' ? branch.items : branch.properties?.[String(part)];
    if (!node) return null;
  }
  return node;
}

/** Of a choice, the part that has keys or items. */
function branchWithChildren(node: SchemaNode): SchemaNode {
  return node.anyOf?.find((branch) => branch.properties || branch.items) ?? node;
}

/** What a mapping or list is when it is not written: a copy of its default, or nothing known. */
export function defaultAt(path: ConfigPath): unknown {
  return structuredClone(schemaAt(path)?.default ?? {});
}

/** `cluster.groups[0].count`; the whole is "the configuration". */
export function pathText(path: ConfigPath): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else text += text === '' ? String(part) : `.${String(part)}`;
  }
  return text === '' ? 'the configuration' : text;
}

export interface Explanation {
  readonly path: ConfigPath;
  /** Whether the place is the key itself and not its value. */
  readonly ofKey: boolean;
  readonly message: string;
}

type Issue = z.core.$ZodIssue;

interface Complaint {
  readonly issue: Issue;
  readonly path: ConfigPath;
}

/**
 * The complaint that helps most: a mistyped key comes before the key that is missing for it.
 *
 * @param issues at least one
 * @param raw what the schema was given
 */
export function explainIssues(issues: readonly Issue[], raw: unknown): Explanation {
  const complaints = issues.flatMap((issue) => flatten(issue, [], raw));
  const mistyped = complaints.find(({ issue }) => issue.code === 'unrecognized_keys');
  const { issue, path } = mistyped ?? complaints[0];
  if (issue.code === 'unrecognized_keys') {
    const [key] = issue.keys;
    const known = Object.keys(branchWithChildren(schemaAt(path) ?? {}).properties ?? {});
    const message = `found unknown key ${key} in ${pathText(path)}, expected ${oneOf(key, known)}`;
    return { path: [...path, key], ofKey: true, message };
  }
  const found = valueAt(raw, path);
  if (found === undefined) {
    const message = `missing key ${pathText(path)}, expected ${expectedAt(path, '')}`;
    return { path: path.slice(0, -1), ofKey: false, message };
  }
  const text = show(found);
  const { message } = issue;
  // Refinements of more than one key say themselves what they expect.
  const expected = message.startsWith('expected ')
    ? message
    : `expected ${expectedAt(path, String(found))}`;
  return { path, ofKey: false, message: `${pathText(path)}: found ${text}, ${expected}` };
}

/** Of a choice whose alternatives all failed, the complaints of the alternative that was meant. */
function flatten(issue: Issue, base: ConfigPath, raw: unknown): Complaint[] {
  const path = [...base, ...issue.path];
  if (issue.code === 'invalid_union') {
    const found = valueAt(raw, path);
    const written = typeof found === 'object' && found !== null;
    const meant = issue.errors.find(([first]) => written && !complainsOfKind(first));
    if (meant) return meant.flatMap((inner) => flatten(inner, path, raw));
  }
  return [{ issue, path }];
}

/** Whether an alternative wants another kind of value than a mapping. */
function complainsOfKind(issue: Issue): boolean {
  return issue.path.length === 0 && issue.code !== 'unrecognized_keys';
}

function valueAt(raw: unknown, path: ConfigPath): unknown {
  let value = raw;
  for (const part of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[part];
  }
  return value;
}

/** A value as it may stand in a message of one line. */
function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function expectedAt(path: ConfigPath, found: string): string {
  const node = schemaAt(path);
  return node ? expectation(node, found) : 'another value';
}

function expectation(node: SchemaNode, found: string): string {
  if (node.expected) return node.expected;
  if (node.enum) return oneOf(found, node.enum.map(String));
  if (node.const !== undefined) return JSON.stringify(node.const);
  if (node.anyOf) return node.anyOf.map((branch) => expectation(branch, found)).join(', or ');
  switch (node.type) {
    case 'integer':
      return `a whole number${range(node)}`;
    case 'number':
      return `a number${range(node)}`;
    case 'array':
      return `a list of ${node.items?.type === 'object' ? 'mappings' : 'values'}`;
    case 'object':
      return `a mapping with keys such as ${Object.keys(node.properties ?? {})
        .slice(0, 4)
        .join(', ')}`;
    case 'string':
      return 'a text';
    default:
      return 'another value';
  }
}

function range({ minimum, exclusiveMinimum, maximum }: SchemaNode): string {
  const above = exclusiveMinimum === undefined ? '' : ` above ${exclusiveMinimum}`;
  if (minimum === undefined) return above;
  const bounded = maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER;
  return bounded ? ` from ${minimum} to ${maximum}` : ` of at least ${minimum}`;
}
