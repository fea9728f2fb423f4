/**
 * Alert rules on what a process sees, over a window that slides: the configuration's
 * (`monitoring.alerts`), and defaults for what it does not mention. Each says what to do about it
 * and the figure behind the advice.
 */
import { quantile } from './exposition.ts';

/** What is looked at once a second; counters only grow. */
export interface Sample {
  readonly atMs: number;
  readonly lookedUpTokens: number;
  readonly hitTokens: number;
  readonly arrived: number;
  readonly rejected: number;
  /** Counts of histograms in seconds. */
  readonly transfers: Float64Array;
  readonly ttft: Float64Array;
  readonly gaps: Float64Array;
  readonly hostCpuRatio: number;
  readonly hostMemoryRatio: number;
  /** Bytes moved by each rail since the start. */
  readonly railBytes: readonly number[];
}

export interface AlertRule {
  /** A path in the result, where that means something live: one of LIVE_METRICS. */
  readonly metric: string;
  readonly above?: number | undefined;
  readonly below?: number | undefined;
  /** How long it must hold, ns of the world. */
  readonly for: number;
}

/** Figures behind advice, asked for when a rule holds. */
export interface Figures {
  /** Bytes of DRAM that this share of the block uses needs, or null: no cache gives it. */
  bytesFor(share: number): number | null;
  readonly reusedShare: number;
  readonly dramBytes: number;
  readonly railNames: readonly string[];
  readonly residentBytes: number;
}

export interface AlertState {
  readonly metric: string;
  readonly rule: string;
  readonly value: number | null;
  readonly limit: number;
  /** `pending` while it has not held for long enough. */
  readonly state: 'ok' | 'pending' | 'firing' | 'unknown';
  /** Since it holds, ms. */
  readonly forMs: number;
  readonly advice: string;
}

const WINDOW_MS = 60_000;
const NS_PER_S = 1e9;
const GB = 1e9;

const HOLDS_NS = 30 * NS_PER_S;

/** The mission's four. */
export const DEFAULT_RULES: readonly AlertRule[] = [
  { metric: 'hit.tokensRatio', below: 0.85, for: HOLDS_NS },
  { metric: 'transferNs.p99', above: 100e6, for: HOLDS_NS },
  { metric: 'cpuRatio', above: 0.7, for: HOLDS_NS },
  { metric: 'memoryRatio', above: 0.8, for: HOLDS_NS },
];

const ratio = (part: number, whole: number) => (whole <= 0 ? null : part / whole);

const p99 = (key: 'transfers' | 'ttft' | 'gaps') => (from: Sample, to: Sample) => {
  const seconds = quantile(
    to[key].map((count, i) => count - from[key][i]),
    0.99,
  );
  return seconds === null ? null : seconds * NS_PER_S;
};

/** What is known live, from the window's first and last sample; null: nothing happened in it. */
export const LIVE_METRICS: Readonly<Record<string, (from: Sample, to: Sample) => number | null>> = {
  'hit.tokensRatio': (from, to) =>
    ratio(to.hitTokens - from.hitTokens, to.lookedUpTokens - from.lookedUpTokens),
  'transferNs.p99': p99('transfers'),
  'ttftNs.p99': p99('ttft'),
  'gapNs.p99': p99('gaps'),
  rejectedRatio: (from, to) => ratio(to.rejected - from.rejected, to.arrived - from.arrived),
  cpuRatio: (_, to) => to.hostCpuRatio,
  memoryRatio: (_, to) => to.hostMemoryRatio,
};

/** Rules of the configuration, then the defaults for metrics that it does not mention. */
export function rulesOf(configured: readonly AlertRule[]): readonly AlertRule[] {
  const named = new Set(configured.map(({ metric }) => metric));
  return [...configured, ...DEFAULT_RULES.filter(({ metric }) => !named.has(metric))];
}

/** `hit.tokensRatio < 0.85`. */
export function nameOf({ metric, above, below }: AlertRule): string {
  return above === undefined ? `${metric} < ${below}` : `${metric} > ${above}`;
}

export class Alerts {
  private readonly rules: readonly AlertRule[];
  private readonly samples: Sample[] = [];
  /** Since when each rule holds, ms; NaN: it does not. */
  private readonly sinceMs: number[];

  constructor(configured: readonly AlertRule[]) {
    this.rules = rulesOf(configured);
    this.sinceMs = this.rules.map(() => Number.NaN);
  }

  add(sample: Sample): void {
    const { samples, rules, sinceMs } = this;
    samples.push(sample);
    while (samples.length > 2 && samples[1].atMs <= sample.atMs - WINDOW_MS) samples.shift();
    rules.forEach((rule, i) => {
      if (!holds(rule, this.value(rule))) sinceMs[i] = Number.NaN;
      else if (Number.isNaN(sinceMs[i])) sinceMs[i] = sample.atMs;
    });
  }

