/** A /sys with made-up devices, for what reads one. */
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export class FakeSys {
  readonly root = mkdtempSync(join(tmpdir(), 'sys-'));

  numa(count: number): this {
    for (let n = 0; n < count; n++) this.folder(`devices/system/node/node${n}`);
    return this;
  }

  /** `path`: below /sys/devices, ending with the function's address. */
  rdma(name: string, path: string, numa: number, { rate = '100 Gb/sec (4X EDR)', up = true } = {}) {
    this.file(`devices/${path}/numa_node`, `${numa}`);
    this.file(`devices/${path}/net/eth-${name}/speed`, '100000');
    this.file(`class/infiniband/${name}/ports/1/rate`, rate);
    this.file(`class/infiniband/${name}/ports/1/state`, up ? '4: ACTIVE' : '1: DOWN');
    return this.link(`class/infiniband/${name}/device`, `devices/${path}`);
  }

  ethernet(name: string, path: string | null, numa: number, megabits: number) {
    this.file(`class/net/${name}/speed`, `${megabits}`);
    this.file(`class/net/${name}/operstate`, 'up');
    if (path === null) return this;
    this.file(`devices/${path}/numa_node`, `${numa}`);
    return this.link(`class/net/${name}/device`, `devices/${path}`);
  }

  gpu(path: string, numa: number): this {
    this.file(`devices/${path}/numa_node`, `${numa}`);
    this.file(`devices/${path}/vendor`, '0x10de');
    this.file(`devices/${path}/class`, '0x030200');
    return this.link(`bus/pci/devices/${path.split('/').at(-1)}`, `devices/${path}`);
  }

  private folder(path: string): void {
    mkdirSync(join(this.root, path), { recursive: true });
  }

  private file(path: string, text: string): void {
    this.folder(dirname(path));
    writeFileSync(join(this.root, path), `${text}\n`);
  }

  private link(path: string, target: string): this {
    this.folder(dirname(path));
    symlinkSync(join(this.root, target), join(this.root, path));
    return this;
  }
}
