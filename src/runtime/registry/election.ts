/**
 * Who leads: the one whose entry stands. The entry's revision is the term, so that whatever a
 * former leader still sends carries a lower one and is refused (CORE.md, protocol 10).
 */
import { ABSENT, type Lease, type Registry, type Watch } from './registry.ts';

export interface Leadership {
  /** Grows from leader to leader. */
  readonly term: number;
  /** Settles when it is lost: stop at once. */
  readonly lost: Promise<void>;
  /** Hands it to the next candidate. */
  resign(): Promise<void>;
}

export interface Campaign {
  /** Settles when this candidate leads; never, once it is cancelled. */
  readonly elected: Promise<Leadership>;
  cancel(): Promise<void>;
}

/** Stands for election under `key`, with `value` for others to read. */
export function campaign(registry: Registry, key: string, value: string, ttlMs: number): Campaign {
  let cancelled = false;
  let waiting: Watch | null = null;
  let wake = () => {};
  let held: Lease | null = null;

  /** Until nobody leads. */
  const vacancy = async () => {
    const vacant = new Promise<void>((resolve) => {
      wake = resolve;
    });
    waiting = await registry.watch(key, (entries) => {
      if (!entries.has(key)) wake();
    });
    await vacant;
    await waiting.close();
    waiting = null;
  };

  const stand = async (): Promise<Leadership> => {
    for (;;) {
      const lease = await registry.lease(ttlMs);
      held = lease;
      const term = cancelled ? null : await lease.put(key, value, ABSENT);
      if (term !== null) return { term, lost: lease.lost, resign: () => lease.end() };
      await lease.end();
      if (cancelled) return new Promise(() => {});
      await vacancy();
    }
  };

  const elected = stand().catch((error: unknown) => {
    if (cancelled) return new Promise<Leadership>(() => {});
    throw error;
  });
  return {
    elected,
    cancel: async () => {
      cancelled = true;
      wake();
      await waiting?.close();
      await held?.end();
    },
  };
}
