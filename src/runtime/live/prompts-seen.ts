/** The prompts that the machines of a process have been told of: their block ids, by request. */
import type { Fact } from '../../core/messages.ts';
import type { Request } from '../../core/request.ts';

export class PromptsSeen {
  private readonly requests = new Map<number, Request>();

  /** Before a machine handles a fact. */
  note({ body }: Fact): void {
    switch (body.kind) {
      case 'dispatch':
      case 'handoff':
      case 'acquire':
      case 'fetchBlocks':
      case 'saveBlocks':
        this.requests.set(body.request.id, body.request);
        break;
      default:
    }
  }

  get(request: number): Request | undefined {
    return this.requests.get(request);
  }

  /** Place of a block in a request's prompt, or -1. */
  indexOf(request: number, block: number): number {
    const blocks = this.requests.get(request)?.blocks;
    if (blocks === undefined) return -1;
    const at = blocks.ids.indexOf(block, blocks.from);
    return at >= 0 && at < blocks.to ? at - blocks.from : -1;
  }

  /** Forgets what is not needed any more. */
  sweep(isNeeded: (request: number) => boolean): void {
    for (const id of this.requests.keys()) if (!isNeeded(id)) this.requests.delete(id);
  }
}
