/** What the process and its machine use, looked at once a second. */
import { readFileSync } from 'node:fs';
import { cpus, freemem, totalmem } from 'node:os';
import { type EventLoopUtilization, performance } from 'node:perf_hooks';

/** Seconds of which the longest lag is told. */
const LAG_SAMPLES = 15;

/** Of all cores since the machine's start. */
interface CpuTimes {
  readonly busy: number;
  readonly all: number;
}

export class ProcessMeter {
  hostCpuRatio = 0;
  hostMemoryRatio = 0;
  loopRatio = 0;
  private readonly lags = new Float64Array(LAG_SAMPLES);
  private samples = 0;
  private cpu = cpuTimes();
  private loop: EventLoopUtilization = performance.eventLoopUtilization();

  /** `lateMs`: how much later than asked for the sample is taken. */
  sample(lateMs: number): void {
    this.lags[this.samples++ % LAG_SAMPLES] = Math.max(0, lateMs) / 1000;
    const cpu = cpuTimes();
    const all = cpu.all - this.cpu.all;
    if (all > 0) this.hostCpuRatio = (cpu.busy - this.cpu.busy) / all;
    this.cpu = cpu;
    this.hostMemoryRatio = memoryRatio();
    const loop = performance.eventLoopUtilization();
    this.loopRatio = performance.eventLoopUtilization(loop, this.loop).utilization;
    this.loop = loop;
  }

  /** The longest of the last samples, s. */
  get lagS(): number {
    return Math.max(...this.lags);
  }

  get cpuS(): number {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  }

  get residentBytes(): number {
    return process.memoryUsage.rss();
  }

  /** Unix time, s. */
  get startedS(): number {
    return performance.timeOrigin / 1000;
  }
}

/** From /proc/stat (user, nice, system, idle, iowait, …); elsewhere from the runtime. */
function cpuTimes(): CpuTimes {
  const line = read('/proc/stat')?.split('\n', 1)[0];
  if (line !== undefined) {
    const times = line.trim().split(/\s+/).slice(1, 9).map(Number);
    const all = times.reduce((sum, time) => sum + time, 0);
    return { busy: all - times[3] - times[4], all };
  }
  let busy = 0;
  let all = 0;
  for (const { times } of cpus()) {
    const sum = times.user + times.nice + times.sys + times.idle + times.irq;
    all += sum;
    busy += sum - times.idle;
  }
  return { busy, all };
}

/** Memory that nobody can have without something being written out. */
function memoryRatio(): number {
  const free = /^MemAvailable:\s+(\d+) kB/m.exec(read('/proc/meminfo') ?? '');
  const freeBytes = free === null ? freemem() : Number(free[1]) * 1024;
  return 1 - freeBytes / totalmem();
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
