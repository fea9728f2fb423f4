/** The conductor of a control-plane bench: the live one, and how long each decision took it. */
import { PerformanceObserver, performance } from 'node:perf_hooks';
import type { LinkProbe } from '../../runtime/control/links.ts';
import { LiveMember, type MemberOptions } from '../../runtime/live/member.ts';

export interface ConductorSpec extends Pick<MemberOptions, 'token' | 'registry'> {
  readonly name: string;
}

/** What it did between `start` and `stop`. */
export interface ConductorFigures {
  readonly decisions: number;
  /** From the receive of the frame with the arrival to the send of the frame with its dispatch. */
  readonly latencyNsP50: number;
  readonly latencyNsP90: number;
  readonly latencyNsP99: number;
  readonly latencyNsP999: number;
  readonly latencyNsMax: number;
  /** User and system, of all threads of the process. */
  readonly cpuSec: number;
  readonly wallSec: number;
  /** Share of the time in which its event loop was busy, or kept from running by others. */
  readonly eventLoop: number;
  readonly framesIn: number;
  readonly framesOut: number;
  readonly messagesIn: number;
  readonly messagesOut: number;
  readonly resets: number;
  readonly rssBytes: number;
  /** Pauses of its garbage collector: all, and the longest. */
  readonly gcNs: number;
  readonly gcNsMax: number;
}

type Body = { readonly kind: string; readonly request: unknown };
type Letter = readonly [kind: string, from: number, to: number, body: Body];

/** Arrivals under decision, by request, and the latencies of those decided. */
class DecisionClock implements LinkProbe {
  framesIn = 0;
  framesOut = 0;
  private frameNs = 0;
  private readonly open = new Map<number, number>();
  private latenciesNs = new Float64Array(1 << 16);
  private count = 0;

  restart(): void {
    this.framesIn = this.framesOut = this.count = 0;
    this.open.clear();
  }

  received(): void {
    this.frameNs = performance.now() * 1e6;
  }

  read(messages: readonly unknown[]): void {
    this.framesIn++;
    for (const [kind, , , body] of messages as Letter[]) {
      if (kind !== 'message' || body.kind !== 'arrive') continue;
      this.open.set((body.request as { id: number }).id, this.frameNs);
    }
  }

  sent(messages: readonly unknown[]): void {
    const nowNs = performance.now() * 1e6;
    this.framesOut++;
    for (const [kind, , , body] of messages as Letter[]) {
      if (kind !== 'message') continue;
      const { request } = body;
      // A refusal is a decision too.
      if (body.kind === 'dispatch') this.decided((request as { id: number }).id, nowNs);
      else if (body.kind === 'terminal') this.decided(request as number, nowNs);
    }
  }

  private decided(request: number, nowNs: number): void {
    const sinceNs = this.open.get(request);
    if (sinceNs === undefined) return;
    this.open.delete(request);
    if (this.count === this.latenciesNs.length) {
      const larger = new Float64Array(2 * this.count);
      larger.set(this.latenciesNs);
      this.latenciesNs = larger;
    }
    this.latenciesNs[this.count++] = nowNs - sinceNs;
  }

  figures() {
    const sorted = this.latenciesNs.slice(0, this.count).sort();
    const at = (share: number) => Math.round(sorted[Math.ceil(share * sorted.length) - 1] ?? 0);
    return {
      decisions: sorted.length,
      latencyNsP50: at(0.5),
      latencyNsP90: at(0.9),
      latencyNsP99: at(0.99),
      latencyNsP999: at(0.999),
      latencyNsMax: at(1),
    };
  }
}

/**
 * Runs until the orders end. `start` and `stop` come as lines, and `stop` is answered with a line
 * of ConductorFigures.
 */
export async function runConductor(
  spec: ConductorSpec,
  orders: AsyncIterable<string>,
  tell: (line: string) => void,
): Promise<void> {
  const probe = new DecisionClock();
  let failed: unknown = null;
  const member = new LiveMember({
    ...spec,
    role: 'conductor',
    node: -1,
    listen: '127.0.0.1:0',
    probe,
    onError: (error) => {
      failed = error;
    },
  });
  let gcMs: number[] = [];
  const collector = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) gcMs.push(duration);
  });
  collector.observe({ entryTypes: ['gc'] });
  await member.join();
  let cpu = process.cpuUsage();
  let loop = performance.eventLoopUtilization();
  let startMs = 0;
  let counts = { ...member.links.counts };
  for await (const order of orders) {
    if (failed !== null) throw failed;
    if (order === 'start') {
      probe.restart();
      gcMs = [];
      cpu = process.cpuUsage();
      loop = performance.eventLoopUtilization();
      startMs = performance.now();
      counts = { ...member.links.counts };
      continue;
    }
    const used = process.cpuUsage(cpu);
    const now = member.links.counts;
    const figures: ConductorFigures = {
      wallSec: (performance.now() - startMs) / 1e3,
      cpuSec: (used.user + used.system) / 1e6,
      eventLoop: performance.eventLoopUtilization(loop).utilization,
      framesIn: probe.framesIn,
      framesOut: probe.framesOut,
      messagesIn: now.messagesIn - counts.messagesIn,
      messagesOut: now.messagesOut - counts.messagesOut,
      resets: now.resets - counts.resets,
      rssBytes: process.memoryUsage.rss(),
      gcNs: Math.round(gcMs.reduce((sum, ms) => sum + ms, 0) * 1e6),
      gcNsMax: Math.round(Math.max(0, ...gcMs) * 1e6),
      ...probe.figures(),
    };
    tell(JSON.stringify(figures));
  }
  await member.leave();
}
