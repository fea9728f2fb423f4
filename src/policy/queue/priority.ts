/** Highest priority first; equal ones in order of dispatch. */
import { defineQueue, type PromptView, type QueuePolicy } from '../../core/policy-kit.ts';

const PRIORITY: QueuePolicy = { rank: ({ request }: PromptView) => -request.priority };

export default defineQueue({
  source: 'textbook; vLLM --scheduling-policy priority (there the least number goes first)',
  params: {},
  create: () => PRIORITY,
});