  states(figures: Figures): AlertState[] {
    return this.rules.map((rule, i) => {
      const value = this.value(rule);
      const nowMs = this.samples.at(-1)?.atMs ?? 0;
      const forMs = Number.isNaN(this.sinceMs[i]) ? 0 : Math.round(nowMs - this.sinceMs[i]);
      const isHeld = !Number.isNaN(this.sinceMs[i]);
      const known = Object.hasOwn(LIVE_METRICS, rule.metric);
      const fires = isHeld && forMs * 1e6 >= rule.for;
      const state = !known ? 'unknown' : fires ? 'firing' : isHeld ? 'pending' : 'ok';
      const limit = rule.above ?? rule.below ?? Number.NaN;
      const advice = isHeld && value !== null ? this.advice(rule, value, figures) : '';
      return { metric: rule.metric, rule: nameOf(rule), value, limit, state, forMs, advice };
    });
  }

  private value({ metric }: AlertRule): number | null {
    const { samples } = this;
    const known = Object.hasOwn(LIVE_METRICS, metric);
    const to = samples.at(-1);
    return known && to !== undefined ? LIVE_METRICS[metric](samples[0], to) : null;
  }

  private advice(rule: AlertRule, value: number, figures: Figures): string {
    switch (rule.metric) {
      case 'hit.tokensRatio':
        return hitAdvice(rule.below ?? value, figures);
      case 'transferNs.p99':
        return (
          `p99 is ${ms(value)}; ${this.busiestRail(figures)}: add rails, or fetch less (a larger ` +
          'threshold of kvcache-centric, k-copies of hot prefixes)'
        );
      case 'cpuRatio':
        return (
          `${percent(value)} of the cores are busy: move other work away, give the agent cores ` +
          'of its own, or use RDMA, which costs none per byte'
        );
      case 'memoryRatio':
        return (
          `${percent(value)} of the memory is in use, ${gb(figures.residentBytes)} by this ` +
          `process, whose DRAM tier has ${gb(figures.dramBytes)}: lower cluster.groups[].dram`
        );
      case 'ttftNs.p99':
        return (
          `p99 is ${ms(value)}: add prefill instances (elasticity: thresholds), or reject early ` +
          '(admission: early-rejection)'
        );
      case 'gapNs.p99':
        return `p99 is ${ms(value)}: add decode instances, or lower instance.decodeBatch`;
      default:
        return (
          `${percent(value)} of the requests are rejected: moontide_requests_ended_total says ` +
          'why, by outcome'
        );
    }
  }

  private busiestRail({ railNames }: Figures): string {
    const { samples } = this;
    const [from, to] = [samples[0], samples.at(-1)];
    if (to === undefined || railNames.length === 0) return 'no rail moves here';
    const seconds = Math.max(1e-3, (to.atMs - from.atMs) / 1000);
    const rates = railNames.map((_, i) => (to.railBytes[i] - (from.railBytes[i] ?? 0)) / seconds);
    const busiest = rates.indexOf(Math.max(...rates));
    const peak = this.peakRate(busiest);
    const share = peak === 0 ? 0 : rates[busiest] / peak;
    const carries = `rail ${railNames[busiest]} carries ${gb(rates[busiest])}/s`;
    return `${carries}, ${percent(share)} of its best second`;
  }

  /** Bytes per second of a rail in the best second of the window. */
  private peakRate(rail: number): number {
    const { samples } = this;
    let peak = 0;
    for (let i = 1; i < samples.length; i++) {
      const seconds = (samples[i].atMs - samples[i - 1].atMs) / 1000;
      const bytes = (samples[i].railBytes[rail] ?? 0) - (samples[i - 1].railBytes[rail] ?? 0);
      if (seconds > 0) peak = Math.max(peak, bytes / seconds);
    }
    return peak;
  }
}

function holds({ above, below }: AlertRule, value: number | null): boolean {
  if (value === null) return false;
  return (above !== undefined && value > above) || (below !== undefined && value < below);
}

function hitAdvice(target: number, figures: Figures): string {
  const bytes = figures.bytesFor(target);
  const has = `there are ${gb(figures.dramBytes)}`;
  if (bytes === null) {
    const reused = percent(figures.reusedShare);
    return (
      `of the block uses seen ${reused} are not the first, so no cache reaches ` +
      `${percent(target)}; ${has}: moontide cache TRACE shows what more memory gives`
    );
  }
  const more =
    bytes <= figures.dramBytes
      ? 'the memory is enough, so look at eviction and routing (moontide cache TRACE)'
      : 'raise cluster.groups[].dram or add nodes (moontide cache TRACE --target 0.85)';
  return `the working set seen needs ${gb(bytes)} at ${percent(target)}, ${has}: ${more}`;
}

const gb = (bytes: number) => `${(bytes / GB).toPrecision(3)} GB`;
const ms = (ns: number) => `${(ns / 1e6).toPrecision(3)} ms`;
const percent = (share: number) => `${(100 * share).toPrecision(3)} %`;
