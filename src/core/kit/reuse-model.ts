/**
 * Learns how soon blocks of a class are used again, and values a block by it: the most uses per
 * unit of slot time that keeping it for any while can be expected to give. Ages are counted in
 * accesses, in bins of a quarter of an octave.
 */

const BINS_PER_OCTAVE = 4;
const BINS = 100;
/** Accesses that a bin spans: ages below 8 have a bin each. */
const WIDTHS = Float64Array.from({ length: BINS }, (_, bin) =>
  bin < BINS_PER_OCTAVE ? 1 : 2 ** (Math.floor(bin / BINS_PER_OCTAVE) - 1),
);
/** Chance of reuse within one bin, before anything is seen. */
const PRIOR_HAZARD = 0.02;

export class ReuseModel {
  private readonly classes: number;
  /** Weight of the mean over all classes against what a class has shown, in observations. */
  private readonly prior: number;
  /** What is left of the counts after each `learn`. */
  private readonly decay: number;
  /**
   * Per class and bin: reuses at that age, ends of observation, and blocks that are that old now.
   */
  private readonly reuses: Float64Array;
  private readonly ends: Float64Array;
  private readonly present: Float64Array;
  private readonly values: Float64Array;

  constructor(classes: number, prior: number, decay: number) {
    this.classes = classes;
    this.prior = prior;
    this.decay = decay;
    this.reuses = new Float64Array(classes * BINS);
    this.ends = new Float64Array(classes * BINS);
    this.present = new Float64Array(classes * BINS);
    this.values = new Float64Array(classes * BINS);
    this.learn();
  }

  addReuse(kind: number, age: number): void {
    this.reuses[kind * BINS + binOf(age)]++;
  }

  /** The block will not be watched any longer. */
  addEnd(kind: number, age: number): void {
    this.ends[kind * BINS + binOf(age)]++;
  }

  /** Before `learn`: a block that waits for its next use. */
  addPresent(kind: number, age: number): void {
    this.present[kind * BINS + binOf(age)]++;
  }

  /** Expected uses per access of slot time, in the best case. */
  value(kind: number, age: number): number {
    return this.values[kind * BINS + binOf(age)];
  }

  /** Work the values out anew. */
  learn(): void {
    const { classes, prior, reuses, ends, present } = this;
    const watched = new Float64Array(classes * BINS);
    const allReuses = new Float64Array(BINS);
    const allWatched = new Float64Array(BINS);
    for (let kind = 0; kind < classes; kind++) {
      let older = 0;
      for (let bin = BINS - 1; bin >= 0; bin--) {
        const i = kind * BINS + bin;
        older += reuses[i] + ends[i] + present[i];
        watched[i] = older;
        allReuses[bin] += reuses[i];
        allWatched[bin] += older;
      }
    }
    const hazard = new Float64Array(BINS);
    for (let kind = 0; kind < classes; kind++) {
      for (let bin = 0; bin < BINS; bin++) {
        const i = kind * BINS + bin;
        const mean = (allReuses[bin] + PRIOR_HAZARD * prior) / (allWatched[bin] + prior);
        hazard[bin] = (reuses[i] + mean * prior) / (watched[i] + prior);
      }
      this.setValues(kind * BINS, hazard);
    }
    for (let i = 0; i < reuses.length; i++) {
      reuses[i] *= this.decay;
      ends[i] *= this.decay;
    }
    present.fill(0);
  }

  /** From each bin on: over all times to give up, the greatest ratio of uses to time. */
  private setValues(row: number, hazard: Float64Array): void {
    for (let from = 0; from < BINS; from++) {
      let left = 1;
      let uses = 0;
      let time = 0;
      let best = 0;
      for (let bin = from; bin < BINS; bin++) {
        time += left * WIDTHS[bin];
        uses += left * hazard[bin];
        left *= 1 - hazard[bin];
        best = Math.max(best, uses / time);
      }
      this.values[row + from] = best;
    }
  }
}

/** Ages below 8 have a bin each, then each octave has four. */
function binOf(age: number): number {
  if (age < BINS_PER_OCTAVE) return age;
  const octave = 31 - Math.clz32(age);
  const quarter = (age >>> (octave - 2)) & 3;
  return Math.min(BINS - 1, (octave - 1) * BINS_PER_OCTAVE + quarter);
}
