/** Rails of a process: sockets are where its links are, for those with the token. */
import { expect, it } from 'vitest';
import { railsAt } from '../../src/runtime/control/channels.ts';

it('TCP rails listen where the links do and ask for the token; others are left alone', () => {
  const [tcp, local] = (['tcp', 'local'] as const).map((kind) => {
    return { kind, bytesPerNs: null, options: { port: '7' } };
  });
  const security = { token: 'secret', tls: null };
  expect(railsAt('10.0.0.1:0', security, [tcp, local])).toEqual([
    { ...tcp, options: { host: '10.0.0.1', token: 'secret', port: '7' } },
    local,
  ]);
  expect(railsAt('localhost:0', { token: null, tls: null }, [tcp])).toEqual([tcp]);
});
