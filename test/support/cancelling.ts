/** An ingress whose clients go away: the workload, and cancels at given times. */
import type { Host, Machine } from '../../src/core/host.ts';
import type { Fact } from '../../src/core/messages.ts';
import { CONDUCTOR } from '../../src/core/topology.ts';
import type { Workload } from '../../src/core/workload.ts';

/** Tokens of wakes that are cancels start here. */
const CANCEL_TOKEN = 2 ** 40;

export interface Cancel {
  readonly request: number;
  readonly atNs: number;
}

export class CancellingIngress implements Machine {
  private readonly workload: Workload;
  private readonly host: Host;
  private readonly cancels: readonly Cancel[];
  private started = false;

  constructor(workload: Workload, host: Host, cancels: readonly Cancel[]) {
    this.workload = workload;
    this.host = host;
    this.cancels = cancels;
  }

  handle(fact: Fact): void {
    const { body } = fact;
    if (!this.started) {
      this.started = true;
      for (const { request, atNs } of this.cancels) {
        this.host.wakeAt(atNs, CANCEL_TOKEN + request);
      }
    }
    if (body.kind === 'wake' && body.token >= CANCEL_TOKEN) {
      const request = body.token - CANCEL_TOKEN;
      const attempt = this.workload.attemptOf(request);
      this.host.send(CONDUCTOR, { kind: 'cancel', request, attempt });
    } else this.workload.handle(fact);
  }
}
