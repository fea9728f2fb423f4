/** What the logs of a cluster say of each other: whatever a machine was told somebody has sent. */
import { createHash } from 'node:crypto';
import { encode } from '../../src/core/codec.ts';
import { AddressBook, type Topology } from '../../src/core/topology.ts';
import { type LogFile, logFiles, readLog } from '../../src/runtime/live/fact-log-reader.ts';

/** Messages that were heard, and those that no log of their sender has. */
export interface Heard {
  readonly messages: number;
  readonly unsent: readonly string[];
}

/** Of all lives of all machines: a message is known by who, to whom and what. */
export function heard(folder: string, topology: Topology): Heard {
  const addresses = new AddressBook(topology);
  const files = logFiles(folder);
  const sent = new Map<string, number>();
  for (const [file, { entry }] of factsOf(files)) {
    for (const [verb, to, message] of entry.commands) {
      if (verb !== 'send') continue;
      const key = keyOf(addresses.find(file.machine), to as number, message);
      sent.set(key, (sent.get(key) ?? 0) + 1);
    }
  }
  let messages = 0;
  const unsent: string[] = [];
  for (const [{ machine, member, incarnation }, { entry, number }] of factsOf(files)) {
    const { from, body } = entry.fact;
    const to = addresses.find(machine);
    // What a host says to its own machines comes from themselves.
    if (from === to) continue;
    messages++;
    const key = keyOf(from, to, body);
    const left = sent.get(key) ?? 0;
    sent.set(key, left - 1);
    if (left > 0) continue;
    const place = `fact ${number} of ${machine} in ${member}.${incarnation}`;
    unsent.push(`${place}: ${body.kind} of ${addresses.name(from)}`);
  }
  return { messages, unsent };
}

function* factsOf(files: readonly LogFile[]) {
  for (const file of files) {
    for (const item of readLog(file.path)) if (item.kind === 'fact') yield [file, item] as const;
  }
}

function keyOf(from: number, to: number, message: unknown): string {
  return createHash('sha1')
    .update(encode([from, to, message]))
    .digest('base64');
}
