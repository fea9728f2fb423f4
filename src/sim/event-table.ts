/** What the event queue's payload numbers stand for: receiver, sender and body, in reused rows. */
export class EventTable {
  private tos = new Int32Array(1024);
  private froms = new Int32Array(1024);
  private epochs = new Int32Array(1024);
  private readonly payloads: unknown[] = [];
  private readonly free: number[] = [];

  /** `epoch`: that of its channel or of the life that it is for, or 0. */
  put(to: number, from: number, payload: unknown, epoch: number): number {
    const row = this.free.pop() ?? this.payloads.length;
    if (row === this.tos.length) this.grow();
    this.tos[row] = to;
    this.froms[row] = from;
    this.epochs[row] = epoch;
    this.payloads[row] = payload;
    return row;
  }

  to(row: number): number {
    return this.tos[row];
  }

  epoch(row: number): number {
    return this.epochs[row];
  }

  from(row: number): number {
    return this.froms[row];
  }

  /** The payload; the row is free afterwards. */
  take(row: number): unknown {
    const payload = this.payloads[row];
    this.payloads[row] = null;
    this.free.push(row);
    return payload;
  }

  private grow(): void {
    const tos = new Int32Array(2 * this.tos.length);
    const froms = new Int32Array(2 * this.tos.length);
    tos.set(this.tos);
    froms.set(this.froms);
    this.tos = tos;
    this.froms = froms;
    const epochs = new Int32Array(2 * this.epochs.length);
    epochs.set(this.epochs);
    this.epochs = epochs;
  }
}
