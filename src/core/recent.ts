/**
 * The last things remembered: at least `limit` of them, at most twice as many. Two generations, so
 * that nothing is ever deleted one by one: when the young one is full, it becomes the old one.
 */
export class Recent<V> {
  private readonly limit: number;
  private young = new Map<number, V>();
  private old = new Map<number, V>();

  constructor(limit: number) {
    this.limit = limit;
  }

  set(key: number, value: V): void {
    if (this.young.size >= this.limit) {
      this.old = this.young;
      this.young = new Map();
    }
    this.young.set(key, value);
  }

  get(key: number): V | undefined {
    return this.young.get(key) ?? this.old.get(key);
  }

  values(): V[] {
    return [...this.old.values(), ...this.young.values()];
  }
}
