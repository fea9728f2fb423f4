/**
 * LIRS: blocks with a low inter-reference recency (LIR) hold almost all slots; the others (HIR)
 * pass through a short queue, and become LIR when they come back while the stack still remembers
 * them. Jiang and Zhang, SIGMETRICS 2002. The stack holds at most 2 x capacity blocks, the
 * non-resident ones included; the oldest of those is forgotten first.
 *
 * `rule=libcachesim` demotes a LIR block also when a HIR block that the stack has forgotten is
 * hit: the queue then stands above its share and evicts at once (through `reclaim`, so at the next
 * miss), and the next new block becomes LIR. `rule=paper` leaves the LIR blocks alone there.
 */
import {
  defineEviction,
  type EvictionContext,
  type EvictionPolicy,
  type Pinned,
  REFUSE,
  type RemovalCause,
  SlotLinks,
  SlotList,
} from '../../core/policy-kit.ts';

const NONE = -1;

class Lirs implements EvictionPolicy {
  private readonly paper: boolean;
  private readonly lirSlots: number;
  private readonly stackMax: number;
  private lirCount = 0;
  /** S, of nodes: a node stands for a block that is LIR, resident HIR, or non-resident. */
  private readonly stack: SlotList;
  /** Non-resident nodes in the order in which they went. */
  private readonly gone: SlotList;
  /** Q, of slots: resident HIR blocks. */
  private readonly queue: SlotList;
  private readonly blockOfNode: Int32Array;
  /** Slot of a node, or -1: non-resident. */
  private readonly slotOfNode: Int32Array;
  private readonly freeNodes: Int32Array;
  private freeNodeCount: number;
  /** Node of a slot, or -1: not in the stack. */
  private readonly nodeOfSlot: Int32Array;
  private readonly isLir: Uint8Array;
  private readonly blockOf: Int32Array;
  /** Non-resident node of a block plus one, or 0; grows with the ids. */
  private nodeOfGhost = new Int32Array(64);
  /** Slots by which the queue stands above its share. */
  private surplus = 0;
  private readonly leaving: number[] = [];

  constructor(context: EvictionContext, params: { readonly hir: number; readonly rule: string }) {
    const slots = context.capacitySlots;
    const nodes = 2 * slots + 2;
    this.paper = params.rule === 'paper';
    this.lirSlots = slots - Math.max(1, Math.floor(slots * params.hir));
    this.stackMax = 2 * slots;
    const links = new SlotLinks(nodes);
    this.stack = new SlotList(links);
    this.gone = new SlotList(new SlotLinks(nodes));
    this.queue = new SlotList(new SlotLinks(slots));
    this.blockOfNode = new Int32Array(nodes);
    this.slotOfNode = new Int32Array(nodes);
    this.freeNodes = new Int32Array(nodes);
    for (let node = 0; node < nodes; node++) this.freeNodes[node] = node;
    this.freeNodeCount = nodes;
    this.nodeOfSlot = new Int32Array(slots).fill(NONE);
    this.isLir = new Uint8Array(slots);
    this.blockOf = new Int32Array(slots);
  }

  onMiss(block: number): void {
    const node = this.ghostNode(block);
    if (node !== NONE) this.stack.moveToHead(node);
  }

  onInsert(slot: number, block: number): void {
    this.blockOf[slot] = block;
    let node = this.ghostNode(block);
    const known = node !== NONE;
    if (known) {
      this.gone.remove(node);
      this.nodeOfGhost[block] = 0;
      this.slotOfNode[node] = slot;
      this.nodeOfSlot[slot] = node;
      this.stack.moveToHead(node);
    } else {
      node = this.pushNode(slot);
    }
    if (this.lirSlots > 0 && (known || this.lirCount < this.lirSlots)) {
      this.makeLir(slot);
    } else {
      this.isLir[slot] = 0;
      this.queue.pushHead(slot);
    }
    this.limitStack();
  }

  onHit(slot: number): void {
    const node = this.nodeOfSlot[slot];
    if (node === NONE) {
      this.queue.moveToHead(slot);
      if (!this.paper && this.lirCount >= this.lirSlots && this.lirCount > 0) {
        this.demoteOldestLir();
        this.surplus++;
      }
      this.pushNode(slot);
    } else {
      this.stack.moveToHead(node);
      if (this.isLir[slot] === 1) {
        this.prune();
      } else if (this.lirSlots > 0) {
        this.queue.remove(slot);
        this.makeLir(slot);
      } else {
        this.queue.moveToHead(slot);
      }
    }
    this.limitStack();
  }

