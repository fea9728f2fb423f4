/** The preset as a cluster, other clusters, and clusters that can't be. */
import { describe, expect, test } from 'vitest';
import { checkTraceFits } from '../../src/config/check-trace.ts';
import { loadConfig, withOptions } from '../../src/config/load.ts';
import { resolveConfig } from '../../src/config/resolve.ts';
import { configSchema } from '../../src/config/schema.ts';
import { Tier } from '../../src/core/topology.ts';
import type { TraceColumns } from '../../src/core/trace-columns.ts';
import figure14 from '../golden/fast25-fig14.json' with { type: 'json' };
import { complaint, temporaryFile } from './files.ts';

async function resolved(...sets: string[]) {
  return resolveConfig(await loadConfig('mooncake-16', sets));
}

describe('preset mooncake-16', () => {
  test('8 prefill and 8 decode instances, each a whole node', async () => {
    const { topology } = await resolved();
    expect(topology.nodes).toHaveLength(16);
    expect(topology.instances).toHaveLength(16);
    expect(topology.instances.map(({ roles }) => roles.join())).toEqual([
      ...Array(8).fill('prefill'),
      ...Array(8).fill('decode'),
    ]);
    for (const [id, instance] of topology.instances.entries()) {
      expect(instance).toMatchObject({ id, node: id, gpuShare: 1, gpus: [0, 1, 2, 3, 4, 5, 6, 7] });
    }
    expect(topology.nodes[8].name).toBe('decode-0');
    expect(topology.controlDelayNs).toBe(200_000);
    expect(topology.fabricBytesPerNs).toBe(Number.POSITIVE_INFINITY);
  });

  test('3,000,000 tokens of DRAM are 983 GB; there is no SSD', async () => {
    const { topology } = await resolved();
    expect(topology.kv.bytesPerToken[Tier.dram]).toBe(327_680);
    for (const node of topology.nodes) {
      expect(node.dramCapacityBytes).toBe(3_000_000 * 327_680);
      expect(Math.round(node.dramCapacityBytes / 1e9)).toBe(983);
      expect(node.ssdCapacityBytes).toBe(0);
    }
  });

  test('HBM for KV: 8 x 80 GiB, less 10 %, less 141.1 GB of weights: 1.46 M tokens', async () => {
    const { topology } = await resolved();
    // 70.55e9 parameters: 80 layers of 855,638,016 and 2 * 128,256 * 8,192.
    const weights = 2 * (80 * 855_638_016 + 2 * 128_256 * 8192);
    const left = Math.floor(8 * 80 * 1024 ** 3 * 0.9 - weights);
    for (const { kvCapacityBytes } of topology.instances) expect(kvCapacityBytes).toBe(left);
    expect(Math.floor(left / 327_680)).toBe(1_456_819);
  });

  test('4 rails of 200 Gb/s, each near two GPUs, half of them on each NUMA domain', async () => {
    const { topology } = await resolved();
    const [node] = topology.nodes;
    expect(node.rails.map(({ bytesPerNs, numa, gpus }) => [bytesPerNs, numa, gpus])).toEqual([
      [25, 0, [0, 1]],
      [25, 0, [2, 3]],
      [25, 1, [4, 5]],
      [25, 1, [6, 7]],
    ]);
  });

  test('its estimator agrees with Figure 14 within 3 %', async () => {
    const { estimator, topology } = await resolved();
    const [node] = topology.nodes;
    for (const [i, tokens] of figure14.promptTokens.entries()) {
      const bytes = tokens * topology.kv.bytesPerToken[Tier.dram];
      const loadNs = node.hostToDeviceLatencyNs + bytes / node.hostToDeviceBytesPerNs;
      const pairs = [
        [estimator.prefillNs(0, tokens, 0), figure14.prefill0[i]],
        [estimator.transferNs(0, 1, tokens), figure14.transfer[i]],
        [estimator.decodeStepNs(8, 1, tokens) * 128, figure14.decode128[i]],
        [loadNs, figure14.load[i]],
      ];
      for (const [ns, seconds] of pairs) {
        expect(Math.abs(ns / 1e9 / seconds - 1)).toBeLessThan(0.03);
      }
    }
  });

  test('settings, targets, seed and policies', async () => {
    const { settings, slo, seed, policies } = await resolved();
    expect(settings.store).toStrictEqual({
      hbmCache: false,
      watermark: 0.9,
      lowWatermark: 0.85,
      ssdWatermark: 0.9,
      ssdLowWatermark: 0.8,
      leaseTtlNs: 10e9,
      guardNs: 1e9,
      reserveQueueRequests: 1024,
      parkingBytes: 128 * 1024 ** 3,
      fetchRetries: 2,
      deltaLimitBlocks: 65_536,
      moves: {
        bytesPerNs: null,
        railShare: 0.1,
        inFlight: 2,
        batchBlocks: 8,
        lingerNs: 30e9,
      },
    });
    expect(settings.instance).toStrictEqual({
      chunkTokens: 8192,
      loadOverlap: 'layerwise',
      queueRequests: 10_000,
      batchRequests: 256,
      decodeSpace: 'reserve',
      preemption: 'recompute',
      reserveTtlNs: 60e9,
      hbmCache: false,
      prefetch: false,
    });
    expect(slo).toStrictEqual({ ttftNs: 30e9, tbtNs: 200e6 });
    expect(seed).toBe(1);
    expect(policies.prefill).toMatchObject({ name: 'kvcache-centric', params: { threshold: '1' } });
    expect(policies.decode).toMatchObject({ name: 'least-tbt', params: {}, path: null });
    expect(policies.admission.name).toBe('none');
    expect(policies.eviction.name).toBe('lru');
  });

  test('its description names no path and reads back to itself', async () => {
    const loaded = withOptions(await loadConfig(), { prefill: '/home/someone/mine.ts:depth=3' });
    const described = resolveConfig(loaded).describe();
    expect(described).toMatchObject({
      cluster: { groups: [{ dram: '3Mtokens' }, {}], fabric: 'nonblocking' },
      conductor: { prefill: 'mine.ts:depth=3' },
      targets: { ttft: '30s', tbt: '200ms' },
    });
    expect(JSON.stringify(described)).not.toContain('someone');
    const plain = resolveConfig(await loadConfig());
    expect(configSchema.parse(plain.describe())).toStrictEqual((await loadConfig()).config);
  });
});

