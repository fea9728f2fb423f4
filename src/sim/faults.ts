/**
 * Plays a scenario into the simulated world: who is dead, which links are down, what comes back
 * with a new life. It kills, cuts and restarts; what to do about it is for the machines to find
 * out, from `peerReset`, `peerGone`, failed transfers and silence.
 */
import type { Machine } from '../core/host.ts';
import type { Body, Message } from '../core/messages.ts';
import type * as S from '../core/scenario.ts';
import {
  type Address,
  AddressBook,
  CONDUCTOR,
  Tier,
  type Topology,
  WORKLOAD,
} from '../core/topology.ts';

/** A message to where no link leads is known to be lost after this, ns. */
const CONNECT_TIMEOUT_NS = 1e9;
/** How often a node that leaves looks whether it may. */
const LEAVE_POLL_NS = 100e6;
const NODES_MAX = 1 << 15;

/** What a scenario needs of the cluster that it happens to. */
export interface Lives {
  /** A new life of a machine, empty. */
  remake(address: Address, incarnation: number): Machine;
  /** The conductor gives the instance nothing any more. */
  drains(instance: number): boolean;
  /** Nothing runs on it or is bound for it. */
  isDrained(instance: number): boolean;
  /** Nothing of a node is to move to another. */
  isSettled(node: number): boolean;
  /** What a registry keeps for a successor of the conductor; null: nothing. */
  bucketMap(): Body | null;
}

/** What a scenario can do to the world. */
export interface World {
  readonly nowNs: number;
  at(atNs: number, what: () => void): void;
  deliver(to: Address, from: Address, body: Body): void;
  send(from: Address, to: Address, message: Message): void;
  setMachine(address: Address, machine: Machine): void;
  /** All that the machine has started is gone. */
  kill(address: Address): void;
  /** Transfers that touch both nodes, or the one node when they are equal, fail. */
  failBetween(a: number, b: number): void;
  /** Transfers into or out of the instance's memory fail. */
  failOf(instance: number): void;
  setRail(node: number, rail: number, rate: number): void;
  setSsd(node: number, rate: number): void;
}

export class Faults {
  private readonly topology: Topology;
  private readonly scenario: S.Scenario;
  private readonly lives: Lives;
  private readonly addresses: AddressBook;
  private readonly dead: Uint8Array;
  /** Deaths that the others know of. */
  private readonly known: Uint8Array;
  private readonly incarnations: Int32Array;
  /** Grows with each death and each birth: what was under way before is lost. */
  private readonly epochs: Int32Array;
  /** 1: the SSDs of this node have failed. */
  private readonly ssdLost: Uint8Array;
  /** Nodes that are going, with the life that their store is in. */
  private readonly leaving = new Map<number, number>();
  /** Cuts of each pair of nodes so far, and pairs that are cut now. */
  private readonly cuts = new Map<number, number>();
  private readonly down = new Set<number>();

  constructor(topology: Topology, scenario: S.Scenario, lives: Lives) {
    this.topology = topology;
    this.scenario = scenario;
    this.lives = lives;
    this.addresses = new AddressBook(topology);
    const { count } = this.addresses;
    this.ssdLost = new Uint8Array(topology.nodes.length);
    this.dead = new Uint8Array(count);
    this.known = new Uint8Array(count);
    this.incarnations = new Int32Array(count);
    this.epochs = new Int32Array(count);
  }

  /** Before anything else happens. */
  begin(world: World): void {
    const first = new Map<number, S.ScenarioEvent>();
    for (const event of this.scenario.events) {
      if ('node' in event && !first.has(event.node)) first.set(event.node, event);
      world.at(event.atNs, () => this.play(world, event));
    }
    for (const [node, event] of first) {
      if (event.kind === 'join') this.vanish(world, this.machinesOf(node));
    }
  }

  isDead(address: Address): boolean {
    return this.dead[address] === 1;
  }

  /** Whether the SSDs of a node have failed. */
  isSsdLost(node: number): boolean {
    return this.ssdLost[node] === 1;
  }

  /** Counts what has broken between two machines so far. */
  epoch(from: Address, to: Address): number {
    const { epochs, cuts } = this;
    const lives = epochs[from] + epochs[to];
    if (cuts.size === 0) return lives;
    const { nodeOf } = this.addresses;
    return lives + (cuts.get(pair(nodeOf[from], nodeOf[to])) ?? 0);
  }

  /** Whether two nodes cannot reach each other. */
  isCut(a: number, b: number): boolean {
    return this.down.size > 0 && this.down.has(pair(a, b));
  }

  /**
   * Whether the sender of a message cannot reach its receiver, cut off or known to be dead. The
   * sender finds out later, unless the message only answers such news.
   */
  refuses(world: World, from: Address, to: Address, { kind }: Message): boolean {
    const { nodeOf } = this.addresses;
    const dead = this.dead[to] === 1 && this.known[to] === 1;
    if (!dead && !this.isCut(nodeOf[from], nodeOf[to])) return false;
    if (kind === 'writesOpen' || nodeOf[from] < 0) return true;
    const epoch = this.epochs[from];
    world.at(world.nowNs + CONNECT_TIMEOUT_NS, () => {
      if (this.epochs[from] === epoch) world.deliver(from, from, { kind: 'peerReset', peer: to });
    });
    return true;
  }

