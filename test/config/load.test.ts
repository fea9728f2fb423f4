/** Reading configurations: presets, YAML, overrides, and one clear line for each mistake. */
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadConfig, withOptions } from '../../src/config/load.ts';
import { MOONCAKE_16 } from '../../src/config/presets/mooncake-16.ts';
import { complaint, temporaryFile } from './files.ts';

async function read(yaml: string, sets: string[] = []) {
  return loadConfig(temporaryFile('c.yaml', yaml), sets);
}

async function complaintOf(yaml: string, sets: string[] = []): Promise<string> {
  const path = temporaryFile('c.yaml', yaml);
  return complaint(() => loadConfig(path, sets), path);
}

describe('what is read', () => {
  test('without a name it is the preset, as it is', async () => {
    const loaded = await loadConfig();
    expect(loaded.config).toBe(MOONCAKE_16);
    expect(loaded.placeOf(['model'])).toBe('preset mooncake-16');
  });

  test('an empty file is the preset; a key changes that key alone', async () => {
    expect((await read('')).config).toStrictEqual(MOONCAKE_16);
    expect((await read('# nothing\n')).config).toStrictEqual(MOONCAKE_16);
    const { config } = await read('targets:\n  ttft: 10s\n');
    expect(config).toStrictEqual({
      ...MOONCAKE_16,
      targets: { ...MOONCAKE_16.targets, ttft: 10e9 },
    });
  });

  test('groups, inline nodes and capacities in bytes or tokens', async () => {
    const { config } = await read(`
cluster:
  groups:
    - name: big
      count: 2
      roles: [prefill, decode]
      instancesPerNode: 2
      tensorParallel: 4
      dram: 1TiB
      ssd: 2Mtokens
      node: {accelerator: h200, gpus: 8, rails: 8, railRate: 400Gbps, railEfficiency: 50%}
`);
    const [group] = config.cluster.groups;
    expect(group).toMatchObject({
      dram: { bytes: 1024 ** 4 },
      ssd: { tokens: 2e6 },
      node: { accelerator: 'h200', railRate: 50, railEfficiency: 0.5, railLatency: 10_000 },
    });
  });

  test('overrides lie on top, the last one wins, and lists keep their other parts', async () => {
    const sets = ['cluster.groups.1.count=4', 'cluster.groups[1].node=h100x8', 'targets.tbt=1s'];
    const { config } = await loadConfig('mooncake-16', [...sets, 'targets.tbt=2s']);
    expect(config.cluster.groups[0]).toStrictEqual(MOONCAKE_16.cluster.groups[0]);
    expect(config.cluster.groups[1]).toStrictEqual({
      ...MOONCAKE_16.cluster.groups[1],
      count: 4,
      node: 'h100x8',
    });
    expect(config.targets.tbt).toBe(2e9);
    const yaml = await read('targets: {tbt: 3s, ttft: 5s}', ['targets.tbt=4s']);
    expect(yaml.config.targets).toStrictEqual({ ttft: 5e9, tbt: 4e9 });
  });

  test("a policy's file is seen from the YAML file's folder, an option's from here", async () => {
    const path = temporaryFile('c.yaml', 'conductor: {prefill: "./mine.ts:depth=3"}');
    const loaded = await loadConfig(path);
    expect(loaded.config.conductor.prefill).toBe(`${join(dirname(path), 'mine.ts')}:depth=3`);
    const { config, placeOf } = withOptions(loaded, { eviction: './e.ts', seed: 7 });
    expect(config.store.eviction).toBe(join(process.cwd(), 'e.ts'));
    expect(config.seed).toBe(7);
    expect(config.conductor.prefill).toBe(loaded.config.conductor.prefill);
    expect(placeOf(['store', 'eviction'])).toBe('--eviction');
    expect(placeOf(['store', 'leaseTtl'])).toBe(`${path}:1:1`);
    expect(MOONCAKE_16.store.eviction).toBe('lru');
  });
});

