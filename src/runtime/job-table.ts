/**
 * What is under way, by tags that count up. Nearly all end in about the order in which they began,
 * so that a ring finds them; who stays while the ring goes round stands in a map beside it.
 */
const ROWS = 4096;

export class JobTable<T> {
  private readonly tags = new Float64Array(ROWS);
  private readonly rows: (T | null)[] = new Array<T | null>(ROWS).fill(null);
  private readonly late = new Map<number, T>();

  get(tag: number): T | undefined {
    const row = tag & (ROWS - 1);
    if (this.tags[row] === tag) return this.rows[row] ?? undefined;
    return this.late.size === 0 ? undefined : this.late.get(tag);
  }

  /** The tag must be new. */
  set(tag: number, job: T): void {
    const row = tag & (ROWS - 1);
    const before = this.rows[row];
    if (before !== null) this.late.set(this.tags[row], before);
    this.tags[row] = tag;
    this.rows[row] = job;
  }

  /** Whether it was there. */
  delete(tag: number): boolean {
    const row = tag & (ROWS - 1);
    if (this.tags[row] !== tag || this.rows[row] === null) return this.late.delete(tag);
    this.rows[row] = null;
    return true;
  }

  /** All that is there, as it is now. */
  entries(): [tag: number, job: T][] {
    const found: [number, T][] = [...this.late];
    this.rows.forEach((job, row) => {
      if (job !== null) found.push([this.tags[row], job]);
    });
    return found.sort(([a], [b]) => a - b);
  }
}
