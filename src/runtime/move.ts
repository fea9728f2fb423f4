/** What a move is, how it ends, and what the plane keeps of it meanwhile. */
import { Status } from './native.ts';
import type { Pool } from './native-pool.ts';
import { type Attempt, FIRST } from './plane-rails.ts';
import type { Route, Segment } from './segment.ts';

export interface PlaneSettings {
  /** Transfers open at once; more wait in the batch. */
  readonly transfersMax: number;
  /** Larger blocks are cut into slices of this size. */
  readonly sliceBytes: number;
  /** What one attempt of a transfer may take. */
  readonly attemptNs: number;
  /** Attempts, the first included; each asks the policy anew for what is left. */
  readonly attemptsMax: number;
}

/** Slices of Mooncake's size suit RDMA; sockets and copies like 1 MiB. Attempts: as Mooncake's. */
export const PLANE_DEFAULTS: PlaneSettings = {
  transfersMax: 65_536,
  sliceBytes: 1 << 20,
  attemptNs: 2e9,
  attemptsMax: 9,
};

/** A block, or a part of one, between an own slot and a peer's. */
export interface Move {
  readonly write: boolean;
  readonly pool: Pool;
  readonly slot: number;
  readonly offset: number;
  readonly segment: Segment;
  readonly remoteSlot: number;
  readonly generation: number;
  readonly remoteOffset: number;
  readonly bytes: number;
  /** The checksum that the bytes must have where they arrive; null: not checked. */
  readonly crc: number | null;
  /** Report the checksum. */
  readonly sum: boolean;
  /** Before what is not. */
  readonly urgent: boolean;
  /** For all attempts together. */
  readonly deadlineNs: number;
}

export interface MoveEnd {
  readonly status: Status;
  /** Of the bytes where they arrived; null: not asked for, or the rail could not tell. */
  readonly crc: number | null;
  /** Asked for, but the rail could not tell (a WRITE over a fabric). */
  readonly unverified: boolean;
  readonly durationNs: number;
  readonly attempts: number;
  /** Per slice, in order: whether it has arrived. */
  readonly slices: readonly boolean[];
  /** Operations are still open on the slot: it must not be reused before `onReleased`. */
  readonly quarantined: boolean;
}

/** Kept for the next move when it has ended, if it is of one slice: most are. */
export interface Job extends Attempt {
  move: Move;
  ended: (end: MoveEnd) => void;
  startNs: number;
  readonly done: boolean[];
  attempts: number;
  /** Of the attempt under way; null before the first. */
  route: Route | null;
}

/** Errors that another attempt may mend. */
export const RETRY: ReadonlySet<Status> = new Set([
  Status.peerUnreachable,
  Status.peerReset,
  Status.timedOut,
  Status.cancelled,
  Status.railDown,
  Status.systemError,
  Status.unsupported,
  Status.notRegistered,
  Status.notPermitted,
]);
/** The kind does not reach the peer at all. */
export const WRONG_KIND: ReadonlySet<Status> = new Set([
  Status.unsupported,
  Status.notPermitted,
  Status.notRegistered,
]);

/** Ends of moves of one slice. */
export const ARRIVED: readonly boolean[] = [true];
export const NOT_ARRIVED: readonly boolean[] = [false];

export function newJob(move: Move, ended: (end: MoveEnd) => void, slices: number): Job {
  return {
    move,
    ended,
    startNs: 0,
    done: new Array<boolean>(slices).fill(false),
    attempts: 0,
    route: null,
    slices: FIRST,
    ownRails: FIRST,
    peerRails: FIRST,
    aheadOwn: [0],
    aheadPeer: [0],
  };
}
