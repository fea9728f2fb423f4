// A rail: one way of moving bytes between registered memory of two hosts, one-sided. `local`, `tcp`
// and `fabric` are classes behind this interface; the engine knows no other thing about them.
//
// Threads: the engine gives each rail one thread, and every method but the constructor is called on
// it alone. So a rail needs no locks of its own, and one that hangs (a dead peer, a provider that
// blocks) hangs nobody else: submitters only queue.
//
// Life: open, then addMemory / connect / post / poll in any order, then close; after close the same
// object may be opened again (a rail that failed is reopened in the background; the engine then
// adds the memory and connects the peers anew).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "blob.h"
#include "status.h"

namespace moontide {

// Questions a rail answers before anything is asked of it.
struct RailCapabilities {
  bool read = false;
  bool write = false;
  // A completed write is at its target (not merely sent).
  bool deliveryComplete = false;
  // The target checks slot, generation and grant; else the reader's checksum is what detects reuse.
  bool enforcesGrants = false;
  // Can fill `Operation::crc` of a READ while moving, at less than a pass over the bytes.
  bool crcWhileMoving = false;
  // Reaches this host only.
  bool sameHostOnly = false;
  // Operations and bytes that may be open at once; `post` says `again` beyond them.
  uint32_t maxOpen = 0;
  uint64_t maxOpenBytes = 0;
  // The longest single operation, bytes.
  uint32_t maxOpBytes = 0;
  // What it runs on, for people: "verbs;ofi_rxm mlx5_0", "127.0.0.1:4711".
  std::string detail;
};

// The table at the end of each pool: a header, then an entry per slot. Peers on the same host map it
// too; its layout is part of the descriptor's version.
struct TableHeader {
  uint64_t magic;
  uint64_t incarnation;
  uint64_t reserved[6];
};
static_assert(sizeof(TableHeader) == 64);
inline constexpr uint64_t kTableMagic = 0x314c424154534f4dull;  // "MOSTABL1"

struct SlotEntry {
  // Changes with each reuse: readers name the one that they were granted.
  uint64_t generation;
  // Bit 0: may be read; bit 1: may be written; by peers that name the generation.
  uint32_t grants;
  uint32_t reserved;
};
static_assert(sizeof(SlotEntry) == 16);

inline constexpr uint32_t kGrantRead = 1;
inline constexpr uint32_t kGrantWrite = 2;

// Memory of this process that rails may touch: mapped, aligned to 2 MiB, alive until the engine has
// removed it from every rail.
struct MemoryRegion {
  std::byte* base = nullptr;
  // Slots first, then the slot table; a multiple of 2 MiB.
  uint64_t sizeBytes = 0;
  uint64_t slotBytes = 0;
  uint32_t slots = 0;
  // Offset of the slot table in the region.
  uint64_t tableOffset = 0;
  // The memfd behind it; -1: anonymous.
  int fd = -1;
  // Unique per pool and process start.
  uint64_t incarnation = 0;
  // Per slot: operations of peers that a rail of this process serves from or into it right now.
  // A serving rail counts up, then looks at generation and grants, serves, counts down; the owner
  // changes the entry, then looks at the count, and reuses the slot only when it is zero.
  std::atomic<uint32_t>* serving = nullptr;

  SlotEntry* entry(uint32_t slot) const {
    return reinterpret_cast<SlotEntry*>(base + tableOffset + sizeof(TableHeader)) + slot;
  }
};

// Whether a peer that names `generation` may do this now. Sequentially consistent, as `serving` is.
Status checkSlot(const MemoryRegion& region, uint32_t slot, uint64_t generation, uint32_t grant);

// Numbers that a rail hands out and later gets back: index into its own tables.
using MemoryHandle = uint32_t;
using PeerHandle = uint32_t;
using RemoteHandle = uint32_t;
inline constexpr uint32_t kNoHandle = 0xffffffff;

enum class OpKind : uint8_t { read = 0, write = 1 };

// One contiguous piece between local memory and a slot of a remote region. The engine owns it from
// post to completion; the rail may keep what it likes in `scratch`, which comes first because
// libfabric wants its context (fi_context2) there.
struct alignas(64) Operation {
  alignas(64) std::byte scratch[128];

