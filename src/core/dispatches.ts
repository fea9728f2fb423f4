/**
 * Dispatches: what an instance is told with a request that it gets, where cached blocks come from
 * and where new ones go, numbered so that after a reset it is known what was lost.
 */
import type { InstanceViews } from './cluster-view.ts';
import type { ConductorWorld } from './conductor.ts';
import type { Directory } from './directory.ts';
import type { DirectoryMatch } from './directory-match.ts';
import { PolicyError } from './errors.ts';
import type { Dispatch } from './messages.ts';
import type { Occupancy } from './occupancy.ts';
import type { PlacementPolicy, PrefillChoice, ReplicationPolicy } from './policy.ts';
import type { Request } from './request.ts';

/** What a dispatch is made from; not part of its state. */
export interface DispatchWorld extends ConductorWorld {
  readonly directory: Directory;
  readonly views: InstanceViews;
  readonly match: DirectoryMatch;
  readonly occupancy: Occupancy;
  readonly placement: PlacementPolicy;
  readonly replication: ReplicationPolicy;
}

const NONE: readonly number[] = [];

type Sources = Pick<Dispatch, 'sources' | 'untils'>;
const NO_SOURCES: Sources = { sources: NONE, untils: NONE };

/** Replicas named as alternates to the first source of a fetch. */
const ALTERNATES = 2;

export class Dispatches {
  readonly world: DispatchWorld;
  /** Dispatches made for each instance. */
  private readonly made: Float64Array;
  /** The last dispatch that each instance has, or will have if nothing is lost. */
  private readonly reached: Float64Array;

  constructor(world: DispatchWorld) {
    this.world = world;
    const { instances } = world.topology;
    this.made = new Float64Array(instances.length);
    this.reached = new Float64Array(instances.length);
  }

  /** The next one of an instance. Throws PolicyError where placement names no node for blocks. */
  make(request: Request, choice: PrefillChoice, decodeInstance: number): Dispatch {
    const { settings, match, replication } = this.world;
    const { instance, sourceBlocks } = choice;
    const { sources, untils } = this.sourcesFor(choice, request);
    const after = this.reached[instance];
    const dispatch: Dispatch = {
      kind: 'dispatch',
      term: settings.term,
      sequence: ++this.made[instance],
      after,
      request,
      decodeInstance,
      sources,
      untils,
      sourceBlocks,
      localBlocks: match.localBlocks(instance),
      nodes: this.nodesFor(request, instance),
      keepsFetched: replication.keepsFetched,
    };
    this.reached[instance] = dispatch.sequence;
    return dispatch;
  }

  /** An instance has what was sent until then, of this term. */
  reach(instance: number, sequence: number): void {
    // What ended before it came leaves a hole, over which the next one goes.
    this.reached[instance] = sequence;
  }

  /** Sends one that was lost after those that the instance has. */
  repeat(instance: number, dispatch: Dispatch): void {
    const { host, addresses } = this.world;
    host.send(addresses.instance(instance), { ...dispatch, after: this.reached[instance] });
    this.reached[instance] = dispatch.sequence;
  }

  /** The source will be busy with what the target lacks. */
  bookFetch(dispatch: Dispatch, instance: number): void {
    const { request, sources, sourceBlocks, localBlocks } = dispatch;
    if (sources.length === 0) return;
    const { estimate, topology, views } = this.world;
    const { blockTokens } = topology.kv;
    const blocks = sourceBlocks - localBlocks;
    const tokens = Math.min(blocks * blockTokens, request.inputTokens - localBlocks * blockTokens);
    const target = views.nodeOf(instance);
    views.send(sources[0], estimate.transferNs(sources[0], target, tokens));
  }

  /** Blocks go to nodes that placement chooses one by one. */
  get spreads(): boolean {
    const { placement, occupancy } = this.world;
    return placement.spreads && occupancy.nodes.length > 0;
  }

  /** The chosen source, then others that hold as much; where blocks are spread, all of them. */
  private sourcesFor(choice: PrefillChoice, { blocks }: Request): Sources {
    const { sourceNode, sourceBlocks, instance } = choice;
    const { settings, views, placement, directory } = this.world;
    if (sourceNode < 0 || sourceBlocks === 0 || !settings.pooled) return NO_SOURCES;
    const target = views.nodeOf(instance);
    if (placement.spreads) {
      const runs = directory.runsFor(target, blocks, sourceBlocks);
      return { sources: runs.map(({ node }) => node), untils: runs.map(({ until }) => until) };
    }
    const sources = [sourceNode];
    const { matched } = directory;
    for (let node = 0; node < matched.length && sources.length <= ALTERNATES; node++) {
      const other = node !== sourceNode && node !== target;
      if (other && matched[node] >= sourceBlocks) sources.push(node);
    }
    return { sources, untils: NONE };
  }

  /** Which nodes are to keep the blocks of a prompt. */
  private nodesFor({ blocks }: Request, instance: number): readonly number[] {
    if (!this.spreads) return NONE;
    const { placement, occupancy, views } = this.world;
    const own = views.nodeOf(instance);
    const nodes: number[] = [];
    for (let i = 0; i < blocks.length; i++) {
      const node = placement.place(blocks.at(i), own, occupancy);
      if (!occupancy.nodes.includes(node)) {
        throw new PolicyError(
          `the placement policy chose ${node}, not a node with DRAM for blocks`,
        );
      }
      nodes.push(node);
    }
    return nodes;
  }
}
