/**
 * One peer of a swarm: pulls the shards of an object from whoever has them and tells the others
 * what it has. As the core's machines it is told facts and starts things through a port, so the
 * same code runs over simulated links and over real ones. The shard policy says what comes next.
 */
import { assert } from './errors.ts';

export const Shard = { missing: 0, underWay: 1, held: 2 } as const;
export type Shard = (typeof Shard)[keyof typeof Shard];

/** Another peer, as this one knows it. */
export interface Holder {
  readonly name: string;
  /** It offered the object; it is not someone who pulled it. */
  readonly origin: boolean;
  /** 1 for each shard that it has. */
  readonly has: Uint8Array;
  /** Reads of this peer from it that are under way. */
  reads: number;
  /** Reads that waited at it before this peer's last one: how busy it is. */
  waiting: number;
  /** It failed: nothing is asked of it before. */
  restsUntilNs: number;
}

export interface SwarmView {
  readonly shards: number;
  /** Per shard, of this peer. */
  readonly states: Uint8Array;
  /** Per shard: how many others have it. */
  readonly copies: Int32Array;
  /** Those that may be asked for one more shard now. */
  readonly free: readonly Holder[];
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export interface Pick {
  readonly shard: number;
  readonly from: Holder;
}

/** Decides which missing shard is read next, and from which of the free peers; null: none now. */
export interface ShardPolicy {
  next(view: SwarmView): Pick | null;
}

export interface ShardPolicyModule {
  readonly source: string;
  create(): ShardPolicy;
}

export interface SwarmPort {
  /** Starts a read; `readEnded` follows once, unless `peerLeft` came first. */
  read(id: number, peer: string, shard: number): void;
  /** Says to all others that this peer has it. */
  tell(shard: number): void;
  /** `wake` is to be called then. */
  wakeAt(atNs: number): void;
}

export interface SwarmSettings {
  /** Reads under way at once, in all and from one peer. */
  readonly readsMax: number;
  readonly readsPerPeerMax: number;
  /** A peer that failed is left alone for this long, doubling while it goes on failing. */
  readonly restNs: number;
}

/** Of (1, 2, 4) reads per peer 2 keeps one link busy and lengthens the queues of many least. */
export const SWARM_DEFAULTS: SwarmSettings = { readsMax: 8, readsPerPeerMax: 2, restNs: 500e6 };
const REST_DOUBLINGS_MAX = 6;

interface Known extends Holder {
  failures: number;
}

interface Read {
  readonly peer: Known;
  readonly shard: number;
}

export class SwarmPeer {
  readonly states: Uint8Array;
  private readonly settings: SwarmSettings;
  private readonly policy: ShardPolicy;
  private readonly port: SwarmPort;
  private readonly random: () => number;
  private readonly peers = new Map<string, Known>();
  private readonly reads = new Map<number, Read>();
  private readonly copies: Int32Array;
  private nextRead = 1;
  private held = 0;

  /** `held`: 1 for each shard that it has from the start. */
  constructor(
    held: Uint8Array,
    policy: ShardPolicy,
    port: SwarmPort,
    random: () => number,
    settings: SwarmSettings = SWARM_DEFAULTS,
  ) {
    this.settings = settings;
    this.policy = policy;
    this.port = port;
    this.random = random;
    this.states = held.map((has) => (has === 1 ? Shard.held : Shard.missing));
    this.copies = new Int32Array(held.length);
    for (const has of held) this.held += has;
  }

  get complete(): boolean {
    return this.held === this.states.length;
  }

  get heldShards(): number {
    return this.held;
  }

  /** 1 for each shard that it has. */
  has(): Uint8Array {
    return this.states.map((state) => (state === Shard.held ? 1 : 0));
  }

  holds(shard: number): boolean {
    return this.states[shard] === Shard.held;
  }

  /** A peer is there, or there anew, with these shards. */
  peerJoined(atNs: number, name: string, origin: boolean, has: Uint8Array): void {
    assert(has.length === this.states.length, 'a peer tells of every shard');
    this.forget(name);
    const own = has.slice();
    const [reads, waiting, restsUntilNs, failures] = [0, 0, 0, 0];
    this.peers.set(name, { name, origin, has: own, reads, waiting, restsUntilNs, failures });
    for (let shard = 0; shard < own.length; shard++) this.copies[shard] += own[shard];
    this.pull(atNs);
  }

  peerHas(atNs: number, name: string, shard: number): void {
    const peer = this.peers.get(name);
    if (peer === undefined || peer.has[shard] === 1) return;
    peer.has[shard] = 1;
    this.copies[shard]++;
    if (this.states[shard] === Shard.missing) this.pull(atNs);
  }