describe('other clusters', () => {
  test('two engines of four GPUs on a node, each weighing one half', async () => {
    const { topology, truth } = await resolved(
      'cluster.groups.0.instancesPerNode=2',
      'cluster.groups.0.count=1',
      'model.name=llama3-8b',
    );
    const [a, b, c] = topology.instances;
    expect(a).toMatchObject({ name: 'prefill-0.0', node: 0, gpus: [0, 1, 2, 3], gpuShare: 0.5 });
    expect(b).toMatchObject({ name: 'prefill-0.1', node: 0, gpus: [4, 5, 6, 7], gpuShare: 0.5 });
    expect(c).toMatchObject({ name: 'decode-0', node: 1 });
    expect(truth).toHaveLength(topology.instances.length);
    expect(truth[0].source).toMatch(/^roofline/);
  });

  test('the fit where it applies, the roofline elsewhere and where it is asked for', async () => {
    const sourceOf = async (...sets: string[]) => (await resolved(...sets)).truth[0].source;
    expect(await sourceOf()).toMatch(/Figure 14/);
    expect(await sourceOf('model.cost=roofline')).toMatch(/^roofline/);
    expect(await sourceOf('model.kv=fp8')).toMatch(/^roofline/);
    expect(await sourceOf('cluster.groups.0.node=h100x8')).toMatch(/^roofline/);
    expect(await complaint(() => sourceOf('model.cost=polynomial', 'model.kv=fp8'))).toBe(
      '--set model.cost=polynomial: model.cost: found polynomial for group prefill, expected ' +
        'auto or roofline: only llama3-70b in bf16 over all GPUs of an a800x8 was measured',
    );
  });

  test("another engine's costs, with the fit alone", async () => {
    const others = ['contextAttention=2', 'decodeBase=44ms', 'prefixHash=0.43ms'];
    for (const other of others) {
      const [key] = other.split('=');
      expect(await complaint(() => resolved('model.cost=roofline', `model.${other}`))).toContain(
        `model.${key}: found it with a roofline for group prefill, expected it with the fit alone`,
      );
    }
    const { truth, describe } = await resolved(...others.map((other) => `model.${other}`));
    expect(describe()).toMatchObject({ model: { decodeBase: '44ms', prefixHash: '430us' } });
    expect(truth[0].decodeStepNs(1, 0)).toBe(44e6);
    expect(truth[0].hostNs!([{ fromToken: 0, toToken: 2048, first: true, last: true }])).toBe(
      4 * 430_000,
    );
  });

  test('latent KV lies on every GPU: an eighth of the room', async () => {
    const sets = ['model.name=deepseek-v3', 'model.weights=fp8'];
    const nodes = ['cluster.groups.0.node=h200x8', 'cluster.groups.1.node=h200x8'];
    const { topology } = await resolved(...sets, ...nodes);
    const usable = 8 * 141 * 1024 ** 3 * 0.9;
    const [{ kvCapacityBytes }] = topology.instances;
    // 671.03e9 bytes of weights.
    expect(kvCapacityBytes / ((usable - 671.03e9) / 8)).toBeCloseTo(1, 4);
  });

  test('the bias moves the estimates and not the truth', async () => {
    const fair = await resolved();
    const biased = await resolved('conductor.estimatorBias=1.5');
    const trueNs = fair.truth[0].prefillNs(0, 8192, true);
    expect(biased.truth[0].prefillNs(0, 8192, true)).toBe(trueNs);
    expect(fair.estimator.prefillNs(0, 8192, 0)).toBe(trueNs);
    expect(biased.estimator.prefillNs(0, 8192, 0)).toBe(Math.round(1.5 * trueNs));
  });

  test('transport limits what the rails carry', async () => {
    const rateOf = async (...sets: string[]) => {
      const [node] = (await resolved(...sets)).topology.nodes;
      return node.rails.reduce((sum, rail) => sum + rail.bytesPerNs, 0) * node.railEfficiency;
    };
    expect(await rateOf()).toBeCloseTo(87.6, 9);
    expect(await rateOf('transport.maxBandwidth=400Gbps')).toBeCloseTo(50 * 0.876, 9);
    expect(await rateOf('transport.maxBandwidth=10Tbps')).toBeCloseTo(87.6, 9);
    // Figure 12, TCP: 40 GB in 1.082 s and 0.966 s.
    expect(await rateOf('transport.rdma=off')).toBeCloseTo(39, 9);
  });
});

