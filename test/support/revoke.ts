/** A drive that fails under who has its files open: their descriptors come to nothing. */
import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs';

/** Of this process, everything that is open under a folder: writes and reads fail from now on. */
export function revokeFiles(folder: string): void {
  for (const name of readdirSync('/proc/self/fd')) {
    const fd = Number(name);
    if (!targetOf(name).startsWith(`${folder}/`)) continue;
    closeSync(fd);
    // The number stays taken, by something that reads as empty and can't be written.
    const spare: number[] = [];
    for (let taken = -1; taken !== fd; ) {
      taken = openSync('/dev/null', 'r');
      if (taken !== fd) spare.push(taken);
    }
    for (const extra of spare) closeSync(extra);
  }
}

function targetOf(name: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${name}`);
  } catch {
    // It was closed meanwhile.
    return '';
  }
}
