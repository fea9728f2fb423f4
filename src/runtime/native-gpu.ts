/**
 * The addon's seam to GPUs: NVIDIA's driver API, loaded at run time. Addresses on the device are
 * numbers (below 2^49); work is started, gives a ticket, and is polled.
 */

export interface GpuInfo {
  readonly ordinal: number;
  readonly name: string;
  /** As in /sys/bus/pci/devices. */
  readonly pciAddress: string;
  readonly memoryBytes: number;
  /** Compute capability: "9.0". */
  readonly compute: string;
  /** Its memory can be exported for GPUDirect RDMA. */
  readonly dmabuf: boolean;
}

export interface GpuProbe {
  /** Why there is no GPU to use, or null. */
  readonly reason: string | null;
  /** 12040 is CUDA 12.4; 0 without a driver. */
  readonly driverVersion: number;
  readonly gpus: readonly GpuInfo[];
}

/** One device. Every method throws with the driver's text when it fails. */
export interface NativeGpu {
  /** Address of new device memory. */
  makePool(sizeBytes: number): number;
  freePool(address: number): void;
  /** Pins memory, so that copies from and to it are asynchronous; unpin before it is freed. */
  pinHost(memory: ArrayBuffer): void;
  unpinHost(memory: ArrayBuffer): void;
  /** Start a copy; the ticket is for `done`. Copies in, copies out and kernels do not wait for each
   * other: poll a ticket before starting what depends on it. */
  copyIn(to: number, memory: ArrayBuffer, offset: number, sizeBytes: number): number;
  copyOut(memory: ArrayBuffer, offset: number, from: number, sizeBytes: number): number;
  /** Word i becomes seed + i * 2654435761, modulo 2^32. */
  fill(to: number, words: number, seed: number): number;
  /** CRC-32C of each run of `blockBytes` (a multiple of 4) into a word of `crcs` on the device. */
  crc32c(data: number, blocks: number, blockBytes: number, crcs: number): number;
  /** Once true the ticket is gone. */
  done(ticket: number): boolean;
  /** A dmabuf descriptor for registering with a NIC; the caller closes it. */
  exportDmabuf(address: number, sizeBytes: number): number;
  close(): void;
}

/** The part of the addon that this is. */
export interface GpuAddon {
  /** The driver of this machine; of `library` for tests of loading. */
  gpuProbe(library: string | null): GpuProbe;
  readonly Gpu: new (ordinal: number) => NativeGpu;
}
