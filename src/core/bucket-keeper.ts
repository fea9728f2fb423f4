/**
 * The conductor's part in the homes of blocks: it has the placement policy make a map when nodes
 * come or go, and tells the stores, which move blocks by themselves and say how far they are.
 */
import { BucketMap } from './bucket-map.ts';
import type { ConductorWorld } from './conductor.ts';
import type { Buckets, MovesLeft } from './messages.ts';
import type { Occupancy } from './occupancy.ts';
import type { PlacementPolicy } from './policy.ts';

const NONE: readonly number[] = [];

export class BucketKeeper {
  readonly world: ConductorWorld;
  private readonly placement: PlacementPolicy;
  private readonly occupancy: Occupancy;
  /** What the stores were told last, and the nodes that it is for. */
  private told: Buckets | null = null;
  private nodes = NONE;
  /** The last word of each store. */
  private readonly left: (MovesLeft | null)[];

  constructor(world: ConductorWorld, placement: PlacementPolicy, occupancy: Occupancy) {
    this.world = world;
    this.placement = placement;
    this.occupancy = occupancy;
    this.left = world.topology.nodes.map(() => null);
  }

  /** The map of now; null before the first. */
  get map(): Buckets | null {
    return this.told;
  }

  /** An earlier conductor's map: before the first decision. */
  adopt({ version, owners }: Buckets): void {
    const { nodes } = this.world.topology;
    if (owners.some((owner) => nodes[owner] === undefined)) return;
    this.placement.adopt?.(BucketMap.from({ version, owners }));
  }

  /** After nodes have come or gone. */
  refresh(): void {
    const { nodes } = this.occupancy;
    if (nodes === this.nodes || nodes.length === 0) return;
    this.nodes = nodes;
    const map = this.placement.mapFor!(nodes);
    if (this.told?.version === map.version) return;
    const { term } = this.world.settings;
    this.told = { kind: 'buckets', term, ...map.toData() };
    for (const { id } of this.world.topology.nodes) this.tell(id);
  }

  /** A store that may not know the map. */
  tell(node: number): void {
    const { host, addresses } = this.world;
    if (this.told !== null) host.send(addresses.store(node), this.told);
  }

  heard(body: MovesLeft): void {
    this.left[body.node] = body;
  }

  /** Nothing is left on a node that is to go elsewhere by the map of now. */
  isSettled(node: number): boolean {
    const { told } = this;
    if (told === null || !this.world.settings.moves) return true;
    const left = this.left[node];
    return left?.term === told.term && left.version === told.version && left.blocks === 0;
  }
}
