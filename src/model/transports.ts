/**
 * What one large transfer between two nodes takes, by transport: a start-up and a rate.
 *
 * Fitted to Qin et al., "Mooncake", FAST'25, Figure 12 (64 threads, 128 KiB pieces, 1 to 100 GB,
 * read off the plot): least sum of relative errors with the largest kept below 17 %, because the
 * points are not monotone (the transfer engine's 80 GB lie above its 90, TCP's 5 GB near its 10).
 *
 * | nodes | transport       | start-up | rate       | median error | largest |
 * | ----- | --------------- | -------- | ---------- | ------------ | ------- |
 * | 4x200 | transfer engine | 2.9 ms   | 90.0 GB/s  | 0.9 %        | 14.8 %  |
 * | 4x200 | TCP             | 55.5 ms  | 39.0 GB/s  | 2.3 %        | 16.5 %  |
 * | 8x400 | transfer engine | 2.2 ms   | 208.2 GB/s | 4.7 %        | 13.2 %  |
 * | 8x400 | TCP             | 2.2 ms   | 40.3 GB/s  | 2.0 %        | 12.2 %  |
 *
 * TCP reaches the same on both kinds of nodes: the processor bounds it, not the rails.
 */
import { NS_PER_MS } from '../core/units.ts';

export const TRANSPORTS = ['transferEngine', 'tcp'] as const;
export type Transport = (typeof TRANSPORTS)[number];

/** Nodes by rails x Gb/s, as the figure names them. */
export const TESTBEDS = ['4x200', '8x400'] as const;
export type Testbed = (typeof TESTBEDS)[number];

export interface TransferLaw {
  readonly startUpNs: number;
  readonly bytesPerNs: number;
}

export const TRANSFER_LAWS: Readonly<Record<Testbed, Readonly<Record<Transport, TransferLaw>>>> = {
  '4x200': {
    transferEngine: { startUpNs: 2.9 * NS_PER_MS, bytesPerNs: 89.98 },
    tcp: { startUpNs: 55.5 * NS_PER_MS, bytesPerNs: 38.98 },
  },
  '8x400': {
    transferEngine: { startUpNs: 2.2 * NS_PER_MS, bytesPerNs: 208.15 },
    tcp: { startUpNs: 2.2 * NS_PER_MS, bytesPerNs: 40.33 },
  },
};

/** Whole ns for `bytes` that have both nodes to themselves. */
export function lawNs(testbed: Testbed, transport: Transport, bytes: number): number {
  const { startUpNs, bytesPerNs } = TRANSFER_LAWS[testbed][transport];
  return Math.round(startUpNs + bytes / bytesPerNs);
}
