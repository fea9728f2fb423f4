/**
 * Write-through: every block that reaches DRAM is written to SSD at once, so that eviction costs
 * nothing; what is read from SSD comes back to DRAM. LMCache's local disk and SGLang HiCache's
 * `write_through` do so.
 */
import { CopyDown, defineTiering, Promotion, type TieringPolicy } from '../../core/policy-kit.ts';

class WriteThrough implements TieringPolicy {
  readonly heartbeatNs = 0;
  private readonly promotes: boolean;

  constructor(promotes: boolean) {
    this.promotes = promotes;
  }

  onStored(): CopyDown {
    return CopyDown.now;
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
  source: 'SGLang HiCache write_through; LMCache local disk',
  params: {
    promote: { type: 'boolean', default: true, doc: 'copy to DRAM what is read from SSD' },
  },
  create: (_context, { promote }) => new WriteThrough(promote),
});
