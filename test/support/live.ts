/**
 * A live cluster within one process: several LiveProcesses with real channels, pools, rails and
 * SSDs between and under them. One of the hosts of the conformance suite.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Cluster, ClusterPlan } from '../../src/config/wire.ts';
import { decode, encode } from '../../src/core/codec.ts';
import type { Host, Machine, Run, Step } from '../../src/core/host.ts';
import type { Buckets } from '../../src/core/messages.ts';
import type { Observer } from '../../src/core/observer.ts';
import { type Address, AddressBook, CONDUCTOR, WORKLOAD } from '../../src/core/topology.ts';
import { Links } from '../../src/runtime/control/links.ts';
import type { RailSpec } from '../../src/runtime/data-plane.ts';
import { LiveNode } from '../../src/runtime/live/live-node.ts';
import { LiveProcess } from '../../src/runtime/live/live-process.ts';
import { loadNative } from '../../src/runtime/native.ts';
import { tinyCosts } from './tiny.ts';

const BLOCK_BYTES = 4096;
/** What opens a channel before anything counts on it. */
const HELLO = 'hello';
/** Rounds of the event loop without anything to do, after which a cluster is at rest. */
const QUIET_ROUNDS = 3;

export interface LiveOptions {
  readonly plan: ClusterPlan;
  readonly observers: readonly Observer[];
  /** Of a node. */
  readonly rails: (node: number) => readonly RailSpec[];
  /** The cluster's clock against the world's. */
  readonly speed: number;
  /** The machines' stores: known once they are wired. */
  readonly stores: () => Cluster['stores'];
  readonly disks?: LiveDisks;
}

export interface LiveDisks {
  /** Where the nodes' SSDs lie, kept afterwards. */
  readonly folder?: string;
  /** Of each, where that is not what the tier needs. */
  readonly sizeBytes?: number;
  readonly incarnation?: number;
}

interface Part {
  readonly name: string;
  readonly links: Links;
  readonly process: LiveProcess;
}

export class LiveCluster {
  readonly nodes: LiveNode[] = [];
  private readonly options: LiveOptions;
  private readonly addresses: AddressBook;
  private readonly parts = new Map<string, Part>();
  private readonly ports = new Map<string, number>();
  private readonly folder = mkdtempSync(join(tmpdir(), 'live-cluster-'));
  private readonly errors: unknown[] = [];
  /** Letters between processes that have not arrived. */
  private lettersUnderWay = 0;
  private mapVersion = 0;

  constructor(options: LiveOptions) {
    this.options = options;
    const { nodes } = options.plan.topology;
    this.addresses = new AddressBook(options.plan.topology);
    const names = ['ingress', 'conductor', ...nodes.map(({ id }) => `node-${id}`)];
    for (const name of names) this.parts.set(name, this.part(name));
  }

  host(address: Address): Host {
    return this.processAt(address).host(address);
  }

  setMachines(machines: readonly Machine[]): void {
    for (const [address, machine] of machines.entries()) {
      this.processAt(address).setMachine(address, machine);
    }
  }

