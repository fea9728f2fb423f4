/** The prompts that the machines of a process have been told of: their block ids, by request. */
import type { Fact } from '../../core/messages.ts';
import type { BlockSpan, Request } from '../../core/request.ts';

/** Of the last so many requests: more than wait, compute or decode on a node. */
const REQUESTS_MAX = 65_536;

export class PromptsSeen {
  /** The one told of last comes last. */
  private readonly requests = new Map<number, Request>();

  /** Before a machine handles a fact. */
  note({ body }: Fact): void {
    switch (body.kind) {
      case 'dispatch':
      case 'handoff':
      case 'acquire':
      case 'fetchBlocks':
      case 'saveBlocks': {
        const { requests } = this;
        requests.delete(body.request.id);
        requests.set(body.request.id, body.request);
        if (requests.size > REQUESTS_MAX) requests.delete(requests.keys().next().value!);
        break;
      }
      default:
    }
  }

  get(request: number): Request | undefined {
    return this.requests.get(request);
  }

  /** Place of a block in a request's prompt, or behind it where decode makes it, or -1. */
  indexOf(request: number, block: number): number {
    const { blocks, decoded } = this.requests.get(request) ?? {};
    if (blocks === undefined) return -1;
    const inPrompt = placeIn(blocks, block);
    if (inPrompt >= 0 || decoded === undefined) return inPrompt;
    const inAnswer = placeIn(decoded, block);
    return inAnswer < 0 ? -1 : blocks.length + inAnswer;
  }

  /** The first `count` blocks of a prompt. */
  leading(request: number, count: number): number[] {
    const blocks = this.requests.get(request)?.blocks;
    if (blocks === undefined) return [];
    return Array.from({ length: Math.min(count, blocks.length) }, (_, i) => blocks.at(i));
  }
}

function placeIn({ ids, from, to }: BlockSpan, block: number): number {
  const at = ids.indexOf(block, from);
  return at >= 0 && at < to ? at - from : -1;
}
