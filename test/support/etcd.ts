/** A real etcd cluster on loopback, where there is an etcd. */
import { spawnSync } from 'node:child_process';

export { EtcdMembers as EtcdCluster, freePorts } from '../../src/study/live/etcd-members.ts';

export const hasEtcd = spawnSync('etcd', ['--version']).status === 0;
/** Why tests are skipped, and what helps. */
export const NO_ETCD = 'skipped: no etcd; apt-get install etcd-server';
