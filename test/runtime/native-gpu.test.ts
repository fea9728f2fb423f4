/** What the GPU seam says where there is no GPU, or not a driver. With one: test/gpu. */
import { expect, it } from 'vitest';
import { describeNative, native } from '../support/native.ts';

describeNative('GPU seam', () => {
  it('names the library that is not there', () => {
    const { reason, gpus, driverVersion } = native().gpuProbe('libcuda-of-nowhere.so.1');
    expect(reason).toMatch(/^no NVIDIA driver: libcuda-of-nowhere\.so\.1: /);
    expect(gpus).toEqual([]);
    expect(driverVersion).toBe(0);
  });

  it('names the symbols that a library lacks', () => {
    const { reason } = native().gpuProbe('libm.so.6');
    expect(reason).toMatch(/^libm\.so\.6 lacks cuInit, cuDriverGetVersion, .*cuLaunchKernel$/);
  });

  it('finds devices, or says why there are none', () => {
    const { reason, gpus } = native().gpuProbe(null);
    if (reason === null) {
      expect(gpus.length).toBeGreaterThan(0);
    } else {
      expect(gpus).toEqual([]);
      expect(() => new (native().Gpu)(0)).toThrow(reason);
    }
  });
});
