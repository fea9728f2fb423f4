/** Processes of the command line that this one starts, starts again and ends. */
import { type ChildProcess, spawn } from 'node:child_process';
import { MAIN } from '../main-file.ts';

/** A child that dies is started again after this, doubled with every death, up to the most. */
const BACK_OFF_MS = 250;
const BACK_OFF_MS_MAX = 10_000;
/** One that lived so long begins at the least again. */
const GOOD_LIFE_MS = 30_000;
/** What is not gone by then is killed. */
const STOP_MS = 10_000;
const TALK_CHARS = 2000;

export interface ChildOptions {
  /** After `moontide`. */
  readonly args: readonly string[];
  /** Before it all: a command that becomes the process, such as `ip netns exec NAME`. */
  readonly within?: readonly string[];
  readonly token: string;
  /** What a death means now: another start, or the end of the whole. */
  readonly restarts: () => boolean;
  /** It ended for good, though nobody told it to. */
  readonly onEnd: (error: Error) => void;
  readonly onWarning: (message: string) => void;
}

export class Child {
  private readonly options: ChildOptions;
  private process: ChildProcess;
  private gone: Promise<void> = Promise.resolve();
  private timer: NodeJS.Timeout | null = null;
  private stopped = false;
  private deaths = 0;
  /** Starts after the first. */
  restarts = 0;

  constructor(options: ChildOptions) {
    this.options = options;
    this.process = this.start();
  }

  /** Null while it is not there. */
  get pid(): number | null {
    const { exitCode, signalCode, pid } = this.process;
    return exitCode === null && signalCode === null ? (pid ?? null) : null;
  }

  /** It was sent away, and is not started again. */
  get hasEnded(): boolean {
    return this.stopped && this.pid === null;
  }

  /** Ends it for good. */
  async stop(): Promise<void> {
    this.stopped = true;
    if (this.timer !== null) clearTimeout(this.timer);
    this.process.kill('SIGTERM');
    // A stopped process takes no other signal.
    const late = setTimeout(() => this.process.kill('SIGKILL'), STOP_MS);
    await this.gone;
    clearTimeout(late);
  }

  private start(): ChildProcess {
    const { args, token, within = [] } = this.options;
    const [command, ...rest] = [...within, process.execPath, MAIN, ...args];
    const startMs = Date.now();
    const child = spawn(command, rest, {
      env: { ...process.env, MOONTIDE_TOKEN: token },
      // It ends when this process does: the pipe to its stdin breaks.
      stdio: ['pipe', 'ignore', 'pipe'],
      // An interrupt at the terminal is for this process alone, which ends the others in order.
      detached: true,
    });
    let talk = '';
    child.stdin?.on('error', () => {});
    child.stderr?.on('data', (text) => {
      talk = (talk + text).slice(-TALK_CHARS);
    });
    this.gone = new Promise((done) => {
      child.once('exit', (code, signal) => {
        done();
        child.stdin?.destroy();
        if (this.stopped) return;
        if (Date.now() - startMs > GOOD_LIFE_MS) this.deaths = 0;
        this.died(code, `${args.join(' ')} ended (${signal ?? code}) ${talk.trim()}`);
      });
    });
    return child;
  }

  private died(code: number | null, what: string): void {
    const { restarts, onEnd, onWarning } = this.options;
    // Code 0: an operator sent it away.
    if (code === 0 && restarts()) {
      this.stopped = true;
      onWarning(what);
      return;
    }
    if (!restarts()) {
      onEnd(new Error(what));
      return;
    }
    const waitMs = Math.min(BACK_OFF_MS_MAX, BACK_OFF_MS * 2 ** this.deaths);
    this.deaths++;
    onWarning(`${what}: starts again in ${waitMs} ms`);
    this.timer = setTimeout(() => {
      this.restarts++;
      this.process = this.start();
    }, waitMs);
  }
}
