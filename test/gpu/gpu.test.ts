/**
 * The GPU seam on a real device: `npm run test:gpu`. Without one it says why and passes, unless
 * MOONTIDE_GPU=require. Bandwidths are printed, not judged.
 */
import { closeSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { crc32c } from '../../src/runtime/crc32c.ts';
import { loadNative, type NativeAddon } from '../../src/runtime/native.ts';
import type { NativeGpu } from '../../src/runtime/native-gpu.ts';

const { addon, reason: noAddon } = loadNative();
const probe = addon?.gpuProbe(null) ?? null;
const reason = noAddon ?? probe?.reason ?? null;

const POOL_BYTES = 256 * 2 ** 20;
const BLOCK_BYTES = 2 ** 20;
/** A thread of the kernel does this much. */
const PIECE_BYTES = 4096;

if (reason !== null) {
  it('needs a GPU', () => {
    console.log(`no GPU: ${reason}`);
    if (process.env.MOONTIDE_GPU === 'require') throw new Error(`no GPU: ${reason}`);
  });
}

async function finish(gpu: NativeGpu, ...tickets: readonly number[]): Promise<void> {
  for (const ticket of tickets) {
    while (!gpu.done(ticket)) await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Deterministic words that are no pattern of the device's own. */
function scramble(bytes: Uint8Array, seed: number): void {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  let state = seed | 1;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
}

describe.each(probe?.gpus ?? [])('$name ($pciAddress)', ({ ordinal, dmabuf }) => {
  let gpu: NativeGpu;
  let device: number;
  let memory: ArrayBuffer;
  let host: Uint8Array;

  beforeAll(() => {
    const native = addon as NativeAddon;
    gpu = new native.Gpu(ordinal);
    device = gpu.makePool(POOL_BYTES);
    memory = native.alignedMemory(2 * POOL_BYTES);
    host = new Uint8Array(memory);
    gpu.pinHost(memory);
  });

  afterAll(() => {
    gpu.unpinHost(memory);
    gpu.freePool(device);
    gpu.close();
  });

  it('gives back the bytes it was given', async () => {
    scramble(host.subarray(0, POOL_BYTES), 7);
    host.fill(0, POOL_BYTES);
    const blocks = POOL_BYTES / BLOCK_BYTES;
    const order = Array.from({ length: blocks }, (_, i) => (i * 37) % blocks);
    const at = (i: number) => i * BLOCK_BYTES;
    await finish(gpu, ...order.map((i) => gpu.copyIn(device + at(i), memory, at(i), BLOCK_BYTES)));
    const back = (i: number) =>
      gpu.copyOut(memory, POOL_BYTES + at(i), device + at(i), BLOCK_BYTES);
    await finish(gpu, ...order.map(back));
    const sent = Buffer.from(memory, 0, POOL_BYTES);
    expect(sent.equals(Buffer.from(memory, POOL_BYTES, POOL_BYTES))).toBe(true);
  });

  it('computes CRC-32C as the host does', async () => {
    const pieces = BLOCK_BYTES / PIECE_BYTES;
    scramble(host.subarray(0, BLOCK_BYTES), 99);
    const crcs = device + BLOCK_BYTES;
    await finish(gpu, gpu.copyIn(device, memory, 0, BLOCK_BYTES));
    await finish(gpu, gpu.crc32c(device, pieces, PIECE_BYTES, crcs));
    await finish(gpu, gpu.copyOut(memory, BLOCK_BYTES, crcs, pieces * 4));
    const found = [...new Int32Array(memory, BLOCK_BYTES, pieces)];
    const piece = (i: number) => host.subarray(i * PIECE_BYTES, (i + 1) * PIECE_BYTES);
    expect(found).toEqual(found.map((_, i) => crc32c(piece(i))));
  });

  it('fills with what the kernel says', async () => {
    const words = POOL_BYTES / 4;
    await finish(gpu, gpu.fill(device, words, 12_345));
    await finish(gpu, gpu.copyOut(memory, 0, device, POOL_BYTES));
    const found = new Uint32Array(memory, 0, words);
    let wrong = 0;
    for (let i = 0; i < words; i++) {
      if (found[i] !== (12_345 + Math.imul(i, -1_640_531_535)) >>> 0) wrong++;
    }
    expect(wrong).toBe(0);
  });

  it('refuses ranges outside its pools and outside host memory', () => {
    expect(() => gpu.copyIn(device + POOL_BYTES, memory, 0, 4096)).toThrow('copy');
    expect(() => gpu.copyIn(device, memory, 2 * POOL_BYTES, 4096)).toThrow("host's memory");
    expect(() => gpu.fill(device, POOL_BYTES / 4 + 1, 0)).toThrow('fill');
    expect(() => gpu.crc32c(device, 1, 6, device)).toThrow('crc32c');
    expect(() => gpu.done(1e9)).toThrow('device work');
  });

  it('moves both ways at once', async () => {
    const half = POOL_BYTES / 2;
    const rate = (bytes: number, startNs: bigint) =>
      (bytes / Number(process.hrtime.bigint() - startNs)).toFixed(1);
    const start = () => process.hrtime.bigint();
    for (const size of [65_536, BLOCK_BYTES, half]) {
      const many = (move: (at: number) => number) =>
        Array.from({ length: half / size }, (_, i) => move(i * size));
      const inward = (at: number) => gpu.copyIn(device + at, memory, at, size);
      const outward = (at: number) =>
        gpu.copyOut(memory, POOL_BYTES + at, device + half + at, size);
      let from = start();
      await finish(gpu, ...many(inward));
      const toDevice = rate(half, from);
      from = start();
      await finish(gpu, ...many(outward));
      const toHost = rate(half, from);
      from = start();
      await finish(gpu, ...many(inward), ...many(outward));
      const both = rate(2 * half, from);
      console.log(`${size} bytes: in ${toDevice} GB/s, out ${toHost}, both ${both}`);
    }
    const from = start();
    await finish(gpu, gpu.crc32c(device, half / 1024, 1024, device + half));
    console.log(`CRC-32C on the device: ${rate(half, from)} GB/s`);
  });

  it('exports its memory, or says why not', () => {
    if (dmabuf) {
      const fd = gpu.exportDmabuf(device, POOL_BYTES);
      expect(fd).toBeGreaterThan(2);
      closeSync(fd);
    } else {
      expect(() => gpu.exportDmabuf(device, POOL_BYTES)).toThrow('dmabuf');
    }
  });
});
