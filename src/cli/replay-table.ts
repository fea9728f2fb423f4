/** The table after a replay: is it good, and where does the time go? */
import type { Distribution } from '../metrics/select.ts';
import type { Replay } from '../study/replay.ts';
import { bar, bytes, duration, integer, percent } from './format.ts';
import { paint, table } from './table.ts';

const BAR_CHARS = 24;
/** The column with bars. */
const BAR = [2];
/** Share of requests within the SLOs that counts as good, and as doubtful. */
const GOOD = 0.99;
const DOUBTFUL = 0.9;

export function replayTable(run: Replay): string {
  const parts = [heading(run), verdict(run), latencies(run), times(run), sources(run), busy(run)];
  return `\n${parts.filter((part) => part !== '').join('\n\n')}\n\n`;
}

function heading({ result, resolved }: Replay): string {
  const { trace, durationNs, version } = result;
  const { instances, kv } = resolved.topology;
  const count = (name: string) => instances.filter(({ roles }) => roles.join() === name).length;
  const coupled = instances.length - count('prefill') - count('decode');
  const groups = [
    ...(count('prefill') + count('decode') === 0
      ? []
      : [`${count('prefill')} prefill + ${count('decode')} decode`]),
    ...(coupled === 0 ? [] : [`${coupled} coupled`]),
  ];
  const names = resolved.policies;
  const policies = [names.prefill, names.decode, names.eviction, names.admission];
  const cluster = `${groups.join(' + ')} instances, ${kv.model}`;
  return [
    paint('bold', `${integer(trace.requests)} requests in ${duration(durationNs)} on ${cluster}`),
    paint('dim', `policies ${policies.map((p) => p.name).join(', ')} · moontide ${version}`),
  ].join('\n');
}

function verdict({ result }: Replay): string {
  const { slo, effectiveRatio, goodputPerSec, requests } = result;
  const ratio = effectiveRatio ?? 0;
  const style = ratio >= GOOD ? 'green' : ratio >= DOUBTFUL ? 'yellow' : 'red';
  const targets = `TTFT ≤ ${duration(slo.ttftNs)} and TBT ≤ ${duration(slo.tbtNs)}`;
  const met = paint(style, `${percent(effectiveRatio)} of requests met ${targets}`);
  const goodput = goodputPerSec === null ? '' : ` · goodput ${goodputPerSec.toFixed(2)}/s`;
  const { completed, rejected, failed, cancelled, inFlight, causes } = requests;
  const why = Object.entries(causes).map(([cause, n]) => `${cause} ${integer(n)}`);
  const ends = [
    `${integer(completed)} completed`,
    rejected > 0 ? `${integer(rejected)} rejected (${why.join(', ')})` : '',
    failed > 0 ? `${integer(failed)} failed` : '',
    cancelled > 0 ? `${integer(cancelled)} cancelled` : '',
    inFlight > 0 ? `${integer(inFlight)} in flight` : '',
  ];
  return `${met}${goodput}\n${ends.filter((end) => end !== '').join(', ')}`;
}

function latencies({ result }: Replay): string {
  const row = (name: string, d: Distribution) => [
    name,
    ...[d.mean, d.p50, d.p90, d.p99, d.max].map(duration),
  ];
  return table(
    ['', 'mean', 'p50', 'p90', 'p99', 'max'],
    [
      row('TTFT', result.ttftNs),
      row('TBT', result.tbtNs),
      row('TPOT', result.tpotNs),
      row('E2E', result.e2eNs),
    ],
  );
}

function times({ result }: Replay): string {
  const { breakdown } = result;
  const names = {
    queueNs: 'queue',
    transferNs: 'transfer from peers',
    loadNs: 'load into HBM',
    computeNs: 'prefill compute',
    handoffNs: 'hand-off to decode',
    decodeNs: 'decode',
  } as const;
  const keys = Object.keys(names) as (keyof typeof names)[];
  const total = keys.reduce((sum, key) => sum + (breakdown[key] ?? 0), 0);
  if (total === 0) return '';
  return table(
    ["mean request's time", '', ''],
    keys.map((key) => {
      const ns = breakdown[key] ?? 0;
      return [names[key], duration(ns), bar(ns / total, BAR_CHARS)];
    }),
    BAR,
  );
}

function sources({ result }: Replay): string {
  const { hit } = result;
  const names = {
    hbm: 'own HBM',
    dram: 'own DRAM',
    ssd: 'own SSD',
    peer: "a peer's DRAM",
    miss: 'computed',
  } as const;
  const keys = Object.keys(names) as (keyof typeof names)[];
  const total = keys.reduce((sum, key) => sum + hit.bySource[key], 0);
  if (total === 0) return '';
  const rows = keys.filter((key) => hit.bySource[key] > 0);
  return table(
    [`prompt tokens (${percent(hit.tokensRatio)} cached)`, '', ''],
    rows.map((key) => {
      const share = hit.bySource[key] / total;
      return [names[key], percent(share), bar(share, BAR_CHARS)];
    }),
    BAR,
  );
}

function busy({ result }: Replay): string {
  const rows = result.busiest.slice(0, 5);
  const { prefill, decode } = result.gpuSeconds;
  const { railsOut, hostToDevice, deviceToHost, ssdWrite = 0 } = result.bytes;
  const moved = [
    `${bytes(railsOut)} between nodes`,
    `${bytes(hostToDevice)} into HBM`,
    `${bytes(deviceToHost)} out of HBM`,
    ...(ssdWrite > 0 ? [`${bytes(ssdWrite)} written to SSD`] : []),
  ];
  const list = table(
    ['busiest resources', '', ''],
    rows.map((row) => [row.name, percent(row.utilisation), bar(row.utilisation, BAR_CHARS)]),
    BAR,
  );
  const gpu = `GPU time: ${integer(prefill)} s prefill, ${integer(decode)} s decode (whole nodes)`;
  return `${list}\n\n${gpu}\n${moved.join(', ')}`;
}
