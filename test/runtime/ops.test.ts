/** What a live cluster shows its operators, while it serves. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { AddressBook, CONDUCTOR } from '../../src/core/topology.ts';
import { METRICS } from '../../src/runtime/ops/metric-list.ts';
import { allRules, SECTIONS } from '../../src/runtime/ops/monitoring.ts';
import { Peers, until } from '../support/links.ts';
import { type LiveMembers, liveMembers, TOKEN } from '../support/live-members.ts';
import { describeNative } from '../support/native.ts';
import { parseScrape, type Scrape } from '../support/prometheus.ts';
import { traceOf } from '../support/tiny.ts';

/** Conversations of three turns over 512-token blocks. */
function conversations() {
  const rows = Array.from({ length: 30 }, (_, i) => {
    const [conversation, turn] = [i % 10, Math.floor(i / 10)];
    const blocks = Array.from({ length: 4 + turn }, (_, k) => 10 * conversation + k);
    return {
      atNs: turn * 60e9 + conversation * 1e9,
      blocks,
      inputTokens: blocks.length * 512,
      outputTokens: 8,
    };
  });
  return { ...traceOf(rows), blockTokens: 512 };
}

describeNative('operations of a live cluster', () => {
  let live: LiveMembers;
  const scrapes = new Map<string, Scrape>();
  beforeAll(async () => {
    live = await liveMembers(conversations(), 3);
    await live.play();
    // Rates, alerts and the registry's answer are there after the first second.
    await new Promise((resolve) => setTimeout(resolve, 1300));
    for (const member of [live.ingress, live.conductor, ...live.agents]) {
      scrapes.set(member.name, parseScrape(await get(member.http, '/metrics')));
    }
  }, 60_000);
  afterAll(() => live?.close());

  it.each(['ingress', 'conductor-0', 'node-0'])('%s exports every metric of its role', (name) => {
    const role = name === 'ingress' ? 'ingress' : name === 'conductor-0' ? 'conductor' : 'agent';
    const found = scrapes.get(name)!;
    const expected = Object.values(METRICS).filter(({ roles }) =>
      (roles as readonly string[]).includes(role),
    );
    expect([...found.families.keys()].sort()).toEqual(expected.map((m) => m.name).sort());
    for (const { name: metric, type, labels } of expected) {
      expect(found.families.get(metric)?.type, metric).toBe(type);
      const common = role === 'agent' ? ['member', 'model_name', 'node'] : ['member', 'model_name'];
      for (const sample of found.samples.filter((s) => s.family === metric)) {
        const own = Object.keys(sample.labels).filter((label) => label !== 'le');
        expect(own.sort(), metric).toEqual([...common, ...labels].sort());
      }
    }
  });

  it('counts what was served, the same at the conductor and at the agents', () => {
    const over = (metric: string, labels: Record<string, string> = {}) =>
      live.agents.reduce((sum, { name }) => sum + scrapes.get(name)!.value(metric, labels), 0);
    const conductor = scrapes.get('conductor-0')!;
    const tokens = 30 * 5 * 512;
    expect(conductor.value('moontide_requests_arrived_total')).toBe(30);
    expect(conductor.value('moontide_requests_ended_total', { outcome: 'completed' })).toBe(30);
    expect(over('vllm:time_to_first_token_seconds_count')).toBe(30);
    expect(over('vllm:e2e_request_latency_seconds_count')).toBe(30);
    expect(over('vllm:generation_tokens_total')).toBe(30 * 8);
    expect(over('vllm:prompt_tokens_total')).toBe(tokens);
    expect(over('vllm:prefix_cache_queries_total')).toBe(tokens);
    const sources = ['hbm', 'dram', 'ssd', 'peer', 'miss'].map((source) =>
      over('moontide_prompt_tokens_by_source_total', { source }),
    );
    expect(sources.reduce((sum, n) => sum + n, 0)).toBe(tokens);
    expect(over('vllm:prefix_cache_hits_total')).toBe(tokens - sources[4]);
    expect(over('vllm:prefix_cache_hits_total')).toBeGreaterThan(0);
    expect(over('vllm:num_requests_running')).toBe(0);
    expect(over('vllm:inter_token_latency_seconds_count')).toBe(30 * 7);
    // Distinct blocks: ten conversations of six.
    expect(conductor.value('master_key_count')).toBeGreaterThanOrEqual(60);
    const used = over('moontide_tier_used_bytes', { tier: 'dram' });
    expect(conductor.value('master_allocated_bytes')).toBe(used);
    expect(conductor.value('master_active_clients')).toBe(3);
    expect(over('moontide_wrong_blocks_total')).toBe(0);
    expect(over('moontide_rail_bytes_total', { rail: 'local0' })).toBeGreaterThan(0);
    expect(conductor.value('moontide_term')).toBeGreaterThan(0);
    expect(conductor.value('moontide_decision_seconds_count')).toBe(30);
  });

  it('has histograms whose buckets grow to their count', () => {
    for (const { samples } of scrapes.values()) {
      const last = new Map<string, number>();
      for (const { name, labels, value } of samples) {
        if (!name.endsWith('_bucket')) continue;
        const { le, ...rest } = labels;
        const series = `${name} ${JSON.stringify(rest)}`;
        expect(value, `${series} ${le}`).toBeGreaterThanOrEqual(last.get(series) ?? 0);
        last.set(series, value);
      }
      expect(last.size).toBeGreaterThan(0);
    }
  });

  it('exports all that the dashboard and the rules ask for, with the labels that they use', () => {
    const exported = new Map<string, Set<string>>();
    for (const { samples } of scrapes.values()) {
      for (const { name, labels } of samples) {
        const known = exported.get(name) ?? new Set();
        exported.set(name, known);
        for (const label of Object.keys(labels)) known.add(label);
      }
    }
    const asked = [
      ...allRules().map(({ expr }) => expr),
      ...SECTIONS.flatMap(({ panels }) => panels.flatMap(({ curves }) => curves)).map(
        (c) => c.expr,
      ),
    ];
    for (const expr of asked) {
      const names = metricsIn(expr);
      expect(names.length, expr).toBeGreaterThan(0);
      for (const name of names) expect([...exported.keys()], expr).toContain(name);
      const labels = new Set(names.flatMap((name) => [...exported.get(name)!]));
      for (const label of labelsIn(expr)) expect([...labels], expr).toContain(label);
    }
  });

  it('says how the cluster is', async () => {
    const health = JSON.parse(await get(live.ingress.http, '/healthz'));
    const ready = JSON.parse(await get(live.agents[0].http, '/readyz'));
    expect([health, ready]).toEqual([{ ok: true }, { ready: true, why: '' }]);
    const status = JSON.parse(await get(live.conductor.http, '/status'));
    expect(status).toMatchObject({ leader: 'conductor-0', requests: { completed: 30 } });
    expect(status.nodes).toHaveLength(3);
    for (const node of status.nodes) expect(node.health).toBe('ok');
    expect(status.alerts.map(({ metric }: { metric: string }) => metric)).toEqual([
      'hit.tokensRatio',
      'transferNs.p99',
      'cpuRatio',
      'memoryRatio',
    ]);
    const agent = JSON.parse(await get(live.agents[0].http, '/status'));
    expect(agent.tiers[0]).toMatchObject({ tier: 'dram' });
    expect(agent.rails[0]).toMatchObject({ rail: 'local0', cause: '' });
    const cluster = JSON.parse(await get(live.conductor.http, '/v1/cluster'));
    expect(cluster.members.map(({ name }: { name: string }) => name).sort()).toEqual([
      'conductor-0',
      'ingress',
      'node-0',
      'node-1',
      'node-2',
    ]);
    for (const { http } of cluster.members) expect(http).toMatch(/^127\.0\.0\.1:\d+$/);
    const nodes = JSON.parse(await get(live.conductor.http, '/v1/nodes'));
    expect(nodes[2].instances[0].roles).toEqual(['decode']);
  });

  it('says where a request would go, and decides nothing by it', async () => {
    const ask = (body: unknown) => post(live.conductor.http, '/v1/route', JSON.stringify(body));
    const before = await get(live.conductor.http, '/status');
    const known = JSON.parse(await ask({ blocks: [0, 1, 2, 3], outputTokens: 4 }));
    expect(known.cachedTokens).toBe(4 * 512 - 1);
    expect(known.candidates).toHaveLength(2);
    expect(known.decodeInstance).toBe('decode-0');
    const fresh = JSON.parse(await ask({ inputTokens: 10_000 }));
    expect(fresh.cachedTokens).toBe(0);
    expect(fresh.ttftMs).toBeGreaterThan(known.ttftMs);
    expect(JSON.parse(await get(live.conductor.http, '/status')).requests).toEqual(
      JSON.parse(before).requests,
    );
    for (const [body, why] of [
      [[], /found no object/],
      [{}, /inputTokens: found 0/],
      [{ blocks: [-1] }, /block ids below/],
      [{ blocks: [1e9] }, /block ids below/],
      [{ blocks: [1], inputTokens: 513 }, /found 513 for 1 blocks of 512/],
      [{ inputTokens: 1.5 }, /found 1.5/],
      [{ tokens: 1 }, /found tokens, expected/],
    ] as const) {
      expect(JSON.parse(await ask(body)).error).toMatch(why);
    }
  });

  it('ends the channel of who speaks for the machines of another, and serves on', async () => {
    const endpoint = live.ingress.membership.get('conductor-0')?.endpoint ?? '';
    const before = await get(live.conductor.http, '/metrics');
    const peers = new Peers();
    const liar = await peers.add('node-9', { token: TOKEN, endpointOf: () => endpoint });
    const store = new AddressBook(live.conductor.plan.plan.topology).store(1);
    const blocks = { stored: [4000], removed: [] };
    const delta = { kind: 'delta', node: 1, tier: 1, instance: -1, sequence: 99, ...blocks };
    liar.links.send('conductor-0', ['message', store, CONDUCTOR, delta]);
    await until(() => liar.resets.length === 1);
    const keys = (text: string) => parseScrape(text).value('master_key_count');
    const after = await get(live.conductor.http, '/metrics');
    expect(keys(after)).toBe(keys(before));
    expect(parseScrape(after).value('moontide_link_nonsense_total')).toBe(1);
    expect(JSON.parse(await get(live.conductor.http, '/readyz')).ready).toBe(true);
    await peers.close();
  });

  it('refuses what is too long, no JSON, elsewhere, or by another Host', async () => {
    const { http } = live.conductor;
    expect(await post(http, '/v1/route', '{')).toMatch(/found no JSON/);
    expect(await post(http, '/v1/route', 'x'.repeat((1 << 20) + 1))).toMatch(/longer body/);
    expect(await post(http, '/metrics', '')).toMatch(/found POST/);
    expect(await get(http, '/etc/passwd')).toMatch(/not found/);
    expect(await get(http, '/status', { host: 'evil.example' })).toMatch(/another Host/);
  });
});

