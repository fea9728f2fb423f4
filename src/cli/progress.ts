/** Progress on stderr, for a terminal. */
import { SingleBar } from 'cli-progress';
import type { ReplayProgress } from '../study/replay.ts';

const FORMAT = '{bar} {percentage} %  {value}/{total} requests  {rate}/s  {eta_formatted} left';

export interface Progress {
  readonly update: (progress: ReplayProgress) => void;
  readonly end: () => void;
}

export function replayProgress(): Progress {
  const bar = new SingleBar({
    format: FORMAT,
    barsize: 24,
    clearOnComplete: true,
    hideCursor: true,
    stream: process.stderr,
  });
  let startMs = 0;
  return {
    update({ requestsDone, requests }) {
      if (startMs === 0) {
        startMs = performance.now();
        bar.start(requests, 0, { rate: 0 });
      }
      const seconds = Math.max(1, performance.now() - startMs) / 1000;
      bar.update(requestsDone, { rate: Math.round(requestsDone / seconds) });
    },
    end: () => bar.stop(),
  };
}

/** How many of some things are done. */
export function countProgress(what: string) {
  const bar = new SingleBar({
    format: `{bar} {value}/{total} ${what}  {eta_formatted} left`,
    barsize: 24,
    clearOnComplete: true,
    hideCursor: true,
    stream: process.stderr,
  });
  let begun = false;
  return {
    update(done: number, all: number) {
      if (!begun) bar.start(all, 0);
      begun = true;
      bar.update(done);
    },
    end: () => bar.stop(),
  };
}
