/**
 * The memory of a process, and how much of that is pools: memory of a node's tiers, in which blocks
 * lie, its own or peers' that it has mapped. From /proc, so on Linux alone.
 */
import { readFileSync } from 'node:fs';

/** What the kernel knows at no cost. */
export interface ResidentMemory {
  readonly rssBytes: number;
  /** Without shared memory, which pools are. */
  readonly withoutPoolsBytes: number;
}

/** Of this process; without /proc pools can't be told from the rest. */
export function residentMemory(): ResidentMemory {
  const text = read('/proc/self/status');
  const bytes = (key: string) =>
    1024 * Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(text)?.[1]);
  const rssBytes = bytes('VmRSS');
  if (Number.isNaN(rssBytes)) {
    const rss = process.memoryUsage.rss();
    return { rssBytes: rss, withoutPoolsBytes: rss };
  }
  return { rssBytes, withoutPoolsBytes: bytes('RssAnon') + bytes('RssFile') };
}

/** Mapping by mapping; what several processes have in common counts for each of them. */
export interface MappedMemory {
  /** Resident mappings of pools. */
  readonly poolBytes: number;
  /** All others. */
  readonly withoutPoolsBytes: number;
  /** Of these, pages that no other process has. */
  readonly privateBytes: number;
}

/** As native/src/memory.cc names them. */
const POOL = '/memfd:moontide-pool';

/** Of any process. The kernel walks all its pages for it: milliseconds per GB. */
export function mappedMemory(pid: number): MappedMemory | null {
  const text = read(`/proc/${pid}/smaps`);
  if (text === '') return null;
  const sums = { poolBytes: 0, withoutPoolsBytes: 0, privateBytes: 0 };
  let isPool = false;
  for (const line of text.split('\n')) {
    const field = /^(\w+):\s+(\d+) kB$/.exec(line);
    if (field === null) {
      // `from-to rights offset device inode   name`
      if (/^[\da-f]+-[\da-f]+ /.test(line)) isPool = line.includes(POOL);
      continue;
    }
    const [, key, kilobytes] = field;
    const bytes = 1024 * Number(kilobytes);
    // Huge pages are not resident to the kernel.
    if (isPool && /^(Rss|Shared_Hugetlb|Private_Hugetlb)$/.test(key)) sums.poolBytes += bytes;
    else if (!isPool && key === 'Rss') sums.withoutPoolsBytes += bytes;
    else if (/^Private_(Clean|Dirty)$/.test(key) && !isPool) sums.privateBytes += bytes;
  }
  return sums;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
