/**
 * The store of one node: its pool, its machine (core/object-store.ts) and what that asks for. Bytes
 * are read and written by clients, one-sided; here are questions, grants and moves to and from the
 * SSD. Its clock is the world's.
 */
import { loadPolicy } from '../../config/policies.ts';
import { parsePolicyRef } from '../../config/policy-ref.ts';
import { RandomStream } from '../../config/streams.ts';
import { TierContext } from '../../config/wire.ts';
import { InputError } from '../../core/errors.ts';
import type { Host, Transfer } from '../../core/host.ts';
import type { Body, Message } from '../../core/messages.ts';
import { ObjectStore, slotsOf } from '../../core/object-store.ts';
import type { EvictionPolicy, TieringPolicy } from '../../core/policy.ts';
import { type Address, type Node, Tier } from '../../core/topology.ts';
import { DataPlane, PLANE_DEFAULTS } from '../data-plane.ts';
import { loadNative, type NativeAddon } from '../native.ts';
import { Grant, type Pool } from '../native-pool.ts';
import { type BlockBytes, ObjectSsd } from './object-ssd.ts';
import { checkAsk, type ObjectsSuspect, type StoreSettings, type StoreStat } from './spec.ts';
import { monotonicNs } from './time.ts';

export interface StoreServerOptions {
  readonly name: string;
  readonly incarnation: number;
  readonly settings: StoreSettings;
  readonly say: (peer: string, message: Message | StoreStat) => void;
  readonly onError: (error: unknown) => void;
}

/** Slots that a client writes. */
interface Writing {
  readonly slots: Int32Array;
  readonly generations: Int32Array;
}

interface Parts {
  readonly options: StoreServerOptions;
  readonly addon: NativeAddon;
  readonly plane: DataPlane;
  readonly pool: Pool;
  readonly ssd: ObjectSsd | null;
}

const SELF: Address = 0;

export class StoreServer {
  private readonly parts: Parts;
  private readonly machine: ObjectStore;
  /** Clients by name and by number. */
  private readonly numbers = new Map<string, Address>();
  private readonly names = new Map<Address, string>();
  private lastNumber = SELF;
  private readonly writing = new Map<string, Writing>();
  private readonly timers = new Set<NodeJS.Timeout>();
  private damaged = 0;
  private closed = false;

  /** @throws InputError for bad settings, and where the native addon is missing */
  static async open(options: StoreServerOptions): Promise<StoreServer> {
    const { addon, reason } = loadNative();
    if (addon === null) throw new InputError(reason ?? '');
    const { settings } = options;
    const { slotBytes, dramBytes, ssd: onSsd } = settings;
    const slots = Math.floor(dramBytes / slotBytes);
    if (!(slots > 0)) throw new InputError(`found room for ${slots} slots, expected at least one`);
    const policies = await policiesOf(settings);
    const stream = { random: () => 0.5 };
    const rail = await loadPolicy(parsePolicyRef('rail', 'even', 'rail'));
    const plane = new DataPlane(addon, rail.module.create(stream, rail.params), PLANE_DEFAULTS);
    try {
      for (const spec of settings.rails) plane.addRail(spec);
      const pool = plane.createPool({ slotBytes, slots, hugetlb: true, prefault: false });
      const memory = pool.all();
      const ssd =
        onSsd === null ? null : await ObjectSsd.open({ addon, ...onSsd, slotBytes, memory });
      return new StoreServer({ options, addon, plane, pool, ssd }, policies);
    } catch (error) {
      plane.close();
      throw error;
    }
  }

  private constructor(parts: Parts, policies: Policies) {
    this.parts = parts;
    const { settings, incarnation } = parts.options;
    const { slotBytes, leaseTtlNs, guardNs, objectBytesMax, ssd } = settings;
    const clock = { nowNs: 0 };
    const kv = {
      model: 'objects',
      layers: 1,
      bytesPerToken: [1, 1, 1] as const,
      blockTokens: slotBytes,
    };
    const estimate = { clock, kv, recomputeNs: () => slotBytes };
    this.machine = new ObjectStore(
      {
        host: this.host(),
        node: nodeOf(settings.dramBytes, ssd?.bytes ?? 0),
        kv,
        settings: {
          hbmCache: false,
          watermark: 0.9,
          lowWatermark: 0.85,
          ssdWatermark: 0.9,
          ssdLowWatermark: 0.8,
          leaseTtlNs,
          guardNs,
          reserveQueueRequests: 0,
          parkingBytes: 0,
          fetchRetries: 0,
          deltaLimitBlocks: Number.POSITIVE_INFINITY,
          moves: null,
        },
        clock,
        slotBytes,
        slotsMax: slotsOf(objectBytesMax, slotBytes),
        eviction: (tier, _, slots) => {
          const stream = new RandomStream(incarnation, `eviction/${tier}`);
          return policies.eviction(tier, new TierContext(estimate, tier, slots, stream));
        },
        tiering: (dramSlots, ssdSlots) =>
          policies.tiering({
            dramSlots,
            ssdSlots,
            get nowNs() {
              return clock.nowNs;
            },
          }),
      },
      incarnation,
    );
  }

