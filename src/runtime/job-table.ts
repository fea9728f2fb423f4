/**
 * What is under way, by tags that count up. A tag's lowest bits are its row; one whose row is
 * taken by a job that stays long is passed over. At most half of the rows are taken.
 */
const ROWS = 1024;
const FREE = -1;

export class JobTable<T> {
  /** Per row: its tag or FREE, and whose it is. */
  private tags = new Float64Array(ROWS).fill(FREE);
  private owners: (T | null)[] = new Array<T | null>(ROWS).fill(null);
  private count = 0;
  private nextTag = 1;

  /** Answers the tag. */
  open(owner: T): number {
    if (2 * this.count >= this.tags.length) this.grow();
    const mask = this.tags.length - 1;
    while (this.tags[this.nextTag & mask] !== FREE) this.nextTag++;
    const tag = this.nextTag++;
    const row = tag & mask;
    this.tags[row] = tag;
    this.owners[row] = owner;
    this.count++;
    return tag;
  }

  get(tag: number): T | null {
    const row = tag & (this.tags.length - 1);
    return this.tags[row] === tag ? this.owners[row] : null;
  }

  /** Whether it was there. */
  delete(tag: number): boolean {
    const row = tag & (this.tags.length - 1);
    if (this.tags[row] !== tag) return false;
    this.tags[row] = FREE;
    this.owners[row] = null;
    this.count--;
    return true;
  }

  /** All tags that are there, ascending. */
  openTags(): number[] {
    return [...this.tags].filter((tag) => tag !== FREE).sort((a, b) => a - b);
  }

  private grow(): void {
    const { tags, owners } = this;
    const rows = 2 * tags.length;
    this.tags = new Float64Array(rows).fill(FREE);
    this.owners = new Array<T | null>(rows).fill(null);
    tags.forEach((tag, before) => {
      const row = tag & (rows - 1);
      if (tag === FREE) return;
      this.tags[row] = tag;
      this.owners[row] = owners[before];
    });
  }
}
