/**
 * A run over time: what instances, links and tiers did, sampled by an Observer into bins of a round
 * width; and what became of the requests in each bin, from their table. Together they are the
 * series of timeseries.parquet.
 */

import type { Estimator } from '../core/cost.ts';
import type { Run, Transfer } from '../core/host.ts';
import type { Delta, Fact, Message, StepEnded, TransferEnded } from '../core/messages.ts';
import type { Observer } from '../core/observer.ts';
import type { Slo } from '../core/policy.ts';
import {
  type Address,
  AddressBook,
  type Node,
  type Role,
  Tier,
  type Topology,
} from '../core/topology.ts';
import { BinnedSums, binWidthNs } from './bins.ts';
import { crossings, linkBytesPerNs, linksOf, NODE_LINKS } from './links.ts';
import { PoolLoads } from './pool-loads.ts';
import { occupancySeries, REQUEST_METRICS, requestSeries } from './request-series.ts';
import type { Series, TimeSeries } from './series.ts';
import type { Table } from './table.ts';

/** What links are called in series. */
const LINK_NAMES = {
  railsOut: 'rails_out',
  railsIn: 'rails_in',
  hostToDevice: 'host_to_device',
  deviceToHost: 'device_to_host',
  ssdRead: 'ssd_read',
  ssdWrite: 'ssd_write',
} as const;

/** What each metric means. Means over time are weighted by time. */
export const METRICS: Readonly<Record<string, string>> = {
  ...REQUEST_METRICS,
  prefill_load_ratio:
    'load of the prefill pool: predicted time until a queue is done / TTFT target',
  decode_load_ratio: 'load of the decode pool: predicted step time / TBT target',
  queued_requests: 'mean number waiting for prefill on the instance',
  decoding_requests: 'mean size of its decode batch',
  prefill_busy_ratio: 'share of the bin that it spent in prefill',
  decode_busy_ratio: 'share of the bin that it spent in decode',
  ...Object.fromEntries(
    Object.values(LINK_NAMES).flatMap((link) => [
      [`${link}_bytes`, 'bytes moved, each transfer spread evenly over its time'],
      [`${link}_ratio`, 'share of what it could have moved'],
    ]),
  ),
  dram_used_bytes: 'mean bytes of readable blocks in the DRAM cache',
  dram_used_ratio: 'share of its capacity',
  dram_stored_blocks: 'blocks that became readable',
  dram_evicted_blocks: 'blocks that went',
};

/** Samples of the pools' loads in a bin. */
const SAMPLES_PER_BIN = 10;

/** Rows of the sums: two per instance, then nine per node. */
const PREFILL = 0;
const DECODE = 1;
const PER_INSTANCE = 2;
const USED = NODE_LINKS.length;
const STORED = USED + 1;
const EVICTED = USED + 2;
const PER_NODE = USED + 3;

interface Started {
  readonly transfer: Transfer;
  readonly atNs: number;
}

export class TimeSeriesSampler implements Observer {
  readonly topology: Topology;
  readonly loads: PoolLoads;
  private readonly addresses: AddressBook;
  private readonly sums: BinnedSums;
  private readonly runStartNs: Float64Array;
  /** Transfers under way, by initiator. */
  private readonly moving: Map<number, Started>[];
  /** Readable blocks of each node's DRAM, and since when it is that many. */
  private readonly usedBlocks: Float64Array;
  private readonly usedSinceNs: Float64Array;
  private endNs = 0;

  /** `spanNs` is how long the run will last, more or less: the trace's last arrival. */
  constructor(topology: Topology, spanNs: number, estimate: Estimator, slo: Slo) {
    this.topology = topology;
    this.addresses = new AddressBook(topology);
    const { nodes, instances } = topology;
    this.loads = new PoolLoads(topology, estimate, slo, binWidthNs(spanNs) / SAMPLES_PER_BIN);
    const rows = PER_INSTANCE * instances.length + PER_NODE * nodes.length;
    this.sums = new BinnedSums(rows, binWidthNs(spanNs));
    this.runStartNs = new Float64Array(instances.length);
    this.moving = Array.from({ length: this.addresses.count }, () => new Map());
    this.usedBlocks = new Float64Array(nodes.length);
    this.usedSinceNs = new Float64Array(nodes.length);
  }

