/**
 * Units. Time is integer nanoseconds in a number; sizes are bytes; rates are bytes per ns (= GB/s).
 */

export const NS_PER_US = 1e3;
export const NS_PER_MS = 1e6;
export const NS_PER_S = 1e9;

export const KIB = 1024;
export const MIB = 1024 ** 2;
export const GIB = 1024 ** 3;
export const TIB = 1024 ** 4;

/** One gigabit per second in bytes per nanosecond. */
export const GBPS_IN_BYTES_PER_NS = 1 / 8;
