// The engine: takes batches of transfers, hands their slices to the rails that the caller named, and
// reports each transfer exactly once. Which rail, and what to do after a failure, is decided above;
// here is only mechanism: queues, deadlines, reopening, quarantine, checksums.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "descriptor.h"
#include "memory.h"
#include "rail.h"

namespace moontide {

int64_t nowNs();

struct EngineSettings {
  // Transfers that may be open at once; `submit` takes no more.
  uint32_t maxTransfers = 65536;
  // Waits between attempts to reopen a rail: the first, doubling to the last.
  int64_t reopenNsMin = 50'000'000;
  int64_t reopenNsMax = 5'000'000'000;
  // What a rail has for cancelling an operation before its endpoint is closed.
  int64_t cancelNs = 200'000'000;
  // What a rail's thread has, after a deadline, before the transfer is reported without it.
  int64_t graceNs = 500'000'000;
};

// One piece of a transfer, as the caller gives it. `remoteRail` is an index at the owner of the
// segment; kAnyRail: the one of the same kind at the same place in the order.
inline constexpr uint32_t kAnyRail = 0xff;
struct SliceSpec {
  uint32_t pool;
  uint32_t localSlot;
  uint64_t localOffset;
  uint32_t segment;
  uint32_t remoteSlot;
  uint64_t generation;
  uint64_t remoteOffset;
  uint64_t lengthBytes;
  uint32_t rail;
  uint32_t remoteRail;
};

// The slices follow each other in the block whose checksum is `expectedCrc`.
inline constexpr uint32_t kVerify = 1;  // Compare with expectedCrc after the move.
inline constexpr uint32_t kSum = 2;     // Report the checksum.
struct TransferSpec {
  uint64_t tag;
  OpKind kind;
  bool urgent;
  uint32_t flags;
  uint32_t expectedCrc;
  int64_t deadlineNs;  // From submit.
  std::vector<SliceSpec> slices;
};

enum class EventKind : uint32_t { transfer = 0, released = 1, rail = 2 };

// kQuarantined: operations are still open on its slots; a `released` event with its tag follows.
// kUnverified: the rails could not tell the checksum (a WRITE over a rail without feedback).
inline constexpr uint32_t kQuarantined = 1;
inline constexpr uint32_t kUnverified = 2;

struct SliceResult {
  Status status;
  int64_t durationNs;
};

// Of the slices of a transfer, in order. Most have one: that needs no memory of its own.
class SliceResults {
 public:
  size_t size() const { return size_; }
  const SliceResult& operator[](size_t i) const { return i == 0 ? first_ : more_[i - 1]; }
  void push_back(SliceResult result) {
    if (size_++ == 0) {
      first_ = result;
    } else {
      more_.push_back(result);
    }
  }

 private:
  size_t size_ = 0;
  SliceResult first_{};
  std::vector<SliceResult> more_;
};

struct Event {
  EventKind kind;
  // Of the transfer; of a rail event, the rail's index.
  uint64_t tag = 0;
  // Of a rail event: ok when it is open.
  Status status = Status::ok;
  uint32_t flags = 0;
  uint32_t crc = 0;
  uint64_t doneBytes = 0;
  int64_t durationNs = 0;
  SliceResults slices;
};

enum class RailState : uint32_t { opening = 0, open = 1, down = 2, stopped = 3 };

struct RailInfo {
  std::string kind;
  RailState state;
  RailCapabilities capabilities;
  std::string cause;  // Of being down.
  uint64_t movedBytes;
  uint64_t operations;
  uint64_t failures;
  uint64_t reopened;
  uint64_t queued;
};

class RailWorker;
struct Transfer;
struct Slice;
struct Segment;

class Engine {
 public:
  // `notify` is called, on any thread, when events wait to be drained; once per drain.
  Engine(const EngineSettings& settings, std::function<void()> notify);
  ~Engine();

  // Opens it within `timeoutNs`; -1 with the cause when it cannot be opened.
  int addRail(const RailOptions& options, std::string* why, int64_t timeoutNs = 10'000'000'000);
  RailInfo railInfo(uint32_t rail);
  uint32_t rails() const { return static_cast<uint32_t>(workers_.size()); }

  // -1 with the cause.
  int createPool(const PoolOptions& options, std::string* why);
  Pool* pool(uint32_t id);
  // `again` while operations are open on it.
  Status closePool(uint32_t id);
  bool describePool(uint32_t id, Blob* out);

  // A segment: a peer's pool by its descriptor. -1: not a descriptor.
  int importSegment(const uint8_t* data, size_t size);
  const Descriptor* segment(uint32_t id);
  void dropSegment(uint32_t id);

  // `again`: too many are open. Whatever else is wrong comes as an event.
  Status submit(const TransferSpec& spec);
  // The first `count` in one go; answers how many it took.
  size_t submit(const TransferSpec* specs, size_t count);
  // Wakes the rails that got something: once per batch.
  void kick();
  // Moves all waiting events to `out`.
  // Answers how many transfers are open.
  uint32_t drain(std::vector<Event>* out);
  uint32_t openTransfers();

  // Closes all rails; every open transfer is reported (to a drain); pools are unmapped. False: a
  // rail's thread hangs; it and what it may touch are left alone for ever.
  bool stop();

 private:
  friend class RailWorker;
  // With mutex_ held.
  Status accept(const TransferSpec& spec, int64_t now);
  std::unique_ptr<Transfer> takeTransfer(size_t slices);
  void keepTransfer(std::unique_ptr<Transfer> transfer);
  void finishSlice(Slice* slice, Status status, int64_t atNs);
  void report(Transfer* transfer, int64_t atNs);
  void supervise();
  void railChanged(uint32_t rail, Status status);
  void notify();

  const EngineSettings settings_;
  const std::function<void()> notify_;
  const uint64_t owner_;
  std::vector<std::shared_ptr<RailWorker>> workers_;

  std::mutex mutex_;
  std::condition_variable wakeSupervisor_;
  std::map<uint32_t, std::unique_ptr<Pool>> pools_;
  std::map<uint32_t, std::shared_ptr<Segment>> segments_;
  uint32_t nextPool_ = 0;
  uint32_t nextSegment_ = 0;
  Transfer* first_ = nullptr;
  std::vector<std::unique_ptr<Transfer>> spare_;
  uint32_t open_ = 0;
  std::vector<Event> events_;
  // By rail: slices of the batch that is being submitted, for its queue.
  std::vector<std::vector<Slice*>> accepted_;
  bool notified_ = false;
  // Events that no rail will tell wait: transfers that were refused.
  bool refused_ = false;
  // The supervisor sleeps until it is woken, not for a while.
  bool parked_ = false;
  bool stopping_ = false;
  bool stopped_ = false;
  std::thread supervisor_;
};

}  // namespace moontide
