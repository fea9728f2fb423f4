// A rail's thread: the only one that touches the rail. Others put slices and calls in its queue.
#pragma once

#include <sys/eventfd.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine.h"

namespace moontide {

struct Segment {
  uint32_t id;
  Descriptor descriptor;
};

struct Slice {
  Operation op;
  Transfer* transfer;
  std::shared_ptr<Segment> segment;
  Pool* pool;
  uint32_t poolId;
  uint32_t localSlot;
  uint32_t remoteRail;
  int64_t postedNs;
  Status status;
  int64_t durationNs;
  bool closed;
  bool cancelling;
  // In the worker's list of open slices.
  Slice* prev;
  Slice* next;
};

struct Transfer {
  uint64_t tag;
  bool urgent;
  uint32_t flags;
  uint32_t expectedCrc;
  int64_t submittedNs;
  int64_t deadlineNs;
  uint32_t count;
  uint32_t remaining;
  // Written under the engine's mutex, read by workers without.
  std::atomic<bool> reported{false};
  std::unique_ptr<Slice[]> slices;
  Transfer* prev = nullptr;
  Transfer* next = nullptr;
};

class RailWorker : public std::enable_shared_from_this<RailWorker> {
 public:
  RailWorker(Engine* engine, uint32_t index, std::unique_ptr<Rail> rail);
  ~RailWorker();

  void start();
  // Takes effect at the next kick.
  void enqueue(const std::vector<Slice*>& slices);
  void kick();
  // Runs `call` on the rail's thread and waits; false after `timeoutNs` (it may still run later).
  bool run(std::function<void()> call, int64_t timeoutNs);
  void stop() { stopping_.store(true); wake(); }
  // False when it does not end in time.
  bool join(int64_t timeoutNs);
  void abandon() { thread_.detach(); }

  // Of the pools that it has registered; safe from any thread.
  bool describe(uint32_t pool, RailDescriptor* out);
  RailInfo info();
  // On the rail's thread.
  void addPool(uint32_t id, const MemoryRegion& region);
  void removePool(uint32_t id);
  void dropSegment(uint32_t id);

 private:
  struct Memory {
    MemoryRegion region;
    MemoryHandle handle = kNoHandle;
    Blob key;
  };
  struct Remote {
    PeerHandle peer;
    RemoteHandle handle;
  };

  void loop();
  void takeQueue();
  void openRail();
  void closeRail(const std::string& cause);
  void postAll();
  bool postFrom(std::deque<Slice*>* queue);
  Status prepare(Slice* slice);
  Status resolve(Slice* slice, RemoteHandle* out);
  int pollOnce();
  void finish(Completion* done, int count);
  void sum(Slice* slice, Status* status);
  void failQueued(Status status);
  void checkDeadlines(int64_t now);
  int64_t sleepNs(int64_t now) const;
  void sleep();
  void pace(uint64_t bytes, int64_t now);
  int64_t tellAtNs() const;
  void tell(int64_t now);
  void wake();
  void link(Slice* slice);
  void unlink(Slice* slice);

  Engine* const engine_;
  const uint32_t index_;
  const std::unique_ptr<Rail> rail_;
  const int wakeFd_;
  std::thread thread_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> sleeping_{false};

  // Shared with other threads, under mutex_.
  std::mutex mutex_;
  std::condition_variable ended_;
  bool done_ = false;
  std::vector<Slice*> incoming_;
  std::vector<std::function<void()>> calls_;
  std::map<uint32_t, Memory> memory_;
  RailState state_ = RailState::opening;
  Blob address_;
  RailCapabilities capabilities_;
  std::string cause_;
  std::atomic<uint64_t> movedBytes_{0};
  std::atomic<uint64_t> operations_{0};
  std::atomic<uint64_t> failures_{0};
  std::atomic<uint64_t> reopened_{0};
  std::atomic<uint64_t> queued_{0};

  // The rail's thread alone.
  bool isOpen_ = false;
  std::deque<Slice*> urgent_;
  std::deque<Slice*> normal_;
  Slice* open_ = nullptr;
  size_t openCount_ = 0;
  std::map<std::pair<uint32_t, uint32_t>, Remote> remotes_;
  std::map<PeerHandle, uint32_t> peerUses_;
  // Slices that have ended and wait to be told, since when, and whether an urgent one is among them;
  // when others were told last.
  size_t untold_ = 0;
  int64_t untoldNs_ = 0;
  bool untoldUrgent_ = false;
  int64_t toldNs_ = 0;
  // Bytes that are open or queued, and how fast such went: both sums fade.
  uint64_t leftBytes_ = 0;
  int64_t paceFromNs_ = 0;
  double paceNs_ = 0;
  double paceBytes_ = 0;
  int64_t nextDeadlineNs_ = INT64_MAX;
  int64_t reopenAtNs_ = 0;
  int64_t backoffNs_ = 0;
};

}  // namespace moontide
