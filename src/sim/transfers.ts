/**
 * Transfers on the fluid network. One that follows a step sends layer by layer as the step makes
 * them: until the step ends it is held to the pace at which all but its last layer would be sent
 * by then, and it never ends before the step has.
 *
 * Between nodes a transfer is one flow while the rails of a node count as one, else a flow for each
 * pair of rails that the rail policy gives a share of it.
 */
import { assert } from '../core/errors.ts';
import type { Transfer } from '../core/host.ts';
import { removeAt } from '../core/kit/remove-at.ts';
import type { RailPolicy } from '../core/policy.ts';
import { type Address, AddressBook, type Topology } from '../core/topology.ts';
import type { FluidNetwork } from './fluid.ts';
import { RailSpread, type Share } from './rails.ts';
import { type Path, ResourceMap } from './resources.ts';

/** After this a slice on a dead rail is known to have failed: verbs cancel in 6 to 14 ms. */
export const RAIL_TIMEOUT_NS = 10e6;

/** A transfer under way. */
export interface Moving {
  readonly transfer: Transfer;
  readonly initiator: Address;
  readonly startNs: number;
  /** From its last byte to its end. */
  latencyNs: number;
  /** What it reaches alone. */
  bytesPerNs: number;
  flow: number;
  /** Live shares where rails are apart; null where it is one flow. */
  shares: RailShare[] | null;
  /** Its pace while it is held; Infinity afterwards. */
  paceBytesPerNs: number;
  /** A rail failed it, and what was left went over others. */
  respread: boolean;
  /** The step that makes its data is not over. */
  held: boolean;
  /** All bytes sent, but the step was not over. */
  drained: boolean;
  /** Its end has been reported. */
  over: boolean;
}

interface RailShare extends Share {
  readonly moving: Moving;
  readonly path: Path;
}

export class Transfers {
  private readonly network: FluidNetwork;
  private readonly resources: ResourceMap;
  private readonly layers: number;
  private readonly topology: Topology;
  private readonly nodeOf: Int32Array;
  /** Null while the rails of a node count as one. */
  private readonly rails: RailSpread | null;
  /** 1: this rail of this node is dead. */
  private readonly dead: Uint8Array[];
  private deadRails = 0;
  /** By flow id of the network. */
  private readonly byFlow: (Moving | null)[] = [];
  private readonly shareByFlow: (RailShare | null)[] = [];
  private nowNs = 0;

  /** @param policies of each node; null: the rails of a node are one resource */
  constructor(
    topology: Topology,
    network: FluidNetwork,
    policies: readonly RailPolicy[] | null = null,
  ) {
    this.network = network;
    this.topology = topology;
    this.nodeOf = new AddressBook(topology).nodeOf;
    this.resources = new ResourceMap(topology, network, policies !== null);
    this.layers = topology.kv.layers;
    this.dead = topology.nodes.map(({ rails }) => new Uint8Array(rails.length));
    const left = ({ flow }: Share) => network.remainingBytes(this.nowNs, flow);
    this.rails = policies === null ? null : new RailSpread(topology, policies, left);
  }

  /**
   * `stepNs` is how long the step still computes that this transfer follows, or 0. Null: no rail
   * between the nodes works.
   */
  start(nowNs: number, initiator: Address, transfer: Transfer, stepNs: number): Moving | null {
    const held = stepNs > 0;
    const moving: Moving = {
      transfer,
      initiator,
      startNs: nowNs,
      latencyNs: 0,
      bytesPerNs: 0,
      flow: -1,
      shares: null,
      paceBytesPerNs: Infinity,
      respread: false,
      held,
      drained: false,
      over: false,
    };
    const { bytes, source, target } = transfer;
    if (held) moving.paceBytesPerNs = (bytes * (this.layers - 1)) / this.layers / stepNs;
    if (this.rails !== null && source.node !== target.node) {
      return this.startShares(nowNs, moving, bytes) ? moving : null;
    }
    const path = this.resources.path(transfer);
    moving.latencyNs = path.latencyNs;
    moving.bytesPerNs = path.bytesPerNs;
    const cap = Math.min(path.bytesPerNs, moving.paceBytesPerNs);
    moving.flow = this.network.start(nowNs, path.resources, bytes, cap, transfer.weight);
    this.byFlow[moving.flow] = moving;
    return moving;
  }

  nextEndNs(): number {
    return this.network.nextEndNs();
  }