  onFact(to: Address, fact: Fact): void {
    const { atNs, body } = fact;
    this.loads.onFact(to, fact);
    if (body.kind !== 'wake') this.endNs = atNs;
    if (body.kind === 'runEnded') this.onRunEnded(this.addresses.instanceId(to), atNs);
    else if (body.kind === 'stepEnded') this.onStepEnded(this.addresses.instanceId(to), atNs, body);
    else if (body.kind === 'transferEnded') this.onTransferEnded(to, atNs, body);
  }

  onRun(from: Address, _run: Run, atNs: number): void {
    this.runStartNs[this.addresses.instanceId(from)] = atNs;
  }

  onTransfer(from: Address, transfer: Transfer, atNs: number): void {
    this.moving[from].set(transfer.id, { transfer, atNs });
  }

  onSend(from: Address, to: Address, message: Message, atNs: number): void {
    this.loads.onSend(from, to, message, atNs);
    if (message.kind === 'delta') this.onDelta(message, atNs);
    else if (message.kind === 'blockInventory' && message.tier === Tier.dram) {
      this.setUsed(message.node, message.blocks.length, atNs);
    }
  }

  /** All series of the run; call it once, at its end. */
  finish(requests: Table): TimeSeries {
    const { sums, endNs, topology } = this;
    this.usedBlocks.forEach((blocks, node) => {
      this.setUsed(node, blocks, endNs);
    });
    const bins = sums.binsTo(endNs);
    const { binNs } = sums;
    const coveredNs = new Float64Array(bins).fill(binNs);
    coveredNs[bins - 1] = Math.max(1, endNs - (bins - 1) * binNs);
    const series = [
      ...requestSeries(requests, binNs, bins),
      ...this.loadSeries(binNs, bins),
      ...this.instanceSeries(requests, coveredNs),
      ...topology.nodes.flatMap((node) => this.nodeSeries(node, coveredNs)),
    ];
    return { binNs, bins, series };
  }

  // --- what it sees ---------------------------------------------------------------------------

  private onRunEnded(instance: number, atNs: number): void {
    const fromNs = this.runStartNs[instance];
    this.sums.addSpan(PER_INSTANCE * instance + DECODE, fromNs, atNs, atNs - fromNs);
  }

  /** A batch that decodes alongside pays what it adds, as in the recorder. */
  private onStepEnded(instance: number, atNs: number, ended: StepEnded): void {
    const { durationNs, decodeNs, decoded } = ended;
    const row = PER_INSTANCE * instance;
    this.sums.addSpan(row + PREFILL, atNs - durationNs, atNs, durationNs - decodeNs);
    if (decoded > 0) this.sums.addSpan(row + DECODE, atNs - durationNs, atNs, decodeNs);
  }

  private onTransferEnded(to: Address, atNs: number, ended: TransferEnded): void {
    const started = this.moving[to].get(ended.transfer);
    if (started === undefined) return;
    this.moving[to].delete(ended.transfer);
    if (!ended.ok) return;
    const { transfer } = started;
    for (const { kind, node } of crossings(transfer)) {
      if (kind === 'fabric') continue;
      const row = this.nodeRow(node) + NODE_LINKS.indexOf(kind);
      this.sums.addSpan(row, started.atNs, atNs, transfer.bytes);
    }
  }

  private onDelta({ node, tier, stored, removed }: Delta, atNs: number): void {
    if (tier !== Tier.dram) return;
    const row = this.nodeRow(node);
    this.setUsed(node, this.usedBlocks[node] + stored.length - removed.length, atNs);
    this.sums.add(row + STORED, atNs, stored.length);
    this.sums.add(row + EVICTED, atNs, removed.length);
  }

