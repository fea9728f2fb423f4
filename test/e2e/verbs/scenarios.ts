/** What the guest tells the test. */

/** Moves by their outcome. */
export interface Tally {
  intact: number;
  /** Reported as failed. */
  failed: number;
  /** Reported as moved, with other bytes. */
  corrupt: number;
  /** Ended after their deadline and its grace. */
  late: number;
}

export interface OneMachine {
  readonly plain: {
    readonly slots: number;
    readonly read: number;
    readonly written: number;
    readonly readBytes: readonly number[];
    readonly details: readonly string[];
  };
  readonly flap: Tally & { readonly reopened: number };
  readonly kill: Tally & { readonly busySlots: number };
  readonly clean: boolean;
}

/** Names of the tests of the conformance suite. */
export interface Suite {
  readonly ran: readonly string[];
  readonly failed: readonly string[];
}

export interface Lossy {
  readonly reads: Tally;
  readonly writes: Tally;
  /** Packets that node 0 did not get out. */
  readonly dropped: number;
  readonly clean: boolean;
}
