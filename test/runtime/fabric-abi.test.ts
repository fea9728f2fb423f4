/** The declared part of libfabric's binary interface against libfabric's own headers. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { expect, it } from 'vitest';

const HEADER = '/usr/include/rdma/fabric.h';
const INSTALL = 'apt-get install libfabric-dev g++';
const check = new URL('../../native/test/fabric-abi-check.cc', import.meta.url).pathname;

const missing =
  !existsSync(HEADER) || spawnSync('g++', ['--version']).status !== 0 ? INSTALL : null;

if (missing !== null && process.env.CI !== 'true') {
  it.skip(`declares libfabric's layouts (skipped: no headers; ${missing})`, () => {});
} else {
  it("declares libfabric's layouts and constants as its headers do", () => {
    const args = ['-std=gnu++20', '-Wall', '-fsyntax-only', check];
    const { status, stderr } = spawnSync('g++', args, { encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(status).toBe(0);
  });
}
