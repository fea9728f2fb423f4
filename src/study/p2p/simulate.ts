/** How long a swarm takes, and what its origin sends, on links that do not exist yet. */
import { SHARD_POLICIES, shardPolicy } from '../../config/shard-policies.ts';
import { RandomStream } from '../../config/streams.ts';
import { InputError } from '../../core/errors.ts';
import { SWARM_DEFAULTS } from '../../core/swarm.ts';
import { type SwarmCrash, simulateSwarm } from '../../sim/swarm.ts';

export interface SwarmOptions {
  readonly peers: number;
  readonly sizeBytes: number;
  readonly shardBytes: number;
  /** Of each link, each direction. */
  readonly bytesPerNs: number;
  /** Names of shard policies; none: all of them. */
  readonly policies: readonly string[];
  readonly crashes: readonly SwarmCrash[];
  readonly seed: number;
}

export interface SwarmResult {
  readonly policy: string;
  /** When the first, the middle and the last puller had all; null: some never do. */
  readonly firstNs: number | null;
  readonly medianNs: number | null;
  readonly lastNs: number | null;
  /** Nobody can be done sooner: the size over one link. */
  readonly boundNs: number;
  /** That have everything in the end. */
  readonly complete: number;
  readonly originBytes: number;
  readonly peerBytes: number;
  readonly events: number;
}

/** One way, as in the presets' control delay; and a lease of 5 s until a dead peer is known. */
const CONTROL_NS = 200_000;
const DETECT_NS = 5e9;
const UPLOADS_MAX = 4;
const SHARDS_MAX = 1e6;

/** @throws InputError */
export function simulateSwarms(options: SwarmOptions): SwarmResult[] {
  const { peers, sizeBytes, shardBytes, crashes } = options;
  const shards = Math.ceil(sizeBytes / shardBytes);
  if (!(shards >= 1 && shards <= SHARDS_MAX)) {
    throw new InputError(`found ${shards} shards, expected 1 to ${SHARDS_MAX}`, '--shard');
  }
  const stranger = crashes.find(({ peer }) => peer > peers);
  if (stranger !== undefined) {
    throw new InputError(`found peer ${stranger.peer}, expected 0 to ${peers}`, '--crash');
  }
  const names = options.policies.length > 0 ? options.policies : SHARD_POLICIES;
  return names.map((name) => resultOf(name, options));
}

function resultOf(policy: string, options: SwarmOptions): SwarmResult {
  const { create } = shardPolicy(policy);
  const run = simulateSwarm({
    ...options,
    pullers: options.peers,
    controlNs: CONTROL_NS,
    detectNs: DETECT_NS,
    uploadsMax: UPLOADS_MAX,
    settings: SWARM_DEFAULTS,
    policyOf: create,
    randomOf: (peer) => {
      const stream = new RandomStream(options.seed, `swarm/${peer}`);
      return () => stream.next();
    },
  });
  const [origin, ...others] = run.sentBytes;
  const doneNs = [...run.doneNs].sort((a, b) => a - b);
  const at = (index: number) => (Number.isFinite(doneNs[index]) ? doneNs[index] : null);
  return {
    policy,
    firstNs: at(0),
    medianNs: at(Math.ceil(doneNs.length / 2) - 1),
    lastNs: at(doneNs.length - 1),
    boundNs: Math.round(options.sizeBytes / options.bytesPerNs),
    complete: doneNs.filter(Number.isFinite).length,
    originBytes: Math.round(origin),
    peerBytes: Math.round(others.reduce((sum, bytes) => sum + bytes, 0)),
    events: run.events,
  };
}
