/** Scenario files: what they mean, and what is refused in one line. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { happeningsOf, loadScenario, scenarioJsonSchema } from '../../src/config/scenario.ts';
import { tinyTopology } from '../support/tiny.ts';

const folder = mkdtempSync(join(tmpdir(), 'scenario-'));
const file = join(folder, 's.yaml');
const topology = tinyTopology({ prefill: 2, decode: 1, rails: 2, ssdBlocks: 8 });
afterAll(() => rmSync(folder, { recursive: true }));

function load(text: string) {
  writeFileSync(file, text);
  return loadScenario(file, topology).events;
}

describe('a scenario file', () => {
  it('says what happens when, to whom, for how long', () => {
    const events = load(`events:
  - {at: 2s, crash: n1, for: 1min, detect: 5s}
  - {at: 1s, rail: n0/r1, for: 3s}
  - {at: 3s, rail: n0/r0, rate: 20%}
  - {at: 4s, crashInstance: i2}
  - {at: 5s, link: [n0, n2], for: 1s}
  - {at: 6s, failover: 2s}
  - {at: 7s, roles: i0, as: []}
  - {at: 8s, ssd: n2, rate: 0.5}
  - {at: 8.5s, ssd: n1, for: 1s}
  - {at: 9s, leave: n0}
  - {at: 10s, join: n0}
`);
    const ever = Number.POSITIVE_INFINITY;
    expect(events).toEqual([
      { kind: 'rail', atNs: 1e9, node: 0, rail: 1, rate: 0, forNs: 3e9 },
      { kind: 'crash', atNs: 2e9, node: 1, forNs: 60e9, detectNs: 5e9 },
      { kind: 'rail', atNs: 3e9, node: 0, rail: 0, rate: 0.2, forNs: ever },
      { kind: 'crashInstance', atNs: 4e9, instance: 2, forNs: ever, detectNs: 1e9 },
      { kind: 'link', atNs: 5e9, nodes: [0, 2], forNs: 1e9 },
      { kind: 'failover', atNs: 6e9, downNs: 2e9 },
      { kind: 'roles', atNs: 7e9, instance: 0, roles: [] },
      { kind: 'ssd', atNs: 8e9, node: 2, rate: 0.5, forNs: ever },
      { kind: 'ssd', atNs: 8.5e9, node: 1, rate: 0, forNs: 1e9 },
      { kind: 'leave', atNs: 9e9, node: 0 },
      { kind: 'join', atNs: 10e9, node: 0 },
    ]);
  });

  it.each([
    ['nothing: 1', ':1:1: found no list, expected events: [...]'],
    ['events: [{at: 1s}]', ':1:10: found no thing that happens, expected one of crash, '],
    ['events: [{at: 1s, crash: n9}]', ':1:10: found node "n9", expected '],
    ['events: [{at: 1s, rail: n0/r7}]', ':1:10: found rail "n0/r7", expected '],
    ['events: [{at: soon, crash: n0}]', ':1:10: found a bad at in crash, expected the keys at, '],
    ['events: [{at: 1s, crash: n0, till: 2s}]', ':1:10: found a bad crash in crash, expected'],
    ['events: [{at: 1s, link: [n0, n0]}]', ':1:10: found one node twice in link'],
    ['events: [{at: 1s, ssd: n0, rate: 2}]', ':1:10: found a bad rate in ssd, expected the keys'],
  ])('refuses %s', (text, message) => {
    let thrown = '';
    try {
      load(text);
    } catch (error) {
      const { place, message: what } = error as { place: string; message: string };
      thrown = `${place}: ${what}`;
    }
    expect(thrown).toContain(message);
  });

  it('is told in words, in the result of its run', () => {
    writeFileSync(file, 'events: [{at: 1s, ssd: n1, for: 2s}, {at: 3s, rail: n0/r1, rate: 20%}]');
    expect(happeningsOf(loadScenario(file, topology), topology)).toEqual([
      { atNs: 1e9, forNs: 2e9, what: 'SSD of n1 lost' },
      { atNs: 3e9, forNs: null, what: 'n0/r1 at 20 %' },
    ]);
  });

  it('has a published schema', () => {
    expect(JSON.stringify(scenarioJsonSchema())).toContain('crashInstance');
  });
});
