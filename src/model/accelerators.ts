/**
 * Accelerators: peak arithmetic, memory and links of one GPU. Dense (not sparse) peaks. Vendor data
 * sheets; NVLink is per direction, so half of what data sheets print. A800 and H800 are the A100
 * and H100 with NVLink cut to 400 GB/s in both directions together.
 */
import { GIB } from '../core/units.ts';

export interface Accelerator {
  readonly name: string;
  /** Dense bf16 operations per ns; 1 TFLOP/s is 1,000 of them. */
  readonly bf16FlopsPerNs: number;
  /** 0 where the GPU has no fp8 arithmetic. */
  readonly fp8FlopsPerNs: number;
  readonly memoryBytes: number;
  readonly memoryBytesPerNs: number;
  /** To the other GPUs of its node, per direction; 0 where there is no NVLink. */
  readonly nvlinkBytesPerNs: number;
  /** To its PCIe switch, per direction. */
  readonly pcieBytesPerNs: number;
}

/** One TFLOP/s is 1,000 FLOPs per ns. */
const TFLOPS = 1e3;

function gpu(
  name: string,
  bf16Tflops: number,
  fp8Tflops: number,
  memoryTBps: number,
  memoryGiB: number,
  nvlinkGBps: number,
  pcieGBps: number,
): Accelerator {
  return {
    name,
    bf16FlopsPerNs: bf16Tflops * TFLOPS,
    fp8FlopsPerNs: fp8Tflops * TFLOPS,
    memoryBytes: memoryGiB * GIB,
    memoryBytesPerNs: memoryTBps * 1e3,
    nvlinkBytesPerNs: nvlinkGBps,
    pcieBytesPerNs: pcieGBps,
  };
}

const GPUS: readonly Accelerator[] = [
  //        bf16 TF  fp8 TF  HBM TB/s  GiB  NVLink GB/s  PCIe GB/s
  gpu('a100', 312, 0, 2.039, 80, 300, 32),
  gpu('a800', 312, 0, 2.039, 80, 200, 32),
  gpu('h100', 989, 1978, 3.35, 80, 450, 64),
  gpu('h800', 989, 1978, 3.35, 80, 200, 64),
  gpu('h200', 989, 1978, 4.8, 141, 450, 64),
  gpu('b200', 2250, 4500, 7.7, 180, 900, 128),
  gpu('gb200', 2500, 5000, 8.0, 185, 900, 64),
  gpu('l40s', 362, 733, 0.864, 48, 0, 32),
];

/** All known accelerators by name. */
export const ACCELERATORS: ReadonlyMap<string, Accelerator> = new Map(GPUS.map((g) => [g.name, g]));