  /** A transfer whose last byte has been sent by now, or null. Held ones wait for their step. */
  popEnded(nowNs: number): Moving | null {
    for (;;) {
      const flow = this.network.popEnded(nowNs);
      if (flow < 0) return null;
      const moving = this.byFlow[flow];
      assert(moving !== null && moving !== undefined, 'a flow without a transfer');
      this.byFlow[flow] = null;
      if (moving.shares !== null && !this.shareEnded(nowNs, flow, moving.shares)) continue;
      moving.flow = -1;
      if (!moving.held) return moving;
      moving.drained = true;
    }
  }

  /**
   * The step that `moving` follows has ended. Answers 0 while bytes are left to send, else the
   * time that its last layer takes.
   */
  stepEnded(nowNs: number, moving: Moving): number {
    moving.held = false;
    moving.paceBytesPerNs = Infinity;
    if (moving.drained) return Math.ceil(moving.transfer.bytes / this.layers / moving.bytesPerNs);
    if (moving.shares === null) this.network.setCap(nowNs, moving.flow, moving.bytesPerNs);
    else {
      for (const share of moving.shares) {
        this.network.setCap(nowNs, share.flow, share.path.bytesPerNs);
      }
    }
    return 0;
  }

  /** Takes a transfer off the network before its end; bytes that were sent. */
  stop(nowNs: number, moving: Moving): number {
    if (moving.shares !== null) return this.stopShares(nowNs, moving);
    if (moving.flow < 0) return moving.transfer.bytes;
    this.byFlow[moving.flow] = null;
    const sent = this.network.stop(nowNs, moving.flow);
    moving.flow = -1;
    return sent;
  }

  // --- rails apart ----------------------------------------------------------------------------

  /** Spreads `bytes` of a transfer over rails that work; false when there are none. */
  private startShares(nowNs: number, moving: Moving, bytes: number): boolean {
    const { transfer, initiator } = moving;
    const { source, target } = transfer;
    const { sliceBytes } = this.topology;
    this.nowNs = nowNs;
    const anyDead = this.deadRails > 0;
    if (anyDead && (this.allDead(source.node) || this.allDead(target.node))) return false;
    moving.shares ??= [];
    const viewer = this.nodeOf[initiator];
    const slices = Math.max(1, Math.ceil(bytes / sliceBytes));
    const rails = this.rails!;
    rails.spread(nowNs, viewer, transfer, bytes, slices);
    if (anyDead && this.foundDead(nowNs, viewer, transfer)) {
      // Found out by errors, then sent again elsewhere.
      moving.latencyNs += RAIL_TIMEOUT_NS;
      rails.spread(nowNs, viewer, transfer, bytes, slices);
    }
    const { pairs, targets } = rails;
    const sourceNear = rails.nearOf(source, transfer);
    const targetNear = rails.nearOf(target, transfer);
    const sourceTable = rails.table(viewer, source.node);
    const targetTable = rails.table(viewer, target.node);
    let short = slices * sliceBytes - bytes;
    moving.bytesPerNs = 0;
    let pathNs = 0;
    for (let pair = 0; pair < pairs.length; pair++) {
      if (pairs[pair] === 0) continue;
      const sourceRail = (pair / targets) | 0;
      const targetRail = pair - sourceRail * targets;
      const sourceFar = sourceNear[sourceRail] === 0;
      const targetFar = targetNear[targetRail] === 0;
      const path = this.resources.railPath(transfer, sourceRail, targetRail, sourceFar, targetFar);
      // The last slice is the one that is not full.
      const own = pairs[pair] * sliceBytes - short;
      short = 0;
      moving.bytesPerNs += path.bytesPerNs;
      pathNs = Math.max(pathNs, path.latencyNs);
      const share = {
        viewer,
        sourceNode: source.node,
        sourceRail,
        targetNode: target.node,
        targetRail,
        bytes: own,
        startNs: nowNs,
        source: sourceTable,
        target: targetTable,
        sourceAhead: 0,
        targetAhead: 0,
        place: 0,
        flow: -1,
        moving,
        path,
      };
      this.startShare(share, bytes === 0 ? 1 : own / bytes);
    }
    if (!moving.respread) moving.latencyNs += pathNs;
    return true;
  }