  private setUsed(node: number, blocks: number, atNs: number): void {
    const { usedBlocks, usedSinceNs } = this;
    const sinceNs = usedSinceNs[node];
    this.sums.addSpan(
      this.nodeRow(node) + USED,
      sinceNs,
      atNs,
      usedBlocks[node] * (atNs - sinceNs),
    );
    usedBlocks[node] = blocks;
    usedSinceNs[node] = atNs;
  }

  private nodeRow(node: number): number {
    return PER_INSTANCE * this.topology.instances.length + PER_NODE * node;
  }

  // --- what it says ---------------------------------------------------------------------------

  private loadSeries(binNs: number, bins: number): Series[] {
    const { prefill, decode } = this.loads.binned(binNs, bins);
    const series = (metric: string, values: Float64Array): Series => {
      return { scope: 'cluster', entity: 'cluster', metric, values };
    };
    return [series('prefill_load_ratio', prefill), series('decode_load_ratio', decode)];
  }

  private instanceSeries(requests: Table, coveredNs: Float64Array): Series[] {
    const { sums, endNs } = this;
    const { instances } = this.topology;
    const bins = coveredNs.length;
    const names = instances.map(({ name }) => name);
    const { queued, decoding } = occupancySeries(requests, names, {
      binNs: sums.binNs,
      bins,
      endNs,
    });
    const share = (values: Float64Array) => values.map((ns, bin) => ns / coveredNs[bin]);
    const row = (id: number, which: number) => sums.row(PER_INSTANCE * id + which, bins);
    return instances.flatMap(({ id, name, roles }) => {
      const series = (metric: string, values: Float64Array): Series => ({
        scope: 'instance',
        entity: name,
        metric,
        values: share(values),
      });
      const prefill = [
        series('queued_requests', queued[id]),
        series('prefill_busy_ratio', row(id, PREFILL)),
      ];
      const decode = [
        series('decoding_requests', decoding[id]),
        series('decode_busy_ratio', row(id, DECODE)),
      ];
      // Roles may have changed: what it did counts as well.
      const did = ([, busy]: Series[]) => busy.values.some((ratio) => ratio > 0);
      const shows = (role: Role, own: Series[]) => roles.includes(role) || did(own);
      return [
        ...(shows('prefill', prefill) ? prefill : []),
        ...(shows('decode', decode) ? decode : []),
      ];
    });
  }

  private nodeSeries(node: Node, coveredNs: Float64Array): Series[] {
    const { kv } = this.topology;
    const row = (offset: number) => this.sums.row(this.nodeRow(node.id) + offset, coveredNs.length);
    const series = (metric: string, values: Float64Array): Series => ({
      scope: 'node',
      entity: node.name,
      metric,
      values,
    });
    const capacity = linkBytesPerNs(node);
    const links = linksOf(node).flatMap((link, offset) => {
      const moved = row(offset);
      const ratio = moved.map((bytes, bin) => bytes / (capacity[link] * coveredNs[bin]));
      const name = LINK_NAMES[link];
      return [series(`${name}_bytes`, moved), series(`${name}_ratio`, ratio)];
    });
    const blockBytes = kv.blockTokens * kv.bytesPerToken[Tier.dram];
    const used = row(USED).map((blockNs, bin) => (blockNs / coveredNs[bin]) * blockBytes);
    const capacityBytes = node.dramCapacityBytes;
    return [
      ...links,
      series('dram_used_bytes', used),
      series(
        'dram_used_ratio',
        used.map((bytes) => (capacityBytes === 0 ? 0 : bytes / capacityBytes)),
      ),
      series('dram_stored_blocks', row(STORED)),
      series('dram_evicted_blocks', row(EVICTED)),
    ];
  }
}
