import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/gpu/**', 'node_modules/**'],
    globalSetup: ['test/support/build.ts'],
    setupFiles: ['test/support/environment.ts'],
    testTimeout: 60_000,
    coverage: { include: ['src/**/*.ts'] },
  },
});
