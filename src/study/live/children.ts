/** Processes of the command line that this one starts, and that end with it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { MAIN } from '../main-file.ts';

export interface Child {
  readonly process: ChildProcess;
  /** Rejects when it ends before it was told to. */
  readonly ended: Promise<void>;
  readonly gone: Promise<void>;
}

export function startChild(args: readonly string[], token: string): Child {
  const child = spawn(process.execPath, [MAIN, 'live', ...args], {
    env: { ...process.env, MOONTIDE_TOKEN: token },
    // It ends when this process does: the pipe to its stdin breaks.
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  let talk = '';
  child.stderr?.on('data', (text) => {
    talk = (talk + text).slice(-2000);
  });
  const gone = new Promise<void>((done) => child.once('exit', () => done()));
  const ended = new Promise<void>((_, reject) => {
    child.once('exit', (code, signal) => {
      if (!child.killed) {
        reject(new Error(`live ${args.join(' ')} ended (${signal ?? code}): ${talk.trim()}`));
      }
    });
  });
  return { process: child, ended, gone };
}
