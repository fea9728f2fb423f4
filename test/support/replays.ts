/** The law of logs: restore + replay = the run that was recorded. */
import { expect } from 'vitest';
import { type ClusterPlan, wireCluster } from '../../src/config/wire.ts';
import { encode } from '../../src/core/codec.ts';
import {
  type FactLog,
  type LoggedMachine,
  ReplayHost,
  readSegment,
  replaySegment,
} from '../../src/core/log.ts';
import { inspect } from '../../src/core/snapshot.ts';
import type { TraceColumns } from '../../src/core/trace-columns.ts';
import { headerOf } from './simulate.ts';

/**
 * Replays every segment of every machine by itself, and compares the state at its end with that of
 * the recorded machine. Answers the number of segments.
 */
export function expectReplays(
  plan: ClusterPlan,
  trace: TraceColumns,
  logs: readonly FactLog[],
  ends: readonly LoggedMachine[],
): number {
  let replayed = 0;
  for (const [address, log] of logs.entries()) {
    const segments = log.segments();
    for (const [number, segment] of segments.entries()) {
      const host = new ReplayHost();
      const machine = wireCluster(plan, trace, () => host).machines[address] as LoggedMachine;
      const header = headerOf(plan, address);
      const difference = replaySegment(segment, header, machine, host);
      const place = `${header.machine}, segment ${number}`;
      expect(difference?.message ?? null, place).toBeNull();
      const next = segments[number + 1];
      const end = next === undefined ? ends[address].snapshot() : readSegment(next).snapshot;
      expectSameState(machine.snapshot(), end, place);
      replayed++;
    }
  }
  return replayed;
}

/** Equal but for which plain objects were shared: messages arrive as copies in a replay. */
function expectSameState(found: Uint8Array, expected: Uint8Array, place: string): void {
  if (Buffer.from(found).equals(expected)) return;
  const bytes = (snapshot: Uint8Array) => Buffer.from(encode(inspect(snapshot)));
  if (bytes(found).equals(bytes(expected))) return;
  expect(inspect(found), place).toEqual(inspect(expected));
  expect.fail(`${place}: the states differ in the order of their keys`);
}
