/**
 * N nodes with pools of their own and a rule that sends each request to one of them, against the
 * one pool of the same total capacity (Mooncake, FAST 2025, Figure 8: local against global cache).
 */
import { unreachable } from '../../core/errors.ts';
import type { AccessStream } from './access-stream.ts';

export const ROUTINGS = ['random', 'round-robin', 'affine', 'best-prefix'] as const;
export type Routing = (typeof ROUTINGS)[number];

/** Chooses a node for each request. */
export class Router {
  private readonly routing: Routing;
  private readonly stream: AccessStream;
  private readonly nodes: number;
  private readonly random: () => number;
  /** What a request hashes to under `affine`. */
  private readonly affinity: Int32Array | null;
  /** Prompt blocks that each node was given. */
  private readonly load: Float64Array;
  private given = 0;
  private turn = 0;

  constructor(routing: Routing, stream: AccessStream, nodes: number, random: () => number) {
    this.routing = routing;
    this.stream = stream;
    this.nodes = nodes;
    this.random = random;
    this.affinity = routing === 'affine' ? affinities(stream) : null;
    this.load = new Float64Array(nodes);
  }

  /** `leading(node)`: blocks of the request that lead and are resident there. */
  route(request: number, leading: (node: number) => number): number {
    const node = this.choose(request, leading);
    const { start, promptEnd } = this.stream;
    const length = start === null ? 1 : promptEnd![request] - start[request];
    this.load[node] += length;
    this.given += length;
    return node;
  }

  private choose(request: number, leading: (node: number) => number): number {
    switch (this.routing) {
      case 'random':
        return Math.floor(this.random() * this.nodes);
      case 'round-robin':
        return this.turn++ % this.nodes;
      case 'affine':
        return hash(this.affinity![request]) % this.nodes;
      case 'best-prefix':
        return this.bestPrefix(leading);
      default:
        return unreachable(this.routing);
    }
  }

  /**
   * The longest run among nodes that are not ahead of the mean load; ties go to the least loaded.
   */
  private bestPrefix(leading: (node: number) => number): number {
    const limit = (this.given / this.nodes) * (1 + LOAD_SLACK);
    let best = 0;
    let bestRun = -1;
    for (let node = 0; node < this.nodes; node++) {
      if (this.load[node] > limit) continue;
      const run = leading(node);
      if (run > bestRun || (run === bestRun && this.load[node] < this.load[best])) {
        best = node;
        bestRun = run;
      }
    }
    return best;
  }
}

/** How far a node may be ahead of the mean and still be chosen for its prefix. */
const LOAD_SLACK = 0.05;

/** A first block of more requests than this is a prompt that sessions share. */
const SHARED_REQUESTS_SHARE = 0.01;

/**
 * The session where the trace says it, else the first block that does not belong to all and
 * sundry.
 */
export function affinities(stream: AccessStream): Int32Array {
  const { requests, session, start, promptEnd, blocks } = stream;
  if (session !== null) return session;
  if (start === null) return blocks;
  const uses = new Int32Array(stream.distinctBlocks);
  for (let i = 0; i < blocks.length; i++) uses[blocks[i]]++;
  const keys = new Int32Array(requests);
  for (let r = 0; r < requests; r++) {
    let i = start[r];
    while (i < promptEnd![r] - 1 && uses[blocks[i]] > SHARED_REQUESTS_SHARE * requests) i++;
    keys[r] = blocks[i];
  }
  return keys;
}

/** Knuth's multiplicative hash: neighbours do not follow each other. */
function hash(key: number): number {
  return Math.imul(key, 0x9e3779b1) >>> 8;
}
