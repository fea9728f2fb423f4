/** Tables as Parquet files, with what their columns mean in the files' metadata. */
import { parquetMetadata, parquetRead } from 'hyparquet';
import { type ColumnSource, parquetWriteBuffer } from 'hyparquet-writer';
import { InputError } from '../core/errors.ts';
import type { Column, ColumnType, Table } from '../metrics/table.ts';

const TYPES = {
  int32: 'INT32',
  int64: 'INT64',
  double: 'DOUBLE',
  boolean: 'BOOLEAN',
  string: 'STRING',
} as const;

/** Key of the metadata that says what each column means, as JSON. */
const COLUMNS_KEY = 'moontide.columns';
/** One row group: these files are read whole. */
const ROW_GROUP = 10_000_000;

/** `metadata` goes into the file beside the columns' meanings. */
export function writeParquet(table: Table, metadata: Readonly<Record<string, string>>): Uint8Array {
  const docs = Object.fromEntries(table.columns.map(({ name, doc }) => [name, doc]));
  const all = { [COLUMNS_KEY]: JSON.stringify(docs), ...metadata };
  const buffer = parquetWriteBuffer({
    columnData: table.columns.map(({ name, type, values }) => ({
      name,
      type: TYPES[type],
      data: cells(type, values),
    })),
    kvMetadata: Object.entries(all).map(([key, value]) => ({ key, value })),
    createdBy: 'moontide',
    rowGroupSize: ROW_GROUP,
  });
  return new Uint8Array(buffer);
}

function cells(type: ColumnType, values: Column['values']): ColumnSource['data'] {
  if (!(values instanceof Float64Array)) return values.map((text) => (text === '' ? null : text));
  const cell = (value: number) => {
    if (type === 'int64') return BigInt(value);
    return type === 'boolean' ? value === 1 : value;
  };
  return Array.from(values, (value) => (Number.isNaN(value) ? null : cell(value)));
}

/**
 * A table that `writeParquet` wrote.
 * @param place the file's name, for errors
 * @throws InputError when it is not one
 */
export async function readParquet(bytes: Uint8Array, place: string): Promise<Table> {
  const file = new Uint8Array(bytes).buffer;
  try {
    const metadata = parquetMetadata(file);
    const rows = Number(metadata.num_rows);
    const docs = metadata.key_value_metadata?.find(({ key }) => key === COLUMNS_KEY)?.value;
    const columns = new Map<string, { type: ColumnType; values: Float64Array | string[] }>();
    for (const { name, type, num_children } of metadata.schema) {
      if (num_children) continue;
      const column = typeNamed(type);
      const values = column === 'string' ? [] : new Float64Array(rows);
      columns.set(name, { type: column, values });
    }
    await parquetRead({
      file,
      metadata,
      onChunk({ columnName, columnData, rowStart }) {
        fill(columns.get(columnName)!.values, columnData, rowStart);
      },
    });
    const docOf = JSON.parse(docs ?? '') as Record<string, string>;
    return {
      rows,
      columns: Array.from(columns, ([name, column]) => ({ name, doc: docOf[name], ...column })),
    };
  } catch (error) {
    const found = (error as Error).message.split('\n')[0];
    throw new InputError(`found no table (${found}), expected one that replay -o wrote`, place);
  }
}

function typeNamed(parquet: string | undefined): ColumnType {
  if (parquet === 'BYTE_ARRAY') return 'string';
  return (Object.keys(TYPES) as ColumnType[]).find((type) => TYPES[type] === parquet)!;
}

function fill(values: Float64Array | string[], chunk: ArrayLike<unknown>, from: number): void {
  for (let i = 0; i < chunk.length; i++) {
    const cell = chunk[i];
    if (values instanceof Float64Array)
      values[from + i] = cell === null ? Number.NaN : Number(cell);
    else values[from + i] = cell === null ? '' : String(cell);
  }
}
