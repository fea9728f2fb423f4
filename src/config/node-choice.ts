/** The kind of node that a group names or describes. */
import { ACCELERATORS } from '../model/accelerators.ts';
import { NODE_TYPES, type NodeType, nominalHostToDevice } from '../model/nodes.ts';
import type { GroupConfig } from './schema.ts';

export function resolveNodeType(node: GroupConfig['node']): NodeType {
  if (typeof node === 'string') return NODE_TYPES.get(node)!;
  const accelerator = ACCELERATORS.get(node.accelerator)!;
  return {
    accelerator,
    gpus: node.gpus,
    numaDomains: node.numaDomains,
    rails: node.rails,
    railBytesPerNs: node.railRate,
    railEfficiency: node.railEfficiency,
    railLatencyNs: node.railLatency,
    socketBytesPerNs: node.socketRate,
    hostToDeviceBytesPerNs: node.hostToDevice ?? nominalHostToDevice(accelerator, node.gpus),
    hostToDeviceEfficiency: node.hostToDeviceEfficiency,
    hostToDeviceLatencyNs: node.hostToDeviceLatency,
    ssdReadBytesPerNs: node.ssdRead,
    ssdWriteBytesPerNs: node.ssdWrite,
    ssdLatencyNs: node.ssdLatency,
  };
}
