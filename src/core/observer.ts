/** Who watches a run: metrics, logs, checkers. Watches facts and commands, never the host. */
import type { Count, Mark, Run, Step, Transfer } from './host.ts';
import type { Fact, Message } from './messages.ts';
import type { Address } from './topology.ts';

export interface Observer {
  /** Before the machine handles it. */
  onFact?(to: Address, fact: Fact): void;
  onSend?(from: Address, to: Address, message: Message, atNs: number): void;
  onMark?(from: Address, request: number, mark: Mark, value: number): void;
  onCount?(from: Address, what: Count, by: number): void;
  onTransfer?(from: Address, transfer: Transfer, atNs: number): void;
  onStep?(from: Address, step: Step, atNs: number): void;
  /** The machine is dead, and all that it had started is gone. */
  onCrash?(address: Address, atNs: number): void;
  onRun?(from: Address, run: Run, atNs: number): void;
}

/** An observer that has the method. */
export type Watcher<K extends keyof Observer> = Observer & Required<Pick<Observer, K>>;

/** Those who have the method, so that a host asks nobody else. */
export function watchers<K extends keyof Observer>(
  observers: readonly Observer[],
  method: K,
): Watcher<K>[] {
  return observers.filter((o): o is Watcher<K> => o[method] !== undefined);
}
