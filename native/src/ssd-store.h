// A block store on one SSD: fixed slots in large preallocated files, read and written with O_DIRECT
// by one thread of its own, with a journal (ssd-journal.h) that says what they hold.
//
// A put is acknowledged when (1) its data are written, (2) fdatasync of their file is done, (3) its
// record, with length and CRC-32C, is durable in the journal. Whatever finishes while a sync or a
// journal write is under way shares the next one. A removed block's slot is used again only when
// the removal is durable. Every read is checked against the record.
//
// Any thread may submit; results are collected with drain() after `notify`.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "ssd-io.h"
#include "ssd-journal.h"
#include "ssd-segments.h"

namespace moontide {

enum class SsdStatus : uint8_t {
  ok = 0,
  missing = 1,   // No such block.
  exists = 2,    // put: it is stored already; nothing was written.
  busy = 3,      // put, remove: the same key is being written or removed.
  full = 4,      // put: no room (capacity, disk or quota). Back-pressure: remove some or retry.
  lost = 5,      // get: the device failed or the bytes are not those that were stored.
  ioError = 6,   // put, remove: the device failed; the block is not stored (is still stored).
  invalid = 7,   // Length, alignment or pool bounds.
  closed = 8,    // The store was closed first.
};

enum class SsdVerb : uint8_t { put = 0, get = 1, remove = 2, exists = 3, list = 4, attach = 5 };

struct SsdItem {
  BlockKey key{};
  uint8_t* data = nullptr;   // put, get: 4096-aligned; null with invalid bounds.
  uint32_t sizeBytes = 0;    // put: length; get: room, at least the length rounded up to 4096.
  uint32_t crc = 0;          // put with hasCrcs: what the bytes must have; out: of the block.
  SsdStatus status = SsdStatus::closed;
};

// One native call. Comes back whole, through drain().
struct SsdBatch {
  uint64_t id = 0;
  SsdVerb verb = SsdVerb::get;
  bool hasCrcs = false;
  uint32_t remaining = 0;
  std::vector<SsdItem> items;
  // list: where to go on (0 at first; 0 again when all was listed) and how many at most.
  uint64_t cursor = 0;
  uint32_t limit = 0;
  // attach.
  uint8_t* base = nullptr;
  size_t baseBytes = 0;
  std::string detail;  // attach: why the memory is not registered with the kernel.
};

struct SsdOptions {
  std::string folder;
  uint32_t slotBytes = 1 << 20;
  uint64_t capacityBytes = 0;
  uint64_t segmentBytes = 1ull << 30;
  uint32_t queueDepth = 32;
  enum class Backend : uint8_t { automatic, ring, threads } backend = Backend::automatic;
  bool direct = true;
  uint64_t scrubBytesPerSec = 0;
  // Tests put a failing device here. Gets what the store would use.
  std::function<std::unique_ptr<SsdIo>(std::unique_ptr<SsdIo>)> wrapIo;
};

struct SsdCapabilities {
  std::string backend;        // "io_uring", "threads".
  std::string backendReason;  // Why not io_uring, when it was not asked to be so.
  bool direct = false;
  std::string directReason;   // Why buffered.
};

struct SsdStats {
  uint64_t blocks = 0;
  uint64_t capacitySlots = 0;
  uint64_t quarantinedSlots = 0;
  uint64_t bytesRead = 0;
  uint64_t bytesWritten = 0;
  uint64_t commits = 0;          // Journal writes.
  uint64_t syncs = 0;            // fdatasync of segments.
  uint64_t committedBlocks = 0;  // Records in those writes.
  uint64_t compactions = 0;
  uint64_t lostBlocks = 0;       // Since opening: failed reads, checksums, truncated segments.
  uint64_t lostJournalPages = 0;
  uint64_t scrubbedBytes = 0;
  uint64_t scrubPasses = 0;
};

class SsdStore {
 public:
  // `notify` is called on the store's thread when there is something to drain: the end of opening,
  // finished batches, lost blocks. Not again until drain() was called.
  SsdStore(SsdOptions options, std::function<void()> notify);
  ~SsdStore();
  SsdStore(const SsdStore&) = delete;
  SsdStore& operator=(const SsdStore&) = delete;

  void submit(std::unique_ptr<SsdBatch> batch);

  struct Drained {
    bool opened = false;      // Opening ended, be it with an error.
    std::string openError;
    bool closed = false;
    std::vector<std::unique_ptr<SsdBatch>> batches;
    std::vector<BlockKey> lost;
  };
  Drained drain();

  // Finishes what is on the device, answers the rest with `closed`, ends the thread. Once
  // drain().closed is seen the destructor does not wait.
  void close();

