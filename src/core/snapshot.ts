/**
 * Snapshots: the state of a machine as bytes, and back. State is what its fields hold. The walk
 * keeps identity: what was one object before is one object after, circles included.
 *
 * Not state, and left as they are: functions, and the field `world` of a class, which holds what a
 * machine is given. So a snapshot is restored into a machine that was constructed from the same
 * plan, and class instances are filled where they stand; their fields must be there already. Typed
 * arrays of equal length are filled too; plain objects, arrays, Map and Set are built anew. An
 * object with `saveState` and `loadState` (a random stream) speaks for itself.
 */
import { Decoder, Encoder, isPlain, Tag, type TypedArray, type TypedArrayClass } from './codec.ts';
import { InputError } from './errors.ts';
import { BlockSpan } from './request.ts';

const MAGIC = 'moontide snapshot';
const VERSION = 1;

/** The field of what an object is given. */
const WORLD = 'world';

type Fields = Record<string, unknown>;

interface Stateful {
  saveState(): unknown;
  loadState(state: unknown): void;
}

/** A machine that can be snapshot and restored. */
export abstract class Restorable {
  snapshot(): Uint8Array {
    return snapshot(this);
  }

  /** @throws InputError when the bytes are of another class, version or plan */
  restore(bytes: Uint8Array): void {
    restore(this, bytes);
  }
}

export function snapshot(machine: object): Uint8Array {
  const encoder = new GraphEncoder(classOf(machine));
  encoder.value(MAGIC);
  encoder.value(VERSION);
  encoder.value(classOf(machine));
  encoder.value(machine);
  return encoder.take();
}

/** Fills a freshly constructed machine. On an error it is of no use any more. */
export function restore(machine: object, bytes: Uint8Array): void {
  const name = classOf(machine);
  const decoder = open(bytes, new RestoringDecoder(bytes, name), name);
  decoder.value(machine);
  decoder.end();
}

/** What a snapshot holds, as plain objects with the class under `class`: to look at, to compare. */
export function inspect(bytes: Uint8Array): unknown {
  const decoder = open(bytes, new GraphDecoder(bytes), null);
  const value = decoder.value();
  decoder.end();
  return value;
}

function open<D extends Decoder>(bytes: Uint8Array, decoder: D, expected: string | null): D {
  const magic = bytes.length > 0 && bytes[0] === Tag.newString ? decoder.value() : undefined;
  if (magic !== MAGIC) throw new InputError('found other bytes, expected a snapshot');
  const version = decoder.value();
  if (version !== VERSION) {
    throw new InputError(`found a snapshot of version ${version}, expected version ${VERSION}`);
  }
  const name = decoder.value();
  if (expected !== null && name !== expected) {
    throw new InputError(`found a snapshot of ${name}, expected one of ${expected}`);
  }
  return decoder;
}

/** A bundler tells classes of one name apart by a number at the end. */
function classOf(value: object): string {
  return value.constructor.name.replace(/\d+$/, '');
}

function isStateful(value: object): value is Stateful {
  return 'saveState' in value && 'loadState' in value;
}

/** Filled in place: it has a class, or it was given functions. */
function isInstance(value: object): boolean {
  if (!isPlain(value)) return true;
  return Object.values(value).some((field) => typeof field === 'function');
}

function stateKeys(value: object): string[] {
  const fields = value as Fields;
  const isState = (key: string) => key !== WORLD && typeof fields[key] !== 'function';
  return Object.keys(value).filter(isState);
}

/** Classes that the codec writes itself. */
function isBuiltIn(value: object): boolean {
  return (
    Array.isArray(value) ||
    ArrayBuffer.isView(value) ||
    value instanceof Map ||
    value instanceof Set
  );
}

class GraphEncoder extends Encoder {
  private readonly root: string;
  private readonly path: string[] = [];
  /** Number of each object, in the order in which they are met. */
  private readonly numbers = new Map<object, number>();

  constructor(root: string) {
    super();
    this.root = root;
  }

  override value(value: unknown): void {
    const type = typeof value;
    if (type === 'function' || type === 'bigint' || type === 'symbol') {
      throw new Error(`${this.where()}: a ${type} has no bytes`);
    }
    super.value(value);
  }

