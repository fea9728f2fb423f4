/**
 * Shadow mode: while a log is replayed, another policy is asked what it would have decided, each
 * time that the recorded one was. State follows the record, so the other policy decides on what the
 * recorded one brought about: this counts disagreements, and says nothing of outcomes.
 */
import { loadPolicy } from '../../config/policies.ts';
import {
  anchorPolicy,
  kindOfKey,
  POLICY_KEYS,
  type PolicyKey,
  parsePolicyRef,
} from '../../config/policy-ref.ts';
import { RandomStream } from '../../config/streams.ts';
import type { ClusterPlan, Made } from '../../config/wire.ts';
import { InputError, PolicyError } from '../../core/errors.ts';
import { oneOf } from '../../core/kit/nearest.ts';
import { same } from '../../core/log.ts';
import type { PolicyKind, PolicyModule, PrefillChoice } from '../../core/policy.ts';

/** How often the other policy was asked one thing. */
export interface ShadowCount {
  /** What it was asked: a verb of its kind. */
  readonly question: string;
  decisions: number;
  disagreements: number;
  /** Disagreements by what differed. */
  readonly by: Record<string, number>;
}

export interface ShadowExample {
  readonly machine: string;
  /** Number of the fact in the machine's life. */
  readonly fact: number;
  readonly atNs: number;
  readonly question: string;
  readonly recorded: unknown;
  readonly other: unknown;
}

export interface ShadowReport {
  readonly kind: PolicyKey;
  readonly recorded: string;
  readonly other: string;
  readonly counts: readonly ShadowCount[];
  /** The first disagreements of each machine. */
  readonly examples: readonly ShadowExample[];
}

type Verb = (...given: never[]) => unknown;
type Verbs = Record<string, Verb | undefined>;

/** Of each kind, what is a decision, and what a policy is told besides. */
const PORTS: Record<PolicyKind, { readonly asked: string[]; readonly told: string[] } | string> = {
  prefill: { asked: ['choose'], told: [] },
  decode: { asked: ['choose'], told: [] },
  disaggregation: { asked: ['separates'], told: [] },
  admission: { asked: ['verdict', 'verdictAtDecode'], told: [] },
  elasticity: { asked: ['adjust'], told: [] },
  placement: { asked: ['place'], told: [] },
  replication: { asked: ['onRequest', 'onComputed'], told: [] },
  tiering: { asked: ['onStored', 'onHit', 'onEvict', 'onSsdHit'], told: [] },
  batching: { asked: ['begins', 'plan', 'joins'], told: [] },
  eviction: { asked: ['victim'], told: ['onMiss', 'onInsert', 'onHit', 'onRemove'] },
  queue: 'a rank means something only among the ranks of its own policy',
  rail: 'rails are chosen by the data plane, which is in no log',
};
/** Of a policy without a verb. */
const SILENT: Record<string, unknown> = { verdictAtDecode: '', joins: true };
const EXAMPLES_PER_MACHINE = 3;
/** Verbs by which an eviction policy frees in rounds of its own. */
const ROUNDS = 'reclaim';

export class Shadow {
  readonly key: PolicyKey;
  private readonly made: Made<object, object>;
  private readonly counts = new Map<string, ShadowCount>();
  private readonly examples: ShadowExample[] = [];
  private recorded = '';
  private machine = '';
  private examplesLeft = 0;
  private isFollowing = true;
  /** What the policy threw. The recorded machine must not notice, so it is kept. */
  failure: PolicyError | null = null;
  /** The fact that is being replayed. */
  fact = 0;
  atNs = 0;

  private readonly placeOf: (error: unknown) => string;

  /** `placeOf` says where in a user's file an error came from, ending in ': '. */
  constructor(key: PolicyKey, made: Made<object, object>, placeOf: (error: unknown) => string) {
    this.key = key;
    this.made = made;
    this.placeOf = placeOf;
  }

  /** The plan for the next machine, whose recorded policy is watched. */
  watch(plan: ClusterPlan, machine: string): ClusterPlan {
    this.machine = machine;
    this.examplesLeft = EXAMPLES_PER_MACHINE;
    this.isFollowing = true;
    const watched = plan.policies[this.key] as Made<object, object>;
    this.recorded = watched.identity ?? watched.name;
    const create = (context: object) => {
      const policy = watched.create(context);
      this.attach(policy as Verbs, this.made.create(this.ownContext(context, plan.seed)) as Verbs);
      return policy;
    };
    return { ...plan, policies: { ...plan.policies, [this.key]: { ...watched, create } } };
  }

  /** Facts are missing: who must be told of everything knows too little from here on. */
  gap(): void {
    const port = PORTS[kindOfKey(this.key)];
    if (typeof port !== 'string' && port.told.length > 0) this.isFollowing = false;
  }

  report(): ShadowReport {
    const { key, recorded, made, counts, examples } = this;
    const other = made.identity ?? made.name;
    return { kind: key, recorded, other, counts: [...counts.values()], examples };
  }

