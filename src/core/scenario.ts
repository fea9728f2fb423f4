/** What happens to a cluster from outside, by ids; src/config/scenario.ts reads it from a file. */
import type { Role } from './topology.ts';

interface Timed {
  readonly atNs: number;
}

/** It ends after `forNs`; Infinity: never. */
interface Lasting extends Timed {
  readonly forNs: number;
}

/** A node dies with its store and instances; others know after `detectNs`. */
export interface NodeCrash extends Lasting {
  readonly kind: 'crash';
  readonly node: number;
  readonly detectNs: number;
}

/** One engine dies; its store lives. */
export interface InstanceCrash extends Lasting {
  readonly kind: 'crashInstance';
  readonly instance: number;
  readonly detectNs: number;
}

/** A NIC goes at `rate` of its speed, in both directions; 0: it is dead. */
export interface RailFault extends Lasting {
  readonly kind: 'rail';
  readonly node: number;
  readonly rail: number;
  readonly rate: number;
}

/** The SSDs of a node go at `rate` of their speed; 0: they are lost, and come back empty. */
export interface SsdFault extends Lasting {
  readonly kind: 'ssd';
  readonly node: number;
  readonly rate: number;
}

/** Two nodes do not reach each other, neither with messages nor with KV. */
export interface LinkLoss extends Lasting {
  readonly kind: 'link';
  readonly nodes: readonly [number, number];
}

/** The conductor dies; a successor takes over after `downNs`. */
export interface Failover extends Timed {
  readonly kind: 'failover';
  readonly downNs: number;
}

/** A node drains and goes. */
export interface Leave extends Timed {
  readonly kind: 'leave';
  readonly node: number;
}

/** A node comes that is not there before, or that has left. */
export interface Join extends Timed {
  readonly kind: 'join';
  readonly node: number;
}

export interface RoleChange extends Timed {
  readonly kind: 'roles';
  readonly instance: number;
  readonly roles: readonly Role[];
}

export type ScenarioEvent =
  | NodeCrash
  | InstanceCrash
  | RailFault
  | SsdFault
  | LinkLoss
  | Failover
  | Leave
  | Join
  | RoleChange;

export interface Scenario {
  /** In order of time. */
  readonly events: readonly ScenarioEvent[];
}
