/**
 * Scheduling policies against hand-made clusters. Costs are chosen so that a reader can check: a
 * token takes 1 us to compute, a fetched token 0.1 us; blocks have 100 tokens.
 */
import { readdirSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadPolicy } from '../../src/config/policies.ts';
import { parsePolicyRef } from '../../src/config/policy-ref.ts';
import type { ClusterView, PolicyContext, PolicyKind, PrefixMatch } from '../../src/core/policy.ts';
import { BlockSpan, type Request } from '../../src/core/request.ts';

const TOKEN_NS = 1000;
const FETCH_NS = 100;

interface Instance {
  readonly queueNs: number;
  readonly localBlocks: number;
}

interface Decoder {
  readonly requests: number;
  readonly tokens: number;
  readonly capacityTokens: number;
}

/** Prefill instances 0.. on nodes 0.., then decode instances. */
function cluster(prefill: readonly Instance[], decode: readonly Decoder[]) {
  const of = (instance: number) => decode[instance - prefill.length];
  const view: ClusterView = {
    nowNs: 0,
    prefillInstances: prefill.map((_, i) => i),
    decodeInstances: decode.map((_, i) => prefill.length + i),
    nodeOf: (instance) => instance,
    queueNs: (instance) => prefill[instance].queueNs,
    queuedRequests: (instance) => (prefill[instance].queueNs > 0 ? 1 : 0),
    queuedTokens: (instance) => prefill[instance].queueNs / TOKEN_NS,
    decodeRequests: (instance) => of(instance).requests,
    decodeTokens: (instance) => of(instance).tokens,
    decodeCapacityTokens: (instance) => of(instance).capacityTokens,
  };
  const locals = prefill.map(({ localBlocks }) => localBlocks);
  const bestBlocks = Math.max(0, ...locals);
  const match: PrefixMatch = {
    localBlocks: (instance) => locals[instance],
    bestBlocks,
    bestNode: bestBlocks === 0 ? -1 : locals.indexOf(bestBlocks),
  };
  return { view, match };
}

function context(random: () => number = () => 0): PolicyContext {
  return {
    random,
    estimate: {
      prefillNs: (_instance, inputTokens, cached) => (inputTokens - cached) * TOKEN_NS,
      transferNs: (_from, _to, tokens) => tokens * FETCH_NS,
      decodeStepNs: (_instance, batch, contextTokens) => batch * 1e6 + contextTokens,
    },
    slo: { ttftNs: 2e6, tbtNs: 5e6 },
    blockTokens: 100,
  };
}

function request(inputTokens: number, outputTokens = 10): Request {
  const blocks = new BlockSpan(new Int32Array(64), 0, Math.ceil(inputTokens / 100));
  return {
    id: 0,
    attempt: 0,
    tenant: 0,
    priority: 0,
    sloClass: 0,
    session: -1,
    parent: -1,
    namespace: 0,
    blocks,
    inputTokens,
    outputTokens,
    arrivalNs: 0,
  };
}

async function policy<K extends PolicyKind>(kind: K, spec: string, random?: () => number) {
  const { module, params } = await loadPolicy(parsePolicyRef(kind, spec, 'test'));
  const create = module.create as (c: PolicyContext, p: typeof params) => unknown;
  return create(context(random), params) as ReturnType<(typeof module)['create']>;
}

const DECODER = [{ requests: 0, tokens: 0, capacityTokens: 1e6 }];

