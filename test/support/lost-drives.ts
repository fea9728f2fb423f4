/**
 * What a failed SSD must not do: nothing comes from it or reaches it while it is lost, a prompt
 * whose load broke off computes again from before the gap, and nothing that was made on top of the
 * gap becomes readable anywhere or goes to decode.
 */
import type { Step, Transfer } from '../../src/core/host.ts';
import type { Fact, LoadFailed, Message } from '../../src/core/messages.ts';
import type { Observer } from '../../src/core/observer.ts';
import type { Request } from '../../src/core/request.ts';
import type { StoreNode } from '../../src/core/store-node.ts';
import { SlotState } from '../../src/core/tier-pool.ts';
import { type Address, type AddressBook, Tier } from '../../src/core/topology.ts';

/** A slot that is being filled with what a failed load has spoiled. */
interface Spoiled {
  readonly store: StoreNode;
  readonly incarnation: number;
  readonly slot: number;
  readonly generation: number;
}

export class LostDrives implements Observer {
  /** Loads that broke off under a pass, and before one. */
  underStep = 0;
  beforeStep = 0;
  private readonly addresses: AddressBook;
  private readonly blockTokens: number;
  private readonly stores: () => readonly StoreNode[];
  private readonly lost = new Set<number>();
  private readonly moving = new Map<string, Transfer>();
  private readonly requests = new Map<number, Request>();
  /** Request and attempt of the step of each instance, and token from which it must begin again. */
  private readonly steps = new Map<Address, Step>();
  private readonly again = new Map<string, number>();
  private readonly spoiled: Spoiled[] = [];
  /** Tokens sent to decode since a load failed, and streams under way from before. */
  private readonly resent = new Map<string, number>();
  private readonly voidStreams = new Map<string, string>();

  constructor(addresses: AddressBook, blockTokens: number, stores: () => readonly StoreNode[]) {
    this.addresses = addresses;
    this.blockTokens = blockTokens;
    this.stores = stores;
  }

  onTransfer(from: Address, transfer: Transfer): void {
    this.moving.set(`${from}/${transfer.id}`, transfer);
    const key = `${from}/${transfer.request}`;
    if (transfer.kind !== 'stream' || !this.resent.has(key)) return;
    if ([...this.voidStreams.values()].includes(key)) {
      throw new Error(`KV of request ${transfer.request} is sent beside void KV`);
    }
    this.resent.set(key, this.resent.get(key)! + transfer.tokens);
  }

  onCrash(address: Address): void {
    this.steps.delete(address);
    for (const map of [this.again, this.resent, this.voidStreams]) {
      for (const key of map.keys()) if (key.startsWith(`${address}/`)) map.delete(key);
    }
  }

  onFact(to: Address, { body }: Fact): void {
    this.checkSpoiled();
    switch (body.kind) {
      case 'dispatch':
        this.requests.set(body.request.id, body.request);
        this.again.delete(`${to}/${body.request.id}`);
        this.resent.delete(`${to}/${body.request.id}`);
        return;
      case 'tierLost':
        this.lost.add(this.addresses.storeNode(to));
        return;
      case 'tierBack':
        this.lost.delete(this.addresses.storeNode(to));
        return;
      case 'stepEnded':
        this.steps.delete(to);
        return;
      case 'loadFailed':
        return this.onLoadFailed(to, body);
      case 'transferEnded': {
        const transfer = this.moving.get(`${to}/${body.transfer}`);
        this.moving.delete(`${to}/${body.transfer}`);
        this.voidStreams.delete(`${to}/${body.transfer}`);
        const ends = transfer === undefined ? [] : [transfer.source, transfer.target];
        const dead = ends.some(({ node, tier }) => tier === Tier.ssd && this.lost.has(node));
        if (body.ok && dead) throw new Error(`a ${transfer!.kind} ended well on a lost drive`);
      }
    }
  }

  onSend(from: Address, _to: Address, message: Message): void {
    if (message.kind === 'handoff') this.checkSent(from, message.request);
    if (message.kind !== 'prefilled') return;
    if (this.again.has(`${from}/${message.request}`)) {
      throw new Error(`request ${message.request} was not computed again`);
    }
  }

  private checkSent(from: Address, { id, inputTokens }: Request): void {
    const tokens = this.resent.get(`${from}/${id}`) ?? inputTokens;
    if (tokens < inputTokens) throw new Error(`request ${id} is handed over with void KV`);
  }

  onStep(from: Address, step: Step): void {
    this.steps.set(from, step);
    for (const { request, fromToken } of step.chunks) {
      const key = `${from}/${request}`;
      const most = this.again.get(key);
      if (most === undefined) continue;
      if (fromToken > most) throw new Error(`request ${request} goes on behind a gap`);
      this.again.delete(key);
    }
  }

  private onLoadFailed(to: Address, { request, attempt, blocks }: LoadFailed): void {
    const chunk = this.steps.get(to)?.chunks.find((one) => one.request === request);
    if (chunk === undefined) this.beforeStep++;
    else this.underStep++;
    const known = this.requests.get(request);
    if (known === undefined || known.attempt !== attempt) return;
    const ids = Array.from({ length: known.blocks.length }, (_, i) => known.blocks.at(i));
    const good = ids.findIndex((block) => blocks.includes(block)) * this.blockTokens;
    const key = `${to}/${request}`;
    if (chunk !== undefined) {
      this.again.set(key, Math.min(good, this.again.get(key) ?? Number.POSITIVE_INFINITY));
      this.spoil(to, request);
      this.resent.set(key, 0);
      for (const [id, { kind, request: of }] of this.moving) {
        if (kind !== 'stream' || of !== request || !id.startsWith(`${to}/`)) continue;
        this.voidStreams.set(id, key);
      }
    }
  }

  /** Saves of this step are void. */
  private spoil(to: Address, request: number): void {
    const store = this.addresses.store(this.addresses.nodeOf[to]);
    const step = this.steps.get(to)!.id;
    for (const [key, { kind, target, afterStep, request: of }] of this.moving) {
      const own = key.startsWith(`${store}/`) && afterStep === step && of === request;
      if (kind !== 'save' || !own) continue;
      const at = this.stores()[target.node];
      for (const slot of target.slots!.slots) {
        const generation = at.dram.generations[slot];
        this.spoiled.push({ store: at, incarnation: at.incarnation, slot, generation });
      }
    }
  }

  private checkSpoiled(): void {
    for (const { store, slot, generation } of this.spoiled) {
      const { dram } = store;
      if (dram.generations[slot] !== generation || dram.state(slot) !== SlotState.ready) continue;
      throw new Error(`slot ${slot} of ${store.world.node.name} holds what a lost load spoiled`);
    }
  }
}
