/** Numbers as people read them. */

/** 3 significant digits, in the unit that fits. */
export function duration(ns: number | null): string {
  if (ns === null) return '-';
  if (ns < 1e3) return `${Math.round(ns)} ns`;
  if (ns < 1e6) return `${digits(ns / 1e3)} us`;
  if (ns < 1e9) return `${digits(ns / 1e6)} ms`;
  if (ns < 600e9) return `${digits(ns / 1e9)} s`;
  return `${digits(ns / 60e9)} min`;
}

export function percent(ratio: number | null): string {
  return ratio === null ? '-' : `${(100 * ratio).toFixed(1)} %`;
}

export function bytes(count: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit++;
  }
  return `${digits(count)} ${units[unit]}`;
}

export function integer(count: number): string {
  return Math.round(count).toLocaleString('en');
}

function digits(value: number): string {
  const places = Math.max(0, 2 - Math.floor(Math.log10(Math.max(value, 0.01))));
  return value.toFixed(Math.min(places, 2));
}
