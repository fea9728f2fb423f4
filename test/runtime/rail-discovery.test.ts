/** From /sys and libfabric's offers to placed rails and Mooncake's matrix. */
import { rmSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { busDistance, readHardware } from '../../src/runtime/hardware.ts';
import { chooseRails, type FabricOffer, topologyRails } from '../../src/runtime/rail-discovery.ts';
import { buildMatrix, parseMatrix, railsFor } from '../../src/runtime/topology-matrix.ts';
import { FakeSys } from '../support/sysfs.ts';

/**
 * Two sockets; on each a switch with two NICs and two GPUs, where NIC and GPU of equal number
 * share the lower switch port's branch; a management NIC on socket 0.
 */
const sys = new FakeSys().numa(2).ethernet('eno1', 'pci0000:00/0000:00:1f.6', 0, 1_000);
const BRANCHES = [
  { root: 'pci0000:3a/0000:3a:00.0/0000:3b', numa: 0, branches: ['3b', '3c'] },
  { root: 'pci0000:ba/0000:ba:00.0/0000:bb', numa: 1, branches: ['bb', 'bc'] },
];
let nic = 0;
for (const { root, numa, branches } of BRANCHES) {
  for (const branch of branches) {
    sys.rdma(`mlx5_${nic++}`, `${root}:${branch}.0/0000:${branch}:00.0`, numa);
    sys.gpu(`${root}:${branch}.0/0000:${branch}:01.0`, numa);
  }
}
const hardware = readHardware(sys.root);
afterAll(() => rmSync(sys.root, { recursive: true }));

function offer(provider: string, domain: string, address: string | null): FabricOffer {
  return { provider, domain, address, bitsPerSec: null, pci: null, up: true };
}

const OFFERS = [
  ...[0, 1, 2, 3].flatMap((k) => [
    offer('verbs;ofi_rxm', `mlx5_${k}`, 'fe80::1'),
    offer('verbs;ofi_rxm', `mlx5_${k}`, `fd00::${k + 1}`),
    offer('verbs;ofi_rxm', `mlx5_${k}`, `10.0.${k}.1`),
  ]),
  offer('tcp', 'eno1', '192.0.2.7'),
  offer('tcp', 'docker0', '172.17.0.1'),
  offer('tcp', 'lo', '127.0.0.1'),
];

describe('hardware', () => {
  it('reads NUMA domains, NICs and GPUs with their places', () => {
    expect(hardware.numaDomains).toEqual([0, 1]);
    expect(hardware.gpus.map(({ pci, numa }) => [pci, numa])).toEqual([
      ['0000:3b:01.0', 0],
      ['0000:3c:01.0', 0],
      ['0000:bb:01.0', 1],
      ['0000:bc:01.0', 1],
    ]);
    const mlx = hardware.nics.find(({ name }) => name === 'mlx5_2');
    expect(mlx).toMatchObject({ numa: 1, bitsPerSec: 100e9, up: true, netdev: 'eth-mlx5_2' });
    expect(hardware.nics.find(({ name }) => name === 'eno1')).toMatchObject({
      rdma: false,
      bitsPerSec: 1e9,
      numa: 0,
    });
  });

  it('counts steps on the PCI tree', () => {
    const [nic0, nic1, nic2] = ['mlx5_0', 'mlx5_1', 'mlx5_2'].map(
      (name) => hardware.nics.find((one) => one.name === name)!,
    );
    const [gpu] = hardware.gpus;
    expect(busDistance(nic0, gpu)).toBe(2);
    expect(busDistance(nic1, gpu)).toBe(4);
    expect(busDistance(nic2, gpu)).toBeNull();
  });

  it('reads this machine', () => {
    const real = readHardware();
    expect(real.numaDomains.length).toBeGreaterThan(0);
    expect(real.nics.map(({ name }) => name)).toContain('lo');
  });

  it('gives one domain and nothing else where there is no /sys', () => {
    expect(readHardware('/nonexistent')).toEqual({ numaDomains: [0], nics: [], gpus: [] });
  });
});

describe('rails', () => {
  const rails = chooseRails(OFFERS, hardware);

  it('are one per NIC, by IPv4, of the best provider', () => {
    expect(rails.map(({ name, address }) => [name, address])).toEqual([
      ['mlx5_0', '10.0.0.1'],
      ['mlx5_1', '10.0.1.1'],
      ['mlx5_2', '10.0.2.1'],
      ['mlx5_3', '10.0.3.1'],
    ]);
  });

  it('are the physical NICs of TCP without RDMA, and the loopback at last', () => {
    const names = (offers: readonly FabricOffer[]) =>
      chooseRails(offers, hardware, 'off').map(({ name }) => name);
    expect(names(OFFERS)).toEqual(['eno1']);
    expect(names(OFFERS.filter(({ domain }) => domain !== 'eno1'))).toEqual(['docker0']);
    expect(names(OFFERS.filter(({ domain }) => domain === 'lo'))).toEqual(['lo']);
    expect(names([])).toEqual([]);
  });

  it('leave out a NIC whose link is down', () => {
    const down = OFFERS.map((one) => ({ ...one, up: one.domain !== 'mlx5_1' }));
    expect(chooseRails(down, hardware).map(({ name }) => name)).not.toContain('mlx5_1');
  });

  it('must be RDMA where that is required', () => {
    const tcp = OFFERS.filter(({ provider }) => provider === 'tcp');
    expect(() => chooseRails(tcp, hardware, 'require')).toThrow(
      'found providers tcp, expected one of verbs;ofi_rxm, efa',
    );
    expect(chooseRails(OFFERS, hardware, 'require')).toEqual(rails);
  });

  it('carry rate, domain and near GPUs into the topology', () => {
    expect(topologyRails(rails, hardware, 1e9)[2]).toEqual({
      name: 'mlx5_2',
      bytesPerNs: 12.5,
      numa: 1,
      gpus: [2],
    });
  });
});

describe('matrix', () => {
  const rails = chooseRails(OFFERS, hardware);
  const matrix = buildMatrix(hardware, rails);

  it("prefers rails of the memory's domain and those nearest to the GPU", () => {
    expect(matrix).toEqual({
      'cpu:0': [
        ['mlx5_0', 'mlx5_1'],
        ['mlx5_2', 'mlx5_3'],
      ],
      'cpu:1': [
        ['mlx5_2', 'mlx5_3'],
        ['mlx5_0', 'mlx5_1'],
      ],
      'cuda:0': [['mlx5_0'], ['mlx5_1', 'mlx5_2', 'mlx5_3']],
      'cuda:1': [['mlx5_1'], ['mlx5_0', 'mlx5_2', 'mlx5_3']],
      'cuda:2': [['mlx5_2'], ['mlx5_0', 'mlx5_1', 'mlx5_3']],
      'cuda:3': [['mlx5_3'], ['mlx5_0', 'mlx5_1', 'mlx5_2']],
    });
  });

  it("falls back to the GPU's NUMA domain when no NIC shares its root", () => {
    const apart = rails.map((rail) => ({ ...rail, busPath: null }));
    expect(buildMatrix(hardware, apart)['cuda:3'][0]).toEqual(['mlx5_2', 'mlx5_3']);
  });

  it('prefers all where nothing is known', () => {
    const unknown = rails.map((rail) => ({ ...rail, busPath: null, numa: null }));
    const all = rails.map(({ name }) => name);
    for (const choice of Object.values(buildMatrix(hardware, unknown))) {
      expect(choice).toEqual([all, []]);
    }
  });

  const names = rails.map(({ name }) => name);

  it("takes a user's own, the same as it prints", () => {
    expect(parseMatrix(JSON.stringify(matrix), names, 'm.json')).toEqual(matrix);
    const own = parseMatrix('{"cpu:0": [[], ["mlx5_3"]]}', names, 'm.json');
    expect(railsFor(own, 'cpu:0')).toEqual([['mlx5_3'], []]);
    expect(railsFor(own, 'cuda:7')).toEqual([['mlx5_3'], []]);
  });

  it.each([
    ['{', 'm.json: no JSON'],
    ['[]', 'm.json: expected an object of locations'],
    ['{}', 'm.json: names no location'],
    ['{"gpu0": [[], []]}', "m.json: found location 'gpu0', expected cpu:N or cuda:N"],
    ['{"cpu:0": ["mlx5_0"]}', 'm.json: cpu:0: expected [[preferred rails], [other rails]]'],
    ['{"cpu:0": [[], []]}', 'm.json: cpu:0: names no rail'],
    ['{"cpu:0": [["mlx5_0"], ["mlx5_0"]]}', "m.json: cpu:0: names rail 'mlx5_0' twice"],
    ['{"cpu:0": [["mlx5_9"], []]}', "m.json: cpu:0: found rail 'mlx5_9', expected one of mlx5_0"],
  ])('refuses %s', (json, message) => {
    expect(() => parseMatrix(json, names, 'm.json')).toThrow(message);
  });
});
