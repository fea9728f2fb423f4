/** The workload of a live run, from the log of the ingress that played it. */
import { existsSync } from 'node:fs';
import { InputError } from '../../core/errors.ts';
import type { Message } from '../../core/messages.ts';
import type { TraceColumns } from '../../core/trace-columns.ts';
import { type LogFile, logFiles, readLog } from '../../runtime/live/fact-log-reader.ts';
import { mooncakeSha256 } from '../../trace/mooncake-writer.ts';
import { selectRows } from '../../trace/transform.ts';

/** When requests arrive: as they were to, or as the ingress sent them; in the model's time. */
export const ARRIVALS = ['planned', 'sent'] as const;
export type Arrivals = (typeof ARRIVALS)[number];

export interface FromLogOptions {
  readonly arrivals?: Arrivals;
  /** `NAME.LIFE` of the ingress, where several have played. */
  readonly ingress?: string;
}

/**
 * The requests that were sent, each once, however often it was tried.
 *
 * @throws InputError for a folder without the log of one ingress
 */
export function traceFromLog(folder: string, options: FromLogOptions = {}): TraceColumns {
  const { trace, sentNs } = sentBy(ingressLog(folder, options.ingress));
  const rows = [...sentNs.keys()].sort((a, b) => a - b);
  if (options.arrivals !== 'sent') return named(selectRows(trace, rows));
  const atNs = (row: number) => sentNs.get(row) ?? 0;
  // A turn of a conversation may have been sent later than requests that stand after it.
  rows.sort((a, b) => atNs(a) - atNs(b) || a - b);
  return named({ ...selectRows(trace, rows), arrivalNs: Float64Array.from(rows, atNs) });
}

/** With the checksum of what will be written of it. */
function named(trace: TraceColumns): TraceColumns {
  return { ...trace, sha256: mooncakeSha256(trace) };
}

function ingressLog(folder: string, ingress: string | undefined): LogFile {
  if (!existsSync(folder)) {
    throw new InputError('found no such folder, expected one with fact logs', folder);
  }
  const nameOf = ({ member, incarnation }: LogFile) => `${member}.${incarnation}`;
  const played = logFiles(folder).filter(({ machine }) => machine === 'workload');
  const [log, another] = played.filter((f) => ingress === undefined || nameOf(f) === ingress);
  const names = played.map(nameOf).join(', ');
  if (log === undefined) {
    const expected = ingress === undefined ? 'one' : `one of ${names || 'none'}`;
    throw new InputError(`found no log of an ingress, expected ${expected}`, folder);
  }
  if (another === undefined) return log;
  throw new InputError(`found several that have played, expected --ingress ${names}`, folder);
}

/** When each request was first sent, since the trace began. */
function sentBy({ path }: LogFile): { trace: TraceColumns; sentNs: Map<number, number> } {
  let trace: TraceColumns | null = null;
  let startNs: number | null = null;
  const sentNs = new Map<number, number>();
  for (const item of readLog(path)) {
    if (item.kind === 'trace') trace = item.trace;
    if (item.kind !== 'fact') continue;
    const { fact, commands } = item.entry;
    if (fact.body.kind === 'wake') startNs ??= fact.atNs;
    for (const [verb, , message] of commands) {
      if (verb !== 'send' || (message as Message).kind !== 'arrive') continue;
      const { id } = (message as Message & { kind: 'arrive' }).request;
      if (!sentNs.has(id)) sentNs.set(id, fact.atNs - (startNs ?? fact.atNs));
    }
  }
  if (trace === null) throw new InputError('found no trace, expected what was played', path);
  if (sentNs.size === 0) throw new InputError('found no request, expected at least one', path);
  return { trace, sentNs };
}
