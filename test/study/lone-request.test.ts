/**
 * One request alone in the cluster: its times are sums that a reader can check. Costs are those of
 * the preset: prefill 0.0449 + 0.11316 k + 0.000795 k^2 s (k = tokens / 1,024), load of 1.7 ms and
 * 101.6 GB/s, control messages of 0.2 ms.
 */
import { describe, expect, it } from 'vitest';
import { Mark } from '../../src/core/host.ts';
import type { TraceColumns } from '../../src/core/trace-columns.ts';
import { replay } from '../../src/study/replay.ts';

const CONTROL_NS = 200_000;
const KV_BYTES = 327_680;

/** Requests of one growing conversation, far enough apart to be alone. */
function conversation(inputs: readonly number[], outputs: readonly number[]): TraceColumns {
  const requests = inputs.length;
  const lengths = inputs.map((tokens) => Math.ceil(tokens / 512));
  const blockStart = Int32Array.from([0, ...lengths.map((_, i) => sum(lengths.slice(0, i + 1)))]);
  return {
    requests,
    blockTokens: 512,
    distinctBlocks: Math.max(...lengths),
    arrivalNs: Float64Array.from(inputs, (_, i) => i * 1e12),
    inputTokens: Int32Array.from(inputs),
    outputTokens: Int32Array.from(outputs),
    blockStart,
    blocks: Int32Array.from(lengths.flatMap((n) => Array.from({ length: n }, (_, i) => i))),
    session: null,
    parent: null,
    thinkNs: null,
    priority: null,
    tenant: null,
    sloClass: null,
    namespace: null,
    sha256: '',
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

function promptNs(tokens: number): number {
  const k = tokens / 1024;
  return (0.11316 * k + 0.000795 * k * k) * 1e9;
}

const loadNs = (tokens: number) => 1.7e6 + (tokens * KV_BYTES) / 101.6;

describe('a lone request', () => {
  it('takes two control messages, the constant and the prompt to its first token', async () => {
    const { result } = await replay({ trace: conversation([32_768], [2]) });
    const expected = 2 * CONTROL_NS + 0.0449e9 + promptNs(32_768);
    expect(Math.abs(result.ttftNs.mean! - expected)).toBeLessThan(10);
  });

  it('pays only for what is not cached, plus the load when it does not overlap', async () => {
    const trace = conversation([31_232, 32_768], [1, 1]);
    const sets = ['instance.loadOverlap=serial'];
    const { recorder } = await replay({ trace, sets });
    const ttftNs = recorder.column(Mark.firstTokenNs)[1] - 1e12;
    const cached = 31_232;
    const expected =
      2 * CONTROL_NS + 0.0449e9 + promptNs(32_768) - promptNs(cached) + loadNs(cached);
    expect(Math.abs(ttftNs - expected)).toBeLessThan(10);
  });

  it('hides the load behind the compute, but for its first layer, when it overlaps', async () => {
    const { recorder } = await replay({ trace: conversation([31_232, 32_768], [1, 1]) });
    const ttftNs = recorder.column(Mark.firstTokenNs)[1] - 1e12;
    const computeNs = 0.0449e9 + promptNs(32_768) - promptNs(31_232);
    const load = loadNs(31_232);
    const pipelined = Math.max(computeNs + load / 80, load + computeNs / 80);
    expect(Math.abs(ttftNs - 2 * CONTROL_NS - pipelined)).toBeLessThan(10);
  });

  it('recomputes one token of a full hit', async () => {
    const { result } = await replay({ trace: conversation([1024, 1024], [1, 1]) });
    expect(result.hit.bySource.dram + result.hit.bySource.peer).toBe(1023);
    expect(result.hit.bySource.miss).toBe(1025);
  });

  it('streams its KV behind the prompt: the last layer is what hand-off waits for', async () => {
    const { result } = await replay({ trace: conversation([32_768], [2]) });
    const bytes = 32_768 * KV_BYTES;
    expect(result.bytes.railsOut).toBe(bytes);
    const chunkBytes = 8192 * KV_BYTES;
    // The last chunk's last layer over 87.6 GB/s, 10 us of latency, one message.
    const handoffNs = chunkBytes / 80 / 87.6 + 10_000 + CONTROL_NS;
    expect(Math.abs(result.breakdown.handoffNs! - handoffNs)).toBeLessThan(2000);
  });
});
