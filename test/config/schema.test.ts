/** The schema: its defaults are the preset, its JSON form is closed and documented. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeConfig } from '../../src/config/describe.ts';
import { PRESETS } from '../../src/config/presets/index.ts';
import { type Config, configJsonSchema, configSchema } from '../../src/config/schema.ts';

test.each([...PRESETS])('preset %s is what the schema makes of its input', (_, preset) => {
  // Skipping validation for a preset is safe only because of this.
  expect(preset.config).toStrictEqual(configSchema.parse(preset.input));
});

type Json = { [key: string]: Json } & Json[] & (string | number | boolean);

/** Every schema node below `node` with its path. */
function* nodesOf(node: Json, path: string): Generator<[string, Json]> {
  yield [path, node];
  for (const [key, child] of Object.entries(node.properties ?? {})) {
    yield* nodesOf(child, `${path}.${key}`);
  }
  if (node.items) yield* nodesOf(node.items, `${path}[]`);
  for (const [i, branch] of (node.anyOf ?? []).entries()) {
    yield* nodesOf(branch, `${path}|${i}`);
  }
}

test('the published JSON Schema is closed, documented and free of our own keywords', () => {
  const schema = configJsonSchema() as unknown as Json;
  expect(schema.$schema).toBe('https://json-schema.org/draft/2020-12/schema');
  const keywords = new Set<string>();
  let keys = 0;
  for (const [path, node] of nodesOf(schema, 'config')) {
    for (const keyword of Object.keys(node)) keywords.add(keyword);
    if (node.type === 'object') expect(node.additionalProperties, path).toBe(false);
    for (const [key, child] of Object.entries(node.properties ?? {})) {
      keys++;
      expect(typeof child.description, `${path}.${key}`).toBe('string');
      const required = Object.values(node.required ?? []).includes(key as unknown as Json);
      const optional = 'default' in child || String(child.description).length > 0;
      expect(required || optional, `${path}.${key} has a default or is optional`).toBe(true);
    }
    if (node.pattern) expect(() => new RegExp(String(node.pattern))).not.toThrow();
  }
  expect(keys).toBeGreaterThan(50);
  const known = [
    ...['$schema', 'type', 'properties', 'required', 'additionalProperties', 'items', 'anyOf'],
    ...['enum', 'const', 'pattern', 'minimum', 'maximum', 'exclusiveMinimum', 'minLength'],
    ...['minItems', 'default', 'description'],
  ];
  expect([...keywords].filter((keyword) => !known.includes(keyword))).toEqual([]);
});

test('defaults of the JSON Schema, written out, give the same configuration', () => {
  const schema = configJsonSchema() as unknown as Json;
  const written: Record<string, unknown> = {};
  for (const [name, section] of Object.entries(schema.properties)) {
    if (section.type !== 'object') written[name] = section.default;
    else {
      written[name] = Object.fromEntries(
        Object.entries(section.properties)
          .filter(([, child]) => 'default' in child)
          .map(([key, child]) => [key, child.default]),
      );
    }
  }
  expect(configSchema.parse(written)).toStrictEqual(configSchema.parse({}));
});

const timeNs = fc.integer({ min: 1, max: 1e13 });
const rate = fc.double({ min: 1e-3, max: 1e5, noNaN: true });
const share = fc.double({ min: 1e-3, max: 1, noNaN: true });
const capacity = fc.oneof(
  fc.maxSafeNat().map((bytes) => ({ bytes })),
  fc.integer({ min: 1, max: 1e12 }).map((tokens) => ({ tokens })),
);

/** Random values in base units, in every key that has a unit. */
const anyConfig: fc.Arbitrary<Config> = fc
  .record({
    times: fc.array(timeNs, { minLength: 8, maxLength: 8 }),
    rates: fc.array(fc.option(rate), { minLength: 2, maxLength: 2 }),
    railRate: rate,
    shares: fc.array(share, { minLength: 2, maxLength: 2 }),
    dram: capacity,
    bytes: fc.maxSafeNat(),
  })
  .map(({ times, rates, railRate, shares, dram, bytes }) => {
    const config = configSchema.parse({});
    const node = {
      accelerator: 'h100',
      gpus: 4,
      numaDomains: 1,
      rails: 2,
      railRate,
      railEfficiency: shares[0],
      railLatency: times[0],
      socketRate: railRate,
      hostToDevice: railRate,
      hostToDeviceEfficiency: shares[1],
      hostToDeviceLatency: times[1],
      ssdRead: railRate,
      ssdWrite: railRate,
      ssdLatency: times[0],
    };
    config.cluster.groups[0] = { ...config.cluster.groups[0], dram, node };
    config.cluster.fabric = rates[0];
    config.transport = { ...config.transport, maxBandwidth: rates[1], bufferSize: bytes };
    config.store = { ...config.store, leaseTtl: times[2] + 1, leaseGuard: times[2] };
    config.instance.reserveTtl = times[3];
    config.instance.hbmReserve = shares[0] * 0.99;
    config.targets = { ttft: times[4], tbt: times[5], latency: times[6], throughput: 2.5 };
    const alerts = [{ metric: 'ttftNs.p99', above: 30e9, for: times[7] }];
    config.monitoring = { interval: times[7], alerts };
    return config;
  });

test('a described configuration reads back to the very same values', () => {
  fc.assert(
    fc.property(anyConfig, (config) => {
      expect(configSchema.parse(describeConfig(config))).toStrictEqual(config);
    }),
  );
});
