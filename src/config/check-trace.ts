/** Whether the cluster can serve a trace at all, asked before anything runs. */
import { InputError } from '../core/errors.ts';
import { type InstanceSpec, Tier } from '../core/topology.ts';
import type { TraceColumns } from '../core/trace-columns.ts';
import type { ResolvedConfig } from './resolve.ts';

/**
 * Every instance that prefills must hold the largest input in its HBM, and every instance that
 * decodes the largest input and output together: a request may be sent to any of them.
 *
 * @param place the trace's name; the error says `place:row`, rows counted from 1
 * @throws InputError naming the first request that is too large, and the instance
 */
export function checkTraceFits(
  { topology }: Pick<ResolvedConfig, 'topology'>,
  trace: TraceColumns,
  place = 'trace',
): void {
  const bytesPerToken = topology.kv.bytesPerToken[Tier.hbm];
  const roomOf = (instance: InstanceSpec) => Math.floor(instance.kvCapacityBytes / bytesPerToken);
  const least = (role: 'prefill' | 'decode') =>
    topology.instances
      .filter((instance) => instance.roles.includes(role))
      .reduce((a, b) => (roomOf(b) < roomOf(a) ? b : a));
  const prefill = least('prefill');
  const decode = least('decode');
  const prefillTokens = roomOf(prefill);
  const decodeTokens = roomOf(decode);

  for (let row = 0; row < trace.requests; row++) {
    const input = trace.inputTokens[row];
    const output = trace.outputTokens[row];
    if (input <= prefillTokens && input + output <= decodeTokens) continue;
    const [instance, room] =
      input > prefillTokens ? [prefill, prefillTokens] : [decode, decodeTokens];
    throw new InputError(
      `found a request of ${input} input and ${output} output tokens, expected at most ${room} ` +
        `tokens: that is what the HBM of instance ${instance.name} holds beside the weights`,
      `${place}:${row + 1}`,
    );
  }
}
