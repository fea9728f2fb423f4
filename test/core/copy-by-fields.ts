/** A copy of an object graph made as snapshots are: by walking ordinary fields. */
export function copyByFields<T>(value: T, copies = new Map<unknown, unknown>()): T {
  if (typeof value !== 'object' || value === null) return value;
  if (copies.has(value)) return copies.get(value) as T;
  if (ArrayBuffer.isView(value)) {
    const copy = structuredClone(value);
    copies.set(value, copy);
    return copy as T;
  }
  const copy = Array.isArray(value) ? [] : Object.create(Object.getPrototypeOf(value));
  copies.set(value, copy);
  for (const [key, field] of Object.entries(value)) copy[key] = copyByFields(field, copies);
  return copy;
}
