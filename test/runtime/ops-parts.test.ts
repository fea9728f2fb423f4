/** Parts of operations: alerts, health, working sets, histograms, what is open to whom. */
import { describe, expect, it } from 'vitest';
import {
  Alerts,
  type Figures,
  nameOf,
  rulesOf,
  type Sample,
} from '../../src/runtime/ops/alerts.ts';
import { Exposition, Histogram, quantile, SECONDS } from '../../src/runtime/ops/exposition.ts';
import { NodeHealth } from '../../src/runtime/ops/health.ts';
import { HttpFace, json } from '../../src/runtime/ops/http-face.ts';
import { WorkingSet } from '../../src/runtime/ops/working-set.ts';
import { parseScrape } from '../support/prometheus.ts';

const FIGURES: Figures = {
  bytesFor: (share) => (share > 0.9 ? null : 5e9),
  reusedShare: 0.88,
  dramBytes: 2e9,
  railNames: ['tcp0', 'tcp1'],
  residentBytes: 3e9,
};

/** A second in which nothing is wrong. */
function sample(second: number, given: Partial<Sample> = {}): Sample {
  return {
    atMs: second * 1000,
    lookedUpTokens: 1000 * second,
    hitTokens: 900 * second,
    arrived: second,
    rejected: 0,
    transfers: counts(),
    ttft: counts(),
    gaps: counts(),
    hostCpuRatio: 0.1,
    hostMemoryRatio: 0.2,
    railBytes: [second * 1e9, second * 2e9],
    ...given,
  };
}

function counts(...seconds: readonly number[]): Float64Array {
  const histogram = new Histogram();
  for (const s of seconds) histogram.add(s);
  return histogram.counts;
}

const of = (alerts: Alerts, metric: string) =>
  alerts.states(FIGURES).find((state) => state.metric === metric)!;

describe('alerts', () => {
  it('are the four of the mission, unless the configuration says otherwise', () => {
    expect(rulesOf([]).map(nameOf)).toEqual([
      'hit.tokensRatio < 0.85',
      'transferNs.p99 > 100000000',
      'cpuRatio > 0.7',
      'memoryRatio > 0.8',
    ]);
    const own = [
      { metric: 'cpuRatio', above: 0.5, for: 0 },
      { metric: 'ttftNs.p99', above: 30e9, for: 0 },
    ];
    expect(rulesOf(own).map(nameOf)).toEqual([
      'cpuRatio > 0.5',
      'ttftNs.p99 > 30000000000',
      'hit.tokensRatio < 0.85',
      'transferNs.p99 > 100000000',
      'memoryRatio > 0.8',
    ]);
  });

  it('wait until the rule has held for long enough, and go when it does not hold', () => {
    const alerts = new Alerts([{ metric: 'cpuRatio', above: 0.7, for: 3e9 }]);
    const states = [0.1, 0.8, 0.8, 0.8, 0.8, 0.1, 0.8].map((hostCpuRatio, second) => {
      alerts.add(sample(second, { hostCpuRatio }));
      return of(alerts, 'cpuRatio').state;
    });
    expect(states).toEqual(['ok', 'pending', 'pending', 'pending', 'firing', 'ok', 'pending']);
  });

  it('look at the last minute alone', () => {
    const alerts = new Alerts([{ metric: 'hit.tokensRatio', below: 0.85, for: 0 }]);
    // A bad first minute, then a good one.
    for (let second = 0; second <= 60; second++) alerts.add(sample(second, { hitTokens: 0 }));
    expect(of(alerts, 'hit.tokensRatio')).toMatchObject({ state: 'firing', value: 0 });
    for (let second = 61; second <= 120; second++) {
      alerts.add(sample(second, { hitTokens: 900 * (second - 60) }));
    }
    expect(of(alerts, 'hit.tokensRatio')).toMatchObject({ state: 'ok', value: 0.9 });
  });

  it('say nothing of what did not happen, and name metrics that are none', () => {
    const alerts = new Alerts([{ metric: 'goodputPerSec', below: 1, for: 0 }]);
    alerts.add(sample(0));
    alerts.add(sample(1, { lookedUpTokens: 0, hitTokens: 0 }));
    expect(of(alerts, 'hit.tokensRatio')).toMatchObject({ state: 'ok', value: null });
    expect(of(alerts, 'transferNs.p99')).toMatchObject({ state: 'ok', value: null });
    expect(of(alerts, 'goodputPerSec')).toMatchObject({ state: 'unknown', value: null });
  });

  it('advise with the figure behind it', () => {
    const alerts = new Alerts([]);
    const slow = counts(...new Array(100).fill(0.2));
    alerts.add(sample(0, { hitTokens: 0 }));
    const bad = { hitTokens: 500, transfers: slow, hostCpuRatio: 0.9, hostMemoryRatio: 0.91 };
    alerts.add(sample(1, bad));
    const advice = (metric: string) => of(alerts, metric).advice;
    expect(advice('hit.tokensRatio')).toBe(
      'the working set seen needs 5.00 GB at 85.0 %, there are 2.00 GB: raise ' +
        'cluster.groups[].dram or add nodes (moontide cache TRACE --target 0.85)',
    );
    expect(advice('transferNs.p99')).toMatch(
      /^p99 is 249 ms; rail tcp1 carries 2.00 GB\/s, 100 % of its best second: add rails/,
    );
    expect(advice('cpuRatio')).toMatch(/^90.0 % of the cores are busy/);
    expect(advice('memoryRatio')).toMatch(
      /^91.0 % of the memory is in use, 3.00 GB by this process, whose DRAM tier has 2.00 GB/,
    );
    const strict = new Alerts([{ metric: 'hit.tokensRatio', below: 0.95, for: 0 }]);
    strict.add(sample(0));
    strict.add(sample(1));
    expect(of(strict, 'hit.tokensRatio').advice).toMatch(
      /^of the block uses seen 88.0 % are not the first, so no cache reaches 95.0 %/,
    );
  });
});

