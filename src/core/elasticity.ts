/**
 * Carries out what an elasticity policy wants of the roles of instances. An instance that loses a
 * role gets no more work and finishes what it has; only then it takes up the new ones. One without
 * roles is on standby.
 */
import type { InstanceViews } from './cluster-view.ts';
import type { ConductorWorld } from './conductor.ts';
import { PolicyError } from './errors.ts';
import type { RolesSet } from './messages.ts';
import type { ClusterView, ElasticityPolicy, RoleChange } from './policy.ts';
import type { Role } from './topology.ts';

/** Tokens of the conductor's timers: of the next look, and of instance i that starts. */
const LOOK = 1;
const FIRST_START = 2;

export class Elasticity {
  readonly world: ConductorWorld;
  private readonly views: InstanceViews;
  private readonly policy: ElasticityPolicy;
  /** Changes under way, by instance. */
  private readonly changes = new Map<number, RoleChange>();
  /** Of those, the ones that say that they have nothing left. */
  private readonly idle = new Set<number>();
  /** Of those, the ones that nothing is bound for any more either. */
  private readonly starting = new Set<number>();
  /** Those whose nodes are going: on standby, and not offered. */
  private readonly leaving = new Set<number>();
  /** Roles that each instance was last told to have; those never told are not in it. */
  private readonly told = new Map<number, readonly Role[]>();
  /** A look is due. */
  private looks = false;

  constructor(world: ConductorWorld, views: InstanceViews, policy: ElasticityPolicy) {
    this.world = world;
    this.views = views;
    this.policy = policy;
  }

  /** An operator gives it roles: it stays, if it was leaving. */
  order(instance: number, roles: readonly Role[]): void {
    if (roles.length > 0) this.stay(instance);
    this.setRoles(instance, roles);
  }

  /** Its node is going: it drains, whatever was to become of it. */
  drain(instance: number): void {
    this.endChange(instance);
    this.leaving.add(instance);
    this.views.setChanging(instance, true);
    this.setRoles(instance, []);
  }

  private stay(instance: number): void {
    if (this.leaving.delete(instance)) this.views.setChanging(instance, false);
  }

  /** From now on the instance gets work for these roles alone; without any it drains. */
  setRoles(instance: number, roles: readonly Role[]): void {
    const { host, addresses, settings } = this.world;
    this.views.setRoles(instance, roles);
    this.told.set(instance, roles);
    const { term } = settings;
    host.send(addresses.instance(instance), { kind: 'setRoles', term, instance, roles });
  }

  /** There is work: looks at the pools from time to time, until there is none. */
  begin(nowNs: number): void {
    const { intervalNs } = this.policy;
    if (this.looks || intervalNs <= 0) return;
    this.looks = true;
    this.world.host.wakeAt(nowNs + intervalNs, LOOK);
  }

  onWake(token: number, nowNs: number, seen: ClusterView, busy: boolean): void {
    if (token >= FIRST_START) {
      this.finish(token - FIRST_START);
      return;
    }
    this.looks = false;
    for (const change of this.changes.values()) this.startWhereDone(change, nowNs);
    for (const change of this.policy.adjust(seen)) this.start(change, nowNs);
    if (busy) this.begin(nowNs);
  }

  onRolesSet({ instance, roles, idle }: RolesSet, nowNs: number): void {
    const told = this.told.get(instance);
    if (told !== undefined && told.join() !== roles.join()) return; // An answer to earlier words.
    this.views.setRoles(instance, roles);
    const change = this.changes.get(instance);
    if (change === undefined || !idle) return;
    this.idle.add(instance);
    this.startWhereDone(change, nowNs);
  }

  /** Messages to or from the instance may be lost: says again what it shall be. */
  repeat(instance: number): void {
    const told = this.told.get(instance);
    if (told !== undefined) this.setRoles(instance, told);
  }

  /** It died; what comes back in its place begins as it was configured. */
  forget(instance: number): void {
    this.told.delete(instance);
    this.endChange(instance);
    this.stay(instance);
  }

  private endChange(instance: number): void {
    this.idle.delete(instance);
    this.starting.delete(instance);
    if (this.changes.delete(instance)) this.views.setChanging(instance, false);
  }

  private start(change: RoleChange, nowNs: number): void {
    this.check(change);
    const { instance } = change;
    this.changes.set(instance, change);
    this.views.setChanging(instance, true);
    if (this.views.rolesOf(instance).length === 0) this.afterStartup(change, nowNs);
    else this.setRoles(instance, []);
  }

  /** Prompts that are computed elsewhere may be bound for an instance that is idle now. */
  private startWhereDone(change: RoleChange, nowNs: number): void {
    const { instance } = change;
    if (!this.idle.has(instance) || this.starting.has(instance)) return;
    if (this.views.decodeRequests(instance) + this.views.queuedRequests(instance) > 0) return;
    this.afterStartup(change, nowNs);
  }

  private afterStartup({ instance, startupNs }: RoleChange, nowNs: number): void {
    this.starting.add(instance);
    if (startupNs === 0) this.finish(instance);
    else this.world.host.wakeAt(nowNs + startupNs, FIRST_START + instance);
  }

  private finish(instance: number): void {
    const change = this.changes.get(instance);
    if (change === undefined || !this.starting.has(instance)) return;
    this.endChange(instance);
    if (change.roles.length > 0) this.setRoles(instance, change.roles);
  }

  private check({ instance, roles, startupNs }: RoleChange): void {
    const { views, changes } = this;
    const fail = (what: string) => new PolicyError(`the elasticity policy ${what}`);
    if (this.world.topology.instances[instance] === undefined) {
      throw fail(`wants a change of ${instance}, not an instance`);
    }
    if (!views.isAlive(instance)) throw fail(`wants a change of ${instance}, which is dead`);
    if (this.leaving.has(instance)) throw fail(`wants a change of ${instance}, which is leaving`);
    if (changes.has(instance)) throw fail(`wants a change of ${instance}, which is changing`);
    if (!(startupNs >= 0)) throw fail(`wants ${instance} to start in ${startupNs} ns`);
    for (const role of ['prefill', 'decode'] as const) {
      const holders = role === 'prefill' ? views.allPrefillInstances : views.decodeInstances;
      const last = holders.length === 1 && holders[0] === instance;
      if (last && !roles.includes(role)) throw fail(`leaves nobody for ${role}`);
    }
  }
}