  protected override object(value: object): void {
    if (value instanceof BlockSpan) {
      super.object(value);
      return;
    }
    const number = this.numbers.get(value);
    if (number !== undefined) {
      this.byte(Tag.reference);
      this.varint(number);
      return;
    }
    this.numbers.set(value, this.numbers.size);
    if (isBuiltIn(value)) {
      if (ArrayBuffer.isView(value)) this.checkView(value);
      super.object(value);
    } else if (isStateful(value)) {
      this.byte(Tag.stateful);
      this.string(classOf(value));
      this.value(value.saveState());
    } else if (isInstance(value)) this.instance(value as Fields);
    else super.object(value);
  }

  private instance(value: Fields): void {
    const keys = stateKeys(value);
    this.byte(Tag.instance);
    this.string(classOf(value));
    this.shape(keys);
    for (const key of keys) {
      this.path.push(key);
      this.value(value[key]);
      this.path.pop();
    }
  }

  /** Two views of one buffer would come back as two buffers. */
  private checkView(view: ArrayBufferView): void {
    if (view.byteLength === view.buffer.byteLength) return;
    throw new Error(`${this.where()} is a view of a larger buffer: it has no bytes of its own`);
  }

  private where(): string {
    return [this.root, ...this.path].join('.');
  }
}

/** Reads a graph as plain objects. */
class GraphDecoder extends Decoder {
  private readonly objects: object[] = [];

  protected override object(tag: number, like: unknown): unknown {
    if (tag === Tag.reference) {
      const number = this.varint();
      if (number >= this.objects.length) this.fail(`object ${number}`, 'one that was read');
      return this.objects[number];
    }
    if (tag === Tag.instance) {
      const name = this.string();
      return this.instance(name, this.shape(this.byte()), like);
    }
    if (tag === Tag.stateful) return this.stateful(this.string(), like);
    return super.object(tag, like);
  }

  protected override made<T extends object>(value: T): T {
    this.objects.push(value);
    return value;
  }

  protected instance(name: string, keys: readonly string[], _like: unknown): unknown {
    const object = this.made<Fields>({ class: name });
    for (const key of keys) object[key] = this.value();
    return object;
  }

  protected stateful(name: string, _like: unknown): unknown {
    const object = this.made<Fields>({ class: name });
    object.state = this.value();
    return object;
  }
}

/** Reads a graph into the objects that a fresh machine has. */
class RestoringDecoder extends GraphDecoder {
  private readonly root: string;
  private readonly path: string[] = [];
  /** Objects of the fresh machine that have been filled. */
  private readonly filled = new Set<object>();

  constructor(bytes: Uint8Array, root: string) {
    super(bytes);
    this.root = root;
  }

  protected override instance(name: string, keys: readonly string[], like: unknown): unknown {
    const target = this.target(name, like) as Fields;
    this.made(target);
    const own = new Set(stateKeys(target));
    for (const key of keys) {
      this.path.push(key);
      if (!own.delete(key)) this.mismatch('found a field of the snapshot', 'a field of the class');
      target[key] = this.value(target[key]);
      this.path.pop();
    }
    for (const key of own) {
      this.path.push(key);
      this.mismatch('found a field of the class', 'a field of the snapshot');
    }
    return target;
  }

  protected override stateful(name: string, like: unknown): unknown {
    const target = this.target(name, like) as Stateful;
    this.made(target);
    target.loadState(this.value());
    return target;
  }

  protected override arrayFor(type: TypedArrayClass, length: number, like: unknown): TypedArray {
    const fits = like instanceof type && like.length === length && !this.filled.has(like);
    if (!fits) return super.arrayFor(type, length, like);
    this.filled.add(like);
    return this.made(like);
  }

  /** The instance of the fresh machine that stands where the snapshot has one. */
  private target(name: string, like: unknown): object {
    if (typeof like !== 'object' || like === null) {
      this.mismatch(`found ${name}`, `an instance that the constructor of ${this.root} makes`);
    }
    const own = classOf(like);
    if (own !== name) this.mismatch(`found ${name}`, own);
    if (this.filled.has(like)) this.mismatch(`found two instances of ${name}`, 'one');
    this.filled.add(like);
    return like;
  }

  private mismatch(found: string, expected: string): never {
    const where = [this.root, ...this.path].join('.');
    throw new InputError(`${found}, expected ${expected}`, where);
  }
}
