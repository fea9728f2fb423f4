/**
 * What one machine may say to another over a link, field by field: kinds, ranges, lengths, and who
 * may say it to whom about what. A machine takes what passes here without another look.
 */
import { InputError } from '../../core/errors.ts';
import type { Message } from '../../core/messages.ts';
import type { ObjectAnswer, ObjectAsk } from '../../core/object-messages.ts';
import { BlockSpan, Outcome, Phase } from '../../core/request.ts';
import {
  type Address,
  AddressBook,
  CONDUCTOR,
  Tier,
  type Topology,
  WORKLOAD,
} from '../../core/topology.ts';
import {
  CHECKSUM_MAX,
  type Check,
  type Fields,
  flag,
  id,
  isObject,
  LIST_MAX,
  list,
  object,
  oneOf,
  SLOTS_MAX,
  time,
  whole,
  wrongField,
} from './checks.ts';
import { wordFields } from './word-fields.ts';

/** Who a machine is. */
type Party = 'ingress' | 'conductor' | 'store' | 'instance';
/** A message whose fields have been checked, or are about to be. */
type Fieldwise = Record<string, never>;

interface Kind {
  readonly routes: readonly `${Party}>${Party}`[];
  readonly fields: Fields;
  /** What must hold between the fields, and with who speaks to whom: null, or what does not. */
  readonly law?: (body: Fieldwise, from: Address, to: Address) => string | null;
}

/** Kinds that are said within a node; all others cross links. Objects: store/spec.ts. */
type Near =
  | ObjectAsk['kind']
  | ObjectAnswer['kind']
  // By the registry.
  | 'buckets'
  | 'loadFailed'
  | 'prefetch'
  | 'fetchBlocks'
  | 'fetched'
  | 'acquire'
  | 'acquireWaits'
  | 'acquired'
  | 'computed'
  | 'saveBlocks'
  | 'release'
  | 'park'
  | 'parked'
  | 'grow'
  | 'grown'
  | 'unpark'
  | 'unparked'
  | 'claim'
  | 'claimed';
type Crossing = Exclude<Message['kind'], Near>;

const TOKENS_MAX = 2 ** 31;
/** Block ids: tables by block grow up to this, 0.3 GB in the directory of 32 nodes. */
export const BLOCKS_MAX = 1 << 25;
const ATTEMPTS_MAX = 2 ** 31;
const CHECKSUM_MIN = -(2 ** 31);

// --- the schema ---------------------------------------------------------------------------------

