/** A process that looks at a cluster and speaks to it without being a member. */
import { tlsFrom } from '../../runtime/control/security.ts';
import { LiveMember } from '../../runtime/live/member.ts';
import type { ClusterRef } from './drive.ts';

const FIRST_LOOK_MS = 10_000;

/** Calls `visit` once who is there is known. */
export async function visiting<T>(
  { registry, token, listen = '127.0.0.1:0' }: ClusterRef,
  visit: (visitor: LiveMember) => Promise<T>,
): Promise<T> {
  const visitor = new LiveMember({
    name: `visitor-${process.pid}`,
    role: 'client',
    node: -1,
    listen,
    token,
    tls: tlsFrom({}, process.env),
    registry,
    onError: () => {},
  });
  try {
    await visitor.observe();
    const { membership } = visitor;
    const known = membership.until(() => membership.now.length > 0);
    await Promise.race([known, new Promise((done) => setTimeout(done, FIRST_LOOK_MS).unref())]);
    return await visit(visitor);
  } finally {
    await visitor.leave();
  }
}