describe('kvcache-centric (Algorithm 1)', () => {
  it('fetches when that beats both recomputing and queueing', async () => {
    const chooser = await policy('prefill', 'kvcache-centric');
    // 1,000 tokens. Instance 0 holds 8 blocks behind 900 us of queue: 900 + 200 = 1,100 us.
    // Instance 1 holds 1: 8 / 1 > 1, so it fetches 700 tokens: 70 + 0 + 200 = 270 us.
    const instances = [
      { queueNs: 900_000, localBlocks: 8 },
      { queueNs: 0, localBlocks: 1 },
    ];
    const { view, match } = cluster(instances, DECODER);
    expect(chooser.choose(request(1000), match, view)).toEqual({
      instance: 1,
      sourceNode: 0,
      sourceBlocks: 8,
      ttftNs: 270_000,
    });
  });

  it('keeps to the local prefix when the best is not `threshold` times better', async () => {
    const chooser = await policy('prefill', 'kvcache-centric:threshold=4');
    // 8 / 2 is not above 4: instance 1 computes 800 tokens, 800 us, still less than 900 + 200.
    const instances = [
      { queueNs: 900_000, localBlocks: 8 },
      { queueNs: 0, localBlocks: 2 },
    ];
    const { view, match } = cluster(instances, DECODER);
    expect(chooser.choose(request(1000), match, view)).toEqual({
      instance: 1,
      sourceNode: -1,
      sourceBlocks: 0,
      ttftNs: 800_000,
    });
  });

  it('counts no local prefix as infinitely worse, and nothing cached as no transfer', async () => {
    const chooser = await policy('prefill', 'kvcache-centric:threshold=1000');
    const some = cluster(
      [
        { queueNs: 5e6, localBlocks: 1 },
        { queueNs: 0, localBlocks: 0 },
      ],
      DECODER,
    );
    expect(chooser.choose(request(1000), some.match, some.view).sourceNode).toBe(0);
    const none = cluster([{ queueNs: 0, localBlocks: 0 }], DECODER);
    expect(chooser.choose(request(1000), none.match, none.view).sourceNode).toBe(-1);
  });

  it('recomputes one token of a full hit', async () => {
    const chooser = await policy('prefill', 'kvcache-centric');
    const { view, match } = cluster([{ queueNs: 0, localBlocks: 10 }], DECODER);
    expect(chooser.choose(request(1000), match, view).ttftNs).toBe(TOKEN_NS);
  });
});

describe('the other prefill policies', () => {
  const instances = [
    { queueNs: 500_000, localBlocks: 9 },
    { queueNs: 300_000, localBlocks: 0 },
    { queueNs: 300_000, localBlocks: 5 },
  ];
  const { view, match } = cluster(instances, DECODER);

  it('least-loaded looks at queues alone, ties to the least id', async () => {
    const chooser = await policy('prefill', 'least-loaded');
    expect(chooser.choose(request(1000), match, view).instance).toBe(1);
  });

  it('local-cache-aware adds what its own node saves', async () => {
    const chooser = await policy('prefill', 'local-cache-aware');
    // 500 + 100, 300 + 1,000, 300 + 500 us.
    expect(chooser.choose(request(1000), match, view)).toMatchObject({ instance: 0, ttftNs: 6e5 });
  });

  it('round-robin takes turns, random follows its stream', async () => {
    const turns = await policy('prefill', 'round-robin');
    const taken = [0, 1, 2, 3].map(() => turns.choose(request(1000), match, view).instance);
    expect(taken).toEqual([0, 1, 2, 0]);
    const draws = [0.99, 0, 0.5];
    const random = await policy('prefill', 'random', () => draws.shift()!);
    const drawn = [0, 1, 2].map(() => random.choose(request(1000), match, view).instance);
    expect(drawn).toEqual([2, 0, 1]);
  });
});

describe('decode policies', () => {
  const decoders = [
    { requests: 3, tokens: 1000, capacityTokens: 10_000 },
    { requests: 1, tokens: 4000, capacityTokens: 100_000 },
    { requests: 1, tokens: 9500, capacityTokens: 10_000 },
  ];
  const { view } = cluster([{ queueNs: 0, localBlocks: 0 }], decoders);

  it('least-kv takes the least share of memory', async () => {
    const chooser = await policy('decode', 'least-kv');
    expect(chooser.choose(request(1000), 0, view)).toBe(2); // 0.1, 0.04, 0.95
  });

  it('least-tbt takes the least step among those with room', async () => {
    const chooser = await policy('decode', 'least-tbt');
    // Batch + 1: 4, 2 and 2 ms; the third has no room for 1,010 more tokens.
    expect(chooser.choose(request(1000), 0, view)).toBe(2);
    const crowded = cluster([{ queueNs: 0, localBlocks: 0 }], [decoders[2], decoders[2]]);
    expect(chooser.choose(request(9990), 0, crowded.view)).toBe(1);
  });

  it('round-robin takes turns', async () => {
    const turns = await policy('decode', 'round-robin');
    expect([0, 1, 2, 3].map(() => turns.choose(request(10), 0, view))).toEqual([1, 2, 3, 1]);
  });
});