  /** Wakes the workload and runs until nothing is left; takes everything down. */
  async run(): Promise<void> {
    try {
      await this.open();
      const originNs = process.hrtime.bigint();
      for (const part of this.parts.values()) part.process.clock.start(originNs);
      this.processAt(WORKLOAD).tell(WORKLOAD, WORKLOAD, { kind: 'wake', token: -1 });
      for (let quiet = 0; quiet < QUIET_ROUNDS; quiet = this.isQuiet() ? quiet + 1 : 0) {
        if (this.errors.length > 0) throw this.errors[0];
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      this.checkPages();
    } finally {
      await this.close();
    }
  }

  get verifiedBlocks(): number {
    return this.nodes.reduce((sum, { transfers }) => sum + transfers.verifiedBlocks, 0);
  }

  /** In place of a registry: all stores hear of a map, once. */
  private tellStores(map: Buckets): void {
    if (map.version <= this.mapVersion) return;
    this.mapVersion = map.version;
    for (const { id } of this.options.plan.topology.nodes) {
      const store = this.addresses.store(id);
      this.processAt(store).tell(store, CONDUCTOR, decode(encode(map)) as Buckets);
    }
  }

  private processOf(address: Address): string {
    if (address === WORKLOAD) return 'ingress';
    if (address === CONDUCTOR) return 'conductor';
    return `node-${this.addresses.nodeOf[address]}`;
  }

  private processAt(address: Address): LiveProcess {
    return this.parts.get(this.processOf(address))!.process;
  }

  private part(name: string): Part {
    const { plan, observers, speed } = this.options;
    const { topology } = plan;
    const links = new Links({
      name,
      life: 1,
      listen: '127.0.0.1:0',
      token: 'test',
      tls: null,
      endpointOf: (peer) => `127.0.0.1:${this.ports.get(peer)}`,
      handler: {
        onMessage: (peer, letter) => {
          this.lettersUnderWay--;
          if (letter !== HELLO) live.receive(peer, letter);
        },
        onReset: (peer) => live.reset(peer),
      },
    });
    const counted = {
      send: (peer: string, letter: unknown) => {
        this.lettersUnderWay++;
        links.send(peer, letter);
      },
    };
    const all = Array.from({ length: this.addresses.count }, (_, address) => address);
    const live: LiveProcess = new LiveProcess({
      topology,
      costs: tinyCosts(topology),
      speed,
      originNs: process.hrtime.bigint(),
      observers: [...observers, this.engineCheck()],
      links: counted,
      processOf: (address) => this.processOf(address),
      addressesOf: (peer) => all.filter((address) => this.processOf(address) === peer),
      onBuckets: (map) => this.tellStores(map),
      onError: (error) => this.errors.push(error),
    });
    return { name, links, process: live };
  }

  private async open(): Promise<void> {
    const { addon, reason } = loadNative();
    if (addon === null) throw new Error(reason ?? '');
    for (const { name, links } of this.parts.values()) this.ports.set(name, await links.listen());
    const { plan, rails, disks = {}, stores } = this.options;
    const { incarnation = 0 } = disks;
    for (const { id } of plan.topology.nodes) {
      const ssd = {
        folder: join(disks.folder ?? this.folder, `node-${id}`),
        temporary: false,
        capacityBytes: disks.sizeBytes ?? null,
        cluster: 'test',
      };
      const node = await LiveNode.open({
        addon,
        plan,
        node: id,
        wire: () => stores()[id],
        process: this.parts.get(`node-${id}`)!.process,
        rails: rails(id),
        blockBytes: BLOCK_BYTES,
        prefault: false,
        incarnation,
        ssd,
        onWrongByte: (what) => this.errors.push(new Error(what)),
      });
      this.nodes.push(node);
    }
    for (const [id, node] of this.nodes.entries()) {
      for (const [peer, other] of this.nodes.entries()) {
        if (peer !== id) node.join(peer, other.describe(), incarnation);
      }
    }
    for (const { name, links } of this.parts.values()) {
      for (const peer of this.parts.keys()) {
        if (peer === name) continue;
        this.lettersUnderWay++;
        links.send(peer, HELLO);
      }
    }
    while (this.lettersUnderWay > 0) await new Promise((resolve) => setTimeout(resolve, 2));
  }

  private isQuiet(): boolean {
    const idle = [...this.parts.values()].every(({ process: { clock } }) => clock.isIdle);
    const still = this.nodes.every(({ transfers }) => transfers.open === 0);
    return idle && still && this.lettersUnderWay === 0;
  }

  /** Who decodes, or computes behind a cached prefix, attends to KV that is the prompt's. */
  private engineCheck(): Observer {
    return {
      onRun: (address: Address, { requests }: Run) => this.checkPrompts(address, requests),
      onStep: (address: Address, { decode }: Step) => {
        this.checkPrompts(address, decode?.requests ?? []);
      },
    };
  }

  private checkPrompts(address: Address, requests: readonly number[]): void {
    const instance = this.addresses.instanceId(address);
    const node = this.nodes[this.addresses.nodeOf[address]];
    const { prompts } = this.processAt(address);
    for (const request of requests) {
      const pages = node.memory.pagesOf(instance, request);
      for (const [i, block] of prompts.leading(request, Number.POSITIVE_INFINITY).entries()) {
        if (this.holds(node, pages[i] ?? -1, block)) continue;
        throw new Error(`block ${i} of request ${request} in instance ${instance} is wrong`);
      }
    }
  }

  private holds({ memory }: LiveNode, page: number, block: number): boolean {
    if (page < 0) return false;
    const { addon } = loadNative();
    return addon!.crc32c(memory.pool.bytes(page), 0) === memory.contents.sum(block);
  }

  /** Nothing holds a page once all requests have ended but what HBM caches keep. */
  private checkPages(): void {
    for (const [id, { memory }] of this.nodes.entries()) {
      memory.sweep();
      const lost = memory.pages - memory.freePages - memory.keptPages;
      if (lost !== 0) throw new Error(`node ${id} has lost ${lost} pages`);
    }
  }

  private async close(): Promise<void> {
    for (const { process: live } of this.parts.values()) live.stop();
    for (const { links } of this.parts.values()) await links.close();
    for (const node of this.nodes) await node.close(true);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