  OpKind kind;
  // READ: fill `crc` if that is cheap (see RailCapabilities::crcWhileMoving) and set `crcKnown`.
  bool wantCrc;
  bool crcKnown;
  uint32_t lengthBytes;
  std::byte* local;
  MemoryHandle localMemory;

  RemoteHandle remote;
  // Where in the remote region: slot * slotBytes + offsetInSlot; bounds are checked by the engine.
  uint64_t remoteOffset;
  uint64_t offsetInSlot;
  uint32_t slot;
  uint64_t generation;

  // CRC-32C of the bytes moved.
  uint32_t crc;
};

struct Completion {
  Operation* operation;
  Status status;
};

class Rail {
 public:
  virtual ~Rail() = default;

  // "local", "tcp", "fabric": rails of equal kind can connect.
  virtual const char* kind() const = 0;

  // Opens the endpoint. Any failure leaves it closed. `why` gets the exact cause, for people.
  virtual Status open(std::string* why) = 0;

  // Valid after open.
  virtual const RailCapabilities& capabilities() const = 0;

  // This endpoint's address; versioned, opaque to all but rails of this kind. Valid after open.
  virtual Blob address() const = 0;

  // Registers a region once; `key` gets what a peer needs to reach it (remote key and base,
  // versioned, opaque). The region outlives the registration.
  virtual Status addMemory(const MemoryRegion& region, MemoryHandle* handle, Blob* key) = 0;
  virtual void removeMemory(MemoryHandle handle) = 0;

  // Starts connecting; returns at once. Operations posted before the connection stands wait within
  // the rail (or are refused with `again`); they fail with peerUnreachable when it cannot be made.
  // Connecting to an address again gives the same peer.
  virtual Status connect(const Blob& address, PeerHandle* peer) = 0;
  // Forgets a peer; its open operations complete with `cancelled`.
  virtual void disconnect(PeerHandle peer) = 0;

  // A remote region: the key that the peer's addMemory gave, and its shape.
  virtual Status addRemote(PeerHandle peer, const Blob& key, const MemoryRegion& shape,
                           RemoteHandle* remote) = 0;
  virtual void removeRemote(RemoteHandle remote) = 0;

  // `ok`: taken, and completed exactly once by a later poll or close. `again`: not taken, poll
  // first. Anything else: not taken, failed. Never blocks.
  virtual Status post(Operation* operation) = 0;

  // Makes progress and reports at most `max` completions. Never blocks.
  virtual int poll(Completion* out, int max) = 0;

  // Sleeps until there may be something to poll, `wakeFd` (an eventfd, not read here) is readable
  // or the time is up. Never spins.
  virtual void wait(int wakeFd, int64_t timeoutNs) = 0;

  // Gives up an operation, and whatever must go with it (its connection, the endpoint): when it has
  // been reported by a later poll (`cancelled` or its real outcome) no byte of `local` is touched
  // any more. `railDown`: the rail can only do that by close and open; the engine does so then.
  virtual Status cancel(Operation* operation) = 0;

  // Ends everything. Open operations are reported through `out` in full: on return none of their
  // memory is touched any more. Also removes all memory, peers and remotes.
  virtual void close(std::vector<Completion>* out) = 0;
};

// What a rail is made of, by name; each class reads its own keys (see rails.cc).
using RailOptions = std::unordered_map<std::string, std::string>;

// By options["kind"]; null with `why` for a kind that this build does not have.
std::unique_ptr<Rail> makeRail(const RailOptions& options, std::string* why);

}  // namespace moontide