  /** `part` is its part of the bytes that are spread. */
  private startShare(share: RailShare, part: number): void {
    const { moving, path, bytes, startNs } = share;
    const { transfer } = moving;
    const paced = (moving.paceBytesPerNs * bytes) / Math.max(1, transfer.bytes);
    const cap = Math.min(path.bytesPerNs, paced);
    const weight = Math.max(1 / 1024, transfer.weight * part);
    const flow = this.network.start(startNs, path.resources, bytes, cap, weight);
    share.flow = flow;
    this.byFlow[flow] = moving;
    this.shareByFlow[flow] = share;
    moving.shares!.push(share);
    this.rails!.started(share);
  }

  private allDead(node: number): boolean {
    return this.dead[node].every((dead) => dead === 1);
  }

  /** Whether the last spread used dead rails; whoever did so knows them now. */
  private foundDead(nowNs: number, viewer: number, { source, target }: Transfer): boolean {
    const { pairs, targets } = this.rails!;
    let found = false;
    for (let pair = 0; pair < pairs.length; pair++) {
      if (pairs[pair] === 0) continue;
      const sourceRail = Math.floor(pair / targets);
      const targetRail = pair - sourceRail * targets;
      if (this.dead[source.node][sourceRail] === 1) this.restDead(nowNs, viewer, source.node);
      else if (this.dead[target.node][targetRail] === 0) continue;
      if (this.dead[target.node][targetRail] === 1) this.restDead(nowNs, viewer, target.node);
      found = true;
    }
    return found;
  }

  /** All dead rails of the node rest for this viewer: its retries find one after the other. */
  private restDead(nowNs: number, viewer: number, node: number): void {
    for (let rail = 0; rail < this.dead[node].length; rail++) {
      if (this.dead[node][rail] === 1) this.rails!.found(nowNs, viewer, node, rail);
    }
  }

  /** A share is over; true when it was the last of its transfer. */
  private shareEnded(nowNs: number, flow: number, shares: RailShare[]): boolean {
    const share = this.shareByFlow[flow]!;
    this.shareByFlow[flow] = null;
    removeAt(shares, shares.indexOf(share));
    this.rails!.ended(nowNs, share, true);
    return shares.length === 0;
  }

  /** Bytes that have arrived without a gap, as far as that is known of shares. */
  private stopShares(nowNs: number, moving: Moving): number {
    let least = moving.respread ? 0 : 1;
    for (const share of [...moving.shares!]) {
      const left = this.stopShare(nowNs, share);
      least = Math.min(least, share.bytes === 0 ? 1 : 1 - left / share.bytes);
    }
    return least * moving.transfer.bytes;
  }

  /** Takes a share off the network; answers the bytes that it had left. */
  private stopShare(nowNs: number, share: RailShare): number {
    const { moving, flow, bytes } = share;
    const sent = this.network.stop(nowNs, flow);
    this.byFlow[flow] = null;
    this.shareByFlow[flow] = null;
    removeAt(moving.shares!, moving.shares!.indexOf(share));
    this.rails!.ended(nowNs, share, false);
    return bytes - sent;
  }

  // --- what breaks ----------------------------------------------------------------------------

  /**
   * A rail goes at `factor` of its rate from now on; at 0 it is dead, and what it had left is sent
   * over other rails. Answers the transfers that have no rail left.
   */
  setRail(nowNs: number, node: number, rail: number, factor: number): Moving[] {
    const { rails } = this;
    assert(rails !== null, 'rails change where they count as one');
    this.nowNs = nowNs;
    const isDead = factor === 0 ? 1 : 0;
    this.deadRails += isDead - this.dead[node][rail];
    this.dead[node][rail] = isDead;
    if (factor > 0) {
      this.resources.setRate(nowNs, node, 'rails', rail, factor);
      rails.back(node, rail);
      return [];
    }
    rails.found(nowNs, node, node, rail);
    const stuck: Moving[] = [];
    for (const share of rails.over(node, rail) as RailShare[]) {
      const { moving, viewer } = share;
      const left = this.stopShare(nowNs, share);
      rails.found(nowNs, viewer, node, rail);
      moving.respread = true;
      moving.latencyNs += RAIL_TIMEOUT_NS;
      if (!this.startShares(nowNs, moving, left)) stuck.push(moving);
    }
    this.resources.setRate(nowNs, node, 'rails', rail, 0);
    return stuck;
  }

  /** The SSDs of a node go at `factor` of their rate from now on. */
  setSsd(nowNs: number, node: number, factor: number): void {
    this.resources.setRate(nowNs, node, 'ssd', 0, factor);
  }
}