function kindsOf(topology: Topology, blocks: number): Record<Crossing, Kind> {
  const { nodes, instances, kv } = topology;
  const block = whole(0, blocks - 1);
  const prompt = list(block, LIST_MAX);
  const someBlocks = list(block, blocks);
  const count = whole(0, LIST_MAX);
  const node = whole(0, nodes.length - 1);
  const instance = whole(0, instances.length - 1);
  const tier = oneOf(...Object.values(Tier));
  const shared = oneOf(Tier.dram, Tier.ssd);
  const outcome = oneOf(...Object.values(Outcome));
  const roles = list(oneOf('prefill', 'decode'), 2);
  const interned = whole(0, 2 ** 31);
  const span: Check = (value) => {
    if (!(value instanceof BlockSpan) || value.length > LIST_MAX) return false;
    for (let i = 0; i < value.length; i++) {
      const at = value.at(i);
      if (at < 0 || at >= blocks) return false;
    }
    return true;
  };
  const attempt = ['attempt', whole(0, ATTEMPTS_MAX)] as const;
  const requestId = ['request', id] as const;
  const requestFields: Fields = [
    ['id', id],
    attempt,
    ['tenant', interned],
    ['priority', whole(-(2 ** 31), 2 ** 31)],
    ['sloClass', interned],
    ['session', whole(-1, Number.MAX_SAFE_INTEGER)],
    ['parent', whole(-1, Number.MAX_SAFE_INTEGER)],
    ['namespace', interned],
    ['blocks', span],
    ['inputTokens', whole(1, TOKENS_MAX)],
    ['outputTokens', whole(1, TOKENS_MAX)],
    ['arrivalNs', time],
  ];
  const fields = object(requestFields, [['decoded', span]]);
  const request = [
    'request',
    (value: unknown) => {
      if (!fields(value)) return false;
      const { blocks: ids, inputTokens } = value as { blocks: BlockSpan; inputTokens: number };
      return ids.length === Math.ceil(inputTokens / kv.blockTokens);
    },
  ] as const;
  const rangeFields: Fields = [
    ['segment', id],
    ['slots', list(whole(0, SLOTS_MAX), LIST_MAX)],
    ['generations', list(whole(0, CHECKSUM_MAX), LIST_MAX)],
    ['checksums', list(whole(CHECKSUM_MIN, CHECKSUM_MAX), LIST_MAX)],
  ];
  const rangeShape = object(rangeFields);
  const range = [
    'range',
    (value: unknown) => {
      if (!rangeShape(value)) return false;
      const { slots, generations, checksums } = value as Record<string, readonly number[]>;
      return generations.length === slots.length && checksums.length === slots.length;
    },
  ] as const;
  const addresses = new AddressBook(topology);
  const ofStore = (body: Fieldwise, from: Address) => {
    const at = addresses.storeNode(from);
    if (body.node !== at) return `a report on node ${body.node} by that of node ${at}`;
    const owner = body.instance as number;
    const fits = body.tier === Tier.hbm ? instances[owner]?.node === at : owner === -1;
    return fits ? null : `a report on instance ${owner} by node ${at}`;
  };
  const ofInstance = (body: Fieldwise, from: Address) =>
    body.instance === addresses.instanceId(from)
      ? null
      : `a report on instance ${body.instance} by instance ${addresses.instanceId(from)}`;
  const toInstance = (body: Fieldwise, _: Address, to: Address) =>
    to === CONDUCTOR || body.instance === addresses.instanceId(to)
      ? null
      : `roles of instance ${body.instance}`;
  const onNode = (body: Fieldwise, _: Address, to: Address) =>
    instances[body.instance].node === addresses.storeNode(to)
      ? null
      : `instance ${body.instance}, which is not on that node`;
  const sameLength = (one: string, two: string) => (body: Fieldwise) =>
    (body[one] as []).length === (body[two] as []).length ? null : `${two} of another length`;

  return {
    arrive: { routes: ['ingress>conductor'], fields: [request] },
    cancel: {
      routes: ['ingress>conductor', 'conductor>instance', 'instance>instance'],
      fields: [requestId, attempt],
    },
    terminal: {
      routes: ['conductor>ingress'],
      fields: [requestId, attempt, ['outcome', outcome]],
    },
    dispatch: {
      routes: ['conductor>instance'],
      fields: [
        ['term', id],
        ['sequence', id],
        ['after', id],
        request,
        ['decodeInstance', instance],
        ['sources', list(node, LIST_MAX)],
        ['sourceBlocks', count],
        ['localBlocks', count],
        ['untils', list(count, LIST_MAX)],
        ['nodes', list(node, LIST_MAX)],
        ['keepsFetched', flag],
      ],
      law: dispatchLaw,
    },
    prefilled: { routes: ['instance>conductor'], fields: [requestId, attempt] },
    finished: {
      routes: ['instance>conductor'],
      fields: [requestId, attempt, ['outcome', outcome]],
    },
    setRoles: {
      routes: ['conductor>instance', 'ingress>conductor'],
      fields: [
        ['term', id],
        ['instance', instance],
        ['roles', roles],
      ],
      law: toInstance,
    },
    drain: { routes: ['ingress>conductor'], fields: [['node', node]] },
    rolesSet: {
      routes: ['instance>conductor'],
      fields: [
        ['instance', instance],
        ['roles', roles],
        ['idle', flag],
      ],
      law: ofInstance,
    },
    probe: { routes: ['conductor>instance'], fields: [requestId, attempt] },
    delta: {
      routes: ['store>conductor'],
      fields: [
        ['node', node],
        ['tier', tier],
        ['instance', whole(-1, instances.length - 1)],
        ['sequence', id],
        ['stored', someBlocks],
        ['removed', someBlocks],
      ],
      law: ofStore,
    },
    blockInventory: {
      routes: ['store>conductor'],
      fields: [
        ['node', node],
        ['tier', tier],
        ['instance', whole(-1, instances.length - 1)],
        ['incarnation', id],
        ['sequence', id],
        ['blocks', someBlocks],
      ],
      law: ofStore,
    },
    requestInventory: {
      routes: ['instance>conductor'],
      fields: [
        ['instance', instance],
        ['incarnation', id],
        ['roles', roles],
        ['term', id],
        ['dispatchSequence', id],
        [
          'live',
          list(
            object([
              requestId,
              attempt,
              ['phase', oneOf(...Object.values(Phase))],
              ['decodeInstance', whole(-1, instances.length - 1)],
            ]),
            LIST_MAX,
          ),
        ],
        ['ended', list(object([requestId, attempt, ['outcome', outcome]]), LIST_MAX)],
      ],
      law: ofInstance,
    },
    replicate: {
      routes: ['conductor>store'],
      fields: [request, ['source', node], ['blocks', count]],
      law: (body) =>
        (body.blocks as number) <= (body.request as { blocks: BlockSpan }).blocks.length
          ? null
          : 'more blocks than the prompt has',
    },
    pinBlocks: {
      routes: ['ingress>store'],
      fields: [
        ['blocks', someBlocks],
        ['pin', oneOf(0, 1, 2)],
      ],
    },
    reserve: {
      routes: ['instance>store'],
      fields: [
        requestId,
        attempt,
        ['instance', instance],
        ['tokens', whole(1, 2 * TOKENS_MAX)],
        ['ttlNs', id],
      ],
      law: onNode,
    },
    reserved: {
      routes: ['store>instance'],
      fields: [requestId, attempt, ['status', oneOf('granted', 'queued', 'refused')]],
    },
    unreserve: {
      routes: ['instance>store', 'conductor>store'],
      fields: [requestId, attempt, ['instance', instance]],
      law: onNode,
    },
    handoff: { routes: ['instance>instance'], fields: [request] },
    handoffTaken: {
      routes: ['instance>instance'],
      fields: [requestId, attempt, ['ok', flag]],
    },
    leaseRequest: {
      routes: ['store>store'],
      fields: [
        ['lease', id],
        ['blocks', prompt],
      ],
    },
    leaseGrant: {
      routes: ['store>store'],
      fields: [['lease', id], ['tier', shared], ['more', flag], ['ttlNs', id], range],
    },
    leaseRelease: { routes: ['store>store'], fields: [['lease', id]] },
    writeRequest: {
      routes: ['store>store'],
      fields: [
        ['write', id],
        ['blocks', prompt],
        ['parents', list(whole(-1, blocks - 1), LIST_MAX)],
        ['depths', list(count, LIST_MAX)],
      ],
      law: (body) => sameLength('blocks', 'parents')(body) ?? sameLength('blocks', 'depths')(body),
    },
    writeGrant: {
      routes: ['store>store'],
      fields: [['write', id], ['places', list(count, LIST_MAX)], range],
      law: (body) =>
        (body.places as []).length === (body.range as { slots: [] }).slots.length
          ? null
          : 'places of another length than their slots',
    },
    writeEnded: {
      routes: ['store>store'],
      fields: [
        ['write', id],
        ['blocksDone', count],
        ['checksums', (value) => value === null || value instanceof Int32Array],
      ],
      law: (body) => {
        const sums = body.checksums as Int32Array | null;
        return sums === null || sums.length >= (body.blocksDone as number)
          ? null
          : 'fewer checksums than blocks';
      },
    },
    moveBlocks: {
      routes: ['store>store'],
      fields: [
        ['move', id],
        ['blocks', prompt],
        ['parents', list(whole(-1, blocks - 1), LIST_MAX)],
        ['depths', list(count, LIST_MAX)],
      ],
      law: (body) => sameLength('blocks', 'parents')(body) ?? sameLength('blocks', 'depths')(body),
    },
    blocksMoved: {
      routes: ['store>store'],
      fields: [
        ['move', id],
        ['places', list(count, LIST_MAX)],
        ['copied', count],
      ],
    },
    movesLeft: {
      routes: ['store>conductor'],
      fields: [
        ['node', node],
        ['term', id],
        ['version', id],
        ['blocks', count],
      ],
      law: (body, from) =>
        body.node === addresses.storeNode(from) ? null : `a report on node ${body.node}`,
    },
    writesOpen: { routes: ['store>store'], fields: [['writes', list(id, LIST_MAX)]] },
  };
}