  private play(world: World, event: S.ScenarioEvent): void {
    switch (event.kind) {
      case 'crash':
        return this.crash(world, this.machinesOf(event.node), event);
      case 'crashInstance':
        return this.crashInstance(world, event);
      case 'rail':
        world.setRail(event.node, event.rail, event.rate);
        return after(world, event, () => world.setRail(event.node, event.rail, 1));
      case 'ssd':
        this.setSsd(world, event.node, event.rate);
        return after(world, event, () => this.setSsd(world, event.node, 1));
      case 'link':
        return this.cut(world, event);
      case 'failover':
        return this.failOver(world, event.downNs);
      case 'leave':
        return this.drain(world, event.node);
      case 'join':
        return this.revive(world, this.machinesOf(event.node));
      case 'roles':
        return this.setRoles(world, event.instance, event.roles);
    }
  }

  // --- deaths and lives -----------------------------------------------------------------------

  private machinesOf(node: number): Address[] {
    const { addresses, topology } = this;
    const own = topology.instances.filter((spec) => spec.node === node);
    return [addresses.store(node), ...own.map(({ id }) => addresses.instance(id))];
  }

  private crash(world: World, machines: readonly Address[], event: S.NodeCrash): void {
    const dying = machines.filter((address) => this.dead[address] === 0);
    for (const address of dying) this.die(world, address);
    world.failBetween(event.node, event.node);
    this.announceLater(world, dying, event.detectNs);
    after(world, event, () => this.revive(world, dying));
  }

  private crashInstance(world: World, event: S.InstanceCrash): void {
    const { addresses } = this;
    const address = addresses.instance(event.instance);
    if (this.dead[address] === 1) return;
    this.die(world, address);
    const store = addresses.store(addresses.nodeOf[address]);
    this.tellOwnStore(world, address);
    this.announceLater(world, [address], event.detectNs);
    after(world, event, () => {
      if (this.dead[store] === 0) this.revive(world, [address]);
    });
  }

  /** Where the store of a dead instance lives, it knows at once. */
  private tellOwnStore(world: World, address: Address): void {
    const { addresses } = this;
    world.failOf(addresses.instanceId(address));
    const store = addresses.store(addresses.nodeOf[address]);
    this.tell(world, store, { kind: 'peerReset', peer: address });
  }

  private die(world: World, address: Address): void {
    if (this.addresses.isStore(address)) this.leaving.delete(this.addresses.nodeOf[address]);
    this.dead[address] = 1;
    this.known[address] = 0;
    this.epochs[address]++;
    world.kill(address);
  }

  private announceLater(world: World, machines: readonly Address[], detectNs: number): void {
    const epochs = machines.map((address) => this.epochs[address]);
    world.at(world.nowNs + detectNs, () => {
      const still = machines.filter((address, i) => this.epochs[address] === epochs[i]);
      this.announce(world, still);
    });
  }

  private announce(world: World, machines: readonly Address[]): void {
    for (const peer of machines) {
      this.known[peer] = 1;
      this.tell(world, CONDUCTOR, { kind: 'peerGone', peer });
    }
    for (const peer of machines) this.resetPeersOf(world, peer);
  }

  /** Dead or not there, and everybody knows it. */
  private vanish(world: World, machines: readonly Address[]): void {
    for (const address of machines) this.die(world, address);
    world.failBetween(this.addresses.nodeOf[machines[0]], this.addresses.nodeOf[machines[0]]);
    this.announce(world, machines);
  }

  /** New lives of the dead among them. */
  private revive(world: World, machines: readonly Address[]): void {
    const born = machines.filter((address) => this.dead[address] === 1);
    for (const address of born) {
      this.incarnations[address]++;
      world.setMachine(address, this.lives.remake(address, this.incarnations[address]));
      this.dead[address] = 0;
      this.epochs[address]++;
      const node = this.addresses.nodeOf[address];
      if (this.addresses.isStore(address) && this.isSsdLost(node)) this.tellOfSsd(world, node);
    }
    for (const address of born) this.resetPeersOf(world, address);
    for (const address of born) this.tell(world, address, { kind: 'peerReset', peer: CONDUCTOR });
  }

  /** Others learn that this one is gone or began anew; its own store knows. */
  private resetPeersOf(world: World, peer: Address): void {
    const { addresses } = this;
    const { nodeOf, count } = addresses;
    for (let address = CONDUCTOR + 1; address < count; address++) {
      if (address === peer) continue;
      if (addresses.isStore(address) && !addresses.isStore(peer)) continue;
      if (addresses.isStore(peer) && nodeOf[address] === nodeOf[peer]) continue;
      this.tell(world, address, { kind: 'peerReset', peer });
    }
  }

