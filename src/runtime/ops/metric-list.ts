/**
 * The one list of what a live process exports. The scrape, the dashboard and the alert rules in
 * reports/monitoring are made of it. Names of vLLM and of Mooncake's master stand for what they
 * stand for there; durations of requests and transfers are in the cluster's clock, which is the
 * world's at speed 1.
 */
import type { Member } from '../live/spec.ts';

export interface Metric {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
  /** Processes that export it. */
  readonly roles: readonly Member['role'][];
}

const ALL = ['agent', 'conductor', 'ingress'] as const;
const AGENT = ['agent'] as const;
const CONDUCTOR = ['conductor'] as const;

function metric(
  name: string,
  type: Metric['type'],
  roles: Metric['roles'],
  help: string,
  ...labels: readonly string[]
): Metric {
  return { name, type, help, labels, roles };
}

export const METRICS = {
  // --- as vLLM has them -----------------------------------------------------------------------
  running: metric('vllm:num_requests_running', 'gauge', AGENT, 'Requests in prefill or decode.'),
  waiting: metric('vllm:num_requests_waiting', 'gauge', AGENT, 'Requests that wait for prefill.'),
  kvUsage: metric(
    'vllm:kv_cache_usage_perc',
    'gauge',
    AGENT,
    "Share of the node's DRAM tier in use; 1 is all of it.",
  ),
  queries: metric(
    'vllm:prefix_cache_queries_total',
    'counter',
    AGENT,
    'Prompt tokens looked up in the cache.',
  ),
  hits: metric('vllm:prefix_cache_hits_total', 'counter', AGENT, 'Prompt tokens found in it.'),
  promptTokens: metric('vllm:prompt_tokens_total', 'counter', AGENT, 'Prompt tokens done.'),
  generated: metric('vllm:generation_tokens_total', 'counter', AGENT, 'Tokens generated.'),
  ttft: metric(
    'vllm:time_to_first_token_seconds',
    'histogram',
    AGENT,
    'Arrival to first token, queueing included.',
  ),
  gap: metric(
    'vllm:inter_token_latency_seconds',
    'histogram',
    AGENT,
    'Time between two tokens of a request (TBT).',
  ),
  e2e: metric('vllm:e2e_request_latency_seconds', 'histogram', AGENT, 'Arrival to last token.'),
  queueTime: metric(
    'vllm:request_queue_time_seconds',
    'histogram',
    AGENT,
    'Arrival to the start of prefill.',
  ),
  preemptions: metric('vllm:num_preemptions_total', 'counter', AGENT, 'Requests that gave way.'),
  // --- as Mooncake's master has them ----------------------------------------------------------
  allocated: metric('master_allocated_bytes', 'gauge', CONDUCTOR, 'DRAM in use, all nodes.'),
  capacity: metric('master_total_capacity_bytes', 'gauge', CONDUCTOR, 'DRAM, all nodes.'),
  keys: metric('master_key_count', 'gauge', CONDUCTOR, 'Blocks in DRAM or on SSD, copies too.'),
  clients: metric('master_active_clients', 'gauge', CONDUCTOR, 'Agents that are members.'),
  segmentAllocated: metric(
    'segment_allocated_bytes',
    'gauge',
    CONDUCTOR,
    'DRAM in use on a node.',
    'segment',
  ),
  segmentCapacity: metric(
    'segment_total_capacity_bytes',
    'gauge',
    CONDUCTOR,
    'DRAM of a node.',
    'segment',
  ),
  // --- requests -------------------------------------------------------------------------------
  arrived: metric('moontide_requests_arrived_total', 'counter', CONDUCTOR, 'Requests and retries.'),
  ended: metric(
    'moontide_requests_ended_total',
    'counter',
    CONDUCTOR,
    'Requests that ended, by cause.',
    'outcome',
  ),
  decision: metric(
    'moontide_decision_seconds',
    'histogram',
    CONDUCTOR,
    'From the arrival of a request at the conductor to its dispatch or end, wall time.',
  ),
  believed: metric(
    'moontide_dispatched_cached_tokens_total',
    'counter',
    CONDUCTOR,
    'Tokens of dispatched prompts that the directory has as cached.',
  ),
  dispatched: metric(
    'moontide_dispatched_tokens_total',
    'counter',
    CONDUCTOR,
    'Tokens of dispatched prompts.',
  ),
  hitTokens: metric(
    'moontide_prompt_tokens_by_source_total',
    'counter',
    AGENT,
    'Prompt tokens by where their KV came from; miss: computed.',
    'source',
  ),
  stale: metric('moontide_stale_tokens_total', 'counter', AGENT, 'Tokens promised and not found.'),
  queued: metric(
    'moontide_instance_queued_requests',
    'gauge',
    CONDUCTOR,
    'Dispatched to it and not prefilled.',
    'instance',
  ),
  queuedSeconds: metric(
    'moontide_instance_queue_seconds',
    'gauge',
    CONDUCTOR,
    'Predicted time until it has done what is queued on it.',
    'instance',
  ),
  decoding: metric(
    'moontide_instance_decode_requests',
    'gauge',
    CONDUCTOR,
    'Bound for decode there, or in it.',
    'instance',
  ),
  events: metric(
    'moontide_events_total',
    'counter',
    ALL,
    'What machines count: late facts, dropped saves, demotions and others.',
    'event',
  ),
  // --- tiers and transfers --------------------------------------------------------------------
  tierUsed: metric('moontide_tier_used_bytes', 'gauge', AGENT, 'In use.', 'tier'),
  tierCapacity: metric('moontide_tier_capacity_bytes', 'gauge', AGENT, 'Of it in all.', 'tier'),
  evictions: metric('moontide_evictions_total', 'counter', AGENT, 'Blocks evicted.', 'tier'),
  moved: metric('moontide_transfer_bytes_total', 'counter', AGENT, 'Model bytes moved.', 'kind'),
  transfer: metric('moontide_transfer_seconds', 'histogram', AGENT, 'Start to end.', 'kind'),
  failed: metric(
    'moontide_transfers_failed_total',
    'counter',
    AGENT,
    'Transfers that did not arrive.',
    'cause',
  ),
  leases: metric('moontide_lease_requests_total', 'counter', AGENT, 'Leases asked for by peers.'),
  leasedBlocks: metric('moontide_leased_blocks_total', 'counter', AGENT, 'Blocks leased to peers.'),
  movesLeft: metric(
    'moontide_moves_remaining_blocks',
    'gauge',
    AGENT,
    'Blocks that have not gone to their new home yet.',
  ),
  movedHome: metric('moontide_moves_blocks_total', 'counter', AGENT, 'Blocks gone to new homes.'),
  movedHomeBytes: metric(
    'moontide_moves_bytes_total',
    'counter',
    AGENT,
    'Model bytes of these that went over the rails.',
  ),
  movesStuck: metric(
    'moontide_moves_stuck_blocks',
    'gauge',
    AGENT,
    'Blocks that their new home did not take.',
  ),
  mapVersion: metric(
    'moontide_bucket_map_version',
    'gauge',
    AGENT,
    'Of the map of the homes of blocks that the node goes by; 0: it knows none.',
  ),
  verified: metric('moontide_verified_blocks_total', 'counter', AGENT, 'Arrived with their sum.'),
  wrong: metric('moontide_wrong_blocks_total', 'counter', AGENT, 'Blocks with other bytes.'),
  railBytes: metric('moontide_rail_bytes_total', 'counter', AGENT, 'Bytes moved.', 'rail'),
  railOperations: metric('moontide_rail_operations_total', 'counter', AGENT, 'Moves.', 'rail'),
  railFailures: metric('moontide_rail_failures_total', 'counter', AGENT, 'Failed moves.', 'rail'),
  railQueued: metric('moontide_rail_queued', 'gauge', AGENT, 'Moves that wait.', 'rail'),
  railUp: metric('moontide_rail_up', 'gauge', AGENT, '1: open.', 'rail'),
  // --- the control plane ----------------------------------------------------------------------
  linkMessages: metric('moontide_link_messages_total', 'counter', ALL, 'Messages.', 'direction'),
  linkBytes: metric('moontide_link_bytes_total', 'counter', ALL, 'Bytes in frames.', 'direction'),
  linkResets: metric('moontide_link_resets_total', 'counter', ALL, 'Channels that broke.'),
  linkNonsense: metric('moontide_link_nonsense_total', 'counter', ALL, 'For what was sent there.'),
  linkRefused: metric('moontide_link_refused_total', 'counter', ALL, 'Streams of strangers.'),
  linkPutOut: metric('moontide_link_put_out_total', 'counter', ALL, 'Silent connections closed.'),
  linksOpen: metric('moontide_links_open', 'gauge', ALL, 'Peers with a channel open.'),
  registry: metric(
    'moontide_registry_seconds',
    'histogram',
    ALL,
    'A read of the registry, once every 10 s, wall time.',
  ),
  registryErrors: metric('moontide_registry_errors_total', 'counter', ALL, 'Reads that failed.'),
  members: metric('moontide_members', 'gauge', ALL, 'Members by what they are.', 'role'),
  leads: metric('moontide_leads', 'gauge', CONDUCTOR, '1: this conductor leads.'),
  term: metric('moontide_term', 'gauge', CONDUCTOR, 'Term of this conductor; 0 on standby.'),
  nodeHealth: metric(
    'moontide_node_health',
    'gauge',
    CONDUCTOR,
    '2: ok, 1: suspect, 0: gone.',
    'node',
  ),
  // --- the process ----------------------------------------------------------------------------
  alert: metric('moontide_alert_active', 'gauge', ALL, '1: the rule holds now.', 'rule'),
  speed: metric('moontide_clock_speed', 'gauge', ALL, "The cluster's clock against the world's."),
  hostCpu: metric('moontide_host_cpu_ratio', 'gauge', ALL, 'Share of the cores in use.'),
  hostMemory: metric('moontide_host_memory_ratio', 'gauge', ALL, 'Share of the memory in use.'),
  lag: metric('nodejs_eventloop_lag_seconds', 'gauge', ALL, 'Most of the last 15 s.'),
  loop: metric('nodejs_eventloop_utilization', 'gauge', ALL, 'Share of the last second.'),
  cpu: metric('process_cpu_seconds_total', 'counter', ALL, 'User and system time.'),
  resident: metric('process_resident_memory_bytes', 'gauge', ALL, 'Resident memory.'),
  started: metric('process_start_time_seconds', 'gauge', ALL, 'Start, unix time.'),
} as const satisfies Readonly<Record<string, Metric>>;

export type MetricKey = keyof typeof METRICS;
