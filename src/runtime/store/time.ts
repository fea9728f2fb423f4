/** Monotonic time since the process began, whole ns; never decreases. */
import { performance } from 'node:perf_hooks';

export function monotonicNs(): number {
  return Math.round(performance.now() * 1e6);
}
