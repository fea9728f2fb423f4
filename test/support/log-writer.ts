/**
 * The process that fact-logs.test.ts kills: logs facts, says on descriptor 1 how many of them the
 * kernel has, and goes on until it is dead.
 *
 * usage: log-writer.ts FOLDER FACTS
 */
import { writeSync } from 'node:fs';
import { FactLogs } from '../../src/runtime/live/fact-logs.ts';
import { ECHO_HEADER, echoInto } from './echo.ts';

const [folder, facts] = process.argv.slice(2);
const logs = new FactLogs({
  folder,
  member: 'node-7',
  incarnation: 1,
  manifest: { format: '', version: 0, spec: {} as never, policies: '', configuration: null },
  stats: () => ({}),
  onWarning: (message) => {
    writeSync(2, message);
    process.exit(1);
  },
  limits: { frameBytes: 500, segmentBytes: 5000, snapshotShare: 1e9 },
});
const tell = echoInto(logs.open(ECHO_HEADER));

let count = 0;
for (;;) {
  tell(Number(facts));
  count += Number(facts);
  logs.flush();
  writeSync(1, `${count}\n`);
  await new Promise((resolve) => setTimeout(resolve, 1));
}
