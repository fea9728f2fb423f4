/** Last come, first served: short waits for the latest at the cost of the earliest. */
import { defineQueue, type QueuePolicy } from '../../core/policy-kit.ts';

class Lcfs implements QueuePolicy {
  private turn = 0;

  rank(): number {
    return -++this.turn;
  }
}

export default defineQueue({ source: 'textbook', params: {}, create: () => new Lcfs() });
