/** The conformance suite on live hosts over Soft-RoCE, in the machine of vm.sh. */
import '../../conformance/host.test.ts';
import '../../conformance/cluster.test.ts';
import { runAll } from './little-vitest.ts';

const result = await runAll(new RegExp(`^live, verbs > .*(${process.argv[2]})`));
console.log(`result ${JSON.stringify(result)}`);
process.exit(0);
