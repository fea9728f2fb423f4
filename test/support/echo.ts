/** A machine for tests of logs: sends a cancel for every wake, numbered. */
import type { Host } from '../../src/core/host.ts';
import { type Log, type LogHeader, recordHost, recordMachine } from '../../src/core/log.ts';
import type { Fact } from '../../src/core/messages.ts';
import { Restorable } from '../../src/core/snapshot.ts';

export const ECHO_HEADER: LogHeader = {
  machine: 'store7',
  incarnation: 1,
  seed: 7,
  policies: 'eviction=lru',
  configuration: { chunkTokens: 64 },
};

export class Echo extends Restorable {
  readonly world: { readonly host: Host };
  private count = 0;

  constructor(host: Host) {
    super();
    this.world = { host };
  }

  handle({ atNs, body }: Fact): void {
    if (body.kind !== 'wake') return;
    const { host } = this.world;
    host.send(1, { kind: 'cancel', request: ++this.count, attempt: 0 });
    if (body.token % 3 === 0) host.wakeAt(atNs + 10, body.token);
  }
}

/** Tells a recorded machine that it is awake, `count` times; times and tokens count on. */
export function echoInto(log: Log): (count: number) => void {
  const nothing = new Proxy({} as Host, { get: () => () => {} });
  const machine = recordMachine(new Echo(recordHost(nothing, log)), log);
  let told = 0;
  return (count) => {
    for (const until = told + count; told < until; told++) {
      machine.handle({ atNs: 100 * told, from: 3, body: { kind: 'wake', token: told } });
    }
  };
}
