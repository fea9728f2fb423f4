/** What a member says of itself when it is asked. */
import type { MoveFigures } from '../../core/moves-out.ts';
import type { Role } from '../../core/topology.ts';
import type { RailKind } from '../data-plane.ts';
import type { AlertState } from '../ops/alerts.ts';
import type { Member } from './spec.ts';

export interface TierStatus {
  readonly tier: 'hbm' | 'dram' | 'ssd';
  readonly usedBlocks: number;
  readonly capacityBlocks: number;
  readonly evictions: number;
}

/** An instance as the leader sees it. */
export interface InstanceStatus {
  readonly name: string;
  readonly node: number;
  readonly alive: boolean;
  readonly roles: readonly Role[];
  readonly queued: number;
  readonly decoding: number;
}

/** The readable blocks in the DRAM of a node, as its store or its conductor has them. */
export interface Holding {
  readonly node: number;
  readonly blocks: number;
  /** The same for the same blocks, whatever their order. */
  readonly digest: number;
}

/** Of the machines that are there. */
export interface MachineStatus {
  readonly tiers: readonly TierStatus[];
  readonly rails: readonly RailKind[];
  /** Since its machines began. */
  readonly movedBytes: number;
  /** Blocks that arrived there and were what their ids say. */
  readonly verifiedBlocks: number;
  /** Blocks that the SSD had no room for, by its disk: back-pressure. */
  readonly ssdFullBlocks: number;
  readonly evictions: number;
  /** Of an agent: blocks that go to new homes. */
  readonly moves: MoveFigures | null;
  /** Of the leader alone: all instances, and requests under way. */
  readonly instances: readonly InstanceStatus[];
  readonly inFlight: number;
}

export interface MemberStatus extends MachineStatus {
  readonly name: string;
  readonly role: Member['role'];
  readonly node: number;
  readonly incarnation: number;
  readonly pid: number;
  readonly upSec: number;
  readonly rssBytes: number;
  /** Of that all but pools, its own and those of peers that it has mapped. */
  readonly withoutPoolsBytes: number;
  /** Processor time since its start. */
  readonly cpuSec: number;
  /** Term of its conductor while it leads, else 0. */
  readonly term: number;
  readonly wrongBytes: number;
  /** Of the prompts that began there: all tokens, and those that were cached. */
  readonly promptTokens: number;
  readonly cachedTokens: number;
  /** Rules that hold there now. */
  readonly alerts: readonly AlertState[];
  /** Where its metrics are; null: nowhere. */
  readonly http: string | null;
}
