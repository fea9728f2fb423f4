/** The event queue drives a single server; its mean waits are those of queueing theory. */
import seedrandom from 'seedrandom';
import { expect, test } from 'vitest';
import { EventQueue } from '../../src/core/kit/event-queue.ts';

const ARRIVALS = 2_000_000;
const SEEDS = ['1', '2', '3', '4', '5'];
const SERVICE_NS = 1e6;
const TOLERANCE = 0.02;

const ARRIVAL = 0;
const DEPARTURE = 1;

/** Draws from the exponential distribution with mean 1. */
function exponentials(seed: string): Float64Array {
  const stream = seedrandom.alea(seed);
  return new Float64Array(ARRIVALS).map(() => -Math.log(1 - stream()));
}

function scaled(draws: Float64Array, meanNs: number): Float64Array {
  return draws.map((draw) => Math.round(draw * meanNs));
}

/** Mean time from arrival to the start of service, first come, first served. */
function meanWaitNs(interarrivalNs: Float64Array, serviceNs: Float64Array): number {
  const queue = new EventQueue();
  const arrivedNs = new Float64Array(ARRIVALS);
  let arrived = 0;
  let started = 0;
  let busy = false;
  let waitNs = 0;
  queue.push(interarrivalNs[0], ARRIVAL, ARRIVAL);
  while (queue.size > 0) {
    const event = queue.pop();
    const nowNs = queue.lastTimeNs;
    if (event === DEPARTURE) busy = false;
    else {
      arrivedNs[arrived++] = nowNs;
      if (arrived < ARRIVALS) queue.push(nowNs + interarrivalNs[arrived], ARRIVAL, ARRIVAL);
    }
    if (!busy && started < arrived) {
      waitNs += nowNs - arrivedNs[started];
      busy = true;
      queue.push(nowNs + serviceNs[started++], DEPARTURE, DEPARTURE);
    }
  }
  return waitNs / started;
}

// Pollaczek and Khinchine: W = rho / (1 - rho) * (1 + c^2) / 2 services, where the squared
// coefficient of variation c^2 of the service is 1 for M/M/1 and 0 for M/D/1.
// With two million arrivals the standard error of an M/M/1 mean at rho = 0.7 is about 0.6 %.
test.each(SEEDS)('M/M/1 and M/D/1 wait as theory says, seed %s', (seed) => {
  const arrivals = exponentials(`${seed}/arrival`);
  const services = exponentials(`${seed}/service`);
  const random = scaled(services, SERVICE_NS);
  const constant = new Float64Array(ARRIVALS).fill(SERVICE_NS);
  for (const rho of [0.5, 0.7]) {
    const gaps = scaled(arrivals, SERVICE_NS / rho);
    const theoryNs = (rho / (1 - rho)) * SERVICE_NS;
    const mm1 = meanWaitNs(gaps, random) / theoryNs;
    const md1 = meanWaitNs(gaps, constant) / (theoryNs / 2);
    expect(Math.abs(mm1 - 1), `M/M/1 at rho ${rho}`).toBeLessThan(TOLERANCE);
    expect(Math.abs(md1 - 1), `M/D/1 at rho ${rho}`).toBeLessThan(TOLERANCE);
  }
});
