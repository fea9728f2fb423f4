/** Whether these are places in a list of that length, in order, each once. */
export function isRising(places: readonly number[], length: number): boolean {
  let before = -1;
  for (const place of places) {
    if (place <= before || place >= length) return false;
    before = place;
  }
  return true;
}