describe('admission policies', () => {
  const choice = (ttftNs: number) => ({ instance: 0, sourceNode: -1, sourceBlocks: 0, ttftNs });
  const { view } = cluster(
    [{ queueNs: 0, localBlocks: 0 }],
    [{ requests: 3, tokens: 0, capacityTokens: 1e9 }],
  );

  it('none admits all', async () => {
    const gate = await policy('admission', 'none');
    expect(gate.verdict(request(10), choice(1e12), 1, view)).toBe('');
  });

  it('slo rejects what would break TTFT (2 ms) or TBT (5 ms)', async () => {
    const gate = await policy('admission', 'slo');
    expect(gate.verdict(request(10), choice(2e6), 1, view)).toBe('');
    expect(gate.verdict(request(10), choice(2e6 + 1), 1, view)).toBe('ttft');
    // Four requests take 4 ms and a ns a token: 1,000,010 tokens are too many.
    expect(gate.verdict(request(1_000_000), choice(0), 1, view)).toBe('tbt');
  });
});

/** Every policy that there is, a new file included. */
describe.each(['prefill', 'decode', 'admission'] as const)('every %s policy', (kind) => {
  const folder = new URL(`../../src/policy/${kind}`, import.meta.url);
  const names = readdirSync(folder).map((file) => file.replace('.ts', ''));

  it.each(names)('%s names its source and documents its parameters', async (name) => {
    const { module } = await loadPolicy(parsePolicyRef(kind, name, 'test'));
    expect(module.source.length).toBeGreaterThan(5);
    for (const param of Object.values(module.params)) expect(param.doc.length).toBeGreaterThan(5);
  });

  it.each(names)('%s answers legally and equally for equal streams', async (name) => {
    const instance = fc.record({ queueNs: fc.nat(1e7), localBlocks: fc.nat(12) });
    const decoder = fc.record({
      requests: fc.nat(50),
      tokens: fc.nat(1e5),
      capacityTokens: fc.integer({ min: 1e4, max: 1e6 }),
    });
    const many = <T>(of: fc.Arbitrary<T>) => fc.array(of, { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(
        many(instance),
        many(decoder),
        fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 64, maxLength: 64 }),
        async (prefills, decoders, draws) => {
          const answers = async () => {
            let drawn = 0;
            return answer(kind, name, cluster(prefills, decoders), () => draws[drawn++ % 64]);
          };
          expect(await answers()).toEqual(await answers());
        },
      ),
      { numRuns: 30 },
    );
  });
});

async function answer(
  kind: 'prefill' | 'decode' | 'admission',
  name: string,
  { view, match }: ReturnType<typeof cluster>,
  random: () => number,
): Promise<unknown> {
  if (kind === 'prefill') {
    const choice = (await policy(kind, name, random)).choose(request(1200), match, view);
    expect(view.prefillInstances).toContain(choice.instance);
    expect(choice.ttftNs).toBeGreaterThanOrEqual(0);
    expect(choice.sourceBlocks).toBeLessThanOrEqual(match.bestBlocks);
    return choice;
  }
  if (kind === 'decode') {
    const instance = (await policy(kind, name, random)).choose(request(1200), 0, view);
    expect(view.decodeInstances).toContain(instance);
    return instance;
  }
  const choice = { instance: 0, sourceNode: -1, sourceBlocks: 0, ttftNs: 1e6 };
  const gate = await policy(kind, name, random);
  const verdict = gate.verdict(request(1200), choice, view.decodeInstances[0], view);
  expect(['', 'ttft', 'tbt', 'policy']).toContain(verdict);
  return verdict;
}
