/** One suite for every registry; etcd with one member and with three, members dying. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Buckets } from '../../src/core/messages.ts';
import { type LinkHandler, Links } from '../../src/runtime/control/links.ts';
import { BucketEntry } from '../../src/runtime/live/bucket-entry.ts';
import { BUCKETS_KEY, LEADER_KEY } from '../../src/runtime/live/spec.ts';
import { campaign } from '../../src/runtime/registry/election.ts';
import { EtcdRegistry } from '../../src/runtime/registry/etcd.ts';
import { MemoryRegistry } from '../../src/runtime/registry/memory.ts';
import { ABSENT, ANY, type Registry, type Snapshot } from '../../src/runtime/registry/registry.ts';
import { RegistryServer, RemoteRegistry } from '../../src/runtime/registry/served.ts';
import { EtcdCluster, hasEtcd, NO_ETCD } from '../support/etcd.ts';

const CI = process.env.CI === 'true';
/** Of links made so far. */
let lives = 0;

/** What a suite needs: two clients of one registry, empty. */
interface Clients {
  readonly one: Registry;
  readonly two: Registry;
}

function conformance(open: () => Promise<Clients>): void {
  let one: Registry;
  let two: Registry;
  beforeEach(async () => {
    ({ one, two } = await open());
  });
  afterEach(async () => {
    await one.close();
    if (two !== one) await two.close();
  });

  it('writes on condition of a revision', async () => {
    expect(await one.get('a')).toBeNull();
    const first = await one.put('a', '1', ABSENT);
    expect(first).toBeGreaterThan(0);
    expect(await two.put('a', '2', ABSENT)).toBeNull();
    expect(await two.get('a')).toEqual({ key: 'a', value: '1', revision: first });
    const second = await two.put('a', '2', first ?? 0);
    expect(second).toBeGreaterThan(first ?? 0);
    expect(await one.put('a', '3', first ?? 0)).toBeNull();
    expect(await one.put('a', '3', ANY)).toBeGreaterThan(second ?? 0);
    expect(await one.remove('a', second ?? 0)).toBe(false);
    expect(await one.remove('a', ANY)).toBe(true);
    expect(await one.get('a')).toBeNull();
  });

  it('lists what lies below a prefix, in order', async () => {
    for (const key of ['n/b', 'n/a', 'm/c', 'n']) await one.put(key, key, ANY);
    expect([...(await two.list('n/')).keys()]).toEqual(['n/a', 'n/b']);
  });

  it('of writers at once on the same revision one wins', async () => {
    const revision = (await one.put('count', '0', ABSENT)) ?? 0;
    const tries = Array.from({ length: 10 }, (_, i) =>
      (i % 2 === 0 ? one : two).put('count', String(i), revision),
    );
    const won = (await Promise.all(tries)).filter((answer) => answer !== null);
    expect(won).toHaveLength(1);
  });

  it('shows every state that lasts to a watch', async () => {
    const seen: Snapshot[] = [];
    await one.put('w/a', '1', ANY);
    const watch = await two.watch('w/', (entries) => seen.push(entries));
    await one.put('w/b', '2', ANY);
    await one.remove('w/a', ANY);
    await one.put('x', 'elsewhere', ANY);
    await until(() => [...(seen.at(-1)?.keys() ?? [])].join() === 'w/b');
    await watch.close();
    const calls = seen.length;
    await one.put('w/c', '3', ANY);
    await two.get('w/c');
    expect(seen).toHaveLength(calls);
  });

  it('removes what a lease holds when it ends', async () => {
    const lease = await one.lease(5000);
    await lease.put('l/a', '1', ABSENT);
    await one.put('l/b', '2', ABSENT);
    expect((await two.list('l/')).size).toBe(2);
    await lease.end();
    expect([...(await two.list('l/')).keys()]).toEqual(['l/b']);
  });

  it('elects one, and the next when it resigns, with a higher term', async () => {
    const first = campaign(one, 'leader', 'one', 5000);
    const a = await first.elected;
    const second = campaign(two, 'leader', 'two', 5000);
    let elected = false;
    void second.elected.then(() => {
      elected = true;
    });
    expect((await two.get('leader'))?.value).toBe('one');
    expect(elected).toBe(false);
    await a.resign();
    const b = await second.elected;
    expect(b.term).toBeGreaterThan(a.term);
    expect((await one.get('leader'))?.value).toBe('two');
    await b.resign();
  });

  it('writes under a fence as long as the entry stands', async () => {
    const a = await campaign(one, 'leader', 'one', 5000).elected;
    const fence = { key: 'leader', revision: a.term };
    const first = await one.put('m', '1', ABSENT, fence);
    expect(first).toBeGreaterThan(a.term);
    expect(await one.put('m', '2', first!, { ...fence, revision: a.term + 1 })).toBeNull();
    expect(await one.put('m', '2', ABSENT, fence)).toBeNull();
    await a.resign();
    expect(await one.put('m', '2', first!, fence)).toBeNull();
    expect(await one.put('m', '2', ANY, fence)).toBeNull();
    const b = await campaign(two, 'leader', 'two', 5000).elected;
    expect(await one.put('m', '2', first!, fence)).toBeNull();
    const own = { key: 'leader', revision: b.term };
    expect(await two.put('m', '3', ANY, own)).toBeGreaterThan(b.term);
    expect((await one.get('m'))?.value).toBe('3');
    await b.resign();
  });

  it('has the bucket map of who leads: adopted by the next, and never of one deposed', async () => {
    const seen: Buckets[] = [];
    const onMap = (map: Buckets) => void seen.push(map);
    const terms = { one: -1, two: -1 };
    const entry = (registry: Registry, name: 'one' | 'two', told: typeof onMap) =>
      new BucketEntry({ registry, onMap: told, leads: (term) => terms[name] === term });
    const [first, second] = [entry(one, 'one', () => {}), entry(two, 'two', onMap)];
    await second.follow();
    const a = await campaign(one, LEADER_KEY, 'one', 5000).elected;
    terms.one = a.term;
    const map = (term: number, version: number, ...owners: number[]): Buckets => {
      return { kind: 'buckets', term, version, owners };
    };
    for (const version of [1, 1, 2]) first.publish(map(a.term, version, version - 1, 1));
    await until(() => seen.at(-1)?.version === 2);
    expect(seen.at(-1)).toEqual(map(a.term, 2, 1, 1));
    await a.resign();
    // It has not heard yet that it leads no more.
    first.publish(map(a.term, 3, 7, 7));
    const b = await campaign(two, LEADER_KEY, 'two', 5000).elected;
    terms.two = b.term;
    expect(await second.read()).toEqual(map(a.term, 2, 1, 1));
    second.publish(map(b.term, 2, 1, 1));
    await until(() => seen.at(-1)?.term === b.term);
    second.publish(map(b.term, 3, 1, 0));
    await until(() => seen.at(-1)?.version === 3);
    terms.one = -1;
    expect(seen.every(({ owners }) => !owners.includes(7))).toBe(true);
    expect((await two.list(BUCKETS_KEY)).size).toBe(1);
    await b.resign();
  });

  it('cancels a campaign', async () => {
    const a = await campaign(one, 'leader', 'one', 5000).elected;
    const second = campaign(two, 'leader', 'two', 5000);
    await second.cancel();
    await a.resign();
    expect(await one.get('leader')).toBeNull();
  });
}