  /** What the policy sees, with a random stream of its own. */
  private ownContext(context: object, seed: number): object {
    const stream = new RandomStream(seed, `shadow/${this.key}/${this.machine}`);
    return Object.create(context, { random: { value: () => stream.next() } }) as object;
  }

  /** The recorded policy answers, and the other is asked the same. Functions are no state. */
  private attach(policy: Verbs, other: Verbs): void {
    const kind = kindOfKey(this.key);
    const { asked, told } = PORTS[kind] as { asked: string[]; told: string[] };
    if (kind === 'eviction') this.checkRounds(policy, other);
    for (const verb of [...asked, ...told]) {
      const recorded = policy[verb];
      const shadowed = other[verb];
      if (recorded === undefined && shadowed === undefined) continue;
      const isAsked = asked.includes(verb);
      policy[verb] = (...given: never[]) => {
        const answer = recorded?.apply(policy, given);
        if (!this.isFollowing) return answer;
        const otherAnswer = this.ask(other, shadowed, given);
        if (!isAsked || this.failure !== null) return answer;
        const silent = SILENT[verb];
        this.compare(
          verb,
          recorded === undefined ? silent : answer,
          shadowed === undefined ? silent : otherAnswer,
        );
        return answer;
      };
    }
  }

  private checkRounds(policy: Verbs, other: Verbs): void {
    const found = [
      { policy, name: this.recorded },
      { policy: other, name: this.made.name },
    ].find((candidate) => candidate.policy[ROUNDS] !== undefined);
    if (found === undefined) return;
    const what = `eviction policy ${found.name}, which frees in rounds of its own`;
    throw new InputError(`found ${what}, expected one that names a victim at a time`, '--shadow');
  }

  private ask(other: Verbs, verb: Verb | undefined, given: never[]): unknown {
    try {
      return verb?.apply(other, given);
    } catch (error) {
      this.isFollowing = false;
      const what = error instanceof Error ? error.message : String(error);
      const message = `${this.placeOf(error)}the shadow policy ${this.made.name} threw: ${what}`;
      this.failure = new PolicyError(message, { cause: error });
      return undefined;
    }
  }

  private compare(question: string, recorded: unknown, other: unknown): void {
    let count = this.counts.get(question);
    if (count === undefined) {
      count = { question, decisions: 0, disagreements: 0, by: {} };
      this.counts.set(question, count);
    }
    count.decisions++;
    const differs = differences(this.key, recorded, other);
    if (differs.length === 0) return;
    count.disagreements++;
    for (const what of differs) count.by[what] = (count.by[what] ?? 0) + 1;
    if (this.examplesLeft === 0) return;
    this.examplesLeft--;
    const { machine, fact, atNs } = this;
    this.examples.push({ machine, fact, atNs, question, recorded, other });
  }
}

/** What of an answer differs. Of a prompt, where it goes and where its blocks come from. */
function differences(key: PolicyKey, recorded: unknown, other: unknown): string[] {
  if (key !== 'prefill') return same(recorded, other) ? [] : ['answer'];
  const [a, b] = [recorded as PrefillChoice, other as PrefillChoice];
  const found: string[] = [];
  if (a.instance !== b.instance) found.push('instance');
  const source = ({ sourceNode, sourceBlocks }: PrefillChoice) =>
    sourceNode < 0 || sourceBlocks === 0 ? 'none' : `${sourceNode} ${sourceBlocks}`;
  if (source(a) !== source(b)) found.push('source');
  return found;
}

/**
 * Reads `KIND=POLICY`.
 *
 * @throws InputError for another form, an unknown kind or policy, and a kind that has no shadow
 */
export async function openShadow(spec: string): Promise<Shadow> {
  const at = spec.indexOf('=');
  const key = spec.slice(0, Math.max(0, at)) as PolicyKey;
  const place = '--shadow';
  const known = POLICY_KEYS.filter((kind) => typeof PORTS[kindOfKey(kind)] !== 'string');
  if (!POLICY_KEYS.includes(key)) {
    const expected = `KIND=POLICY with the kind ${oneOf(key, known)}`;
    throw new InputError(`found ${JSON.stringify(spec)}, expected ${expected}`, place);
  }
  const port = PORTS[kindOfKey(key)];
  if (typeof port === 'string') {
    throw new InputError(`found ${key}, which has no shadow: ${port}`, place);
  }
  const anchored = anchorPolicy(spec.slice(at + 1), process.cwd());
  const loaded = await loadPolicy(parsePolicyRef(kindOfKey(key), anchored, place));
  const module = loaded.module as PolicyModule<unknown, unknown>;
  const create = (context: unknown) => module.create(context, loaded.params);
  const { path, name } = loaded;
  const { placeInFile } = await import('../../config/user-policy.ts');
  const placeOf = (error: unknown) => {
    const found = path === null ? null : placeInFile(error, path);
    return found === null ? '' : `${found}: `;
  };
  return new Shadow(key, { name, create } as Made<object, object>, placeOf);
}
