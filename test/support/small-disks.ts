/**
 * A small disk for the SSD of each node: a file system of its own in memory, which others can fill
 * until it really says ENOSPC, and free again. Needs root.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PAGE_BYTES = 4096;
const OTHERS = 'of-others';
const TRIES = 10;

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
    // Its node may take some of it meanwhile: then there is less.
    for (let tries = 0; this.spaceOf(node).free > 0 && tries < TRIES; tries++) {
      const { free } = this.spaceOf(node);
      const of = `${this.other(node)}-${tries}`;
      spawnSync('fallocate', ['-l', String(free), of]);
    }
    try {
      for (;;) writeFileSync(this.other(node), new Uint8Array(PAGE_BYTES), { flag: 'a' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }

  free(node: number): void {
    for (const name of readdirSync(this.pathOf(node))) {
      if (name.startsWith(OTHERS)) rmSync(join(this.pathOf(node), name));
    }
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
    return join(this.pathOf(node), OTHERS);
  }
}
