import { defineConfig } from 'vitest/config';

/** `npm run test:gpu`; the other tests leave this folder out. */
export default defineConfig({
  test: {
    root: new URL('../..', import.meta.url).pathname,
    include: ['test/gpu/**/*.test.ts'],
    globalSetup: ['test/support/build.ts'],
    testTimeout: 120_000,
  },
});
