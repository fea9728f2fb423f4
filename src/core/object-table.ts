/** The objects of one node: names, and the blocks that each is made of. */
import { assert } from './errors.ts';
import { hashText } from './kit/hash128.ts';
import { KeyTable } from './kit/key-table.ts';
import type { Pin } from './topology.ts';

export interface StoredObject {
  readonly id: number;
  readonly name: string;
  readonly sizeBytes: number;
  /** One for every slot that it takes, in order. */
  readonly blocks: readonly number[];
  pin: Pin;
  /** All of it has been written. */
  ready: boolean;
}

const COMPACT_FROM = 1024;

export class ObjectTable {
  private readonly keys = new KeyTable();
  private readonly objects: (StoredObject | null)[] = [];
  private readonly freeIds: number[] = [];
  /** Of each block: the object's id, or -1. */
  private readonly owners: number[] = [];
  /** Blocks whose object has gone, the first one to be used again first. */
  private freeBlocks: number[] = [];
  /** Of freeBlocks, those that are in use again. */
  private taken = 0;
  private readonly key = new Int32Array(4);
  private bytes = 0;

  get size(): number {
    return this.keys.size;
  }

  get sizeBytes(): number {
    return this.bytes;
  }

  /** The object of the key at keys[at, at + 4). */
  find(keys: Int32Array, at: number): StoredObject | null {
    const id = this.keys.find(keys, at);
    return id < 0 ? null : this.objects[id];
  }

  findName(name: string): StoredObject | null {
    hashText(name, this.key, 0);
    return this.find(this.key, 0);
  }

  /** The object that a block is a part of; null: it has gone. */
  ownerOf(block: number): StoredObject | null {
    const id = this.owners[block] ?? -1;
    return id < 0 ? null : this.objects[id];
  }

  /** Adds an object that is not there. `isFree`: no tier knows a block of earlier use any more. */
  add(
    name: string,
    sizeBytes: number,
    slots: number,
    pin: Pin,
    isFree: (block: number) => boolean,
  ): StoredObject {
    const id = this.freeIds.pop() ?? this.objects.length;
    const blocks: number[] = [];
    for (let i = 0; i < slots; i++) blocks.push(this.takeBlock(id, isFree));
    const object = { id, name, sizeBytes, blocks, pin, ready: false };
    this.objects[id] = object;
    hashText(name, this.key, 0);
    assert(this.keys.find(this.key, 0) < 0, 'an object that is there already');
    this.keys.set(this.key, 0, id);
    this.bytes += sizeBytes;
    return object;
  }

  remove(object: StoredObject): void {
    const { id, name, blocks } = object;
    assert(this.objects[id] === object, 'an object that has gone');
    hashText(name, this.key, 0);
    this.keys.delete(this.key, 0);
    this.objects[id] = null;
    this.freeIds.push(id);
    this.bytes -= object.sizeBytes;
    for (const block of blocks) {
      this.owners[block] = -1;
      this.freeBlocks.push(block);
    }
  }

  /** Objects from a place on, with the place after each. */
  *from(cursor: number): Generator<readonly [object: StoredObject, next: number]> {
    for (let id = cursor; id < this.objects.length; id++) {
      const object = this.objects[id];
      if (object !== null) yield [object, id + 1];
    }
  }

  private takeBlock(owner: number, isFree: (block: number) => boolean): number {
    const oldest = this.freeBlocks[this.taken] ?? -1;
    let block = this.owners.length;
    if (oldest >= 0 && isFree(oldest)) {
      block = oldest;
      if (++this.taken > COMPACT_FROM && 2 * this.taken > this.freeBlocks.length) {
        this.freeBlocks = this.freeBlocks.slice(this.taken);
        this.taken = 0;
      }
    }
    this.owners[block] = owner;
    return block;
  }
}