  // Valid once opened.
  const SsdCapabilities& capabilities() const { return capabilities_; }
  SsdStats stats() const;

 private:
  enum class SlotState : uint8_t { free, writing, ready, leaving, quarantined };

  struct Slot {
    BlockKey key;
    uint32_t lengthBytes = 0;
    uint32_t crc = 0;
    uint32_t readers = 0;
    SlotState state = SlotState::free;
    bool freeWhenRead = false;
  };

  enum class TaskKind : uint8_t { get, put, scrub, sync, journal };

  struct Task : IoOp {
    TaskKind task = TaskKind::get;
    std::unique_ptr<AlignedBuffer> second;  // A get that is read again goes here.
    bool retried = false;
    uint32_t slot = 0;
    uint32_t item = 0;
    SsdBatch* batch = nullptr;
  };

  struct Removal {
    uint32_t slot;
    uint32_t item;
    SsdBatch* batch;  // Null: a lost block, nobody waits.
    RecordKind kind;
  };

  void run();
  std::string openAll();
  std::string makeIo();
  void applyRecord(const JournalRecord& record);
  void rebuild();

  void takeSubmissions();
  void accept(std::unique_ptr<SsdBatch> batch);
  void start();
  void startGet(SsdBatch* batch, uint32_t item);
  void startPut(SsdBatch* batch, uint32_t item);
  void startRemove(SsdBatch* batch, uint32_t item);
  void listBlocks(SsdBatch& batch);
  void startScrub();

  void finish(Task* task);
  void verifySome();
  void finishGet(Task* task);
  void finishPut(Task* task);
  void finishScrub(Task* task);
  void finishSync(Task* task);
  void finishJournal(Task* task);

  void startSync();
  void startJournal();
  void failPut(Task* task, int error);
  void failRemoval(const Removal& removal, SsdStatus status);
  int makeJournalRoom(size_t records);
  int compact();

  bool takeSlot(uint32_t& slot);
  void releaseSlot(uint32_t slot);
  void blockLost(uint32_t slot);
  void unpin(uint32_t slot);

  Task* newTask(TaskKind kind, uint32_t slot);
  void fillPlace(Task* task, uint32_t slot);
  void answer(SsdBatch* batch, uint32_t item, SsdStatus status);
  void deliver();
  void refuse(std::unique_ptr<SsdBatch> batch);
  bool quiet() const;
  int64_t scrubWaitNs() const;

  SsdOptions options_;
  std::function<void()> notify_;
  SsdCapabilities capabilities_;
  Geometry geometry_{};
  std::unique_ptr<SsdIo> io_;
  Journal journal_;
  SsdSegments segments_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> freeSlots_;
  std::unordered_map<BlockKey, uint32_t, BlockKeyHash> index_;
  uint64_t maxSlots_ = 0;
  int64_t growNotBeforeNs_ = 0;

  // Work not yet started; front first.
  struct Waiting {
    SsdBatch* batch;
    uint32_t item;
  };
  std::unordered_map<SsdBatch*, std::unique_ptr<SsdBatch>> open_;
  std::deque<Waiting> waitingGets_;
  std::deque<Waiting> waitingPuts_;
  uint32_t getsInFlight_ = 0;
  uint32_t putsInFlight_ = 0;
  std::vector<std::unique_ptr<Task>> tasks_;
  std::vector<Task*> freeTasks_;
  std::vector<IoOp*> done_;
  std::deque<Task*> arrived_;  // Gets off the device, not yet verified.

  // Group commit: written -> syncing -> synced -> journaling -> answered.
  std::vector<Task*> written_;
  std::vector<Task*> syncing_;
  std::vector<Task*> synced_;
  std::vector<Removal> removals_;
  std::vector<Task*> journaling_;
  std::vector<Removal> journalingRemovals_;
  uint32_t syncsInFlight_ = 0;
  int syncError_ = 0;
  bool journalInFlight_ = false;
  Journal::Span journalSpan_{};
  std::vector<JournalRecord> records_;
  AlignedBuffer journalBuffer_;
  bool journalBroken_ = false;

  uint32_t scrubSlot_ = 0;
  bool scrubbing_ = false;
  int64_t scrubDueNs_ = 0;
  std::unique_ptr<AlignedBuffer> scrubBuffer_;

  SsdStats work_;  // The thread's own; copied to stats_.
  std::vector<std::unique_ptr<SsdBatch>> finished_;
  std::vector<BlockKey> lost_;

  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<SsdBatch>> submitted_;
  Drained out_;
  SsdStats stats_;
  bool notified_ = false;
  bool closing_ = false;
  bool ended_ = false;  // The thread takes nothing more.
  bool wakeReady_ = false;
  std::thread thread_;
};

}  // namespace moontide