/** Names of metrics in PromQL as it is written here: whatever is no function, word or label. */
function metricsIn(expr: string): string[] {
  const bare = expr.replace(/\{[^}]*\}|\b(by|on) \([^)]*\)|\bon\([^)]*\)|\[[^\]]*\]/g, '');
  const words = bare.match(/[a-zA-Z_:][a-zA-Z0-9_:]*(?!\w*\()/g) ?? [];
  return words.filter((word) => !['or', 'and', 'sum', 'max', 'by', 'on'].includes(word));
}

function labelsIn(expr: string): string[] {
  const grouped = [...expr.matchAll(/\b(?:by|on) ?\(([^)]*)\)/g)].flatMap(([, list]) =>
    list.split(/, */),
  );
  const selected = [...expr.matchAll(/[{,]\s*(\w+)\s*(?:=~|!=|=)/g)].map(([, label]) => label);
  return [...grouped, ...selected];
}

async function get(at: string | null, path: string, headers: Record<string, string> = {}) {
  return call(at, path, 'GET', headers, null);
}

async function post(at: string | null, path: string, body: string) {
  return call(at, path, 'POST', {}, body);
}

async function call(
  at: string | null,
  path: string,
  method: string,
  headers: Record<string, string>,
  body: string | null,
): Promise<string> {
  const { request } = await import('node:http');
  const [host, port] = (at ?? '').split(':');
  return new Promise((resolve, reject) => {
    const asked = request({ host, port, path, method, headers }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => resolve(text));
    });
    asked.on('error', reject);
    asked.end(body);
  });
}
