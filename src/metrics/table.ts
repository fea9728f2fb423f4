/** Tables of named columns: what a run's Parquet files hold and its figures start from. */
import { assert } from '../core/errors.ts';

export type ColumnType = 'int32' | 'int64' | 'double' | 'boolean' | 'string';

export interface Column {
  /** Its unit comes last. */
  readonly name: string;
  readonly type: ColumnType;
  readonly doc: string;
  /** Strings for type string, where '' is null; else numbers, where NaN is null. */
  readonly values: Float64Array | readonly string[];
}

export interface Table {
  readonly rows: number;
  readonly columns: readonly Column[];
}

export function numbers(table: Table, name: string): Float64Array {
  const { values } = find(table, name);
  assert(values instanceof Float64Array, `column ${name} holds no numbers`);
  return values;
}

export function texts(table: Table, name: string): readonly string[] {
  const { values } = find(table, name);
  assert(!(values instanceof Float64Array), `column ${name} holds no text`);
  return values;
}

function find(table: Table, name: string): Column {
  const column = table.columns.find((c) => c.name === name);
  assert(column !== undefined, `no column ${name}`);
  return column;
}
