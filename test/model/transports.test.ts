/** The transfer laws against Figure 12 of the paper. */
import { describe, expect, test } from 'vitest';
import { lawNs, TESTBEDS, TRANSPORTS } from '../../src/model/transports.ts';
import figure12 from '../golden/fast25-fig12.json' with { type: 'json' };

const curves = TESTBEDS.flatMap((testbed) =>
  TRANSPORTS.map((transport) => ({ testbed, transport })),
);

describe('Figure 12', () => {
  test.each(curves)('$testbed $transport: median error 5 %, largest 17 %', (curve) => {
    const { testbed, transport } = curve;
    const errors = figure12.gigabytes.map((gigabytes, i) => {
      const seconds = lawNs(testbed, transport, gigabytes * 1e9) / 1e9;
      return Math.abs(seconds / figure12[testbed][transport][i] - 1);
    });
    errors.sort((a, b) => a - b);
    expect(errors[Math.floor(errors.length / 2)]).toBeLessThanOrEqual(0.05);
    expect(errors[errors.length - 1]).toBeLessThanOrEqual(0.17);
  });
});
