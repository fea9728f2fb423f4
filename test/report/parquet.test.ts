/** Parquet files: what is written is read again, and DuckDB sees the documented types and sums. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Column, Table } from '../../src/metrics/table.ts';
import { METRICS } from '../../src/metrics/timeseries.ts';
import { readParquet, writeParquet } from '../../src/report/parquet.ts';
import { readRun, writeRun } from '../../src/report/run-folder.ts';
import { type Replay, replay } from '../../src/study/replay.ts';

describe('a table', () => {
  const numbers = (value: fc.Arbitrary<number>) =>
    fc.option(value, { nil: Number.NaN }) as fc.Arbitrary<number>;
  const int = (bits: number) => fc.integer({ min: -(2 ** bits), max: 2 ** bits - 1 });
  const row = fc.record({
    int32: numbers(int(31)),
    int64: numbers(int(52)),
    double: numbers(fc.double({ noNaN: true })),
    boolean: numbers(fc.constantFrom(0, 1)),
    string: fc.string(),
  });

  it('is read as it was written', async () => {
    const back = fc.asyncProperty(fc.array(row, { maxLength: 50 }), async (rows) => {
      const column = (type: Column['type']): Column => ({
        name: `a_${type}`,
        type,
        doc: `of type ${type}`,
        values:
          type === 'string'
            ? rows.map(({ string }) => string)
            : Float64Array.from(rows, (r) => r[type]),
      });
      const types = ['int32', 'int64', 'double', 'boolean', 'string'] as const;
      const table: Table = { rows: rows.length, columns: types.map(column) };
      expect(await readParquet(writeParquet(table, { a: 'b' }), 'x')).toEqual(table);
    });
    await fc.assert(back);
  });

  it('that is none is bad input', async () => {
    const bytes = Buffer.from('PAR1 but not for long PAR1');
    await expect(readParquet(bytes, 'x.parquet')).rejects.toThrow(/^x\.parquet: found no table/);
  });
});

describe('the tables of a run, in DuckDB', () => {
  let folder = '';
  let run: Replay;
  let db: DuckDBConnection;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'moontide-'));
    // Overloaded, so that some are rejected.
    run = await replay({ trace: 'demo', limit: 1500, rate: 6, admission: 'slo', sampled: true });
    writeRun(join(folder, 'run'), { name: 'run', result: run.result, ...run.samples! });
    db = await (await DuckDBInstance.create()).connect();
    for (const name of ['requests', 'timeseries']) {
      const path = join(folder, 'run', `${name}.parquet`);
      await db.run(`create view ${name} as select * from '${path}'`);
    }
  });
  afterAll(() => {
    db.closeSync();
    rmSync(folder, { recursive: true });
  });

  async function rows(sql: string): Promise<Record<string, unknown>[]> {
    return (await db.runAndReadAll(sql)).getRowObjects();
  }

  /** One number; sums of integers come as big ones. */
  async function one(sql: string): Promise<number> {
    const [row] = await rows(sql);
    return Number(Object.values(row)[0]);
  }

  async function typesOf(view: string): Promise<Record<string, string>> {
    const described = await rows(`describe ${view}`);
    return Object.fromEntries(described.map((r) => [String(r.column_name), String(r.column_type)]));
  }

  it('have the documented types, a unit in every name', async () => {
    const requests = await typesOf('requests');
    const expected = (name: string) => {
      if (['tbt_ns', 'tpot_ns'].includes(name)) return 'DOUBLE';
      if (name.endsWith('_ns')) return 'BIGINT';
      if (name.endsWith('_tokens') || name === 'request') return 'INTEGER';
      return name === 'within_slo' ? 'BOOLEAN' : 'VARCHAR';
    };
    for (const [name, type] of Object.entries(requests)) expect(type, name).toBe(expected(name));
    expect(Object.keys(requests)).toHaveLength(run.samples!.requests.columns.length);
    expect(await typesOf('timeseries')).toEqual({
      bin_start_ns: 'BIGINT',
      bin_ns: 'BIGINT',
      scope: 'VARCHAR',
      entity: 'VARCHAR',
      metric: 'VARCHAR',
      value: 'DOUBLE',
    });
    const metrics = await rows('select distinct metric from timeseries');
    const unit = /_(ns_(mean|p50|p99)|requests|tokens|bytes|blocks|ratio)$/;
    for (const { metric } of metrics) expect(metric).toMatch(unit);
  });

  it('say what their columns and metrics mean', async () => {
    const about = async (name: string) => {
      const path = join(folder, 'run', `${name}.parquet`);
      const found = await rows(
        `select decode(key) as k, decode(value) as v from parquet_kv_metadata('${path}')`,
      );
      return Object.fromEntries(found.map(({ k, v }) => [String(k), String(v)]));
    };
    const docs = JSON.parse((await about('requests'))['moontide.columns']);
    expect(Object.keys(docs)).toEqual(Object.keys(await typesOf('requests')));
    expect(JSON.parse((await about('timeseries'))['moontide.metrics'])).toEqual(METRICS);
  });

  it('have as many rows and the same sums as the result', async () => {
    const { result } = run;
    expect(result.requests.rejected).toBeGreaterThan(0);
    expect(await one('select count(*) from requests')).toBe(1500);
    const rejected = "select count(*) from requests where outcome = 'rejected'";
    expect(await one(rejected)).toBe(result.requests.rejected);
    for (const [cause, count] of Object.entries(result.requests.causes)) {
      expect(await one(`select count(*) from requests where cause = '${cause}'`)).toBe(count);
    }
    expect(await one('select sum(input_tokens) from requests')).toBe(result.trace.inputTokens);
    expect(await one('select sum(peer_tokens) from requests')).toBe(result.hit.bySource.peer);
    expect(await one('select avg(ttft_ns) from requests')).toBeCloseTo(result.ttftNs.mean!, 0);
    expect(await one('select quantile_disc(ttft_ns, 0.99) from requests')).toBe(result.ttftNs.p99);
    const good = 'select avg(within_slo::int) from requests';
    expect(await one(good)).toBeCloseTo(result.effectiveRatio!, 12);
    const sum = (metric: string) =>
      one(`select sum(value) from timeseries where metric = '${metric}'`);
    expect(await sum('arrived_requests')).toBe(result.requests.arrived);
    expect(await sum('rejected_ttft_requests')).toBe(result.requests.causes.ttft ?? 0);
    expect(await sum('dram_evicted_blocks')).toBe(result.counts.evictions);
    expect(await sum('rails_out_bytes')).toBeCloseTo(result.bytes.railsOut, -3);
    expect(await sum('miss_tokens')).toBe(result.hit.bySource.miss);
  });

  it('are the same when the folder is read', async () => {
    const back = await readRun(join(folder, 'run'));
    expect(back.result).toEqual(JSON.parse(JSON.stringify(run.result)));
    expect(back.requests).toEqual(run.samples!.requests);
    expect(back.series.bins).toBe(run.samples!.series.bins);
  });
});
