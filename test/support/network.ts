/**
 * A network namespace per node on a bridge of this machine, so that the link between two nodes can
 * be cut while both still reach everybody else. Needs root.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import type { Place } from '../../src/study/live/local-cluster.ts';

let networks = 0;

export const hasNetwork = process.getuid?.() === 0 && spawnSync('ip', ['-V']).status === 0;
/** Why tests are skipped, and what helps. */
export const NO_NETWORK = 'skipped: not root, or no ip; sudo apt-get install iproute2';

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

export class Network {
  /** Address of this machine, where all that are no nodes listen. */
  readonly host: string;
  private readonly name: string;
  private readonly subnet: string;
  private readonly nodes: number;

  constructor(nodes: number) {
    const number = networks++;
    this.nodes = nodes;
    this.name = `mt${process.pid}x${number}`.slice(-10);
    this.subnet = `10.${200 + (number % 50)}.${process.pid % 250}`;
    this.host = `${this.subnet}.254`;
    ip('link', 'add', this.name, 'type', 'bridge');
    ip('addr', 'add', `${this.host}/24`, 'dev', this.name);
    ip('link', 'set', this.name, 'up');
    for (let node = 0; node < nodes; node++) this.add(node);
  }

  place(name: string): Place {
    const [, number] = /^(?:node|store)-(\d+)$/.exec(name) ?? [];
    if (number === undefined) return { within: [], listen: `${this.host}:0` };
    const node = Number(number);
    return {
      within: ['ip', 'netns', 'exec', this.space(node)],
      listen: `${this.address(node)}:0`,
    };
  }

  /** What two nodes send to each other goes nowhere, both ways and silently. */
  cut(a: number, b: number): void {
    this.lose(a, b);
    this.lose(b, a);
  }

  mend(a: number, b: number): void {
    this.inside(a, 'neigh', 'del', this.address(b), 'dev', 'eth0');
    this.inside(b, 'neigh', 'del', this.address(a), 'dev', 'eth0');
  }

  close(): void {
    for (let node = 0; node < this.nodes; node++) ip('netns', 'del', this.space(node));
    ip('link', 'del', this.name);
  }

  private add(node: number): void {
    const space = this.space(node);
    const end = `${this.name}v${node}`;
    ip('netns', 'add', space);
    ip('link', 'add', end, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space);
    ip('link', 'set', end, 'master', this.name, 'up');
    this.inside(node, 'addr', 'add', `${this.address(node)}/24`, 'dev', 'eth0');
    this.inside(node, 'link', 'set', 'eth0', 'up');
    this.inside(node, 'link', 'set', 'lo', 'up');
  }

  /** A neighbour that is not there: packets to it leave, and nobody takes them. */
  private lose(from: number, to: number): void {
    const nobody = ['lladdr', '02:00:00:00:00:01', 'nud', 'permanent'];
    this.inside(from, 'neigh', 'replace', this.address(to), ...nobody, 'dev', 'eth0');
  }

  private inside(node: number, ...args: string[]): void {
    ip('-n', this.space(node), ...args);
  }

  private space(node: number): string {
    return `${this.name}n${node}`;
  }

  private address(node: number): string {
    return `${this.subnet}.${node + 1}`;
  }
}
