/** Numbers as people read them in a terminal. */
export { bytes, duration, integer, percent } from '../metrics/format.ts';

const BLOCKS = ' ▏▎▍▌▋▊▉█';

/** A bar of at most `width` characters. */
export function bar(share: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * width * 8);
  const rest = eighths % 8;
  return '█'.repeat(Math.floor(eighths / 8)) + (rest === 0 ? '' : BLOCKS[rest]);
}
