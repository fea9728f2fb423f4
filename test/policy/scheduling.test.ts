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
import { Tier } from '../../src/core/topology.ts';

const TOKEN_NS = 1000;
const FETCH_NS = 100;

interface Instance {
  readonly queueNs: number;
  readonly localBlocks: number;
  /** Requests that it decodes, of 1,000 tokens each: it has both roles. */
  readonly decodes?: number;
  readonly queuedRequests?: number;
  /** What its node still has to send. */
  readonly sendingNs?: number;
  /** Of its local blocks, those in DRAM; the others are on SSD. */
  readonly dramBlocks?: number;
}

interface Decoder {
  readonly requests: number;
  readonly tokens: number;
  readonly capacityTokens: number;
}

/** What is known of requests under way; no request is, if left out. */
type Flow = Partial<Pick<ClusterView, 'nowNs' | 'decodeNsMean' | 'decodingAt' | 'arrivingBy'>>;

/** Prefill instances 0.. on nodes 0.., then decode instances. */
function cluster(prefill: readonly Instance[], decode: readonly Decoder[], flow: Flow = {}) {
  const own = prefill.map(({ decodes = 0 }) => {
    return { requests: decodes, tokens: 1000 * decodes, capacityTokens: 10_000 };
  });
  const of = (instance: number) => [...own, ...decode][instance];
  const decodingNow = (instance: number) => {
    const { requests, tokens } = of(instance);
    return { requests, tokens };
  };
  const view: ClusterView = {
    nowNs: 0,
    prefillInstances: prefill.map((_, i) => i),
    decodeInstances: decode.map((_, i) => prefill.length + i),
    standbyInstances: [],
    coupledInstances: prefill.flatMap(({ decodes }, i) => (decodes === undefined ? [] : [i])),
    nodeOf: (instance) => instance,
    rolesOf: (instance) => [instance < prefill.length ? 'prefill' : 'decode'],
    queueNs: (instance) => prefill[instance]?.queueNs ?? 0,
    sendingNs: (node) => prefill[node]?.sendingNs ?? 0,
    queuedRequests: (instance) => {
      const { queuedRequests, queueNs } = prefill[instance];
      return queuedRequests ?? (queueNs > 0 ? 1 : 0);
    },
    queuedTokens: (instance) => prefill[instance].queueNs / TOKEN_NS,
    decodeRequests: (instance) => of(instance).requests,
    decodeTokens: (instance) => of(instance).tokens,
    decodeCapacityTokens: (instance) => of(instance).capacityTokens,
    decodingNow,
    decodingAt: decodingNow,
    arrivingBy: () => ({ requests: 0, tokens: 0 }),
    decodeNsMean: 0,
    ...flow,
  };
  const locals = prefill.map(({ localBlocks }) => localBlocks);
  const bestBlocks = Math.max(0, ...locals);
  const match: PrefixMatch = {
    localBlocks: (instance) => locals[instance],
    bestBlocks,
    bestNode: bestBlocks === 0 ? -1 : locals.indexOf(bestBlocks),
    tierBlocks: (_request, instance, tier) => {
      const { dramBlocks = locals[instance] } = prefill[instance];
      if (tier === Tier.hbm) return 0;
      return tier === Tier.dram ? dramBlocks : locals[instance] - dramBlocks;
    },
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

  it('waits behind what the sender has to send already', async () => {
    const chooser = await policy('prefill', 'kvcache-centric');
    // As in the first: the fetch of 70 us would begin after 900 us; 1,170 us, more than 1,100.
    const instances = [
      { queueNs: 900_000, localBlocks: 8, sendingNs: 900_000 },
      { queueNs: 0, localBlocks: 1 },
    ];
    const { view, match } = cluster(instances, DECODER);
    const choice = chooser.choose(request(1000), match, view);
    expect(choice).toMatchObject({ instance: 0, sourceNode: -1, ttftNs: 1_100_000 });
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

  it('prefix-hit takes the longest prefix, ties the shortest queue', async () => {
    const chooser = await policy('prefill', 'prefix-hit');
    expect(chooser.choose(request(1000), match, view)).toMatchObject({ instance: 0, ttftNs: 6e5 });
    const even = cluster(
      [
        { queueNs: 3, localBlocks: 2 },
        { queueNs: 2, localBlocks: 2 },
        { queueNs: 1, localBlocks: 1 },
      ],
      DECODER,
    );
    expect(chooser.choose(request(1000), even.match, even.view).instance).toBe(1);
  });

  it('jsq counts requests, least-outstanding also those in decode', async () => {
    const busy = cluster(
      [
        { queueNs: 1, localBlocks: 0, queuedRequests: 4 },
        { queueNs: 9, localBlocks: 0, queuedRequests: 2, decodes: 3 },
        { queueNs: 5, localBlocks: 0, queuedRequests: 2, decodes: 3 },
      ],
      DECODER,
    );
    const shortest = await policy('prefill', 'jsq');
    expect(shortest.choose(request(1000), busy.match, busy.view).instance).toBe(1);
    const fewest = await policy('prefill', 'least-outstanding'); // 4, 5, 5
    expect(fewest.choose(request(1000), busy.match, busy.view).instance).toBe(0);
  });

  it('power-of-two takes the shorter of two different queues', async () => {
    const busy = cluster(
      [5, 3, 1].map((queuedRequests) => ({ queueNs: 1, localBlocks: 0, queuedRequests })),
      DECODER,
    );
    const draws = [0.4, 0.1]; // The second of three, then the first of the other two.
    const chooser = await policy('prefill', 'power-of-two', () => draws.shift()!);
    expect(chooser.choose(request(1000), busy.match, busy.view).instance).toBe(1);
    const all = await policy('prefill', 'power-of-two:draws=9', () => 0.5);
    expect(all.choose(request(1000), busy.match, busy.view).instance).toBe(2);
  });

  it('session-affinity keeps a session and moves few when an instance goes', async () => {
    const chooser = await policy('prefill', 'session-affinity');
    const many = (count: number) =>
      cluster(Array(count).fill({ queueNs: 0, localBlocks: 0 }), DECODER);
    const of = (session: number, { match, view }: ReturnType<typeof many>) =>
      chooser.choose({ ...request(1000), session }, match, view).instance;
    const [eight, seven] = [many(8), many(7)];
    const sessions = Array.from({ length: 800 }, (_, session) => session);
    const homes = sessions.map((session) => of(session, eight));
    for (let home = 0; home < 8; home++) {
      const share = homes.filter((one) => one === home).length;
      expect(share).toBeGreaterThan(60);
      expect(share).toBeLessThan(140);
    }
    for (const session of sessions) {
      expect(of(session, eight)).toBe(homes[session]);
      if (homes[session] !== 7) expect(of(session, seven)).toBe(homes[session]);
    }
    expect(of(-1, cluster(instances, DECODER))).toBe(1);
  });

  it('weighted adds what its scorers say', async () => {
    // prefix 9/9, 0, 5/9; queue 0.5, 1, 0; memory free 0.95, 1, 0.7.
    const scored = cluster(
      [
        { queueNs: 500_000, localBlocks: 9, queuedRequests: 1 },
        { queueNs: 0, localBlocks: 0, queuedRequests: 0 },
        { queueNs: 0, localBlocks: 5, queuedRequests: 2, decodes: 3 },
      ],
      DECODER,
    );
    const { match, view } = scored;
    const usual = await policy('prefill', 'weighted'); // 3.45, 2, 1.81
    expect(usual.choose(request(1000), match, view).instance).toBe(0);
    const short = await policy('prefill', 'weighted:prefix=0.4,queue=1,kv=1'); // 1.85, 2, 0.92
    expect(short.choose(request(1000), match, view).instance).toBe(1);
  });

  it('dynamo-kv weighs blocks to prefill, by tier, against blocks in decode', async () => {
    // Own blocks 10. Instance 0: max(0, 5 + 10 - 0.75 * 8) + 10 = 19; 1: 10 + 10 = 20;
    // 2: 10 - (0.75 * 2 + 0.25 * 6) + 10 + 20 = 37.
    const kv = cluster(
      [
        { queueNs: 500_000, localBlocks: 8 },
        { queueNs: 0, localBlocks: 0 },
        { queueNs: 0, localBlocks: 8, dramBlocks: 2, decodes: 2 },
      ],
      DECODER,
    );
    const choose = async (params: string, random = () => 0) =>
      (await policy('prefill', `dynamo-kv${params}`, random)).choose(
        request(1000),
        kv.match,
        kv.view,
      ).instance;
    expect(await choose('')).toBe(0);
    expect(await choose(':host=0.5')).toBe(1); // 21, 20, …
    expect(await choose(':scale=0')).toBe(0); // 10, 10, 30
    // Costs brought to 0, 1/18, 1: odds 1, 0.946, 0.368 of 2.314 at temperature 1.
    expect(await choose(':temperature=1', () => 0.43)).toBe(0);
    expect(await choose(':temperature=1', () => 0.44)).toBe(1);
    expect(await choose(':temperature=1', () => 0.84)).toBe(1);
    expect(await choose(':temperature=1', () => 0.85)).toBe(2);
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

  it('least-requests counts requests, ties to the least id', async () => {
    const chooser = await policy('decode', 'least-requests');
    expect(chooser.choose(request(1000), 0, view)).toBe(2);
  });

  it('round-robin takes turns', async () => {
    const turns = await policy('decode', 'round-robin');
    expect([0, 1, 2, 3].map(() => turns.choose(request(10), 0, view))).toEqual([1, 2, 3, 1]);
  });
});

describe('disaggregation policies', () => {
  const { view, match } = cluster(
    [
      { queueNs: 0, localBlocks: 9 },
      { queueNs: 0, localBlocks: 4, decodes: 0 },
    ],
    DECODER,
  );

  it('always and never', async () => {
    const [always, never] = [
      await policy('disaggregation', 'always'),
      await policy('disaggregation', 'never'),
    ];
    expect(always.separates(request(1), match, view)).toBe(true);
    expect(never.separates(request(1e5), match, view)).toBe(false);
  });

  it('uncached-tokens looks at what instances with both roles would compute', async () => {
    const limit = await policy('disaggregation', 'uncached-tokens:tokens=600');
    // Instance 1 holds 400 tokens; instance 0, which holds 900, can't decode.
    expect(limit.separates(request(1000), match, view)).toBe(false);
    expect(limit.separates(request(1001), match, view)).toBe(true);
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

describe('rejection by load (TTFT 2 ms, TBT 5 ms; a step: 1 ms a request, 1 ns a token)', () => {
  const at = (ttftNs: number) => ({ instance: 0, sourceNode: -1, sourceBlocks: 0, ttftNs });
  /** Instances 1 and 2 decode so many requests now, of 1,000 tokens each. */
  const pools = (first: number, second: number, flow: Flow = {}) => {
    const decoder = (requests: number) => {
      return { requests, tokens: 1000 * requests, capacityTokens: 1e9 };
    };
    return cluster([{ queueNs: 0, localBlocks: 0 }], [decoder(first), decoder(second)], flow).view;
  };

  it('baseline looks at prefill on arrival, at decode when the prompt is done', async () => {
    const gate = await policy('admission', 'baseline');
    expect(gate.verdict(request(10), at(2e6), 1, pools(50, 50))).toBe('');
    expect(gate.verdict(request(10), at(2e6 + 1), 1, pools(0, 0))).toBe('ttft');
    // Three run: a fourth makes the step 4 ms + 3,020 ns. Four run: 5 ms + 4,020 ns.
    expect(gate.verdictAtDecode!(request(10), 1, pools(3, 9))).toBe('');
    expect(gate.verdictAtDecode!(request(10), 1, pools(4, 0))).toBe('tbt');
  });

  it('early-rejection takes the mean decode load of now', async () => {
    const gate = await policy('admission', 'early-rejection');
    // With it, 7.006 and 2.001 ms: a mean of 4.5 of 5 ms; 7.006 and 3.002: 5.004.
    expect(gate.verdict(request(10), at(2e6), 1, pools(6, 1))).toBe('');
    expect(gate.verdict(request(10), at(2e6), 1, pools(6, 2))).toBe('tbt');
    expect(gate.verdict(request(10), at(2e6 + 1), 1, pools(0, 0))).toBe('ttft');
    expect(gate.verdictAtDecode!(request(10), 1, pools(4, 0))).toBe('tbt');
  });

  it('predictive-early-rejection takes the decode load at the end of this prefill', async () => {
    const gate = await policy('admission', 'predictive-early-rejection:decodeSeconds=2');
    const asked: number[][] = [];
    // Now 9 and 9 decode. At 11 ms all but 1 and 1 will be gone; 4 prompts come, two to each.
    const relief: Flow = {
      nowNs: 10e6,
      decodingAt: (instance, atNs, lastsNs) => {
        asked.push([instance, atNs, lastsNs]);
        return { requests: 1, tokens: 1000 };
      },
      arrivingBy: () => ({ requests: 4, tokens: 4000 }),
    };
    expect(gate.verdict(request(10), at(1e6), 1, pools(9, 9, relief))).toBe(''); // 4.004 of 5 ms
    expect(asked).toEqual([
      [1, 11e6, 2e9],
      [2, 11e6, 2e9],
    ]);
    // Now nobody decodes, but 8 prompts will be done: four to each and this, 5.004 of 5 ms.
    const rush: Flow = { arrivingBy: () => ({ requests: 8, tokens: 8_000 }) };
    expect(gate.verdict(request(10), at(1e6), 1, pools(0, 0, rush))).toBe('tbt');
    expect(gate.verdictAtDecode!(request(10), 1, pools(4, 0))).toBe('tbt');
  });

  it('priority-shed turns away the lowest first', async () => {
    const gate = await policy('admission', 'priority-shed:tiers=3,from=0.5');
    const shed = (priority: number, load: number) =>
      gate.verdict({ ...request(10), priority }, at(2e6 * load), 1, pools(0, 0));
    expect([0, 1, 2, 9].map((priority) => shed(priority, 0.5))).toEqual(['', '', '', '']);
    expect([0, 1, 2, 9].map((priority) => shed(priority, 0.6))).toEqual(['policy', '', '', '']);
    expect([0, 1, 2].map((priority) => shed(priority, 0.8))).toEqual(['policy', 'policy', '']);
    expect([0, 1, 2].map((priority) => shed(priority, 1.1))).toEqual(['ttft', 'ttft', 'ttft']);
    const busy = pools(6, 2);
    expect(gate.verdict({ ...request(10), priority: 2 }, at(0), 1, busy)).toBe('tbt');
  });

  it('token-bucket lets a burst through, then its rate', async () => {
    const gate = await policy('admission', 'token-bucket:rate=10,burst=2');
    const ask = (nowNs: number) => gate.verdict(request(10), at(0), 1, pools(0, 0, { nowNs }));
    expect([0, 0, 0, 99e6, 101e6, 102e6].map(ask)).toEqual([
      ...['', '', 'policy'],
      ...['policy', '', 'policy'],
    ]);
    const byTokens = await policy('admission', 'token-bucket:rate=1,burst=1000,unit=tokens');
    const sizes = [500, 500, 470];
    const answers = sizes.map((size) => byTokens.verdict(request(size), at(0), 1, pools(0, 0)));
    expect(answers).toEqual(['', 'policy', '']); // 510, 510, 480 of 1,000
  });

  it('queue-cap counts requests, tokens and the whole pool', async () => {
    const { view } = cluster(
      [
        { queueNs: 5e6, localBlocks: 0, queuedRequests: 3 },
        { queueNs: 0, localBlocks: 0, queuedRequests: 1 },
      ],
      DECODER,
    );
    const ask = async (spec: string) =>
      (await policy('admission', spec)).verdict(request(10), at(0), 2, view);
    expect(await ask('queue-cap')).toBe('');
    expect(await ask('queue-cap:requests=4')).toBe('');
    expect(await ask('queue-cap:requests=3')).toBe('policy');
    expect(await ask('queue-cap:tokens=5000')).toBe('policy');
    expect(await ask('queue-cap:tokens=5001')).toBe('');
    expect(await ask('queue-cap:pool=4')).toBe('policy');
  });
});

describe('elasticity policies (TTFT 2 ms, TBT 5 ms; a step: 1 ms a request, 1 ns a token)', () => {
  /** Two prefill instances with so much queued, two decode instances, 4 and 5 on standby. */
  const pools = (queuesNs: readonly number[], decodes: readonly number[], nowNs = 0) => {
    const prefill = queuesNs.map((queueNs) => ({ queueNs, localBlocks: 0 }));
    const decoders = decodes.map((requests) => {
      return { requests, tokens: 1000 * requests, capacityTokens: 1e9 };
    });
    return { ...cluster(prefill, decoders, { nowNs }).view, standbyInstances: [4, 5] };
  };

  it('none never looks', async () => {
    const none = await policy('elasticity', 'none');
    expect(none.intervalNs).toBe(0);
    expect(none.adjust(pools([9e9, 9e9], [99, 99]))).toEqual([]);
  });

  it('thresholds takes from standby and gives back, pool by pool, with a rest', async () => {
    const spec = 'thresholds:high=0.5,low=0.1,cooldown=1,startup=2,interval=3';
    const scaling = await policy('elasticity', spec);
    expect(scaling.intervalNs).toBe(3e9);
    // Prefill (2 + 0.4) / 2 of 2 ms: 0.6. Decode (3.003 + 2.002) / 2 of 5 ms: 0.5005.
    expect(scaling.adjust(pools([2e6, 400_000], [3, 2]))).toEqual([
      { instance: 4, roles: ['prefill'], startupNs: 2e9 },
      { instance: 5, roles: ['decode'], startupNs: 2e9 },
    ]);
    expect(scaling.adjust(pools([2e6, 2e6], [4, 4], 999_999_999))).toEqual([]);
    // Prefill 0.05; decode keeps 0.3003.
    expect(scaling.adjust(pools([200_000, 0], [2, 1], 1e9))).toEqual([
      { instance: 1, roles: [], startupNs: 0 },
    ]);
    const few = await policy('elasticity', 'thresholds:least=2');
    expect(few.adjust(pools([0, 0], [0, 0]))).toEqual([]);
  });

  it('role-switch moves the idlest of the idle pool to the busy one', async () => {
    const spec = 'role-switch:high=0.5,low=0.25,cooldown=1';
    const busyPrefill = pools([2e6, 2e6], [1, 0]); // 1; 0.1001
    const busyDecode = pools([0, 300_000], [3, 3]); // 0.075; 0.6
    const prefill = await policy('elasticity', spec);
    expect(prefill.adjust(busyPrefill)).toEqual([
      { instance: 3, roles: ['prefill'], startupNs: 0 },
    ]);
    expect(prefill.adjust(busyDecode)).toEqual([]);
    const decode = await policy('elasticity', spec);
    expect(decode.adjust(busyDecode)).toEqual([{ instance: 0, roles: ['decode'], startupNs: 0 }]);
    const both = await policy('elasticity', spec);
    expect(both.adjust(pools([2e6, 2e6], [3, 3]))).toEqual([]);
    const kept = await policy('elasticity', `${spec},least=2`);
    expect(kept.adjust(busyPrefill)).toEqual([]);
  });
});

const KINDS = ['prefill', 'decode', 'disaggregation', 'admission', 'elasticity'] as const;

/** Every policy that there is, a new file included. */
describe.each(KINDS)('every %s policy', (kind) => {
  const folder = new URL(`../../src/policy/${kind}`, import.meta.url);
  const names = readdirSync(folder).map((file) => file.replace('.ts', ''));

  it.each(names)('%s names its source and documents its parameters', async (name) => {
    const { module } = await loadPolicy(parsePolicyRef(kind, name, 'test'));
    expect(module.source.length).toBeGreaterThan(5);
    for (const param of Object.values(module.params)) expect(param.doc.length).toBeGreaterThan(5);
  });

  it.each(names)('%s answers legally and equally for equal streams', async (name) => {
    const instance = fc.record(
      {
        queueNs: fc.nat(1e7),
        localBlocks: fc.nat(12),
        queuedRequests: fc.nat(9),
        decodes: fc.nat(9),
      },
      { requiredKeys: ['queueNs', 'localBlocks'] },
    );
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
  kind: (typeof KINDS)[number],
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
  if (kind === 'disaggregation') {
    const apart = (await policy(kind, name, random)).separates(request(1200), match, view);
    expect(typeof apart).toBe('boolean');
    return apart;
  }
  if (kind === 'elasticity') {
    const changes = (await policy(kind, name, random)).adjust(view);
    const known = [...view.prefillInstances, ...view.decodeInstances];
    for (const { instance, roles, startupNs } of changes) {
      expect(known).toContain(instance);
      expect(['', 'prefill', 'decode', 'prefill,decode']).toContain(roles.join());
      expect(startupNs).toBeGreaterThanOrEqual(0);
    }
    return changes;
  }
  const choice = { instance: 0, sourceNode: -1, sourceBlocks: 0, ttftNs: 1e6 };
  const gate = await policy(kind, name, random);
  const decodes = view.decodeInstances[0];
  const verdicts = [
    gate.verdict(request(1200), choice, decodes, view),
    gate.verdictAtDecode?.(request(1200), decodes, view) ?? '',
  ];
  for (const verdict of verdicts) expect(['', 'ttft', 'tbt', 'policy']).toContain(verdict);
  return verdicts;
}