describe('the registry in memory', () => {
  conformance(async () => {
    const registry = new MemoryRegistry();
    return { one: registry, two: registry };
  });

  it('loses a lease that its holder does not renew', async () => {
    const registry = new MemoryRegistry();
    const lease = await registry.lease(20);
    await lease.put('a', '1', ABSENT);
    lease.keepAlive();
    await lease.lost;
    expect(await registry.get('a')).toBeNull();
    await expect(lease.put('a', '1', ABSENT)).rejects.toThrow('the lease has ended');
  });
});

describe('the registry of another process', () => {
  conformance(async () => {
    const ports = new Map<string, number>();
    const open: Links[] = [];
    const links = async (name: string, handler: LinkHandler) => {
      const made = new Links({
        name,
        life: ++lives,
        listen: '127.0.0.1:0',
        token: 'test',
        tls: null,
        endpointOf: (peer) => `127.0.0.1:${ports.get(peer)}`,
        handler,
      });
      ports.set(name, await made.listen());
      open.push(made);
      return made;
    };
    const server: RegistryServer = new RegistryServer((peer, letter) => hub.send(peer, letter));
    const hub = await links('hub', {
      onMessage: (peer, message) => server.receive(peer, (message as unknown[])[1]),
      onReset: (peer) => server.reset(peer),
    });
    const client = async (name: string) => {
      const registry: RemoteRegistry = new RemoteRegistry('hub', (peer, letter) =>
        own.send(peer, letter),
      );
      const own = await links(name, {
        onMessage: (_, message) => registry.receive((message as unknown[])[1]),
        onReset: () => registry.reset(),
      });
      return registry;
    };
    const [one, two] = [await client('one'), await client('two')];
    const close = two.close.bind(two);
    two.close = async () => {
      await close();
      for (const made of open) await made.close();
    };
    return { one, two };
  });

  it('lets nobody but the leader write the bucket map', async () => {
    const said: unknown[] = [];
    const server = new RegistryServer((_, letter) => said.push(letter[1]));
    const put = (peer: string, id: number, key: string, value: string) =>
      server.receive(peer, ['put', id, key, value, ANY, 0, null]);
    put('one', 1, LEADER_KEY, 'one');
    await until(() => said.length === 1);
    put('two', 2, BUCKETS_KEY, '{}');
    await until(() => said.length === 2);
    expect(said[1]).toEqual(['refused', 2, expect.stringMatching(/found two writing buckets/)]);
    put('one', 3, BUCKETS_KEY, '{}');
    await until(() => said.length === 3);
    expect(said[2]).toEqual(['answer', 3, expect.any(Number)]);
    const wrong = ['put', 4, 'a', '1', ANY, 0, { key: 'b', revision: -1 }];
    expect(() => server.receive('one', wrong)).toThrow('found no question');
  });
});

