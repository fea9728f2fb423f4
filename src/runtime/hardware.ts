/**
 * NICs, GPUs and NUMA domains of this machine, read from Linux's /sys: who hangs off which domain,
 * how fast, and how far apart on the PCI tree. Nothing is opened; what is unknown is null.
 */
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';

export interface Device {
  /** Folder under /sys/devices; null: not on a bus (Soft-RoCE, veth, loopback). */
  readonly busPath: string | null;
  /** NUMA domain; null: unknown, as on machines with one. */
  readonly numa: number | null;
}

export interface Nic extends Device {
  /** `mlx5_0` of RDMA devices, `eth0` of others. */
  readonly name: string;
  readonly rdma: boolean;
  /** The network interface: the name itself of those that are no RDMA devices. */
  readonly netdev: string | null;
  /** Line rate in bits per second; null: unknown. */
  readonly bitsPerSec: number | null;
  readonly up: boolean;
}

export interface Gpu extends Device {
  /** As CUDA numbers them by default with CUDA_DEVICE_ORDER=PCI_BUS_ID. */
  readonly index: number;
  /** `0000:3b:00.0` */
  readonly pci: string;
}

export interface Hardware {
  /** At least one, ascending. */
  readonly numaDomains: readonly number[];
  readonly nics: readonly Nic[];
  readonly gpus: readonly Gpu[];
}

/** What this machine has. `sys`: where /sys is. */
export function readHardware(sys = '/sys'): Hardware {
  const numaDomains = list(join(sys, 'devices/system/node'))
    .flatMap((name) => /^node(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
  return {
    numaDomains: numaDomains.length > 0 ? numaDomains : [0],
    nics: [...rdmaNics(sys), ...ethernetNics(sys)],
    gpus: gpus(sys),
  };
}

/**
 * Steps on the PCI tree from one device to the other; null when one of them is not on it or they
 * hang off different root complexes (the way crosses the processor).
 */
export function busDistance(a: Device, b: Device): number | null {
  if (a.busPath === null || b.busPath === null) return null;
  const left = a.busPath.split('/').filter((part) => part !== '');
  const right = b.busPath.split('/').filter((part) => part !== '');
  let common = 0;
  while (common < left.length && left[common] === right[common]) common++;
  if (common === 0) return null;
  return left.length + right.length - 2 * common;
}

function rdmaNics(sys: string): Nic[] {
  const root = join(sys, 'class/infiniband');
  return list(root).map((name) => {
    const folder = join(root, name);
    const port = join(folder, 'ports/1');
    // "100 Gb/sec (4X EDR)", "4: ACTIVE"; Soft-RoCE names its interface in `parent`.
    const rate = /^([\d.]+) Gb\/sec/.exec(text(join(port, 'rate')) ?? '')?.[1];
    return {
      ...device(sys, join(folder, 'device')),
      name,
      rdma: true,
      netdev:
        list(join(folder, 'device/net'))[0] ??
        text(join(port, 'gid_attrs/ndevs/0')) ??
        text(join(folder, 'parent')),
      bitsPerSec: rate === undefined ? null : Number(rate) * 1e9,
      up: (text(join(port, 'state')) ?? '').startsWith('4:'),
    };
  });
}

function ethernetNics(sys: string): Nic[] {
  const root = join(sys, 'class/net');
  return list(root).map((name) => {
    const folder = join(root, name);
    // Virtual ones give -1 or EINVAL; the loopback's state is "unknown".
    const megabits = Number(text(join(folder, 'speed')) ?? -1);
    const state = text(join(folder, 'operstate'));
    return {
      ...device(sys, join(folder, 'device')),
      name,
      rdma: false,
      netdev: name,
      bitsPerSec: megabits > 0 ? megabits * 1e6 : null,
      up: state === 'up' || (state === 'unknown' && text(join(folder, 'carrier')) !== '0'),
    };
  });
}

/** NVIDIA's display and 3D controllers, by bus address. */
function gpus(sys: string): Gpu[] {
  const root = join(sys, 'bus/pci/devices');
  return list(root)
    .filter((pci) => text(join(root, pci, 'vendor')) === '0x10de')
    .filter((pci) => /^0x030[02]/.test(text(join(root, pci, 'class')) ?? ''))
    .map((pci, index) => ({ ...device(sys, join(root, pci)), index, pci }));
}

function device(sys: string, folder: string): Device {
  if (!existsSync(folder)) return { busPath: null, numa: null };
  const real = realpathSync(folder);
  const numa = Number(text(join(real, 'numa_node')) ?? -1);
  // Virtio devices sit one level below their PCI function; the path ends with the function.
  const onBus = real.slice(realpathSync(sys).length).replace(/^\/devices/, '');
  const busPath = onBus.startsWith('/pci') ? onBus.replace(/\/virtio\d+$/, '') : null;
  return { busPath, numa: numa < 0 ? null : numa };
}

function list(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}

/** Of a file in /sys, without its newline; null where it can't be read. */
function text(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return null;
  }
}