function dispatchLaw(body: Fieldwise): string | null {
  const { sources, untils, nodes, sourceBlocks, localBlocks, request } = body as unknown as {
    sources: readonly number[];
    untils: readonly number[];
    nodes: readonly number[];
    sourceBlocks: number;
    localBlocks: number;
    request: { blocks: BlockSpan };
  };
  const { length } = request.blocks;
  if (untils.length !== 0 && untils.length !== sources.length) return 'untils without sources';
  if (nodes.length !== 0 && nodes.length !== length) return 'nodes for other blocks';
  if (sourceBlocks > length || localBlocks > length) return 'more blocks than the prompt has';
  return null;
}

const PARTIES = ['ingress', 'conductor', 'store', 'instance', 'nobody'] as const;
const NOBODY = 4;

interface Known {
  readonly name: string;
  /** Bit 4 x sender + receiver, by their places in PARTIES. */
  readonly routes: number;
  readonly fields: Fields;
  readonly law: Kind['law'];
}

function knownOf([name, { routes, fields, law }]: [string, Kind]): Known {
  const bit = (route: string) => {
    const [from, to] = route.split('>').map((party) => PARTIES.indexOf(party as Party));
    return 1 << (4 * from + to);
  };
  const kind = ['kind', (value: unknown) => value === name] as const;
  const mask = routes.reduce((all, route) => all | bit(route), 0);
  return { name, routes: mask, fields: [kind, ...fields], law };
}

