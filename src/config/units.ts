/**
 * Human units at the border: text to base units (bytes, ns, bytes per ns, tokens, shares) and back.
 * `format(parse(text))` may look different from `text`, `parse(format(value))` is always `value`.
 */

type Units = readonly (readonly [suffix: string, factor: number])[];

/** A kind of quantity. Factors lead to the base unit, largest first. */
export interface Quantity {
  /** For messages: `expected a duration such as 30s or 200ms`. */
  readonly expected: string;
  readonly units: Units;
  /** Whether the base unit has no fractions: ns, bytes and tokens, but not rates. */
  readonly whole: boolean;
  /** Whether a number without a unit is the base unit. Zero never needs a unit. */
  readonly bare: boolean;
}

export const DURATION: Quantity = {
  expected: 'a duration such as 30s, 200ms or 0.2us',
  units: [
    ['h', 3600e9],
    ['min', 60e9],
    ['s', 1e9],
    ['ms', 1e6],
    ['us', 1e3],
    ['ns', 1],
  ],
  whole: true,
  bare: false,
};

export const SIZE: Quantity = {
  expected: 'a size such as 1TiB, 983GB or 512MiB',
  units: [
    ['PiB', 1024 ** 5],
    ['PB', 1e15],
    ['TiB', 1024 ** 4],
    ['TB', 1e12],
    ['GiB', 1024 ** 3],
    ['GB', 1e9],
    ['MiB', 1024 ** 2],
    ['MB', 1e6],
    ['KiB', 1024],
    ['kB', 1e3],
    ['B', 1],
  ],
  whole: true,
  bare: false,
};

/** Bits in lower case, bytes in upper case: 200Gbps = 25GB/s = 25 bytes per ns. */
export const RATE: Quantity = {
  expected: 'a rate such as 200Gbps, 25GB/s or 1.6Tbps',
  units: [
    ['TB/s', 1e3],
    ['Tbps', 125],
    ['GiB/s', 1024 ** 3 / 1e9],
    ['GB/s', 1],
    ['Gbps', 0.125],
    ['MB/s', 1e-3],
    ['Mbps', 0.125e-3],
  ],
  whole: false,
  bare: false,
};

export const TOKENS: Quantity = {
  expected: 'a number of tokens such as 8192 or 3Mtokens',
  units: [
    ['Gtokens', 1e9],
    ['Mtokens', 1e6],
    ['ktokens', 1e3],
    ['tokens', 1],
  ],
  whole: true,
  bare: true,
};

export const SHARE: Quantity = {
  expected: 'a share such as 10% or 0.1',
  units: [['%', 0.01]],
  whole: false,
  bare: true,
};

const NUMBER = String.raw`([0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)`;
const PATTERN = new RegExp(`^${NUMBER}\\s*([A-Za-z%][A-Za-z%/]*)?$`);

/** The value in base units, or null when `text` is no such quantity. */
export function parseQuantity(quantity: Quantity, text: string | number): number | null {
  const match = PATTERN.exec(String(text).trim());
  if (!match) return null;
  const number = Number(match[1].replaceAll('_', ''));
  const suffix = match[2];
  let factor = 1;
  if (suffix === undefined) {
    if (!quantity.bare && number !== 0) return null;
  } else {
    const unit = quantity.units.find(([name]) => name === suffix);
    if (!unit) return null;
    factor = unit[1];
  }
  // Percent divides, because 0.01 is not exact and 100 is.
  const value = factor === 0.01 ? number / 100 : number * factor;
  return quantity.whole ? roundWhole(value) : value;
}

/** Nearest whole number if `value` is one but for rounding errors, else null. */
function roundWhole(value: number): number | null {
  const whole = Math.round(value);
  const close = Math.abs(value - whole) <= 1e-12 * Math.max(1, Math.abs(value));
  return close && Number.isSafeInteger(whole) ? whole : null;
}

/** The shortest exact form that is at least 1 of its unit. */
export function formatQuantity(quantity: Quantity, value: number): string {
  let best = '';
  for (const [suffix, factor] of quantity.units) {
    const number = factor === 0.01 ? value * 100 : value / factor;
    if (number < 1) continue;
    const text = `${Number(number.toPrecision(15))}${suffix}`;
    if (parseQuantity(quantity, text) !== value) continue;
    if (best === '' || text.length < best.length) best = text;
  }
  return best === '' ? `${value}${baseSuffix(quantity)}` : best;
}

function baseSuffix(quantity: Quantity): string {
  return quantity.units.find(([, factor]) => factor === 1)?.[0] ?? '';
}

/** Of the text form, for the published JSON Schema; the number may still not be whole. */
export function quantityPattern(quantity: Quantity): RegExp {
  const suffixes = quantity.units.map(([suffix]) => suffix).join('|');
  const unit = quantity.bare ? `(?:${suffixes})?` : `(?:${suffixes})`;
  return new RegExp(`^\\s*(?:${NUMBER}\\s*${unit}${quantity.bare ? '' : '|0+'})\\s*$`);
}
