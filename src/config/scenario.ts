/**
 * A scenario file: what happens to a cluster while a trace plays. YAML (JSON is YAML), one list
 * `events`, each with its time and one thing that happens; nodes and instances by name.
 */
import { readFileSync } from 'node:fs';
import { isMap, isSeq, LineCounter, parseDocument, type Node as YamlNode } from 'yaml';
import { z } from 'zod';
import { InputError } from '../core/errors.ts';
import { oneOf } from '../core/kit/nearest.ts';
import type { Scenario, ScenarioEvent } from '../core/scenario.ts';
import type { Topology } from '../core/topology.ts';
import type { Happening } from '../metrics/result.ts';
import { DURATION, parseQuantity, quantityPattern, SHARE } from './units.ts';

const duration = z
  .union([z.string().regex(quantityPattern(DURATION)), z.literal(0)])
  .transform((text) => parseQuantity(DURATION, text)!)
  .meta({ expected: DURATION.expected });
const share = z
  .union([z.string().regex(quantityPattern(SHARE)), z.number()])
  .transform((text) => parseQuantity(SHARE, text) ?? Number.NaN)
  .refine((value) => value >= 0 && value <= 1)
  .meta({ expected: 'a share such as 50% or 0.5' });

const at = duration.describe('When, since the start of the trace.');
const lasting = duration.optional().describe('How long. Default: to the end.');
const detect = duration
  .prefault('10s')
  .describe('Until the others know (Mooncake Store: client TTL of 10 s).');
const name = z.string().min(1);

const EVENTS = {
  crash: z.strictObject({ at, crash: name, for: lasting, detect }).describe('A node dies.'),
  crashInstance: z
    .strictObject({ at, crashInstance: name, for: lasting, detect: duration.prefault('1s') })
    .describe('One engine dies; the store of its node lives.'),
  rail: z
    .strictObject({ at, rail: name, rate: share.prefault(0), for: lasting })
    .describe('node/rail goes at `rate` of its speed; 0 (default): it is dead.'),
  ssd: z
    .strictObject({ at, ssd: name, rate: share.prefault(0), for: lasting })
    .describe(
      'The SSDs of a node go at `rate` of their speed; 0 (default): they fail, with all that is ' +
        'on them, and are empty when they come back.',
    ),
  link: z
    .strictObject({ at, link: z.tuple([name, name]), for: lasting })
    .describe('Two nodes do not reach each other.'),
  failover: z
    .strictObject({ at, failover: duration })
    .describe('The conductor dies; a successor takes over after this time.'),
  leave: z.strictObject({ at, leave: name }).describe('A node drains and goes.'),
  join: z
    .strictObject({ at, join: name })
    .describe('A node comes. If that is the first to happen to it, it is not there before.'),
  roles: z
    .strictObject({ at, roles: name, as: z.array(z.enum(['prefill', 'decode'])) })
    .describe('An instance changes its roles.'),
} as const;
type Kind = keyof typeof EVENTS;
const KINDS = Object.keys(EVENTS) as Kind[];

/** JSON Schema (draft 2020-12) of a scenario file. */
export function scenarioJsonSchema(): Record<string, unknown> {
  const events = z.array(z.union(Object.values(EVENTS) as never));
  return z.toJSONSchema(z.strictObject({ events }), { io: 'input' }) as Record<string, unknown>;
}

/** @throws InputError for a missing file, bad YAML, unknown keys and names, with the place */
export function loadScenario(file: string, topology: Topology): Scenario {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    throw new InputError('found no such file, expected a scenario in YAML', file);
  }
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, prettyErrors: false });
  const place = (offset: number) => {
    const { line, col } = counter.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const [problem] = document.errors;
  if (problem) {
    const [line] = problem.message.split('\n');
    throw new InputError(`found bad YAML (${line}), expected a scenario`, place(problem.pos[0]));
  }
  const list = isMap(document.contents) ? document.contents.get('events', true) : undefined;
  if (!isSeq(list)) throw new InputError('found no list, expected events: [...]', place(0));
  const events = list.items.map((item) => {
    const where = place((item as YamlNode).range?.[0] ?? 0);
    const raw = (item as YamlNode).toJS(document) as Record<string, unknown>;
    return eventOf(raw, new Names(topology, where));
  });
  return { events: events.sort((a, b) => a.atNs - b.atNs) };
}

class Names {
  readonly where: string;
  private readonly topology: Topology;

  constructor(topology: Topology, where: string) {
    this.topology = topology;
    this.where = where;
  }

  node(found: string): number {
    return this.find('node', found, this.topology.nodes);
  }

  instance(found: string): number {
    return this.find('instance', found, this.topology.instances);
  }

  rail(found: string): { node: number; rail: number } {
    const cut = found.lastIndexOf('/');
    const node = this.node(cut < 0 ? found : found.slice(0, cut));
    const { rails } = this.topology.nodes[node];
    const rail = rails.findIndex((r) => r.name === found.slice(cut + 1));
    if (cut >= 0 && rail >= 0) return { node, rail };
    const names = rails.map((r) => `${this.topology.nodes[node].name}/${r.name}`);
    throw this.error(`found rail ${JSON.stringify(found)}, expected ${oneOf(found, names)}`);
  }