describe('clusters that cannot be', () => {
  const of = (...sets: string[]) => complaint(() => resolved(...sets));

  test('weights that the GPUs do not hold', async () => {
    expect(await of('cluster.groups.0.tensorParallel=1')).toBe(
      '--set cluster.groups.0.tensorParallel=1: cluster.groups[0].tensorParallel: found 1 x a800 ' +
        "with 77GB usable, expected more than the 141GB of llama3-70b's weights (model.weights: " +
        'bf16)',
    );
  });

  test.each([
    [
      ['cluster.groups.1.roles=[prefill]'],
      'preset mooncake-16: cluster.groups: found no group with the role decode, expected at ' +
        'least one',
    ],
    [
      ['cluster.groups.1.name=prefill'],
      '--set cluster.groups.1.name=prefill: cluster.groups[1].name: found prefill twice, ' +
        'expected names to differ',
    ],
    [
      ['cluster.groups.1.instancesPerNode=9'],
      '--set cluster.groups.1.instancesPerNode=9: cluster.groups[1].instancesPerNode: found 9 ' +
        'instances per node of 1 GPUs, expected at most 8 GPUs in all',
    ],
    [
      ['conductor.decode=least tbt'],
      '--set conductor.decode=least tbt: found "least tbt" as decode policy, expected name, ' +
        'name:key=value,key=value or ./file.ts:key=value',
    ],
  ])('%j', async (sets, message) => {
    expect(await of(...sets)).toBe(message);
  });

  test('the place is a line of the YAML file', async () => {
    const path = temporaryFile(
      'c.yaml',
      'cluster:\n  groups:\n    - name: one\n      count: 1\n      roles: [prefill]\n',
    );
    expect(await complaint(async () => resolveConfig(await loadConfig(path)), path)).toBe(
      'c.yaml:3:5: cluster.groups: found no group with the role decode, expected at least one',
    );
  });
});

describe('a trace that does not fit', () => {
  function trace(rows: [input: number, output: number][]): TraceColumns {
    return {
      requests: rows.length,
      blockTokens: 512,
      inputTokens: Int32Array.from(rows, ([input]) => input),
      outputTokens: Int32Array.from(rows, ([, output]) => output),
    } as Partial<TraceColumns> as TraceColumns;
  }
  const ROOM = 1_456_819;

  test('input alone must fit prefill, input and output decode; the row is named', async () => {
    const config = await resolved();
    expect(() => checkTraceFits(config, trace([[ROOM - 1, 1]]))).not.toThrow();
    expect(
      await complaint(() =>
        checkTraceFits(
          config,
          trace([
            [9, 9],
            [ROOM, 1],
          ]),
          'mine.jsonl',
        ),
      ),
    ).toBe(
      `mine.jsonl:2: found a request of ${ROOM} input and 1 output tokens, expected at most ` +
        `${ROOM} tokens: that is what the HBM of instance decode-0 holds beside the weights`,
    );
    expect(await complaint(() => checkTraceFits(config, trace([[ROOM + 1, 1]])))).toMatch(
      /^trace:1: .* instance prefill-0 holds/,
    );
  });

  test('the smallest instance decides', async () => {
    const config = await resolved('cluster.groups.1.node=h200x8', 'model.cost=roofline');
    expect(await complaint(() => checkTraceFits(config, trace([[ROOM + 1, 1]])))).toMatch(
      /instance prefill-0 holds/,
    );
    expect(() => checkTraceFits(config, trace([[ROOM, ROOM / 3]]))).not.toThrow();
  });
});