  /** A fact of the host, for who lives. */
  private tell(world: World, to: Address, body: Body): void {
    if (this.dead[to] === 0) world.deliver(to, to, body);
  }

  // --- drives ---------------------------------------------------------------------------------

  private setSsd(world: World, node: number, rate: number): void {
    if (this.topology.nodes[node].ssdCapacityBytes === 0) return;
    const lost = rate === 0 ? 1 : 0;
    if (lost !== this.ssdLost[node]) {
      this.ssdLost[node] = lost;
      this.tellOfSsd(world, node);
    }
    world.setSsd(node, rate);
  }

  private tellOfSsd(world: World, node: number): void {
    const kind = this.isSsdLost(node) ? 'tierLost' : 'tierBack';
    this.tell(world, this.addresses.store(node), { kind, tier: Tier.ssd });
  }

  // --- links, leaders, comings and goings -----------------------------------------------------

  private cut(world: World, event: S.LinkLoss): void {
    const [a, b] = event.nodes;
    const key = pair(a, b);
    this.cuts.set(key, (this.cuts.get(key) ?? 0) + 1);
    this.down.add(key);
    world.failBetween(a, b);
    this.resetBetween(world, a, b);
    after(world, event, () => {
      this.down.delete(key);
      this.resetBetween(world, a, b);
    });
  }

  private resetBetween(world: World, a: number, b: number): void {
    for (const [own, others] of [
      [this.machinesOf(a), this.machinesOf(b)],
      [this.machinesOf(b), this.machinesOf(a)],
    ]) {
      for (const to of own) {
        for (const peer of others) this.tell(world, to, { kind: 'peerReset', peer });
      }
    }
  }

  private failOver(world: World, downNs: number): void {
    if (this.dead[CONDUCTOR] === 1) return;
    const map = this.lives.bucketMap();
    this.die(world, CONDUCTOR);
    world.at(world.nowNs + downNs, () => {
      this.incarnations[CONDUCTOR]++;
      world.setMachine(CONDUCTOR, this.lives.remake(CONDUCTOR, this.incarnations[CONDUCTOR]));
      this.dead[CONDUCTOR] = 0;
      this.epochs[CONDUCTOR]++;
      // The registry knows who is going, and the homes: a successor hears so before it decides.
      if (map !== null) this.tell(world, CONDUCTOR, map);
      for (const node of this.leaving.keys()) this.sayDrain(world, node);
      this.tell(world, CONDUCTOR, { kind: 'peerReset', peer: WORKLOAD });
      for (let peer = CONDUCTOR + 1; peer < this.addresses.count; peer++) {
        if (this.known[peer] === 1 && this.dead[peer] === 1) {
          this.tell(world, CONDUCTOR, { kind: 'peerGone', peer });
        }
        this.tell(world, peer, { kind: 'peerReset', peer: CONDUCTOR });
      }
      this.tell(world, WORKLOAD, { kind: 'peerReset', peer: CONDUCTOR });
    });
  }

  private drain(world: World, node: number): void {
    const { instances } = this.topology;
    const own = instances.filter((spec) => spec.node === node).map(({ id }) => id);
    const machines = this.machinesOf(node);
    if (this.leaving.has(node) || this.dead[machines[0]] === 1) return;
    const life = this.epochs[machines[0]];
    this.leaving.set(node, life);
    this.sayDrain(world, node);
    const isGone = (id: number) =>
      this.dead[this.addresses.instance(id)] === 1 || this.lives.isDrained(id);
    const look = () => {
      // It stays after all, or died meanwhile.
      if (this.leaving.get(node) !== life) return;
      if (!own.every((id) => this.lives.drains(id))) this.sayDrain(world, node);
      else if (own.every(isGone) && this.lives.isSettled(node)) {
        return this.vanish(world, machines);
      }
      world.at(world.nowNs + LEAVE_POLL_NS, look);
    };
    world.at(world.nowNs + 2 * this.topology.controlDelayNs + 1, look);
  }

  private sayDrain(world: World, node: number): void {
    world.send(WORKLOAD, CONDUCTOR, { kind: 'drain', node });
  }

  private setRoles(world: World, instance: number, roles: S.RoleChange['roles']): void {
    if (roles.length > 0) this.leaving.delete(this.topology.instances[instance].node);
    world.send(WORKLOAD, CONDUCTOR, { kind: 'setRoles', term: 0, instance, roles });
  }
}

function after(world: World, { forNs }: { readonly forNs: number }, what: () => void): void {
  if (Number.isFinite(forNs)) world.at(world.nowNs + forNs, what);
}

/** One number for two nodes in either order; -1 is where the conductor and the workload are. */
function pair(a: number, b: number): number {
  return a < b ? (a + 1) * NODES_MAX + b + 1 : (b + 1) * NODES_MAX + a + 1;
}
