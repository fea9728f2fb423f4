/** First come, first served. */
import { defineQueue, type QueuePolicy } from '../../core/policy-kit.ts';

const FCFS: QueuePolicy = { rank: () => 0 };

export default defineQueue({ source: 'textbook', params: {}, create: () => FCFS });
