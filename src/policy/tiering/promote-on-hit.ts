/**
 * Promote on hit: a block lies in one tier alone. It goes down to SSD when it leaves DRAM, and a
 * read moves it back up, so that the two tiers hold different blocks. Exclusive caching as in Wong
 * and Wilkes, "My cache or yours?", USENIX ATC '02. Each promotion costs a write when the block
 * leaves DRAM again: SSD wear for capacity.
 */
import { CopyDown, defineTiering, Promotion, type TieringPolicy } from '../../core/policy-kit.ts';

class PromoteOnHit implements TieringPolicy {
  readonly heartbeatNs = 0;

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
    return Promotion.move;
  }
}

export default defineTiering({
  source: "Wong and Wilkes, USENIX ATC '02 (DEMOTE)",
  params: {},
  create: () => new PromoteOnHit(),
});
