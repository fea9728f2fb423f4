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
import type { Links } from '../../src/runtime/control/links.ts';
import type { DataPlane, RailSpec } from '../../src/runtime/data-plane.ts';
import { LiveNode, openPlane } from '../../src/runtime/live/live-node.ts';
import { LiveProcess } from '../../src/runtime/live/live-process.ts';
import { loadNative, type NativeAddon } from '../../src/runtime/native.ts';
import { HELLO, Kept } from './live-kept.ts';
import { tinyCosts } from './tiny.ts';

const BLOCK_BYTES = 4096;
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
  /** Channels and rails for several clusters, closed by who gives them; null: its own. */
  readonly kept?: Kept | null;
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
  readonly process: LiveProcess;
}

export class LiveCluster {
  readonly nodes: LiveNode[] = [];
  private readonly options: LiveOptions;
  private readonly addresses: AddressBook;
  private readonly parts = new Map<string, Part>();
  private readonly kept: Kept;
  private readonly folder = mkdtempSync(join(tmpdir(), 'live-cluster-'));
  private readonly links = new Map<string, Links>();
  private readonly errors: unknown[] = [];
  /** Letters between processes that have not arrived. */
  private lettersUnderWay = 0;
  private mapVersion = 0;

  constructor(options: LiveOptions) {
    this.options = options;
    this.kept = options.kept ?? new Kept();
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
      for (const { process: live } of this.parts.values()) live.stop();
      for (const node of this.nodes) await node.close(true);
      this.nodes.length = 0;
    } catch (error) {
      await this.discard();
      throw error;
    } finally {
      if ((this.options.kept ?? null) === null) await this.kept.close();
      rmSync(this.folder, { recursive: true, force: true });
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
    const counted = {
      send: (peer: string, letter: unknown) => {
        this.lettersUnderWay++;
        this.links.get(name)!.send(peer, letter);
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
    return { name, process: live };
  }

  private async open(): Promise<void> {
    const { addon, reason } = loadNative();
    if (addon === null) throw new Error(reason ?? '');
    await this.listen();
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
        plane: this.planeOf(addon, id),
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
    this.lettersUnderWay += this.kept.greet([...this.parts.keys()]);
    while (this.lettersUnderWay > 0) await new Promise((resolve) => setTimeout(resolve, 2));
  }

  private async listen(): Promise<void> {
    for (const { name, process: live } of this.parts.values()) {
      const links = await this.kept.links(name, {
        onMessage: (peer, letter) => {
          this.lettersUnderWay--;
          if (letter !== HELLO) live.receive(peer, letter);
        },
        onReset: (peer, cause) => {
          this.errors.push(new Error(`the channel of ${name} to ${peer} broke: ${cause}`));
          live.reset(peer);
        },
      });
      this.links.set(name, links);
    }
  }

  private planeOf(addon: NativeAddon, node: number): DataPlane | null {
    const { plan, rails, kept } = this.options;
    if ((kept ?? null) === null) return null;
    const open = () => openPlane({ addon, plan, rails: rails(node) });
    return this.kept.plane(`${plan.policies.rail.name} ${node}`, open);
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

  /** Who knows what is under way yet: nobody goes on with what this cluster had. */
  private async discard(): Promise<void> {
    for (const { process: live } of this.parts.values()) live.stop();
    for (const { transfers } of this.nodes) transfers.stop();
    for (const { ssd } of this.nodes) await ssd?.close(true);
    await this.kept.close();
    for (const { plane } of this.nodes) plane.close();
  }
}
