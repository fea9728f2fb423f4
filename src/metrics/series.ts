/** Series over time, and the long table that timeseries.parquet keeps them in. */
import { type Column, numbers, type Table, texts } from './table.ts';

/** One metric of one thing, a value per bin; NaN where there is nothing to say. */
export interface Series {
  readonly scope: Scope;
  /** Name of the instance or node; `cluster` for the whole. */
  readonly entity: string;
  readonly metric: string;
  readonly values: Float64Array;
}
export type Scope = 'cluster' | 'instance' | 'node';

/** Bin i covers [i * binNs, (i + 1) * binNs) since the start; the last one may be cut off. */
export interface TimeSeries {
  readonly binNs: number;
  readonly bins: number;
  readonly series: readonly Series[];
}

/** One row per series and bin that has a value. */
export function seriesTable({ binNs, series }: TimeSeries): Table {
  const all = series.reduce((total, { values }) => total + values.length, 0);
  const binStart = new Float64Array(all);
  const value = new Float64Array(all);
  const scope: string[] = [];
  const entity: string[] = [];
  const metric: string[] = [];
  let rows = 0;
  for (const one of series) {
    for (let bin = 0; bin < one.values.length; bin++) {
      if (Number.isNaN(one.values[bin])) continue;
      binStart[rows] = bin * binNs;
      value[rows++] = one.values[bin];
      scope.push(one.scope);
      entity.push(one.entity);
      metric.push(one.metric);
    }
  }
  const columns: Column[] = [
    {
      name: 'bin_start_ns',
      type: 'int64',
      doc: "start of the bin, since the trace's start",
      values: binStart.subarray(0, rows),
    },
    {
      name: 'bin_ns',
      type: 'int64',
      doc: 'width of the bin; the last one may be cut off',
      values: new Float64Array(rows).fill(binNs),
    },
    { name: 'scope', type: 'string', doc: 'cluster, instance or node', values: scope },
    { name: 'entity', type: 'string', doc: 'name of the instance or node', values: entity },
    { name: 'metric', type: 'string', doc: 'name with its unit', values: metric },
    { name: 'value', type: 'double', doc: 'in that unit', values: value.subarray(0, rows) },
  ];
  return { rows, columns };
}

/** The series of such a table. */
export function seriesOf(table: Table): TimeSeries {
  const starts = numbers(table, 'bin_start_ns');
  const [binNs = 1] = numbers(table, 'bin_ns');
  const values = numbers(table, 'value');
  const scopes = texts(table, 'scope');
  const entities = texts(table, 'entity');
  const metrics = texts(table, 'metric');
  const bins = starts.reduce((most, ns) => Math.max(most, ns / binNs + 1), 0);
  const series = new Map<string, Series>();
  for (let i = 0; i < table.rows; i++) {
    const key = `${metrics[i]}/${entities[i]}`;
    let one = series.get(key);
    if (one === undefined) {
      one = {
        scope: scopes[i] as Scope,
        entity: entities[i],
        metric: metrics[i],
        values: new Float64Array(bins).fill(Number.NaN),
      };
      series.set(key, one);
    }
    one.values[starts[i] / binNs] = values[i];
  }
  return { binNs, bins, series: [...series.values()] };
}
