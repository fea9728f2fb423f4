/**
 * The loads of the two pools as a conductor knows them (Mooncake, arXiv 2407.00079, section 7): of
 * prefill, the mean over its instances of the predicted time until the queue is done over the TTFT
 * target; of decode, the mean of the predicted step time over the TBT target. Made anew from what a
 * conductor sends and hears, so that every run has them, whatever its policies look at.
 */
import { InstanceViews, ViewWorld } from '../core/cluster-view.ts';
import type { Estimator } from '../core/cost.ts';
import type { Dispatch, Fact, Message } from '../core/messages.ts';
import type { Observer } from '../core/observer.ts';
import type { Slo } from '../core/policy.ts';
import { predictWork } from '../core/predict.ts';
import { attemptKey } from '../core/request.ts';
import { type Address, AddressBook, CONDUCTOR, type Topology } from '../core/topology.ts';

interface Bound {
  readonly prefillInstance: number;
  readonly decodeInstance: number;
  readonly tokens: number;
  prefilled: boolean;
}

export class PoolLoads implements Observer {
  /** Time between two samples. */
  readonly intervalNs: number;
  /** Sample i is the load at i * intervalNs. */
  readonly prefill: number[] = [];
  readonly decode: number[] = [];
  private readonly topology: Topology;
  private readonly addresses: AddressBook;
  private readonly estimate: Estimator;
  private readonly slo: Slo;
  private readonly views: InstanceViews;
  private readonly bound = new Map<number, Bound>();

  constructor(topology: Topology, estimate: Estimator, slo: Slo, intervalNs = 1e9) {
    this.topology = topology;
    this.addresses = new AddressBook(topology);
    this.estimate = estimate;
    this.slo = slo;
    this.intervalNs = intervalNs;
    this.views = new InstanceViews(new ViewWorld(topology, this.addresses));
  }

  onFact(to: Address, { atNs, body }: Fact): void {
    if (to !== CONDUCTOR) return;
    this.passTo(atNs);
    if (body.kind === 'prefilled') this.onPrefilled(attemptKey(body.request, body.attempt));
    else if (body.kind === 'finished') this.onFinished(attemptKey(body.request, body.attempt));
    else if (body.kind === 'rolesSet') this.views.setRoles(body.instance, body.roles);
  }

  onSend(from: Address, to: Address, message: Message, atNs: number): void {
    if (from !== CONDUCTOR || message.kind !== 'dispatch') return;
    this.passTo(atNs);
    this.onDispatch(this.addresses.instanceId(to), message);
  }

  private onDispatch(instance: number, dispatch: Dispatch): void {
    const { request, decodeInstance } = dispatch;
    const key = attemptKey(request.id, request.attempt);
    if (this.bound.has(key)) return;
    const { predictedNs, tokens } = predictWork(this.estimate, this.topology, instance, dispatch);
    const held = request.inputTokens + request.outputTokens;
    this.views.enqueue(instance, { key, predictedNs, tokens, decodeTokens: held });
    this.bound.set(key, {
      prefillInstance: instance,
      decodeInstance,
      tokens: held,
      prefilled: false,
    });
  }

  private onPrefilled(key: number): void {
    const bound = this.bound.get(key);
    if (bound === undefined || bound.prefilled) return;
    bound.prefilled = true;
    this.views.dequeue(bound.prefillInstance, key);
    this.views.startDecode(bound.decodeInstance, key, bound.tokens);
  }

  private onFinished(key: number): void {
    const bound = this.bound.get(key);
    if (bound === undefined) return;
    this.bound.delete(key);
    this.views.dequeue(bound.prefillInstance, key);
    this.views.endDecode(bound.decodeInstance, key, false);
  }

  // --- samples --------------------------------------------------------------------------------

  /** Takes the samples that are due before anything changes at `atNs`. */
  private passTo(atNs: number): void {
    const { prefill, decode, intervalNs, views } = this;
    for (let dueNs = prefill.length * intervalNs; dueNs <= atNs; dueNs += intervalNs) {
      views.nowNs = dueNs;
      prefill.push(this.prefillLoad());
      decode.push(this.decodeLoad());
    }
    views.nowNs = atNs;
  }

  private prefillLoad(): number {
    const { views, slo } = this;
    return meanOver(views.prefillInstances, (of) => views.queueNs(of) / slo.ttftNs);
  }

  private decodeLoad(): number {
    const { views, slo, estimate } = this;
    return meanOver(views.decodeInstances, (of) => {
      const { requests, tokens } = views.decodingNow(of);
      return requests === 0 ? 0 : estimate.decodeStepNs(of, requests, tokens) / slo.tbtNs;
    });
  }

  /** Means of the samples in each bin; NaN in a bin without any. */
  binned(binNs: number, bins: number): { prefill: Float64Array; decode: Float64Array } {
    const mean = (samples: readonly number[]) => {
      const sums = new Float64Array(bins);
      const counts = new Float64Array(bins);
      samples.forEach((load, i) => {
        const bin = Math.floor((i * this.intervalNs) / binNs);
        if (bin >= bins) return;
        sums[bin] += load;
        counts[bin]++;
      });
      return sums.map((sum, bin) => sum / counts[bin]);
    };
    return { prefill: mean(this.prefill), decode: mean(this.decode) };
  }

  /** How the loads swing from `fromNs` to `toNs`. */
  swing(fromNs = 0, toNs = Number.POSITIVE_INFINITY): LoadSwing {
    const [from, to] = [Math.ceil(fromNs / this.intervalNs), toNs / this.intervalNs];
    const pick = (samples: readonly number[]) => samples.slice(from, Math.min(to, samples.length));
    return swingOf(pick(this.prefill), pick(this.decode));
  }
}

export interface LoadSwing {
  readonly prefill: { readonly mean: number; readonly deviation: number };
  readonly decode: { readonly mean: number; readonly deviation: number };
  /** Of the two loads, -1 to 1: below 0 they swing against each other. 0 where one is constant. */
  readonly correlation: number;
}

/** Mean, standard deviation and correlation of two series of equal length. */
export function swingOf(prefill: readonly number[], decode: readonly number[]): LoadSwing {
  const mean = (values: readonly number[]) =>
    values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  const [p, d] = [mean(prefill), mean(decode)];
  const covariance = (a: readonly number[], aMean: number, b: readonly number[], bMean: number) =>
    mean(a.map((value, i) => (value - aMean) * (b[i] - bMean)));
  const pDeviation = Math.sqrt(covariance(prefill, p, prefill, p));
  const dDeviation = Math.sqrt(covariance(decode, d, decode, d));
  const both = pDeviation * dDeviation;
  return {
    prefill: { mean: p, deviation: pDeviation },
    decode: { mean: d, deviation: dDeviation },
    correlation: both === 0 ? 0 : covariance(prefill, p, decode, d) / both,
  };
}

function meanOver(instances: readonly number[], load: (of: number) => number): number {
  let sum = 0;
  for (const instance of instances) sum += load(instance);
  return instances.length === 0 ? 0 : sum / instances.length;
}
