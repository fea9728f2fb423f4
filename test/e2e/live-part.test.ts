/** A part of a live cluster whose registry never answers. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { expect, it } from 'vitest';
import { MAIN } from '../support/cli.ts';

it('an agent that waits for its registry goes when it is told to', async () => {
  const silent = createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const hub = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const asked = once(silent, 'connection');
  const agent = spawn(process.execPath, [MAIN, 'live', 'agent', '--node', '0', '--hub', hub], {
    env: { ...process.env, MOONTIDE_TOKEN: 'a-token-of-the-tests-4711' },
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  const gone = once(agent, 'exit');
  try {
    await asked;
    agent.kill('SIGTERM');
    expect(await gone).toEqual([0, null]);
  } finally {
    agent.kill('SIGKILL');
    silent.close();
  }
});
