/**
 * What is under way by number: a few at a time, found by looking at them all, the newest first. It
 * never shrinks and re-hashes as a Map does that is empty every other moment.
 */
export class Few<T> {
  private readonly keys: number[] = [];
  private readonly values: T[] = [];

  get size(): number {
    return this.keys.length;
  }

  /** The key is not there yet. */
  add(key: number, value: T): void {
    this.keys.push(key);
    this.values.push(value);
  }

  get(key: number): T | undefined {
    const at = this.find(key);
    return at < 0 ? undefined : this.values[at];
  }

  /** Takes it out, and the last into its place; undefined when it is not there. */
  take(key: number): T | undefined {
    const { keys, values } = this;
    const at = this.find(key);
    if (at < 0) return undefined;
    const value = values[at];
    const lastKey = keys.pop()!;
    const last = values.pop()!;
    if (at < keys.length) {
      keys[at] = lastKey;
      values[at] = last;
    }
    return value;
  }

  visit(see: (key: number, value: T) => void): void {
    for (let at = 0; at < this.keys.length; at++) see(this.keys[at], this.values[at]);
  }

  private find(key: number): number {
    const { keys } = this;
    let at = keys.length - 1;
    while (at >= 0 && keys[at] !== key) at--;
    return at;
  }
}
