/** What values may be, as functions that look at one: ranges, lists, objects with their fields. */

export type Check = (value: unknown) => boolean;
export type Fields = readonly (readonly [name: string, check: Check])[];

/** Blocks of one prompt, and requests in one inventory. */
export const LIST_MAX = 1 << 20;
export const SLOTS_MAX = 2 ** 31;
export const CHECKSUM_MAX = 2 ** 32 - 1;

export const whole =
  (least: number, most: number): Check =>
  (value) =>
    Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most;

export const id = whole(0, Number.MAX_SAFE_INTEGER);
export const flag: Check = (value) => typeof value === 'boolean';
export const time: Check = (value) => typeof value === 'number' && value >= 0 && value < 2 ** 53;
export const oneOf =
  (...values: readonly unknown[]): Check =>
  (value) =>
    values.includes(value);

export const list =
  (item: Check, longest: number): Check =>
  (value) => {
    if (!Array.isArray(value) || value.length > longest) return false;
    for (let i = 0; i < value.length; i++) if (!item(value[i])) return false;
    return true;
  };

export const object =
  (fields: Fields, optional: Fields = []): Check =>
  (value) =>
    isObject(value) && wrongField(value, fields, optional) === null;

/** The first field that is not as it must be, or one too many; null: all are. */
export function wrongField(value: object, fields: Fields, optional: Fields = []): string | null {
  const given = value as Record<string, unknown>;
  let extra = 0;
  for (const [name, check] of fields) if (!check(given[name])) return name;
  for (const [name, check] of optional) {
    if (!(name in given)) continue;
    if (given[name] !== undefined && !check(given[name])) return name;
    extra++;
  }
  let keys = 0;
  for (const _ in given) keys++;
  return keys === fields.length + extra ? null : 'fields';
}

export function isObject(value: unknown): value is object {
  return value !== null && typeof value === 'object';
}
