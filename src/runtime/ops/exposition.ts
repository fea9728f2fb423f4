/** Text that Prometheus scrapes (exposition format 0.0.4); histograms that are cheap to fill. */
import type { Metric } from './metric-list.ts';

/** Bounds in seconds: from what a rail takes for a block to what a long queue makes of a prompt. */
export const SECONDS: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
  15, 30, 60, 120, 300,
];

export class Histogram {
  /** Per bound, what is at most that and above the one before; last what is above all. */
  readonly counts = new Float64Array(SECONDS.length + 1);
  sum = 0;
  total = 0;

  add(seconds: number, times = 1): void {
    let at = 0;
    while (at < SECONDS.length && seconds > SECONDS[at]) at++;
    this.counts[at] += times;
    this.sum += seconds * times;
    this.total += times;
  }
}

/**
 * The quantile of counts as in a Histogram, as Prometheus estimates it: linear within a bucket.
 * Null when there are none; the last bound for what is above it.
 */
export function quantile(counts: ArrayLike<number>, share: number): number | null {
  let total = 0;
  for (let i = 0; i < counts.length; i++) total += counts[i];
  if (total === 0) return null;
  let left = share * total;
  for (let i = 0; i < SECONDS.length; i++) {
    if (counts[i] > 0 && left <= counts[i]) {
      const from = i === 0 ? 0 : SECONDS[i - 1];
      return from + (SECONDS[i] - from) * (left / counts[i]);
    }
    left -= counts[i];
  }
  return SECONDS[SECONDS.length - 1];
}

export class Exposition {
  private readonly lines: string[] = [];
  private readonly common: string;

  /** `common`: labels of every sample, such as the node. */
  constructor(common: Readonly<Record<string, string>>) {
    this.common = Object.entries(common).map(pair).join();
  }

  /** Samples of one metric: values of its labels, in order, and the number. */
  add(
    metric: Metric,
    samples: Iterable<readonly [labels: readonly string[], value: number]>,
  ): void {
    this.head(metric);
    for (const [labels, value] of samples) this.line(metric.name, metric, labels, '', value);
  }

  /** A metric without labels. */
  one(metric: Metric, value: number): void {
    this.add(metric, [[[], value]]);
  }

  histograms(metric: Metric, all: Iterable<readonly [labels: readonly string[], of: Histogram]>) {
    this.head(metric);
    for (const [labels, { counts, sum, total }] of all) {
      let below = 0;
      SECONDS.forEach((bound, i) => {
        below += counts[i];
        this.line(`${metric.name}_bucket`, metric, labels, `le="${bound}"`, below);
      });
      this.line(`${metric.name}_bucket`, metric, labels, 'le="+Inf"', total);
      this.line(`${metric.name}_sum`, metric, labels, '', sum);
      this.line(`${metric.name}_count`, metric, labels, '', total);
    }
  }

  text(): string {
    return `${this.lines.join('\n')}\n`;
  }

  private head({ name, type, help }: Metric): void {
    this.lines.push(`# HELP ${name} ${escaped(help)}`, `# TYPE ${name} ${type}`);
  }

  private line(
    name: string,
    metric: Metric,
    labels: readonly string[],
    more: string,
    value: number,
  ): void {
    const own = metric.labels.map((label, i) => pair([label, labels[i]]));
    const all = [this.common, ...own, more].filter((text) => text !== '').join();
    this.lines.push(`${name}${all === '' ? '' : `{${all}}`} ${number(value)}`);
  }
}

function pair([label, value]: readonly [string, string]): string {
  return `${label}="${escaped(value).replace(/"/g, '\\"')}"`;
}

function escaped(text: string): string {
  return text.replace(/\\/g, '\\\\').replace(/\n/g, '\\n');
}

function number(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value);
}
