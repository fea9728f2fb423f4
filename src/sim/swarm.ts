/**
 * A swarm on simulated links: one origin has an object, the other peers pull it. The peers are the
 * core's own (src/core/swarm.ts); links are shared max-min fairly, messages take the control delay.
 * Disks are not modelled: shards are served from memory.
 */
import { EventQueue } from '../core/kit/event-queue.ts';
import {
  type Ask,
  type ShardPolicy,
  SwarmPeer,
  type SwarmSettings,
  Uploads,
} from '../core/swarm.ts';
import { FluidNetwork } from './fluid.ts';

export interface SwarmCrash {
  /** From 1; the origin is 0. */
  readonly peer: number;
  readonly atNs: number;
}

export interface SwarmPlan {
  /** That pull; the origin is one more. */
  readonly pullers: number;
  readonly sizeBytes: number;
  readonly shardBytes: number;
  /** Of each peer's link, each direction, bytes per ns. */
  readonly bytesPerNs: number;
  /** One way, of a message. */
  readonly controlNs: number;
  /** After which the others know that a peer is gone. */
  readonly detectNs: number;
  readonly uploadsMax: number;
  readonly settings: SwarmSettings;
  readonly crashes: readonly SwarmCrash[];
  readonly policyOf: (peer: number) => ShardPolicy;
  readonly randomOf: (peer: number) => () => number;
}

export interface SwarmRun {
  /** When each puller had all, in their order; Infinity: never. */
  readonly doneNs: readonly number[];
  /** That each peer has sent, the origin first. */
  readonly sentBytes: readonly number[];
  readonly receivedBytes: readonly number[];
  readonly events: number;
}

interface Peer {
  readonly name: string;
  readonly swarm: SwarmPeer;
  readonly uploads: Uploads;
  readonly out: number;
  readonly into: number;
  alive: boolean;
}

interface Flow {
  readonly from: number;
  readonly to: number;
  readonly read: number;
  readonly behind: number;
}

export function simulateSwarm(plan: SwarmPlan): SwarmRun {
  return new SwarmSimulation(plan).run();
}

class SwarmSimulation {
  private readonly plan: SwarmPlan;
  private readonly network = new FluidNetwork();
  private readonly queue = new EventQueue();
  /** By payload of the queue; places are used again. */
  private readonly due: (() => void)[] = [];
  private readonly freeDue: number[] = [];
  private readonly peers: Peer[] = [];
  private readonly flows = new Map<number, Flow>();
  private readonly doneNs: number[] = [];
  private nowNs = 0;
  private events = 0;

  constructor(plan: SwarmPlan) {
    this.plan = plan;
    const shards = Math.ceil(plan.sizeBytes / plan.shardBytes);
    for (let peer = 0; peer <= plan.pullers; peer++) this.peers.push(this.makePeer(peer, shards));
    this.doneNs = new Array<number>(plan.pullers + 1).fill(Infinity);
    this.doneNs[0] = 0;
    for (const { peer, atNs } of plan.crashes) this.at(atNs, () => this.crash(peer));
  }

  run(): SwarmRun {
    for (const { swarm } of this.peers) {
      for (const [other, { name, swarm: its }] of this.peers.entries()) {
        if (its !== swarm) swarm.peerJoined(0, name, other === 0, its.has());
      }
    }
    for (;;) {
      const flowNs = this.network.nextEndNs();
      const atNs = Math.min(flowNs, this.queue.peekTimeNs());
      if (atNs === Infinity) break;
      this.nowNs = atNs;
      this.events++;
      if (flowNs === atNs) this.flowEnded(this.network.popEnded(atNs));
      else {
        const place = this.queue.pop();
        this.freeDue.push(place);
        this.due[place]();
      }
    }
    const bytes = (of: (peer: Peer) => number) =>
      this.peers.map((peer) => this.network.bytesMoved(of(peer), this.nowNs));
    return {
      doneNs: this.doneNs.slice(1),
      sentBytes: bytes(({ out }) => out),
      receivedBytes: bytes(({ into }) => into),
      events: this.events,
    };
  }

  private makePeer(index: number, shards: number): Peer {
    const { plan, network } = this;
    const name = `peer-${index}`;
    const port = {
      read: (id: number, from: string, shard: number) => this.ask(index, id, from, shard),
      tell: (shard: number) => this.tell(index, shard),
      wakeAt: (atNs: number) => this.at(atNs, () => this.peers[index].swarm.wake(this.nowNs)),
    };
    const held = new Uint8Array(shards).fill(index === 0 ? 1 : 0);
    const [policy, random] = [plan.policyOf(index), plan.randomOf(index)];
    return {
      name,
      swarm: new SwarmPeer(held, policy, port, random, plan.settings),
      uploads: new Uploads(shards, plan.uploadsMax, (ask) => this.serve(index, ask)),
      out: network.addResource(`${name}/out`, plan.bytesPerNs),
      into: network.addResource(`${name}/in`, plan.bytesPerNs),
      alive: true,
    };
  }

  private at(atNs: number, then: () => void): void {
    const place = this.freeDue.pop() ?? this.due.length;
    this.due[place] = then;
    this.queue.push(Math.max(atNs, this.nowNs), 0, place);
  }

  /** Messages to and from the dead are lost. */
  private message(from: number, to: number, then: () => void): void {
    if (!this.peers[from].alive) return;
    this.at(this.nowNs + this.plan.controlNs, () => {
      if (this.peers[to].alive) then();
    });
  }

  private ask(reader: number, id: number, from: string, shard: number): void {
    const source = indexOf(from);
    const { name } = this.peers[reader];
    this.message(reader, source, () => this.peers[source].uploads.asked(name, id, shard));
  }

  private serve(source: number, { peer, id: read, shard, behind }: Ask): void {
    const { sizeBytes, shardBytes, bytesPerNs } = this.plan;
    const to = indexOf(peer);
    const bytes = Math.min(shardBytes, sizeBytes - shard * shardBytes);
    this.message(source, to, () => {
      const path = [this.peers[source].out, this.peers[to].into];
      const flow = this.network.start(this.nowNs, path, bytes, bytesPerNs, 1);
      this.flows.set(flow, { from: source, to, read, behind });
    });
  }

  private flowEnded(flow: number): void {
    const { from, to, read, behind } = this.flows.get(flow)!;
    this.flows.delete(flow);
    const reader = this.peers[to];
    this.message(to, from, () => this.peers[from].uploads.done(reader.name, read));
    reader.swarm.readEnded(this.nowNs, read, true, behind);
    if (reader.swarm.complete) this.doneNs[to] = this.nowNs;
  }

  private tell(from: number, shard: number): void {
    const { name } = this.peers[from];
    for (let to = 0; to < this.peers.length; to++) {
      if (to === from) continue;
      this.message(from, to, () => this.peers[to].swarm.peerHas(this.nowNs, name, shard));
    }
  }

  private crash(index: number): void {
    const dead = this.peers[index];
    if (!dead.alive) return;
    dead.alive = false;
    for (const [flow, { from, to }] of this.flows) {
      if (from !== index && to !== index) continue;
      this.network.stop(this.nowNs, flow);
      this.flows.delete(flow);
    }
    this.at(this.nowNs + this.plan.detectNs, () => {
      for (const { alive, swarm, uploads } of this.peers) {
        if (!alive) continue;
        uploads.peerLeft(dead.name);
        swarm.peerLeft(this.nowNs, dead.name);
      }
    });
  }
}

function indexOf(name: string): number {
  return Number(name.slice('peer-'.length));
}