  /** What clients need to reach its pool. */
  get segment(): Uint8Array {
    return this.parts.pool.describe();
  }

  get slots(): number {
    return this.parts.pool.info.slots;
  }

  /** @throws InputError for what no client may say */
  receive(peer: string, found: unknown): void {
    const ask = checkAsk(found);
    if (ask.kind === 'objectsSuspect') this.inspect(ask);
    else if (ask.kind === 'storeStat') this.parts.options.say(peer, this.stat(ask.ask));
    else this.tell(this.numberOf(peer), ask);
  }

  /** The channel to a client broke. */
  reset(peer: string): void {
    const number = this.numbers.get(peer);
    if (number === undefined) return;
    this.tell(SELF, { kind: 'peerReset', peer: number });
    this.numbers.delete(peer);
    this.names.delete(number);
    for (const key of this.writing.keys()) {
      if (key.startsWith(`${number}/`)) this.writing.delete(key);
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    for (const timer of this.timers) clearTimeout(timer);
    await this.parts.ssd?.close();
    this.parts.plane.close();
  }

  private numberOf(peer: string): Address {
    let number = this.numbers.get(peer);
    if (number === undefined) {
      number = ++this.lastNumber;
      this.numbers.set(peer, number);
      this.names.set(number, peer);
    }
    return number;
  }

  private tell(from: Address, body: Body): void {
    if (this.closed) return;
    try {
      this.machine.handle({ atNs: monotonicNs(), from, body });
    } catch (error) {
      this.parts.options.onError(error);
    }
  }

  // --- what the machine asks for ----------------------------------------------------------------

  private host(): Host {
    const never = () => {
      throw new Error('an object store has no engine');
    };
    return {
      send: (to, message) => this.send(to, message),
      wakeAt: (atNs, token) => this.wakeAt(atNs, token),
      startTransfer: (transfer) => void this.transfer(transfer),
      startStep: never,
      startRun: never,
      cutRun: never,
      mark: () => {},
      count: () => {},
    };
  }

  private send(to: Address, message: Message): void {
    const peer = this.names.get(to);
    if (message.kind === 'objectsGranted') this.open(to, message.put, message);
    if (message.kind === 'objectsStored') this.seal(`${to}/${message.put}`);
    if (peer !== undefined) this.parts.options.say(peer, message);
  }

  /** A client may write to slots. */
  private open(client: Address, put: number, { slots, generations }: Writing): void {
    const { pool } = this.parts;
    for (let i = 0; i < slots.length; i++) pool.publish(slots[i], generations[i], Grant.write);
    this.writing.set(`${client}/${put}`, { slots, generations });
  }

  /** It has: from now on they can only be read. */
  private seal(key: string): void {
    const writing = this.writing.get(key);
    if (writing === undefined) return;
    this.writing.delete(key);
    const { pool } = this.machine.tiers.dram;
    for (const [i, slot] of writing.slots.entries()) {
      const generation = writing.generations[i];
      const good = pool.isReady(slot) && pool.generations[slot] === generation;
      this.parts.pool.publish(slot, generation, good ? Grant.read : Grant.none);
    }
  }

  private wakeAt(atNs: number, token: number): void {
    const timer = setTimeout(
      () => {
        this.timers.delete(timer);
        this.tell(SELF, { kind: 'wake', token });
      },
      Math.max(0, (atNs - monotonicNs()) / 1e6),
    );
    timer.unref();
    this.timers.add(timer);
  }

  /** Between the tiers. */
  private async transfer(transfer: Transfer): Promise<void> {
    const { ssd, pool, options } = this.parts;
    const { id, source, target, kind } = transfer;
    const { tiers } = this.machine;
    const slots = source.slots?.slots ?? [];
    const from = tiers.at(source.tier).pool;
    const blocks = slots.map((slot) => this.bytesOf(from.block(slot), from.checksums[slot]));
    try {
      if (ssd === null) throw new Error('a move to an SSD that is not there');
      const ended = await ssd.move(transfer, blocks);
      if (kind !== 'demote') {
        const { generations } = tiers.dram.pool;
        for (const slot of target.slots?.slots.slice(0, ended.blocksDone) ?? []) {
          pool.publish(slot, generations[slot], Grant.read);
        }
      }
      this.tell(SELF, { kind: 'transferEnded', transfer: id, ...ended });
    } catch (error) {
      if (!this.closed) options.onError(error);
    }
  }

  private bytesOf(block: number, checksum: number): BlockBytes {
    const { slotBytes } = this.parts.options.settings;
    const object = this.machine.table.ownerOf(block);
    const at = object?.blocks.indexOf(block) ?? -1;
    const left = object === null ? slotBytes : object.sizeBytes - at * slotBytes;
    return { sizeBytes: Math.min(slotBytes, Math.max(1, left)), crc: checksum >>> 0 };
  }

  // --- damage, numbers --------------------------------------------------------------------------

  /** A client found other bytes than the checksums say: if that is so here too, they go. */
  private inspect({ keys }: ObjectsSuspect): void {
    const words = new Int32Array(keys.slice().buffer);
    const { table, tiers } = this.machine;
    const { pool } = tiers.dram;
    for (let at = 0; at < words.length; at += 4) {
      const object = table.find(words, at);
      if (object === null || !object.ready) continue;
      const isDamaged = object.blocks.some((block) => {
        const slot = pool.findReady(block);
        if (slot < 0) return false;
        const { sizeBytes, crc } = this.bytesOf(block, pool.checksums[slot]);
        return this.sumOf(slot, Math.min(sizeBytes, object.sizeBytes)) !== crc;
      });
      if (!isDamaged) continue;
      this.damaged++;
      const key = keys.slice(4 * at, 4 * at + 16);
      this.tell(SELF, { kind: 'objectsRemove', ask: 0, keys: key });
    }
  }

  private sumOf(slot: number, bytes: number): number {
    return this.parts.addon.crc32c(this.parts.pool.bytes(slot).subarray(0, bytes), 0);
  }

  private stat(ask: number): StoreStat {
    const { table, tiers, evicted } = this.machine;
    return {
      kind: 'storeStats',
      ask,
      objects: table.size,
      objectBytes: table.sizeBytes,
      slotBytes: this.parts.options.settings.slotBytes,
      dramSlots: tiers.dram.pool.capacitySlots,
      dramUsedSlots: tiers.dram.pool.usedSlots,
      ssdSlots: tiers.ssd?.pool.capacitySlots ?? 0,
      ssdUsedSlots: tiers.ssd?.pool.usedSlots ?? 0,
      evictedObjects: evicted,
      damagedObjects: this.damaged,
    };
  }
}

interface Policies {
  eviction(tier: Tier, context: TierContext): EvictionPolicy;
  tiering(context: { dramSlots: number; ssdSlots: number; readonly nowNs: number }): TieringPolicy;
}

async function policiesOf(settings: StoreSettings): Promise<Policies> {
  const dram = await loadPolicy(parsePolicyRef('eviction', settings.eviction, '--eviction'));
  const ssd = await loadPolicy(parsePolicyRef('eviction', settings.ssdEviction, '--ssd-eviction'));
  const tiering = await loadPolicy(parsePolicyRef('tiering', settings.tiering, '--tiering'));
  return {
    eviction: (tier, context) => {
      const { module, params } = tier === Tier.dram ? dram : ssd;
      return module.create(context, params);
    },
    tiering: (context) => tiering.module.create(context, tiering.params),
  };
}

/** What the tiers ask of a node: its capacities. */
function nodeOf(dramCapacityBytes: number, ssdCapacityBytes: number): Node {
  return {
    id: 0,
    name: 'store',
    group: 'store',
    gpus: 0,
    numaDomains: 1,
    rails: [],
    hostToDeviceBytesPerNs: 0,
    hostToDeviceLatencyNs: 0,
    railEfficiency: 1,
    railLatencyNs: 0,
    railCpuNsPerByte: 0,
    socketBytesPerNs: 0,
    dramCapacityBytes,
    ssdCapacityBytes,
    ssdReadBytesPerNs: 0,
    ssdWriteBytesPerNs: 0,
    ssdLatencyNs: 0,
  };
}
