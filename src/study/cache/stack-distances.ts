/**
 * LRU stack distances: how many distinct keys were touched since a key was touched last, the key
 * itself included. A key is a hit in an LRU cache exactly if its distance is at most the capacity
 * (Mattson et al., IBM Systems Journal 9:2, 1970). A Fenwick tree over the times of last touches
 * gives each in O(log n) (Olken, LBL-12370, 1981); times are renumbered when they run out, so
 * memory grows with the keys and not with the touches.
 */

export class StackDistances {
  /** Time of a key's last touch, from 1 on; 0 before the first. */
  private readonly lastAt: Int32Array;
  /** Key that was touched last at a time. */
  private readonly keyAt: Int32Array;
  /** Fenwick tree: 1 at every time that is some key's last. */
  private readonly tree: Int32Array;
  private readonly times: number;
  private now = 0;
  private live = 0;

  constructor(keys: number) {
    this.times = 2 * Math.max(keys, 1);
    this.lastAt = new Int32Array(keys);
    this.keyAt = new Int32Array(this.times + 1);
    this.tree = new Int32Array(this.times + 1);
  }

  /** Distance of a key as things stand; 0 when it was never touched. */
  distance(key: number): number {
    const last = this.lastAt[key];
    if (last === 0) return 0;
    const tree = this.tree;
    let older = 0;
    for (let at = last - 1; at > 0; at &= at - 1) older += tree[at];
    return this.live - older;
  }

  touch(key: number): void {
    const last = this.lastAt[key];
    if (last === this.now && last !== 0) return;
    if (this.now === this.times) {
      this.renumber();
      this.touch(key);
      return;
    }
    if (last === 0) this.live++;
    else this.add(last, -1);
    this.now++;
    this.lastAt[key] = this.now;
    this.keyAt[this.now] = key;
    this.add(this.now, 1);
  }

  private add(from: number, change: number): void {
    const { tree, times } = this;
    for (let at = from; at <= times; at += at & -at) tree[at] += change;
  }

  /** Last touches move to times 1 .. live, in the order that they have. */
  private renumber(): void {
    const { tree, lastAt, keyAt, times } = this;
    let next = 0;
    for (let at = 1; at <= this.now; at++) {
      const key = keyAt[at];
      if (lastAt[key] !== at) continue;
      next++;
      lastAt[key] = next;
      keyAt[next] = key;
    }
    this.now = next;
    tree.fill(0);
    tree.fill(1, 1, next + 1);
    for (let at = 1; at <= times; at++) {
      const parent = at + (at & -at);
      if (parent <= times) tree[parent] += tree[at];
    }
  }
}
