/**
 * Kinds of nodes: GPUs, rails, buses, and the share of their nominal rates that transfers reach.
 *
 * Fitted on `a800x8` to Qin et al., "Mooncake", FAST'25, Figure 14 (LLaMA3-70B, 8 x A800):
 * - transfer: 87.6 GB/s of 4 x 200 Gb/s, so rails reach 0.876 of line rate;
 * - load into HBM: 1.7 ms, then 101.6 of the nominal 128 GB/s, so buses reach 0.794.
 * Nodes with 8 x 400 Gb/s take 0.475: their 190 GB/s at 40 GB in Figure 12 of the same paper. The
 * bus efficiency and its latency are taken over from `a800x8`: nothing else is published.
 * Nominal host-to-device: two GPUs share one PCIe switch with one uplink, hence half of the GPUs'
 * own links, which for `a800x8` gives the 128 GB/s that the paper states.
 */
import { GBPS_IN_BYTES_PER_NS, NS_PER_MS, NS_PER_US } from '../core/units.ts';
import { ACCELERATORS, type Accelerator } from './accelerators.ts';

export interface NodeType {
  readonly accelerator: Accelerator;
  readonly gpus: number;
  readonly numaDomains: number;
  readonly rails: number;
  /** Line rate of one rail, per direction. */
  readonly railBytesPerNs: number;
  readonly railEfficiency: number;
  readonly railLatencyNs: number;
  /** Between the two sockets, each direction. */
  readonly socketBytesPerNs: number;
  /** Nominal, whole node, per direction. */
  readonly hostToDeviceBytesPerNs: number;
  readonly hostToDeviceEfficiency: number;
  readonly hostToDeviceLatencyNs: number;
  /** All drives together. */
  readonly ssdReadBytesPerNs: number;
  readonly ssdWriteBytesPerNs: number;
  readonly ssdLatencyNs: number;
}

/** Figure 14, transfer row: least squares through the origin, 87.6 of 100 GB/s. */
export const RAIL_EFFICIENCY = 0.876;
/** Figure 12: 190 of 400 GB/s with 8 rails of 400 Gb/s. */
export const RAIL_EFFICIENCY_8X400 = 0.475;
/** Point to point, AIConfigurator's constant. */
export const RAIL_LATENCY_NS = 10 * NS_PER_US;
/** Figure 14, load row: 101.6 of 128 GB/s. */
export const HOST_TO_DEVICE_EFFICIENCY = 101.6 / 128;
/** Figure 14, load row: the intercept. */
export const HOST_TO_DEVICE_LATENCY_NS = 1.7 * NS_PER_MS;
/**
 * What a node reaches over TCP whatever its rails: Figure 12, 40 GB in 1.082 s on 4 x 200 Gb/s and
 * 0.966 s on 8 x 400 Gb/s, their mean.
 */
export const TCP_NODE_BYTES_PER_NS = 39;

/**
 * SSDs: four PCIe 4.0 drives of the data-centre class, each with 6.5 GB/s of sequential reads and
 * 3.5 GB/s of writes (Samsung's figures for the PM9A3 of 7.68 TB, 2020) and 80 us for a first read.
 */
export const SSD_DRIVES = 4;
export const SSD_READ_BYTES_PER_NS = SSD_DRIVES * 6.5;
export const SSD_WRITE_BYTES_PER_NS = SSD_DRIVES * 3.5;
export const SSD_LATENCY_NS = 80 * NS_PER_US;

/** Start-up over TCP: a one-sided read of 64 KiB, measured over loopback (libfabric's tcp). */
export const TCP_LATENCY_NS = 43 * NS_PER_US;
/** Copying at both ends: processor time per byte of a plain TCP stream, 2.5 GB/s on a core. */
export const TCP_CPU_NS_PER_BYTE = 0.4;
/**
 * Links between two sockets, each direction: three UPI links of 11.2 GT/s (Ice Lake) beside A800s,
 * four of 16 GT/s (Sapphire Rapids) beside later GPUs, 2 bytes a transfer.
 */
export const SOCKET_BYTES_PER_NS = 3 * 11.2 * 2;
export const SOCKET_BYTES_PER_NS_4UPI = 4 * 16 * 2;

/** GPUs that share one PCIe uplink to the host. */
const GPUS_PER_UPLINK = 2;

export function nominalHostToDevice(accelerator: Accelerator, gpus: number): number {
  return (accelerator.pcieBytesPerNs * gpus) / GPUS_PER_UPLINK;
}

function eightGpus(
  name: string,
  rails: number,
  railGbps: number,
  railEfficiency: number,
  socketBytesPerNs: number,
): [string, NodeType] {
  const accelerator = ACCELERATORS.get(name)!;
  const node = {
    accelerator,
    gpus: 8,
    numaDomains: 2,
    rails,
    railBytesPerNs: railGbps * GBPS_IN_BYTES_PER_NS,
    railEfficiency,
    railLatencyNs: RAIL_LATENCY_NS,
    socketBytesPerNs,
    hostToDeviceBytesPerNs: nominalHostToDevice(accelerator, 8),
    hostToDeviceEfficiency: HOST_TO_DEVICE_EFFICIENCY,
    hostToDeviceLatencyNs: HOST_TO_DEVICE_LATENCY_NS,
    ssdReadBytesPerNs: SSD_READ_BYTES_PER_NS,
    ssdWriteBytesPerNs: SSD_WRITE_BYTES_PER_NS,
    ssdLatencyNs: SSD_LATENCY_NS,
  };
  return [`${name}x8`, node];
}

/** All known kinds of nodes by name. */
export const NODE_TYPES: ReadonlyMap<string, NodeType> = new Map([
  eightGpus('a800', 4, 200, RAIL_EFFICIENCY, SOCKET_BYTES_PER_NS),
  eightGpus('h800', 8, 400, RAIL_EFFICIENCY_8X400, SOCKET_BYTES_PER_NS_4UPI),
  eightGpus('h100', 8, 400, RAIL_EFFICIENCY_8X400, SOCKET_BYTES_PER_NS_4UPI),
  eightGpus('h200', 8, 400, RAIL_EFFICIENCY_8X400, SOCKET_BYTES_PER_NS_4UPI),
  eightGpus('b200', 8, 400, RAIL_EFFICIENCY_8X400, SOCKET_BYTES_PER_NS_4UPI),
]);
