/**
 * Replays the fact logs of a live cluster: every machine is fed the facts that it was told, and
 * each of its commands is compared with the recorded one.
 */

import { policiesText } from '../../config/policies.ts';
import { wireCluster } from '../../config/wire.ts';
import { encode } from '../../core/codec.ts';
import { InputError } from '../../core/errors.ts';
import {
  describe,
  type LogEntry,
  type LoggedMachine,
  type LogHeader,
  ReplayHost,
  replayEntry,
} from '../../core/log.ts';
import type { Settings } from '../../core/settings.ts';
import { inspect } from '../../core/snapshot.ts';
import { AddressBook } from '../../core/topology.ts';
import type { TraceColumns } from '../../core/trace-columns.ts';
import {
  type LogFile,
  type LogItem,
  logFiles,
  readLog,
} from '../../runtime/live/fact-log-reader.ts';
import { recordedPlan } from '../../runtime/live/log-manifest.ts';
import { emptyTrace, type LivePlan } from '../../runtime/live/spec.ts';
import { VERSION } from '../version.ts';
import { openShadow, type Shadow, type ShadowReport } from './shadow.ts';

export interface ReplayLogOptions {
  /** `KIND=POLICY` each. */
  readonly shadows?: readonly string[];
  readonly onProgress?: (logsDone: number, logs: number) => void;
}

export interface LogReplay {
  readonly version: string;
  /** Of Moontide, that made the logs. */
  readonly recordedBy: string;
  readonly policies: string;
  readonly machines: readonly MachineReplay[];
  /** Machines of the cluster that left no log. */
  readonly unlogged: readonly string[];
  readonly facts: number;
  readonly commands: number;
  /** Every recorded command of every machine came again. */
  readonly identical: boolean;
  readonly shadows: readonly ShadowReport[];
}

/** One machine in one life. */
export interface MachineReplay {
  readonly machine: string;
  /** The process that it was in, its life, and the machine's life in that. */
  readonly member: string;
  readonly incarnation: number;
  readonly life: number;
  readonly segments: number;
  readonly facts: number;
  readonly commands: number;
  /** Facts that a slow disk kept out of the log. */
  readonly missing: number;
  /** The machine was stopped; else its process was killed, or goes on. */
  readonly closed: boolean;
  /** Bytes of a piece that was not written to its end. */
  readonly tornBytes: number;
  readonly difference: LogDifference | null;
}

export interface LogDifference {
  /** Number of the fact in the machine's life, from 0. */
  readonly fact: number;
  readonly expected: string;
  readonly found: string;
  readonly message: string;
}

/** @throws InputError for a folder without logs, logs of another version, and damaged files */
export async function replayLogs(
  folder: string,
  options: ReplayLogOptions = {},
): Promise<LogReplay> {
  const live = await recordedPlan(folder);
  const shadows = await Promise.all((options.shadows ?? []).map(openShadow));
  checkTwice(shadows);
  const files = logFiles(folder);
  const addresses = new AddressBook(live.plan.topology);
  const machines = files.map((file, i) => {
    options.onProgress?.(i, files.length);
    return new LogReplayer(live, addresses, file, shadows).run();
  });
  const logged = new Set(files.map(({ machine }) => machine));
  const names = Array.from({ length: addresses.count }, (_, address) => addresses.name(address));
  return {
    version: VERSION,
    recordedBy: live.spec.version,
    policies: policiesText(live.plan.policies),
    machines,
    unlogged: names.filter((name) => !logged.has(name)),
    facts: machines.reduce((sum, { facts }) => sum + facts, 0),
    commands: machines.reduce((sum, { commands }) => sum + commands, 0),
    identical: machines.every(({ difference }) => difference === null),
    shadows: shadows.map((shadow) => shadow.report()),
  };
}

function checkTwice(shadows: readonly Shadow[]): void {
  const keys = shadows.map(({ key }) => key);
  const twice = keys.find((key, i) => keys.indexOf(key) < i);
  if (twice === undefined) return;
  throw new InputError(`found two policies for ${twice}, expected one of each kind`, '--shadow');
}

/**
 * One log. Each segment is replayed from its snapshot, and what it leads to must be the next one's.
 * With shadows the machine goes on instead, so that they go on as well.
 */
