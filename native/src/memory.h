// A pool: memory that rails may reach, in equal slots. Mapped once, registered once with every rail.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "rail.h"

namespace moontide {

struct PoolOptions {
  uint64_t slotBytes = 0;
  uint32_t slots = 0;
  // Ask for reserved huge pages (MAP_HUGETLB) before transparent ones.
  bool hugetlb = true;
  // Touch every page now, so that no transfer pays for faults.
  bool prefault = true;
};

class Pool {
 public:
  // Null with the cause in `why`. Slots are multiples of 4096 bytes (O_DIRECT).
  static std::unique_ptr<Pool> create(const PoolOptions& options, std::string* why);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  const MemoryRegion& region() const { return region_; }
  // "hugetlb", "transparent" or "small".
  const char* pages() const { return pages_; }

  std::byte* slot(uint32_t slot) const { return region_.base + slot * region_.slotBytes; }
  bool contains(uint64_t slot, uint64_t offset, uint64_t length) const {
    return slot < region_.slots && offset <= region_.slotBytes &&
           length <= region_.slotBytes - offset;
  }

  // Publishes or withdraws a slot. False: a peer is being served from or into it under what stood
  // there before; its bytes may be reused when `busy` says no.
  bool setSlot(uint32_t slot, uint64_t generation, uint32_t grants);
  bool busy(uint32_t slot) const { return region_.serving[slot].load() != 0; }

  // Operations of this process on the slot, queued or open: above zero it is in use or quarantined.
  std::vector<std::atomic<uint32_t>> open;

 private:
  Pool() = default;
  MemoryRegion region_;
  std::vector<std::atomic<uint32_t>> serving_;
  const char* pages_ = "small";
};

// 64 bits that nobody can guess, from the kernel.
uint64_t randomBits();

}  // namespace moontide