describe('what is refused, in one line', () => {
  test.each([
    [
      'unknown section',
      'modle:\n  name: llama3-8b\n',
      'c.yaml:1:1: found unknown key modle in the configuration, expected one of seed, model, ' +
        'cluster, instance, store, transport, conductor, targets, monitoring (nearest: model)',
    ],
    [
      'unknown key',
      'targets:\n  ttft: 3s\n  tbtt: 1s\n',
      'c.yaml:3:3: found unknown key tbtt in targets, expected one of ttft, tbt, latency, ' +
        'throughput (nearest: tbt)',
    ],
    [
      'bare duration',
      'targets:\n  ttft: 30\n',
      'c.yaml:2:9: targets.ttft: found 30, expected a duration such as 30s, 200ms or 0.2us',
    ],
    [
      'unit of another kind',
      'transport:\n  bufferSize: 10s\n',
      'c.yaml:2:15: transport.bufferSize: found "10s", expected a size such as 1TiB, 983GB or ' +
        '512MiB',
    ],
    [
      'zero where more is needed',
      'targets: {ttft: 0s}\n',
      'c.yaml:1:17: targets.ttft: found "0s", expected a duration such as 30s, 200ms or 0.2us',
    ],
    [
      'a mistyped key, named rather than the one that is missing for it',
      'cluster: {groups: [{name: a, cuont: 1, roles: [decode]}]}\n',
      'c.yaml:1:30: found unknown key cuont in cluster.groups[0], expected one of name, count, ' +
        'node, roles, instancesPerNode, tensorParallel, pipeline, dram, ssd (nearest: count)',
    ],
    [
      'word out of a list',
      'model:\n  name: lama3-70b\n',
      'c.yaml:2:9: model.name: found "lama3-70b", expected one of llama3-8b, llama3-70b, ' +
        'llama2-70b, qwen3-32b, qwen3-30b-a3b, qwen3-235b-a22b, mixtral-8x7b, deepseek-v3, ' +
        'deepseek-r1 (nearest: llama3-70b)',
    ],
    [
      'number out of range',
      'transport: {retryCount: 99}\n',
      'c.yaml:1:25: transport.retryCount: found 99, expected a whole number from 0 to 16',
    ],
    [
      'text for a number',
      'instance:\n  prefillChunk: many\n',
      'c.yaml:2:17: instance.prefillChunk: found "many", expected a whole number of at least 1',
    ],
    [
      'missing key',
      'cluster:\n  groups:\n    - name: a\n      roles: [prefill]\n',
      'c.yaml:3:7: missing key cluster.groups[0].count, expected a whole number from 1 to 10000',
    ],
    [
      'unknown role',
      'cluster: {groups: [{name: a, count: 1, roles: [prefil]}]}\n',
      'c.yaml:1:48: cluster.groups[0].roles[0]: found "prefil", expected one of prefill, decode ' +
        '(nearest: prefill)',
    ],
    [
      'roles that are no list',
      'cluster: {groups: [{name: a, count: 1, roles: 7}]}\n',
      'c.yaml:1:47: cluster.groups[0].roles: found 7, expected a list such as [prefill], ' +
        '[decode], [prefill, decode] or [] for standby',
    ],
    [
      'unknown node',
      'cluster: {groups: [{name: a, count: 1, roles: [decode], node: h100x9}]}\n',
      'c.yaml:1:63: cluster.groups[0].node: found "h100x9", expected one of a800x8, h800x8, ' +
        'h100x8, h200x8, b200x8 (nearest: h100x8), or a mapping with keys such as accelerator, ' +
        'gpus, numaDomains, rails',
    ],
    [
      'unknown key of an inline node',
      'cluster:\n  groups:\n  - {name: a, count: 1, roles: [decode], node: {rails: 4, gpu: 4}}\n',
      'c.yaml:3:59: found unknown key gpu in cluster.groups[0].node, expected one of ' +
        'accelerator, gpus, numaDomains, rails, railRate, railEfficiency, railLatency, ' +
        'socketRate, hostToDevice, hostToDeviceEfficiency, hostToDeviceLatency, ssdRead, ' +
        'ssdWrite, ssdLatency (nearest: gpus)',
    ],
    [
      'bad value in an inline node',
      'cluster:\n  groups:\n  - {name: a, count: 1, roles: [decode],\n' +
        '     node: {accelerator: h100, gpus: 0}}\n',
      'c.yaml:4:38: cluster.groups[0].node.gpus: found 0, expected a whole number of at least 1',
    ],
    [
      'section that is a text',
      'model: llama3-8b\n',
      'c.yaml:1:8: model: found "llama3-8b", expected a mapping with keys such as name, weights, ' +
        'kv, cost',
    ],
    [
      'empty section',
      'seed: 1\nmodel:\n',
      'c.yaml:2:7: model: found null, expected a mapping with keys such as name, weights, kv, cost',
    ],
    [
      'not modelled',
      'store: {hits: any}\n',
      'c.yaml:1:15: store.hits: found "any", expected prefix, as engines compute a prompt from ' +
        'the end of its cached prefix on; what any hits would add, moontide cache ' +
        '--semantics any counts',
    ],
    [
      'keys that contradict each other',
      'store:\n  leaseTtl: 1s\n  leaseGuard: 2s\n',
      'c.yaml:3:15: store.leaseGuard: found "2s", expected a leaseGuard that is shorter than ' +
        'leaseTtl',
    ],
    [
      'alert without a bound',
      'monitoring:\n  alerts:\n    - metric: ttftNs.p99\n',
      'c.yaml:3:7: monitoring.alerts[0]: found {"metric":"ttftNs.p99"}, expected either above ' +
        'or below',
    ],
    [
      'list on top',
      '- 1\n',
      'c.yaml:1:1: found no mapping, expected keys such as model: and cluster:',
    ],
  ])('%s', async (_, yaml, message) => {
    expect(await complaintOf(yaml)).toBe(message);
  });

  test.each([
    ['key twice', 'seed: 1\nseed: 2\n', /^c\.yaml:2:1: found bad YAML \(.*unique.*\), expected/],
    ['open bracket', 'cluster: {groups: [\n', /^c\.yaml:\d+:\d+: found bad YAML \(.*\), expected/],
    ['tab', 'model:\n\tname: x\n', /^c\.yaml:2:1: found bad YAML \(.*[Tt]ab.*\), expected/],
    ['two documents', 'seed: 1\n---\nseed: 2\n', /^c\.yaml:\d+:\d+: found bad YAML/],
    ['unknown alias', 'seed: *one\n', /^c\.yaml:1:\d+: found bad YAML/],
  ])('bad YAML: %s', async (_, yaml, message) => {
    const found = await complaintOf(yaml);
    expect(found).toMatch(message);
    expect(found).not.toContain('\n');
  });

  test('overrides: the place is the override', async () => {
    const of = (set: string) => complaint(() => loadConfig('mooncake-16', [set]));
    expect(await of('targets.ttft=5')).toBe(
      '--set targets.ttft=5: targets.ttft: found 5, expected a duration such as 30s, 200ms or ' +
        '0.2us',
    );
    expect(await of('targets.tftt=5s')).toBe(
      '--set targets.tftt=5s: found unknown key tftt in targets, expected one of ttft, tbt, ' +
        'latency, throughput (nearest: ttft)',
    );
    expect(await of('targets')).toBe(
      '--set: found "targets", expected key.key=value such as targets.ttft=10s',
    );
    expect(await of('__proto__.x=1')).toMatch(/^--set: found "__proto__.x=1", expected key/);
    expect(await of('cluster.groups.2.count=1')).toBe(
      '--set cluster.groups.2.count=1: found index 2 into cluster.groups, expected 0 to 1',
    );
    expect(await of('seed.x=1')).toBe('--set seed.x=1: found 1 in seed, expected keys below it');
    expect(await of('seed=[1')).toMatch(/^--set seed=\[1: found bad YAML \(.*\), expected/);
    // The file's own mistakes keep their own place.
    expect(await complaintOf('seed: x\n', ['targets.ttft=5s'])).toBe(
      'c.yaml:1:7: seed: found "x", expected a whole number of at least 0',
    );
  });

  test('a missing file, a folder, a bad seed', async () => {
    expect(await complaint(() => loadConfig('mooncake16'))).toMatch(
      /^mooncake16: found no such file, expected a YAML configuration or the preset .*mooncake-16/,
    );
    expect(await complaint(() => loadConfig('/'))).toMatch(/^\/: found a folder, expected/);
    const loaded = await loadConfig();
    expect(await complaint(() => withOptions(loaded, { seed: -1 }))).toBe(
      '--seed: found -1, expected a whole number of at least 0',
    );
  });
});

test('the same values in another order and form give the same configuration', async () => {
  const path = temporaryFile('a.yaml', 'targets: {tbt: 0.2s, ttft: 30000ms}\nseed: 1\n');
  const other = join(dirname(path), 'b.json');
  writeFileSync(other, '{"seed": 1, "targets": {"ttft": "0.5min", "tbt": "200ms"}}');
  const [a, b] = [await loadConfig(path), await loadConfig(other)];
  expect(a.config).toStrictEqual(b.config);
  expect(a.config).toStrictEqual(MOONCAKE_16);
});