class LogReplayer {
  private readonly live: LivePlan;
  private readonly addresses: AddressBook;
  private readonly file: LogFile;
  private readonly shadows: readonly Shadow[];
  private trace: TraceColumns;
  private host = new ReplayHost();
  private machine: LoggedMachine | null = null;
  private segments = 0;
  private facts = 0;
  private commands = 0;
  private missing = 0;
  private difference: LogDifference | null = null;

  constructor(live: LivePlan, addresses: AddressBook, file: LogFile, shadows: readonly Shadow[]) {
    this.live = live;
    this.addresses = addresses;
    this.file = file;
    this.shadows = shadows;
    this.trace = emptyTrace(live.spec);
  }

  run(): MachineReplay {
    let closed = false;
    let tornBytes = 0;
    for (const item of readLog(this.file.path)) {
      if (item.kind === 'trace') this.trace = item.trace;
      else if (item.kind === 'segment') this.begin(item);
      else if (item.kind === 'fact') this.next(item.number, item.entry);
      else {
        closed = item.closed;
        tornBytes = item.tornBytes;
        this.missing += item.missing;
      }
    }
    const { machine, member, incarnation, life } = this.file;
    const { segments, facts, commands, missing, difference } = this;
    const ended = { missing, closed, tornBytes, difference };
    return { machine, member, incarnation, life, segments, facts, commands, ...ended };
  }

  private begin({ header, snapshot, missing }: LogItem & { kind: 'segment' }): void {
    this.segments++;
    this.missing += missing;
    if (this.difference !== null) return;
    this.check(header);
    const { machine, shadows } = this;
    if (machine !== null && missing === 0) {
      if (shadows.length > 0) return;
      this.compareState(machine.snapshot(), snapshot);
    }
    this.machine = this.make(header);
    this.machine.restore(snapshot);
    if (missing > 0) for (const shadow of shadows) shadow.gap();
  }

  private check(header: LogHeader): void {
    const { plan } = this.live;
    const expected = { machine: this.file.machine, seed: plan.seed };
    const policies = policiesText(plan.policies);
    for (const [key, value] of Object.entries({ ...expected, policies })) {
      const found = header[key as keyof LogHeader];
      if (found === value) continue;
      const wrong = `a log with ${key} ${describe(found)}`;
      throw new InputError(`found ${wrong}, expected ${describe(value)}`, this.file.path);
    }
  }

  private make({ machine, configuration, incarnation }: LogHeader): LoggedMachine {
    const address = this.addresses.find(machine);
    if (address < 0) {
      const found = `a log of ${machine}`;
      throw new InputError(`found ${found}, which the cluster does not have`, this.file.path);
    }
    this.host = new ReplayHost();
    let plan = { ...this.live.plan, settings: configuration as Settings };
    for (const shadow of this.shadows) plan = shadow.watch(plan, machine);
    const cluster = wireCluster(plan, this.trace, () => this.host, incarnation);
    return cluster.machines[address] as LoggedMachine;
  }

  private next(number: number, entry: LogEntry): void {
    this.facts++;
    this.commands += entry.commands.length;
    if (this.difference !== null || this.machine === null) return;
    for (const shadow of this.shadows) {
      shadow.fact = number;
      shadow.atNs = entry.fact.atNs;
    }
    const difference = replayEntry(this.machine, this.host, entry, number);
    for (const { failure } of this.shadows) if (failure !== null) throw failure;
    if (difference === null) return;
    const { expected, found, message } = difference;
    this.difference = {
      fact: number,
      expected: describe(expected ?? 'no more commands'),
      found: describe(found ?? 'no more commands'),
      message,
    };
  }

  /** Equal but for which plain objects were shared: facts come as copies in a replay. */
  private compareState(found: Uint8Array, expected: Uint8Array): void {
    const plain = (bytes: Uint8Array) => inspect(bytes) as Record<string, unknown>;
    if (Buffer.from(found).equals(expected)) return;
    const [a, b] = [plain(found), plain(expected)];
    const differs = Object.keys(b).filter((key) => !sameBytes(a[key], b[key]));
    if (differs.length === 0) return;
    const message = `the state before fact ${this.facts} differs in ${differs.join(', ')}`;
    this.difference = {
      fact: this.facts,
      expected: 'the recorded state',
      found: `another ${differs.join(', ')}`,
      message,
    };
  }
}

function sameBytes(a: unknown, b: unknown): boolean {
  return Buffer.from(encode(a)).equals(encode(b));
}