  ssdOf(found: string): number {
    const node = this.node(found);
    if (this.topology.nodes[node].ssdCapacityBytes > 0) return node;
    throw this.error(`found node ${JSON.stringify(found)}, which has no SSD for KV`);
  }

  error(message: string): InputError {
    return new InputError(message, this.where);
  }

  private find(what: string, found: string, among: readonly { id: number; name: string }[]) {
    const one = among.find(({ name }) => name === found);
    if (one !== undefined) return one.id;
    const names = among.map(({ name }) => name);
    throw this.error(`found ${what} ${JSON.stringify(found)}, expected ${oneOf(found, names)}`);
  }
}

function parse<K extends Kind>(kind: K, raw: unknown, names: Names): z.output<(typeof EVENTS)[K]> {
  const result = EVENTS[kind].safeParse(raw);
  if (result.success) return result.data as z.output<(typeof EVENTS)[K]>;
  const [issue] = result.error.issues;
  const key = issue.path.join('.') || kind;
  const keys = Object.keys(EVENTS[kind].shape).join(', ');
  throw names.error(`found a bad ${key} in ${kind}, expected the keys ${keys} in their units`);
}

function eventOf(raw: Record<string, unknown>, names: Names): ScenarioEvent {
  const kind = KINDS.find((one) => typeof raw === 'object' && raw !== null && one in raw);
  if (kind === undefined) {
    throw names.error(`found no thing that happens, expected one of ${KINDS.join(', ')}`);
  }
  const forNs = (given: { for?: number | undefined }) => given.for ?? Number.POSITIVE_INFINITY;
  switch (kind) {
    case 'crash': {
      const given = parse(kind, raw, names);
      const { at: atNs, detect: detectNs } = given;
      return { kind, atNs, node: names.node(given.crash), forNs: forNs(given), detectNs };
    }
    case 'crashInstance': {
      const given = parse(kind, raw, names);
      const { at: atNs, detect: detectNs } = given;
      const instance = names.instance(given.crashInstance);
      return { kind, atNs, instance, forNs: forNs(given), detectNs };
    }
    case 'rail': {
      const given = parse(kind, raw, names);
      const { at: atNs, rate } = given;
      return { kind, atNs, ...names.rail(given.rail), rate, forNs: forNs(given) };
    }
    case 'ssd': {
      const given = parse(kind, raw, names);
      const { at: atNs, rate } = given;
      return { kind, atNs, node: names.ssdOf(given.ssd), rate, forNs: forNs(given) };
    }
    case 'link': {
      const given = parse(kind, raw, names);
      const [a, b] = given.link.map((one) => names.node(one));
      if (a === b) throw names.error('found one node twice in link, expected two nodes');
      return { kind, atNs: given.at, nodes: [a, b], forNs: forNs(given) };
    }
    case 'failover': {
      const { at: atNs, failover: downNs } = parse(kind, raw, names);
      return { kind, atNs, downNs };
    }
    case 'leave': {
      const { at: atNs, leave } = parse(kind, raw, names);
      return { kind, atNs, node: names.node(leave) };
    }
    case 'join': {
      const { at: atNs, join } = parse(kind, raw, names);
      return { kind, atNs, node: names.node(join) };
    }
    case 'roles': {
      const { at: atNs, roles, as } = parse(kind, raw, names);
      return { kind, atNs, instance: names.instance(roles), roles: as };
    }
  }
}

/** The events of a scenario in words, for results and reports. */
export function happeningsOf({ events }: Scenario, topology: Topology): Happening[] {
  return events.map((event) => {
    const forNs = 'forNs' in event && Number.isFinite(event.forNs) ? event.forNs : null;
    const downNs = event.kind === 'failover' ? event.downNs : forNs;
    return { atNs: event.atNs, forNs: downNs, what: wordsOf(event, topology) };
  });
}

function wordsOf(event: ScenarioEvent, { nodes, instances }: Topology): string {
  const rateOf = (rate: number) => (rate === 0 ? 'lost' : `at ${Math.round(rate * 100)} %`);
  switch (event.kind) {
    case 'crash':
      return `${nodes[event.node].name} crashes`;
    case 'crashInstance':
      return `${instances[event.instance].name} crashes`;
    case 'rail': {
      const { name, rails } = nodes[event.node];
      return `${name}/${rails[event.rail].name} ${rateOf(event.rate)}`;
    }
    case 'ssd':
      return `SSD of ${nodes[event.node].name} ${rateOf(event.rate)}`;
    case 'link':
      return `no link ${event.nodes.map((node) => nodes[node].name).join(', ')}`;
    case 'failover':
      return 'conductor fails over';
    case 'leave':
      return `${nodes[event.node].name} leaves`;
    case 'join':
      return `${nodes[event.node].name} joins`;
    case 'roles':
      return `${instances[event.instance].name}: ${event.roles.join(', ') || 'standby'}`;
  }
}