describe('the health of nodes', () => {
  it('is ok, suspect after a reset, gone with the lease', () => {
    const health = new NodeHealth(2, 5000, 0);
    const is = (nowMs: number) => health.states(nowMs).map(({ health: of }) => of);
    expect(is(0)).toEqual(['gone', 'gone']);
    const member = (node: number, incarnation = 0) => ({ node, name: `n${node}`, incarnation });
    health.members([member(0), member(1)], 100);
    expect(is(100)).toEqual(['ok', 'ok']);
    health.reset('n1', 'the connection broke', 200);
    expect(health.states(1200)[1]).toMatchObject({
      health: 'suspect',
      sinceMs: 1000,
      why: 'the connection broke',
    });
    // It is still a member when its lease would have run out: it was a break, no death.
    expect(is(5201)).toEqual(['ok', 'ok']);
    health.members([member(0)], 6000);
    expect(health.states(7000)[1]).toMatchObject({ health: 'gone', sinceMs: 1000, why: 'left' });
    health.reset('n1', 'x', 7000);
    health.members([member(0), member(1, 1)], 7100);
    expect(health.states(7100)[1]).toMatchObject({ health: 'ok', incarnation: 1 });
  });
});

describe('a working set', () => {
  it('is as large as the loop that is played', () => {
    const set = new WorkingSet();
    const blocks = 20_000;
    for (let round = 0; round < 4; round++) {
      for (let block = 0; block < blocks; block++) set.use(block);
    }
    expect(set.reusedShare).toBeCloseTo(0.75, 2);
    expect(set.blocksFor(0.9)).toBeNull();
    const needed = set.blocksFor(0.7) ?? 0;
    // Bins are an eighth of an octave wide; one block in 32 is followed.
    expect(needed).toBeGreaterThan(0.85 * blocks);
    expect(needed).toBeLessThan(1.2 * blocks);
    expect(set.distinctBlocks).toBeGreaterThan(0.9 * blocks);
  });

  it('forgets what was not used for long, and stays small', () => {
    const set = new WorkingSet();
    for (let block = 0; block < 4_000_000; block++) set.use(block);
    expect(set.distinctBlocks).toBe(16_384 * 32);
    expect(set.reusedShare).toBe(0);
    for (let block = 3_999_000; block < 4_000_000; block++) set.use(block);
    expect(set.reusedShare).toBeGreaterThan(0);
    expect(set.blocksFor(1e-6)).toBeLessThan(1300);
  });
});

describe('histograms', () => {
  it('have quantiles within the bucket of the true one', () => {
    const values = Array.from({ length: 1000 }, (_, i) => 0.001 * (i + 1));
    const histogram = new Histogram();
    for (const value of values) histogram.add(value);
    for (const share of [0.01, 0.5, 0.9, 0.99]) {
      const truth = values[Math.ceil(share * 1000) - 1];
      const upper = SECONDS.find((bound) => bound >= truth)!;
      const lower = SECONDS[SECONDS.indexOf(upper) - 1];
      const found = quantile(histogram.counts, share)!;
      expect(found).toBeGreaterThan(lower);
      expect(found).toBeLessThanOrEqual(upper);
    }
    expect(quantile(new Histogram().counts, 0.5)).toBeNull();
    expect(quantile(counts(1e6), 0.5)).toBe(SECONDS.at(-1));
  });

  it('are written so that Prometheus reads them, whatever labels hold', () => {
    const metric = {
      name: 'x_seconds',
      type: 'histogram',
      help: 'a "b" \\ c\nd',
      labels: ['kind'],
      roles: ['agent'],
    } as const;
    const histogram = new Histogram();
    histogram.add(0.3);
    histogram.add(1e9, 2);
    const out = new Exposition({ member: 'a"b\\c\nd' });
    out.histograms(metric, [[['k'], histogram]]);
    const scrape = parseScrape(out.text());
    expect(scrape.value('x_seconds_bucket', { le: '0.25' })).toBe(0);
    expect(scrape.value('x_seconds_bucket', { le: '0.5' })).toBe(1);
    expect(scrape.value('x_seconds_bucket', { le: '+Inf' })).toBe(3);
    expect(scrape.value('x_seconds_count', { member: 'a"b\\c\nd' })).toBe(3);
    expect(scrape.value('x_seconds_sum')).toBe(2e9 + 0.3);
  });
});

describe('the HTTP face beyond loopback', () => {
  const routes = new Map([['GET /status', () => json({ fine: true })]]);
  const token = '0123456789abcdef01234567';

  it('needs a token or TLS', () => {
    const open = (security: { token: string | null; tls: null }) => () =>
      new HttpFace('0.0.0.0:0', security, routes);
    expect(open({ token: null, tls: null })).toThrow(/--http: found 0.0.0.0:0 with no token/);
    expect(open({ token: 'short', tls: null })).toThrow(/can be guessed/);
  });

  it('asks for the token', async () => {
    const face = new HttpFace('0.0.0.0:0', { token, tls: null }, routes);
    const at = (await face.listen()).replace('0.0.0.0', '127.0.0.1');
    try {
      const ask = (headers: Record<string, string>) => fetch(`http://${at}/status`, { headers });
      expect((await ask({})).status).toBe(401);
      expect((await ask({ authorization: 'Bearer wrong' })).status).toBe(401);
      const answer = await ask({ authorization: `Bearer ${token}` });
      expect(await answer.json()).toEqual({ fine: true });
    } finally {
      await face.close();
    }
  });
});
