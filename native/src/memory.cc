#include "memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace moontide {
namespace {

constexpr uint64_t kHugePage = 2ull << 20;
constexpr uint64_t kPage = 4096;

uint64_t roundUp(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

std::string cause(const char* what) { return std::string(what) + ": " + std::strerror(errno); }

// A memfd of `size` bytes mapped at a multiple of 2 MiB; null with errno set.
std::byte* mapAligned(int fd, uint64_t size) {
  void* room = mmap(nullptr, size + kHugePage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) return nullptr;
  const auto from = reinterpret_cast<uintptr_t>(room);
  const uintptr_t base = roundUp(from, kHugePage);
  if (base > from) munmap(room, base - from);
  const uintptr_t end = from + size + kHugePage;
  if (end > base + size) munmap(reinterpret_cast<void*>(base + size), end - (base + size));
  void* mapped = mmap(reinterpret_cast<void*>(base), size, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_FIXED, fd, 0);
  if (mapped == MAP_FAILED) {
    const int error = errno;
    munmap(reinterpret_cast<void*>(base), size);
    errno = error;
    return nullptr;
  }
  return static_cast<std::byte*>(mapped);
}

std::byte* mapFile(unsigned flags, uint64_t size, int* fd) {
  *fd = memfd_create("moontide-pool", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
  if (*fd < 0) return nullptr;
  std::byte* base = nullptr;
  // Sealed, so that who maps it need not fear that it shrinks under its hands (SIGBUS).
  const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  if (ftruncate(*fd, static_cast<off_t>(size)) == 0 && fcntl(*fd, F_ADD_SEALS, seals) == 0) {
    base = mapAligned(*fd, size);
  }
  if (base == nullptr) {
    const int error = errno;
    close(*fd);
    *fd = -1;
    errno = error;
  }
  return base;
}

}  // namespace

uint64_t randomBits() {
  uint64_t bits = 0;
  while (getrandom(&bits, sizeof bits, 0) != sizeof bits) {
  }
  return bits;
}

Status checkSlot(const MemoryRegion& region, uint32_t slot, uint64_t generation, uint32_t grant) {
  if (slot >= region.slots) return Status::outOfBounds;
  SlotEntry* entry = region.entry(slot);
  if (__atomic_load_n(&entry->generation, __ATOMIC_SEQ_CST) != generation) return Status::staleSlot;
  const uint32_t grants = __atomic_load_n(&entry->grants, __ATOMIC_SEQ_CST);
  return (grants & grant) == grant ? Status::ok : Status::staleSlot;
}

std::unique_ptr<Pool> Pool::create(const PoolOptions& options, std::string* why) {
  if (options.slots == 0 || options.slotBytes == 0 || options.slotBytes % kPage != 0 ||
      options.slotBytes > (1ull << 40) / options.slots) {
    *why = "slots must be multiples of 4096 bytes, at least one, at most 1 TiB in all";
    return nullptr;
  }
  std::unique_ptr<Pool> pool(new Pool());
  MemoryRegion& region = pool->region_;
  region.slotBytes = options.slotBytes;
  region.slots = options.slots;
  region.tableOffset = options.slotBytes * options.slots;
  const uint64_t tableBytes = sizeof(TableHeader) + sizeof(SlotEntry) * uint64_t{options.slots};
  region.sizeBytes = roundUp(region.tableOffset + tableBytes, kHugePage);
  if (options.hugetlb) {
    region.base = mapFile(MFD_HUGETLB, region.sizeBytes, &region.fd);
    // Reserved pages may be fewer than mapped ones: only a touch tells, and it kills. So populate.
    if (region.base != nullptr &&
        madvise(region.base, region.sizeBytes, MADV_POPULATE_WRITE) != 0) {
      munmap(region.base, region.sizeBytes);
      ::close(region.fd);
      region.base = nullptr;
      region.fd = -1;
    }
    if (region.base != nullptr) pool->pages_ = "hugetlb";
  }
  if (region.base == nullptr) {
    region.base = mapFile(0, region.sizeBytes, &region.fd);
    if (region.base == nullptr) {
      *why = cause("cannot map the pool");
      return nullptr;
    }
    if (madvise(region.base, region.sizeBytes, MADV_HUGEPAGE) == 0) pool->pages_ = "transparent";
    if (options.prefault && madvise(region.base, region.sizeBytes, MADV_POPULATE_WRITE) != 0 &&
        errno != EINVAL) {
      *why = cause("not enough memory for the pool");
      return nullptr;
    }
  }
  // A child of fork would share pages that the fabric writes to.
  madvise(region.base, region.sizeBytes, MADV_DONTFORK);
  region.incarnation = randomBits() >> 12;
  pool->serving_ = std::vector<std::atomic<uint32_t>>(options.slots);
  pool->open = std::vector<std::atomic<uint32_t>>(options.slots);
  region.serving = pool->serving_.data();
  auto* header = reinterpret_cast<TableHeader*>(region.base + region.tableOffset);
  header->magic = kTableMagic;
  header->incarnation = region.incarnation;
  return pool;
}

Pool::~Pool() {
  if (region_.base != nullptr) munmap(region_.base, region_.sizeBytes);
  if (region_.fd >= 0) ::close(region_.fd);
}

bool Pool::setSlot(uint32_t slot, uint64_t generation, uint32_t grants) {
  SlotEntry* entry = region_.entry(slot);
  // Withdrawn first, so that no reader sees the new generation with the old grant.
  __atomic_store_n(&entry->grants, 0, __ATOMIC_SEQ_CST);
  __atomic_store_n(&entry->generation, generation, __ATOMIC_SEQ_CST);
  const bool quiet = region_.serving[slot].load() == 0;
  __atomic_store_n(&entry->grants, grants, __ATOMIC_SEQ_CST);
  return quiet;
}

}  // namespace moontide
