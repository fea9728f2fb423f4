/**
 * What a member counts, and what it tells whoever watches the run: the marks, counts, transfers and
 * ends that metrics are made from, in batches.
 */
import { type Count, Mark, type Transfer } from '../../core/host.ts';
import type { Body, Fact } from '../../core/messages.ts';
import type { Observer } from '../../core/observer.ts';
import type { Address } from '../../core/topology.ts';

/** One thing that was seen. */
export type Seen =
  | readonly ['fact', atNs: number, at: Address, body: Body]
  | readonly ['mark', atNs: number, at: Address, request: number, mark: Mark, value: number]
  | readonly ['count', atNs: number, at: Address, what: Count, by: number]
  | readonly ['transfer', atNs: number, at: Address, transfer: Transfer]
  | readonly ['wrong', atNs: number, at: Address, what: string];

/** So long, or so many, wait before they go. */
const BATCH_MS = 100;
const BATCH_MAX = 2000;

/** Facts that metrics are made from, beside the ends of decode runs. */
const TOLD: readonly Body['kind'][] = ['stepEnded', 'transferEnded', 'terminal'];

const CACHED: readonly Mark[] = [Mark.hbmTokens, Mark.dramTokens, Mark.ssdTokens, Mark.peerTokens];

export class Reporter implements Observer {
  wrongBytes = 0;
  promptTokens = 0;
  cachedTokens = 0;
  private readonly tell: (watcher: string, seen: readonly Seen[]) => void;
  private readonly watchers = new Set<string>();
  private seen: Seen[] = [];
  private timer: NodeJS.Timeout | null = null;
  private nowNs = 0;

  constructor(tell: (watcher: string, seen: readonly Seen[]) => void) {
    this.tell = tell;
  }

  watch(watcher: string): void {
    this.watchers.add(watcher);
  }

  unwatch(watcher: string): void {
    this.watchers.delete(watcher);
    if (this.watchers.size === 0) this.seen = [];
  }

  onFact(to: Address, { atNs, body }: Fact): void {
    this.nowNs = atNs;
    if (body.kind === 'dispatch') this.promptTokens += body.request.inputTokens;
    if (this.watchers.size === 0) return;
    if (body.kind === 'runEnded') {
      const { from, steps } = body;
      const gapsNs = body.gapsNs.slice(from, from + steps);
      this.add(['fact', atNs, to, { ...body, gapsNs, from: 0 }]);
    } else if (TOLD.includes(body.kind)) {
      this.add(['fact', atNs, to, body]);
    }
  }

  onMark(from: Address, request: number, mark: Mark, value: number): void {
    if (CACHED.includes(mark)) this.cachedTokens += value;
    if (this.watchers.size > 0) this.add(['mark', this.nowNs, from, request, mark, value]);
  }

  onCount(from: Address, what: Count, by: number): void {
    if (this.watchers.size > 0) this.add(['count', this.nowNs, from, what, by]);
  }

  onTransfer(from: Address, transfer: Transfer): void {
    if (this.watchers.size === 0) return;
    const source = { ...transfer.source, slots: null };
    const target = { ...transfer.target, slots: null };
    this.add(['transfer', this.nowNs, from, { ...transfer, source, target }]);
  }

  /** A block was not what its id says. */
  wrongByte(what: string): void {
    this.wrongBytes++;
    this.add(['wrong', this.nowNs, 0, what]);
    this.flush();
  }

  flush(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    const { seen } = this;
    if (seen.length === 0) return;
    this.seen = [];
    for (const watcher of this.watchers) this.tell(watcher, seen);
  }

  private add(seen: Seen): void {
    if (this.watchers.size === 0) return;
    this.seen.push(seen);
    if (this.seen.length >= BATCH_MAX) this.flush();
    else this.timer ??= setTimeout(() => this.flush(), BATCH_MS);
  }
}
