/** The known word that someone who typed `word` most likely meant. */

/** Nearest of `known` by edit distance, or null when none is near enough to be worth a hint. */
export function nearest(word: string, known: Iterable<string>): string | null {
  let best: string | null = null;
  let bestDistance = Math.max(2, Math.floor(word.length / 2)) + 1;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      bestDistance = distance;
      best = candidate;
    }
  }
  return best;
}

/** `one of a, b, c` with the nearest named, for messages. */
export function oneOf(word: string, known: readonly string[]): string {
  const hint = nearest(word, known);
  const list = known.length === 1 ? known[0] : `one of ${known.join(', ')}`;
  return hint === null || known.length === 1 ? list : `${list} (nearest: ${hint})`;
}

/** Levenshtein distance: insertions, deletions and substitutions cost 1. */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[b.length];
}
