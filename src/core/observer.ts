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
  onRun?(from: Address, run: Run, atNs: number): void;
}
