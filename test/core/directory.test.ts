/** The directory against its definition: sets of blocks per node, walked one node at a time. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Directory } from '../../src/core/directory.ts';
import { BlockSpan } from '../../src/core/request.ts';
import { Tier } from '../../src/core/topology.ts';

const BLOCKS = 12;

class NaiveDirectory {
  private readonly held: Set<string>[];

  constructor(nodes: number) {
    this.held = Array.from({ length: nodes }, () => new Set<string>());
  }

  add(node: number, tier: Tier, block: number): void {
    this.held[node].add(`${tier}/${block}`);
  }

  remove(node: number, tier: Tier, block: number): void {
    this.held[node].delete(`${tier}/${block}`);
  }

  clear(node: number, tier: Tier): void {
    for (const key of this.held[node]) if (key.startsWith(`${tier}/`)) this.held[node].delete(key);
  }

  has(node: number, block: number): boolean {
    return (
      this.held[node].has(`${Tier.dram}/${block}`) || this.held[node].has(`${Tier.ssd}/${block}`)
    );
  }

  /** Leading blocks on each node. */
  match(blocks: readonly number[]): number[] {
    return this.held.map((_, node) => {
      const missing = blocks.findIndex((block) => !this.has(node, block));
      return missing < 0 ? blocks.length : missing;
    });
  }
}

const tiers = fc.constantFrom(Tier.dram, Tier.ssd);

/** Nodes below, at and above the 32 bits of a word. */
const scripts = fc.constantFrom(1, 5, 31, 32, 33, 64, 70).chain((nodes) => {
  const node = fc.nat(nodes - 1);
  const block = fc.nat(BLOCKS - 1);
  const change = fc.record({ node, tier: tiers, block });
  const changes = fc.array(
    fc.tuple(fc.constantFrom('add', 'add', 'add', 'remove', 'clear'), change),
    { maxLength: 200 },
  );
  const prompts = fc.array(fc.array(block, { maxLength: 6 }), { minLength: 1, maxLength: 5 });
  return fc.record({ nodes: fc.constant(nodes), changes, prompts });
});

describe('directory', () => {
  it('answers as its definition does', () => {
    const law = fc.property(scripts, fc.nat(BLOCKS), ({ nodes, changes, prompts }, foreseen) => {
      const directory = new Directory(nodes, foreseen);
      const naive = new NaiveDirectory(nodes);
      for (const [verb, { node, tier, block }] of changes) {
        if (verb === 'clear') {
          directory.clear(node, tier);
          naive.clear(node, tier);
        } else {
          directory[verb](node, tier, block);
          naive[verb](node, tier, block);
        }
      }
      for (let block = 0; block < BLOCKS; block++) {
        const holders = Array.from({ length: nodes }, (_, node) => naive.has(node, block));
        expect(holders.map((_, node) => directory.has(node, block))).toEqual(holders);
        expect(directory.replicas(block)).toBe(holders.filter(Boolean).length);
      }
      for (const prompt of prompts) {
        const expected = naive.match(prompt);
        directory.match(new BlockSpan(Int32Array.from(prompt), 0, prompt.length));
        const best = Math.max(...expected);
        expect([...directory.matched]).toEqual(expected);
        expect(directory.bestBlocks).toBe(best);
        expect(directory.bestNode).toBe(best === 0 ? -1 : expected.indexOf(best));
      }
    });
    fc.assert(law, { numRuns: 300 });
  });

  it('matches a prefix, not what comes after a hole', () => {
    const directory = new Directory(2, 4);
    for (const block of [0, 1, 3]) directory.add(0, Tier.dram, block);
    directory.add(1, Tier.dram, 0);
    directory.add(1, Tier.ssd, 1);
    directory.add(1, Tier.dram, 2);
    directory.match(new BlockSpan(Int32Array.of(7, 0, 1, 2, 3), 1, 5));
    expect([...directory.matched]).toEqual([2, 3]);
    expect([directory.bestBlocks, directory.bestNode]).toEqual([3, 1]);
  });

  it('holds a block until every tier of the node has dropped it', () => {
    const directory = new Directory(40, 1);
    directory.add(39, Tier.dram, 0);
    directory.add(39, Tier.ssd, 0);
    directory.clear(39, Tier.dram);
    expect(directory.has(39, 0)).toBe(true);
    directory.remove(39, Tier.ssd, 0);
    expect(directory.has(39, 0)).toBe(false);
  });
});
