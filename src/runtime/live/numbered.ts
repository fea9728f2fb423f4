/**
 * A workload knows its requests by their rows in the trace; a cluster that plays one trace after
 * another needs numbers that are not used twice. Rows go out as `first` + row and come back so.
 */
import type { Host, Machine } from '../../core/host.ts';
import type { Fact, Message } from '../../core/messages.ts';

export function numberedHost(host: Host, first: number): Host {
  return {
    send: (to, message) => host.send(to, outward(message, first)),
    wakeAt: (atNs, token) => host.wakeAt(atNs, token),
    startTransfer: (transfer) => host.startTransfer(transfer),
    startStep: (step) => host.startStep(step),
    startRun: (run) => host.startRun(run),
    cutRun: (run) => host.cutRun(run),
    mark: (request, mark, value) => host.mark(request, mark, value),
    count: (what, by) => host.count(what, by),
  };
}

export function numberedMachine(machine: Machine, first: number): Machine {
  return {
    handle: (fact) => {
      const { body } = fact;
      if (body.kind !== 'terminal') machine.handle(fact);
      // What an earlier ingress asked for ends unheard.
      else if (body.request >= first) machine.handle(inward(fact, body.request - first));
    },
  };
}

function outward(message: Message, first: number): Message {
  if (message.kind === 'cancel') return { ...message, request: message.request + first };
  if (message.kind !== 'arrive') return message;
  const { request } = message;
  const parent = request.parent < 0 ? request.parent : request.parent + first;
  return { ...message, request: { ...request, id: request.id + first, parent } };
}

function inward(fact: Fact, request: number): Fact {
  return { ...fact, body: { ...fact.body, request } as Fact['body'] };
}
