/**
 * What takes long to open and outlives a cluster of a test: the channels between processes, by
 * name, and the rails of nodes. The next cluster takes them as they are, if the last one left
 * nothing on them.
 */
import { Links } from '../../src/runtime/control/links.ts';
import type { DataPlane } from '../../src/runtime/data-plane.ts';

/** What opens a channel before anything counts on it. */
export const HELLO = 'hello';

export interface Heard {
  onMessage(peer: string, letter: unknown): void;
  onReset(peer: string, cause: string): void;
}

/** One process's channels, and who hears what comes. */
class Ends {
  heard: Heard | null = null;
  readonly links: Links;
  /** Peers that it has a channel to. */
  readonly greeted = new Set<string>();

  constructor(name: string, portOf: (peer: string) => number) {
    this.links = new Links({
      name,
      life: 1,
      listen: '127.0.0.1:0',
      token: 'test',
      tls: null,
      endpointOf: (peer) => `127.0.0.1:${portOf(peer)}`,
      handler: {
        onMessage: (peer, letter) => this.heard?.onMessage(peer, letter),
        onReset: (peer, cause) => {
          this.greeted.delete(peer);
          this.heard?.onReset(peer, cause);
        },
      },
    });
  }
}

export class Kept {
  private readonly ends = new Map<string, Ends>();
  private readonly planes = new Map<string, DataPlane>();

  /** Channels of a process that listens; what they bring goes to the last who asked. */
  async links(name: string, heard: Heard): Promise<Links> {
    let ends = this.ends.get(name);
    if (ends === undefined) {
      ends = new Ends(name, (peer) => this.ends.get(peer)?.links.port ?? 0);
      this.ends.set(name, ends);
      await ends.links.listen();
    }
    ends.heard = heard;
    return ends.links;
  }

  /** Opens the channels of these processes to each other; answers how many greetings travel. */
  greet(names: readonly string[]): number {
    let sent = 0;
    for (const name of names) {
      const { links, greeted } = this.ends.get(name)!;
      for (const peer of names) {
        if (peer === name || greeted.has(peer)) continue;
        greeted.add(peer);
        links.send(peer, HELLO);
        sent++;
      }
    }
    return sent;
  }

  /** `name`: of all that tells one node's rails from another's. */
  plane(name: string, open: () => DataPlane): DataPlane {
    const plane = this.planes.get(name) ?? open();
    this.planes.set(name, plane);
    return plane;
  }

  async close(): Promise<void> {
    const ends = [...this.ends.values()];
    const planes = [...this.planes.values()];
    this.ends.clear();
    this.planes.clear();
    for (const { links } of ends) await links.close();
    for (const plane of planes) plane.close();
  }
}
