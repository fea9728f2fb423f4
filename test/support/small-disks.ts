/**
 * A small disk for the SSD of each node: a file system of its own in memory, which others can fill
 * until it really says ENOSPC, and free again. Needs root.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PAGE_BYTES = 4096;

export class SmallDisks {
  /** As `--ssd` takes it. */
  readonly folder: string;
  private readonly nodes: readonly number[];

  constructor(nodes: readonly number[], sizeBytes: number) {
    this.nodes = nodes;
    this.folder = mkdtempSync(join(tmpdir(), 'moontide-disks-'));
    for (const node of nodes) {
      mkdirSync(this.pathOf(node));
      const size = `size=${sizeBytes},mode=700`;
      execFileSync('mount', ['-t', 'tmpfs', '-o', size, 'moontide', this.pathOf(node)]);
    }
  }

  /** Somebody else's file takes all that is free: not a page is left. */
  fill(node: number): void {
    const { free } = this.spaceOf(node);
    execFileSync('fallocate', ['-l', String(free), this.other(node)]);
    try {
      for (;;) writeFileSync(this.other(node), new Uint8Array(PAGE_BYTES), { flag: 'a' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }

  free(node: number): void {
    rmSync(this.other(node), { force: true });
  }

  spaceOf(node: number): { readonly used: number; readonly free: number } {
    const { bsize, blocks, bavail } = statfsSync(this.pathOf(node));
    return { used: (blocks - bavail) * bsize, free: bavail * bsize };
  }

  /** After the nodes. */
  close(): void {
    for (const node of this.nodes) execFileSync('umount', [this.pathOf(node)]);
    rmSync(this.folder, { recursive: true, force: true });
  }

  private pathOf(node: number): string {
    return join(this.folder, `node-${node}`);
  }

  private other(node: number): string {
    return join(this.pathOf(node), 'of-others');
  }
}
