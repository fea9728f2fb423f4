/**
 * Lists of blocks as moves of the data plane, each checked against what its block id says. What
 * arrived of the leading blocks counts; a slot that a late operation may still write to is in use
 * until that has ended.
 */
import type { TransferEnded } from '../../core/messages.ts';
import type { DataPlane, MoveEnd, Segment } from '../data-plane.ts';
import { Status } from '../native.ts';
import type { LiveMemory } from './live-memory.ts';

/** For one block, whatever its size: a lease's guard is longer. */
const DEADLINE_NS = 5e9;

/** One block of a transfer. */
export interface BlockMove {
  readonly segment: Segment;
  readonly remoteSlot: number;
  readonly generation: number;
  /** Slot of the own pool that it fills. */
  readonly slot: number;
  readonly block: number;
  /** What its owner said that it is; null: the id alone says. */
  readonly promised: number | null;
}

/** What became of a list. */
export interface MovesEnd {
  /** Leading blocks that arrived. */
  readonly done: number;
  /** Of the first that did not; empty when all did. */
  readonly cause: TransferEnded['cause'];
  /** Slots that are not to be used again before `onReleased`. */
  readonly stuck: readonly number[];
}

export interface BlockMoverWorld {
  readonly plane: DataPlane;
  readonly memory: LiveMemory;
  /** Of a slot of the node's own DRAM tier. */
  generationAt(slot: number): number;
  onWrongByte(what: string): void;
  /** A slot that was stuck may be used again. */
  onReleased(slot: number): void;
}

const CAUSES: Partial<Record<Status, TransferEnded['cause']>> = {
  [Status.unknownSegment]: 'unknownSegment',
  [Status.staleSlot]: 'checksum',
  [Status.checksumMismatch]: 'checksum',
  [Status.timedOut]: 'timeout',
};

export class BlockMover {
  private readonly world: BlockMoverWorld;
  movedBytes = 0;
  verifiedBlocks = 0;
  private stopped = false;

  constructor(world: BlockMoverWorld) {
    this.world = world;
    world.plane.onReleased = (_pool, slot) => {
      if (this.stopped) return;
      world.memory.unuse(slot);
      world.onReleased(slot);
    };
  }

  /** The node is about to close: nobody wants to hear of moves any more. */
  stop(): void {
    this.stopped = true;
  }

  /** `ended` is called once, later. DRAM slots that are filled are readable then. */
  move(moves: readonly BlockMove[], ended: (end: MovesEnd) => void): void {
    const causes = moves.map((): TransferEnded['cause'] | null => null);
    const stuck: number[] = [];
    let left = moves.length;
    const end = () => {
      const bad = causes.findIndex((cause) => cause !== '');
      const done = bad < 0 ? moves.length : bad;
      for (let i = 0; i < done; i++) this.publish(moves[i].slot);
      const cause = bad < 0 ? '' : (causes[bad] ?? 'lost');
      ended({ done, cause: stuck.length > 0 ? 'timeout' : cause, stuck });
    };
    if (left === 0) queueMicrotask(end);
    moves.forEach((move, i) => {
      this.moveBlock(move, (cause, isStuck) => {
        causes[i] = cause;
        if (isStuck) stuck.push(move.slot);
        if (--left === 0) end();
      });
    });
  }

  private moveBlock(
    move: BlockMove,
    ended: (cause: TransferEnded['cause'], isStuck: boolean) => void,
  ): void {
    const { memory, plane } = this.world;
    const { segment, remoteSlot, generation, slot, block, promised } = move;
    const crc = memory.contents.sum(block);
    if (promised !== null && promised !== crc) {
      this.world.onWrongByte(`a peer promises other bytes for block ${block}`);
    }
    if (!this.begin(slot, block)) {
      const cause = memory.isPage(slot) ? '' : 'lost';
      queueMicrotask(() => ended(cause, false));
      return;
    }
    const local = segment === memory.own ? remoteSlot : -1;
    if (local >= 0) memory.use(local);
    plane.move(
      {
        write: false,
        pool: memory.pool,
        slot,
        offset: 0,
        segment,
        remoteSlot,
        generation,
        remoteOffset: 0,
        bytes: memory.blockBytes,
        crc,
        sum: true,
        urgent: false,
        deadlineNs: DEADLINE_NS,
      },
      (end) => {
        if (this.stopped) return;
        if (local >= 0) memory.unuse(local);
        ended(this.endBlock(move, end, local), end.quarantined);
      },
    );
  }

  /** False: there is nothing to move, or an earlier move may still write to the slot. */
  private begin(slot: number, block: number): boolean {
    const { memory } = this.world;
    if (memory.isPage(slot)) {
      if (memory.isWhole(slot, block)) return false;
      memory.filling(slot);
    } else {
      if (memory.isUsed(slot)) return false;
      memory.withdraw(slot, this.world.generationAt(slot));
    }
    memory.use(slot);
    return true;
  }

  private endBlock({ slot, block }: BlockMove, end: MoveEnd, local: number): MovesEnd['cause'] {
    const { memory } = this.world;
    const { status } = end;
    if (status === Status.ok) {
      this.movedBytes += memory.blockBytes;
      this.verifiedBlocks++;
      if (memory.isPage(slot)) memory.filled(slot, block);
    } else if (status === Status.checksumMismatch && local >= 0) {
      this.world.onWrongByte(`block ${block} in slot ${local} is not what its id says`);
    }
    if (!end.quarantined) memory.unuse(slot);
    return status === Status.ok ? '' : (CAUSES[status] ?? 'lost');
  }

  private publish(slot: number): void {
    const { memory } = this.world;
    if (!memory.isPage(slot)) memory.publish(slot, this.world.generationAt(slot));
  }
}
