/**
 * Transfers on the fluid network. One that follows a step sends layer by layer as the step makes
 * them: until the step ends it is held to the pace at which all but its last layer would be sent
 * by then, and it never ends before the step has.
 */
import { assert } from '../core/errors.ts';
import type { Transfer } from '../core/host.ts';
import type { Address, Topology } from '../core/topology.ts';
import type { FluidNetwork } from './fluid.ts';
import { type Path, ResourceMap } from './resources.ts';

/** A transfer under way. */
export interface Moving {
  readonly transfer: Transfer;
  readonly initiator: Address;
  readonly path: Path;
  readonly startNs: number;
  flow: number;
  /** The step that makes its data is not over. */
  held: boolean;
  /** All bytes sent, but the step was not over. */
  drained: boolean;
  /** Its end has been reported. */
  over: boolean;
}

export class Transfers {
  private readonly network: FluidNetwork;
  private readonly resources: ResourceMap;
  private readonly layers: number;
  /** By flow id of the network. */
  private readonly byFlow: (Moving | null)[] = [];

  constructor(topology: Topology, network: FluidNetwork) {
    this.network = network;
    this.resources = new ResourceMap(topology, network);
    this.layers = topology.kv.layers;
  }

  /** `stepNs` is how long the step still computes that this transfer follows, or 0. */
  start(nowNs: number, initiator: Address, transfer: Transfer, stepNs: number): Moving {
    const path = this.resources.path(transfer);
    const held = stepNs > 0;
    const ahead = (transfer.bytes * (this.layers - 1)) / this.layers;
    const pace = held ? Math.min(path.bytesPerNs, ahead / stepNs) : path.bytesPerNs;
    const flow = this.network.start(nowNs, path.resources, transfer.bytes, pace, transfer.weight);
    const moving: Moving = {
      transfer,
      initiator,
      path,
      startNs: nowNs,
      flow,
      held,
      drained: false,
      over: false,
    };
    this.byFlow[flow] = moving;
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
    const { bytesPerNs } = moving.path;
    if (!moving.drained) {
      this.network.setCap(nowNs, moving.flow, bytesPerNs);
      return 0;
    }
    return Math.ceil(moving.transfer.bytes / this.layers / bytesPerNs);
  }

  /** Takes a transfer off the network before its end; bytes that were sent. */
  stop(nowNs: number, moving: Moving): number {
    if (moving.flow < 0) return moving.transfer.bytes;
    this.byFlow[moving.flow] = null;
    const sent = this.network.stop(nowNs, moving.flow);
    moving.flow = -1;
    return sent;
  }
}
