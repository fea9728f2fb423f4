/**
 * A fast way through JSONL whose lines are all alike: the text between the values of one line,
 * learned where JSON.parse has read it, is what the next lines are compared with. A line that
 * differs in anything but its values does not match, and JSON.parse reads it.
 */

/** The fields to take from a line: integers, one array of integers, one string. */
export interface LineFields {
  readonly numbers: readonly string[];
  readonly array: string;
  readonly text: string;
}

/** Lines in a batch: enough to keep the loops hot, little enough to stay in the cache. */
export const BATCH_LINES = 512;

/** What a run of lines says, as columns. */
export class LineBatch {
  lines = 0;
  /** Value i of line j at [i * BATCH_LINES + j], i as in LineFields.numbers; NaN if missing. */
  readonly numbers: Float64Array;
  /** The arrays of all lines, one after the other; line j's ends at hashEnd[j]. */
  hashes: Int32Array = new Int32Array(32 * BATCH_LINES);
  readonly hashEnd = new Int32Array(BATCH_LINES);
  /** The strings, where the lines have one. */
  readonly texts: string[] = [];

  constructor(fields: LineFields) {
    // One more column takes the integers of other fields.
    this.numbers = new Float64Array((fields.numbers.length + 1) * BATCH_LINES).fill(Number.NaN);
  }

  clear(): void {
    this.lines = 0;
    this.texts.length = 0;
  }

  /** To be called before lines of another template, which may lack fields, come in. */
  reset(): void {
    this.clear();
    this.numbers.fill(Number.NaN);
  }

  growHashes(): Int32Array {
    const grown = new Int32Array(2 * this.hashes.length);
    grown.set(this.hashes);
    this.hashes = grown;
    return grown;
  }
}

/** Bytes of a template that stand for values; a line of JSON holds none of them. */
const INTEGER = 0;
const ARRAY = 1;
const TEXT = 2;

/** Digits that an int32, a double holds whatever they are. */
const INT32_DIGITS = 9;
const DOUBLE_DIGITS = 15;
/** Most digits of an INTEGER, of one in an ARRAY. */
const DIGITS_MAX = Int32Array.of(DOUBLE_DIGITS, INT32_DIGITS);

const NEWLINE = 0x0a;
const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const ZERO = 0x30;
const BRACKET_OPEN = 0x5b;
const BACKSLASH = 0x5c;
const DELETE = 0x7f;

const KEY_AND_VALUE = /"(\w+)"\s*:\s*(\d+(?![\d.eE])|\[[\d, ]*\]|"[ -~]*?")/g;

export class LineTemplate {
  /** A line and its newline, with one byte, INTEGER, ARRAY or TEXT, for each value. */
  private readonly bytes: Uint8Array;
  /** Where in LineBatch.numbers the column of the integer at template byte i begins. */
  private readonly columns: Int32Array;

  private constructor(bytes: Uint8Array, columns: Int32Array) {
    this.bytes = bytes;
    this.columns = columns;
  }

  /** The template of a line that JSON.parse accepts, or null where it cannot be trusted. */
  static learn(line: string, fields: LineFields): LineTemplate | null {
    // A nested object or an escaped quote could hide a key or fake one.
    if (line.includes('\\') || line.lastIndexOf('{') !== line.indexOf('{')) return null;
    const others = fields.numbers.length;
    const taken: string[] = [];
    const columns: number[] = [];
    let text = '';
    let end = 0;
    for (const match of line.matchAll(KEY_AND_VALUE)) {
      const [whole, name, value] = match;
      const kind = kindOf(name, value, fields);
      if (kind === null) continue;
      // Brackets and quotes belong to the template.
      const margin = kind === INTEGER ? 0 : 1;
      const to = match.index + whole.length;
      text += line.slice(end, to - value.length + margin);
      const column = fields.numbers.indexOf(name);
      if (kind !== INTEGER || column !== -1) taken.push(name);
      columns[Buffer.byteLength(text)] = (column === -1 ? others : column) * BATCH_LINES;
      text += String.fromCharCode(kind);
      end = to - margin;
    }
    text += `${line.slice(end)}\n`;
    const names = [...fields.numbers, fields.array, fields.text];
    const present = names.filter((name) => line.includes(`"${name}"`));
    // Every field once, and none unseen in the text between.
    if (taken.length !== present.length || new Set(taken).size !== taken.length) return null;
    return new LineTemplate(Buffer.from(text), Int32Array.from(columns));
  }

  /**
   * Fills the batch with the lines from `at` on, up to the first that does not match and to at most
   * `lines` of them. Returns the offset after them. One flat loop without calls, because most of a
   * cold run's time would else go into the compiler.
   */
  scan(bytes: Uint8Array, at: number, batch: LineBatch, lines: number): number {
    const { bytes: template, columns } = this;
    const { numbers, hashEnd } = batch;
    let hashes = batch.hashes;
    let hash = 0;
    let line = 0;
    let place = 0;
    let lineAt = at;
    batch.lines = 0;
    while (line < lines) {
      const kind = template[place];
      if (kind > TEXT) {
        if (bytes[at] !== kind) break;
        at++;
        place++;
        if (kind !== NEWLINE) continue;
        hashEnd[line++] = hash;
        batch.lines = line;
        lineAt = at;
        place = 0;
        continue;
      }
      if (kind === TEXT) {
        at = takeText(bytes, at, batch, line);
        place++;
        continue;
      }
      const from = at;
      let value = 0;
      let digit = bytes[at] - ZERO;
      while (digit >= 0 && digit <= 9) {
        value = (value * 10 + digit) | 0;
        digit = bytes[++at] - ZERO;
      }
      const digits = at - from;
      // JSON knows no leading zeros.
      if (digits > DIGITS_MAX[kind] || (digits > 1 && bytes[from] === ZERO)) break;
      if (kind === INTEGER) {
        if (digits === 0) break;
        numbers[columns[place++] + line] = digits <= INT32_DIGITS ? value : wide(bytes, from, at);
        continue;
      }
      if (digits === 0) {
        // After a comma there must be one; an empty array has none.
        if (bytes[at - 1] !== BRACKET_OPEN) break;
        place++;
        continue;
      }
      if (hash === hashes.length) hashes = batch.growHashes();
      hashes[hash++] = value;
      if (bytes[at] !== COMMA) place++;
      else if (bytes[++at] === SPACE) at++;
    }
    return lineAt;
  }
}

/** The integer of more digits than an int32 holds. */
function wide(bytes: Uint8Array, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at++) value = value * 10 + bytes[at] - ZERO;
  return value;
}

/** What a value is to the template; null where it belongs to the text between values. */
function kindOf(name: string, value: string, fields: LineFields): number | null {
  if (value.startsWith('[')) return name === fields.array ? ARRAY : null;
  if (value.startsWith('"')) return name === fields.text ? TEXT : null;
  return INTEGER;
}

/** Plain ASCII up to the closing quote. Returns the offset of what ends it. */
function takeText(bytes: Uint8Array, at: number, batch: LineBatch, line: number): number {
  let text = '';
  let byte = bytes[at];
  while (byte >= SPACE && byte < DELETE && byte !== QUOTE && byte !== BACKSLASH) {
    text += String.fromCharCode(byte);
    byte = bytes[++at];
  }
  batch.texts[line] = text;
  return at;
}
