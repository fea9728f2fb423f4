/**
 * Write-back, or cascading: a block is written to SSD when it leaves DRAM, and not before; SSD then
 * holds what was evicted, and what is read from it comes back as a copy. SGLang HiCache's
 * `write_back`. Needs a DRAM watermark below 1: what must go at once is dropped.
 */
import { CopyDown, defineTiering, Promotion, type TieringPolicy } from '../../core/policy-kit.ts';

class WriteBack implements TieringPolicy {
  readonly heartbeatNs = 0;
  private readonly promotes: boolean;

  constructor(promotes: boolean) {
    this.promotes = promotes;
  }

  onStored(): CopyDown {
    return CopyDown.none;
  }

  onHit(): CopyDown {
    return CopyDown.none;
  }

  onEvict(): boolean {
    return true;
  }

  onSsdHit(): Promotion {
    return this.promotes ? Promotion.copy : Promotion.none;
  }
}

export default defineTiering({
  source: 'SGLang HiCache write_back',
  params: {
    promote: { type: 'boolean', default: true, doc: 'copy to DRAM what is read from SSD' },
  },
  create: (_context, { promote }) => new WriteBack(promote),
});