  onRemove(slot: number, cause: RemovalCause): void {
    const node = this.nodeOfSlot[slot];
    if (this.isLir[slot] === 1) {
      this.isLir[slot] = 0;
      this.lirCount--;
      this.dropNode(node);
      this.prune();
    } else {
      this.queue.remove(slot);
      if (node === NONE) return;
      if (cause === 'evict') this.remember(node, this.blockOf[slot]);
      else this.dropNode(node);
    }
    this.nodeOfSlot[slot] = NONE;
  }

  reclaim(_count: number, pinned: Pinned): readonly number[] {
    this.leaving.length = 0;
    let slot = this.queue.tail;
    while (slot !== REFUSE && this.surplus > 0) {
      if (pinned.flags[slot] === 0) {
        this.leaving.push(slot);
        this.surplus--;
      }
      slot = this.queue.newerThan(slot);
    }
    this.surplus = 0;
    return this.leaving;
  }

  victim(_incoming: number, pinned: Pinned): number {
    if (pinned.count === 0 && this.queue.size > 0) return this.queue.tail;
    const slot = this.queue.oldestClear(pinned.flags);
    if (slot !== REFUSE) return slot;
    for (let node = this.stack.tail; node !== NONE; node = this.stack.newerThan(node)) {
      const lir = this.slotOfNode[node];
      if (lir !== NONE && pinned.flags[lir] === 0) return lir;
    }
    return REFUSE;
  }

  size(): number {
    return this.queue.size + this.lirCount;
  }

  /** The slot becomes LIR; the oldest LIR makes way. */
  private makeLir(slot: number): void {
    while (this.lirCount >= this.lirSlots) this.demoteOldestLir();
    this.isLir[slot] = 1;
    this.lirCount++;
  }

  /** The LIR block at the stack's bottom becomes HIR and leaves the stack. */
  private demoteOldestLir(): void {
    this.prune();
    const node = this.stack.tail;
    const slot = this.slotOfNode[node];
    this.isLir[slot] = 0;
    this.lirCount--;
    this.nodeOfSlot[slot] = NONE;
    this.dropNode(node);
    this.queue.pushHead(slot);
    this.prune();
  }

  /** The stack's bottom is always LIR: what lies below the oldest LIR is forgotten. */
  private prune(): void {
    if (this.lirCount === 0) return;
    for (;;) {
      const node = this.stack.tail;
      const slot = this.slotOfNode[node];
      if (slot === NONE) this.forget(node);
      else if (this.isLir[slot] === 1) return;
      else {
        this.nodeOfSlot[slot] = NONE;
        this.dropNode(node);
      }
    }
  }

  private limitStack(): void {
    while (this.stack.size > this.stackMax && this.gone.size > 0) this.forget(this.gone.tail);
  }

  private pushNode(slot: number): number {
    const node = this.freeNodes[--this.freeNodeCount];
    this.blockOfNode[node] = this.blockOf[slot];
    this.slotOfNode[node] = slot;
    this.nodeOfSlot[slot] = node;
    this.stack.pushHead(node);
    return node;
  }

  private dropNode(node: number): void {
    this.stack.remove(node);
    this.freeNodes[this.freeNodeCount++] = node;
  }

  private remember(node: number, block: number): void {
    if (block >= this.nodeOfGhost.length) this.grow(block);
    this.nodeOfGhost[block] = node + 1;
    this.slotOfNode[node] = NONE;
    this.gone.pushHead(node);
  }

  private forget(node: number): void {
    this.gone.remove(node);
    this.nodeOfGhost[this.blockOfNode[node]] = 0;
    this.dropNode(node);
  }

  private ghostNode(block: number): number {
    return block < this.nodeOfGhost.length ? this.nodeOfGhost[block] - 1 : NONE;
  }

  private grow(block: number): void {
    const grown = new Int32Array(Math.max(block + 1, 2 * this.nodeOfGhost.length));
    grown.set(this.nodeOfGhost);
    this.nodeOfGhost = grown;
  }
}

export default defineEviction({
  source: 'Jiang and Zhang, SIGMETRICS 2002; libCacheSim',
  params: {
    hir: { type: 'number', default: 0.01, min: 0, max: 1, doc: 'share of slots for HIR blocks' },
    rule: {
      type: 'choice',
      default: 'libcachesim',
      choices: ['libcachesim', 'paper'],
      doc: 'whether a hit on a HIR block outside the stack demotes a LIR block',
    },
  },
  create: (context, params) => new Lirs(context, params),
});