/** Of one cluster; holds no state. */
export class MessageSchema {
  private readonly addresses: AddressBook;
  private readonly kinds: ReadonlyMap<unknown, Known>;
  private readonly words: ReturnType<typeof wordFields>;

  /** Block ids are below `blocks`. */
  constructor(topology: Topology, blocks: number = BLOCKS_MAX) {
    this.addresses = new AddressBook(topology);
    const kinds = Object.entries<Kind>(kindsOf(topology, blocks)).map(knownOf);
    this.kinds = new Map(kinds.map((known) => [known.name, known]));
    this.words = wordFields(topology, blocks);
  }

  /**
   * The message, as one that `from` may send to `to`.
   * @throws InputError with the kind and the field that is wrong
   */
  check(from: Address, to: Address, found: unknown): Message {
    if (found === null || typeof found !== 'object') throw new InputError('found no message');
    const body = found as Fieldwise;
    const kind = this.kinds.get(body.kind);
    if (kind === undefined) throw new InputError(`found no message of kind ${named(body.kind)}`);
    const [sender, receiver] = [this.party(from), this.party(to)];
    const barred = sender === NOBODY || receiver === NOBODY;
    if (barred || (kind.routes & (1 << (4 * sender + receiver))) === 0) {
      throw new InputError(`found ${kind.name} from ${PARTIES[sender]} to ${PARTIES[receiver]}`);
    }
    const wrong = wrongField(body, kind.fields);
    if (wrong !== null) throw new InputError(`found ${kind.name} with wrong ${wrong}`);
    const broken = kind.law?.(body, from, to) ?? null;
    if (broken !== null) throw new InputError(`found ${kind.name} with ${broken}`);
    return found as Message;
  }

  /** What hosts of nodes say to each other. @throws InputError for what is no such word */
  checkWord(found: unknown): unknown {
    const [kind, said, done] = Array.isArray(found) ? found : [];
    const fields = kind === 'offer' ? this.words.offer : this.words.wanted;
    let wrong: string | null;
    if (kind === 'taken') wrong = id(said) && whole(0, LIST_MAX)(done) ? null : 'number';
    else if (kind !== 'offer' && kind !== 'wanted') wrong = 'kind';
    else wrong = isObject(said) ? wrongField(said, fields) : 'fields';
    if (wrong !== null) throw new InputError(`found a word with wrong ${wrong}`);
    const { to, ...own } = (kind === 'taken' ? {} : said) as Record<string, unknown>;
    const lists = [...Object.values(own), ...Object.values(to ?? {})].filter(Array.isArray);
    if (lists.some(({ length }) => length !== lists[0].length)) {
      throw new InputError('found a word with lists of different lengths');
    }
    return found;
  }

  private party(address: Address): number {
    if (address === WORKLOAD) return 0;
    if (address === CONDUCTOR) return 1;
    if (this.addresses.isStore(address)) return 2;
    return this.addresses.isInstance(address) ? 3 : NOBODY;
  }
}

function named(kind: unknown): string {
  return typeof kind === 'string' ? kind.slice(0, 40) : `a ${typeof kind}`;
}
