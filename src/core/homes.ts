/** Which node is the home of each block: the bucket map as a store was told of it. */
import { bucketOf } from './bucket-map.ts';
import type { Buckets } from './messages.ts';

const NONE: readonly number[] = [];

export class Homes {
  term = 0;
  version = 0;
  /** Node of each bucket; empty before the first map. */
  owners: readonly number[] = NONE;
  /** Of the map before this one. */
  private former: readonly number[] = NONE;

  /** Later than what was heard: a later leader's word, or a later one of the same. */
  isNews({ term, version }: Buckets): boolean {
    return term > this.term || (term === this.term && version > this.version);
  }

  take({ term, version, owners }: Buckets): void {
    this.term = term;
    this.version = version;
    this.former = this.owners;
    this.owners = owners;
  }

  /** Home of a block, or -1 while there is no map. */
  homeOf(block: number): number {
    return homeIn(this.owners, block);
  }

  /** Where it was at home before the map changed, and may still be. */
  formerHomeOf(block: number): number {
    return homeIn(this.former, block);
  }
}

/** Home of a block in a map; -1 in an empty one. */
export function homeIn(owners: readonly number[], block: number): number {
  return owners.length === 0 ? -1 : owners[bucketOf(block, owners.length)];
}
