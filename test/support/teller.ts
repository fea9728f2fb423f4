/** Tells one machine facts by hand and shows what it did. */
import { type ClusterPlan, wireCluster } from '../../src/config/wire.ts';
import type { Machine, Transfer } from '../../src/core/host.ts';
import { type Command, ReplayHost } from '../../src/core/log.ts';
import type { Body, Message, TransferEnded } from '../../src/core/messages.ts';
import { BlockSpan, type Request } from '../../src/core/request.ts';
import type { Address } from '../../src/core/topology.ts';
import type { TraceColumns } from '../../src/core/trace-columns.ts';
import { BLOCK_TOKENS, traceOf } from './tiny.ts';

/** What one fact caused. */
export class Done {
  readonly commands: readonly Command[];

  constructor(commands: readonly Command[]) {
    this.commands = commands;
  }

  /** Messages in order: receiver and body. */
  get sent(): [Address, Message][] {
    return this.of('send') as [Address, Message][];
  }

  /** The bodies of one kind. */
  messages<K extends Message['kind']>(kind: K): Extract<Message, { kind: K }>[] {
    const bodies = this.sent.map(([, body]) => body).filter((body) => body.kind === kind);
    return bodies as Extract<Message, { kind: K }>[];
  }

  get transfers(): Transfer[] {
    return this.of('startTransfer').map(([transfer]) => transfer as Transfer);
  }

  of(verb: Command[0]): unknown[][] {
    return this.commands.filter(([v]) => v === verb).map(([, ...given]) => given);
  }
}

export class Teller<M extends Machine> {
  nowNs = 0;
  readonly machine: M;
  private readonly host: ReplayHost;
  private readonly own: Address;

  constructor(machine: M, host: ReplayHost, own: Address) {
    this.machine = machine;
    this.host = host;
    this.own = own;
  }

  /** A message from another machine, or of the host when `from` is left out. */
  tell(body: Body, from: Address = this.own): Done {
    this.machine.handle({ atNs: this.nowNs, from, body });
    return new Done(this.host.take());
  }
}

const EMPTY = traceOf([]);

/** The machines of a plan, each to be talked to by hand. */
export function tellers(plan: ClusterPlan, trace: TraceColumns = EMPTY) {
  const hosts: ReplayHost[] = [];
  const cluster = wireCluster(plan, trace, (address) => {
    hosts[address] = new ReplayHost();
    return hosts[address];
  });
  const { addresses } = cluster;
  const at = <M extends Machine>(machine: M, address: Address) =>
    new Teller(machine, hosts[address], address);
  return {
    addresses,
    workload: at(cluster.workload, 0),
    conductor: at(cluster.conductor, 1),
    stores: cluster.stores.map((store, node) => at(store, addresses.store(node))),
    instances: cluster.instances.map((one, id) => at(one, addresses.instance(id))),
  };
}

/** A request of these blocks, all full. */
export function requestOf(id: number, blocks: readonly number[], outputTokens = 4): Request {
  return {
    id,
    attempt: 0,
    tenant: 0,
    priority: 0,
    sloClass: 0,
    session: -1,
    parent: -1,
    namespace: 0,
    blocks: new BlockSpan(Int32Array.from(blocks), 0, blocks.length),
    inputTokens: blocks.length * BLOCK_TOKENS,
    outputTokens,
    arrivalNs: 0,
  };
}

/** The host's word that a transfer ended well, or broke off after some blocks. */
export function ended(transfer: Transfer, blocksDone = transfer.blocks): TransferEnded {
  const ok = blocksDone === transfer.blocks;
  return {
    kind: 'transferEnded',
    transfer: transfer.id,
    ok,
    blocksDone,
    cause: ok ? '' : 'lost',
    checksums: null,
  };
}