let prefixes = 0;

function client(cluster: EtcdCluster, prefix: string): EtcdRegistry {
  return new EtcdRegistry({ endpoints: cluster.endpoints, prefix, credentials: null });
}

for (const members of [1, 3]) {
  describe.skipIf(!hasEtcd && !CI)(`the registry on ${members} etcd (${NO_ETCD})`, () => {
    let cluster: EtcdCluster;
    beforeAll(async () => {
      cluster = await EtcdCluster.start(members);
    }, 60_000);
    afterAll(() => cluster?.stop());

    conformance(async () => {
      const prefix = `test-${prefixes++}/`;
      return { one: client(cluster, prefix), two: client(cluster, prefix) };
    });

    if (members === 1) return;

    it('goes on within seconds when the leading member dies, without a write lost', async () => {
      const [one, two] = [client(cluster, 'kill/'), client(cluster, 'kill/')];
      const seen: string[] = [];
      const watch = await two.watch('', (entries) => {
        seen.push(entries.get('count')?.value ?? '');
      });
      const lease = await one.lease(3000);
      await lease.put('member', 'one', ABSENT);
      const dead = (await cluster.leader()) ?? 0;
      let written = 0;
      for (let i = 1; i <= 40; i++) {
        if (i === 10) await cluster.kill(dead);
        if (i === 30) cluster.restart(dead);
        if ((await one.put('count', String(i), ANY)) !== null) written++;
      }
      expect(written).toBe(40);
      expect((await two.get('count'))?.value).toBe('40');
      await until(() => seen.at(-1) === '40');
      expect((await two.get('member'))?.value).toBe('one');
      await lease.end();
      await watch.close();
      await one.close();
      await two.close();
    }, 60_000);
  });
}

/** Resolves once it holds; fails the test after ten seconds. */
async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; !holds(); tries++) {
    if (tries === 1000) throw new Error('it never came to be');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
