/** The last things remembered: a map that forgets its oldest entry when it is full. */
export class Recent<V> {
  private readonly limit: number;
  private readonly entries = new Map<number, V>();

  constructor(limit: number) {
    this.limit = limit;
  }

  set(key: number, value: V): void {
    this.entries.delete(key);
    this.entries.set(key, value);
    if (this.entries.size > this.limit) {
      for (const oldest of this.entries.keys()) {
        this.entries.delete(oldest);
        break;
      }
    }
  }

  get(key: number): V | undefined {
    return this.entries.get(key);
  }

  values(): V[] {
    return [...this.entries.values()];
  }
}