  /** Its reads are over; another peer is asked. */
  peerLeft(atNs: number, name: string): void {
    this.forget(name);
    this.pull(atNs);
  }

  /** `waiting`: how many reads of others the peer had before it; -1: not known. */
  readEnded(atNs: number, id: number, arrived: boolean, waiting: number): void {
    const read = this.reads.get(id);
    if (read === undefined) return;
    this.reads.delete(id);
    const { peer, shard } = read;
    peer.reads--;
    if (waiting >= 0) peer.waiting = waiting;
    if (arrived) {
      peer.failures = 0;
      this.states[shard] = Shard.held;
      this.held++;
      this.port.tell(shard);
    } else {
      this.states[shard] = Shard.missing;
      const restNs = this.settings.restNs * 2 ** Math.min(peer.failures++, REST_DOUBLINGS_MAX);
      peer.restsUntilNs = atNs + restNs;
      this.port.wakeAt(peer.restsUntilNs);
    }
    this.pull(atNs);
  }

  wake(atNs: number): void {
    this.pull(atNs);
  }

  private pull(atNs: number): void {
    const { readsMax, readsPerPeerMax } = this.settings;
    while (this.reads.size < readsMax && this.held + this.reads.size < this.states.length) {
      const free: Known[] = [];
      for (const peer of this.peers.values()) {
        if (peer.reads < readsPerPeerMax && peer.restsUntilNs <= atNs) free.push(peer);
      }
      if (free.length === 0) return;
      const { states, copies, random } = this;
      const pick = this.policy.next({ shards: states.length, states, copies, free, random });
      if (pick === null) return;
      this.start(pick);
    }
  }

  private start({ shard, from }: Pick): void {
    const peer = this.peers.get(from.name);
    assert(peer?.has[shard] === 1, 'a shard is read from a peer that has it');
    assert(this.states[shard] === Shard.missing, 'a shard is read once');
    this.states[shard] = Shard.underWay;
    peer.reads++;
    const id = this.nextRead++;
    this.reads.set(id, { peer, shard });
    this.port.read(id, peer.name, shard);
  }

  private forget(name: string): void {
    const peer = this.peers.get(name);
    if (peer === undefined) return;
    this.peers.delete(name);
    for (let shard = 0; shard < peer.has.length; shard++) this.copies[shard] -= peer.has[shard];
    for (const [id, read] of this.reads) {
      if (read.peer !== peer) continue;
      this.reads.delete(id);
      this.states[read.shard] = Shard.missing;
    }
  }
}

export interface Ask {
  readonly peer: string;
  readonly id: number;
  readonly shard: number;
  /** How many asks were here before it. */
  readonly behind: number;
}

/**
 * Reads that a peer serves: so many at once; of those that wait, the shard first that it has served
 * least often, so that an origin sends each shard once before it sends any twice.
 */
export class Uploads {
  private readonly atOnceMax: number;
  private readonly begin: (ask: Ask) => void;
  private readonly served: Int32Array;
  private serving: Ask[] = [];
  private waiting: Ask[] = [];

  constructor(shards: number, atOnceMax: number, begin: (ask: Ask) => void) {
    this.served = new Int32Array(shards);
    this.atOnceMax = atOnceMax;
    this.begin = begin;
  }

  asked(peer: string, id: number, shard: number): void {
    this.waiting.push({ peer, id, shard, behind: this.waiting.length });
    this.next();
  }

  /** The reader has it, or gave it up. */
  done(peer: string, id: number): void {
    this.drop((ask) => ask.peer === peer && ask.id === id);
  }

  peerLeft(peer: string): void {
    this.drop((ask) => ask.peer === peer);
  }

  /** Whether it is served now: what takes long to prepare may be wanted no more. */
  serves(peer: string, id: number): boolean {
    return this.serving.some((ask) => ask.peer === peer && ask.id === id);
  }

  private drop(over: (ask: Ask) => boolean): void {
    this.serving = this.serving.filter((ask) => !over(ask));
    this.waiting = this.waiting.filter((ask) => !over(ask));
    this.next();
  }

  private next(): void {
    const { waiting, served } = this;
    while (this.serving.length < this.atOnceMax && this.waiting.length > 0) {
      let first = 0;
      for (let i = 1; i < waiting.length; i++) {
        if (served[waiting[i].shard] < served[waiting[first].shard]) first = i;
      }
      const [ask] = this.waiting.splice(first, 1);
      served[ask.shard]++;
      this.serving.push(ask);
      this.begin(ask);
    }
  }
}
