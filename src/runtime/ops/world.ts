/** What operations look at: the parts of one live process, as they are at the moment. */
import type { Cluster } from '../../config/wire.ts';
import type { Links } from '../control/links.ts';
import type { Security } from '../control/security.ts';
import type { LivePlan, Member } from '../live/spec.ts';
import type { NativeRailInfo } from '../native.ts';
import type { Registry } from '../registry/registry.ts';

export interface OpsWorld {
  readonly name: string;
  readonly role: Member['role'];
  /** Of an agent, else -1. */
  readonly node: number;
  readonly live: LivePlan;
  readonly links: Links;
  readonly registry: Registry;
  readonly security: Security;
  /** How long a silent member is believed alive. */
  readonly memberTtlMs: number;
  /** Its machines; of a conductor null until it leads. */
  cluster(): Cluster | null;
  members(): readonly Member[];
  leader(): string | null;
  /** Of a conductor that leads, else 0. */
  term(): number;
  rails(): readonly NativeRailInfo[];
  /** Blocks whose sums were checked, and those that were wrong. */
  moved(): { readonly verifiedBlocks: number; readonly wrongBytes: number };
}
