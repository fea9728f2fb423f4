#include "engine.h"

#include <time.h>

#include <chrono>

#include "crc32c.h"
#include "worker.h"

namespace moontide {
namespace {

constexpr int64_t kSuperviseNs = 20'000'000;
constexpr int64_t kRegisterNs = 60'000'000'000;
constexpr size_t kSpareTransfers = 1024;
constexpr int64_t kStopNs = 3'000'000'000;

}  // namespace

int64_t nowNs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

Engine::Engine(const EngineSettings& settings, std::function<void()> notify)
    : settings_(settings), notify_(std::move(notify)), owner_(randomBits()) {
  supervisor_ = std::thread([this] { supervise(); });
}

Engine::~Engine() { stop(); }

int Engine::addRail(const RailOptions& options, std::string* why, int64_t timeoutNs) {
  std::unique_ptr<Rail> rail = makeRail(options, why);
  if (rail == nullptr) return -1;
  const auto index = static_cast<uint32_t>(workers_.size());
  const auto worker = std::make_shared<RailWorker>(this, index, std::move(rail));
  worker->start();
  // The first call runs after the first attempt to open.
  const bool answered = worker->run([] {}, timeoutNs);
  const RailInfo info = worker->info();
  if (!answered || info.state != RailState::open) {
    *why = answered ? info.cause : "it did not open in time";
    worker->stop();
    if (!worker->join(kStopNs)) worker->abandon();
    return -1;
  }
  std::vector<std::pair<uint32_t, MemoryRegion>> regions;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, pool] : pools_) regions.emplace_back(id, pool->region());
  }
  for (const auto& [id, region] : regions) {
    worker->run([worker, id = id, region = region] { worker->addPool(id, region); }, kRegisterNs);
  }
  workers_.push_back(worker);
  return static_cast<int>(index);
}

RailInfo Engine::railInfo(uint32_t rail) { return workers_[rail]->info(); }

int Engine::createPool(const PoolOptions& options, std::string* why) {
  std::unique_ptr<Pool> pool = Pool::create(options, why);
  if (pool == nullptr) return -1;
  const MemoryRegion region = pool->region();
  uint32_t id;
  {
    std::lock_guard lock(mutex_);
    id = nextPool_++;
    pools_[id] = std::move(pool);
  }
  for (const auto& worker : workers_) {
    worker->run([worker, id, region] { worker->addPool(id, region); }, kRegisterNs);
  }
  return static_cast<int>(id);
}

Pool* Engine::pool(uint32_t id) {
  std::lock_guard lock(mutex_);
  const auto found = pools_.find(id);
  return found == pools_.end() ? nullptr : found->second.get();
}

Status Engine::closePool(uint32_t id) {
  std::unique_ptr<Pool> pool;
  {
    std::lock_guard lock(mutex_);
    const auto found = pools_.find(id);
    if (found == pools_.end()) return stopped_ ? Status::ok : Status::unknownSegment;
    for (const auto& open : found->second->open) {
      if (open.load() != 0) return Status::again;
    }
    pool = std::move(found->second);
    pools_.erase(found);
  }
  bool removed = true;
  for (const auto& worker : workers_) {
    if (stopped_) break;
    removed &= worker->run([worker, id] { worker->removePool(id); }, kStopNs);
  }
  // A rail that hangs may touch the memory yet: it stays mapped for ever.
  if (!removed) (void)pool.release();
  return Status::ok;
}

bool Engine::describePool(uint32_t id, Blob* out) {
  Descriptor descriptor;
  {
    std::lock_guard lock(mutex_);
    const auto found = pools_.find(id);
    if (found == pools_.end()) return false;
    const MemoryRegion& region = found->second->region();
    descriptor.owner = owner_;
    descriptor.incarnation = region.incarnation;
    descriptor.slotBytes = region.slotBytes;
    descriptor.slots = region.slots;
  }
  for (const auto& worker : workers_) {
    RailDescriptor rail;
    if (worker->describe(id, &rail)) descriptor.rails.push_back(std::move(rail));
  }
  *out = encodeDescriptor(descriptor);
  return true;
}

int Engine::importSegment(const uint8_t* data, size_t size) {
  auto segment = std::make_shared<Segment>();
  if (!parseDescriptor(data, size, &segment->descriptor)) return -1;
  std::lock_guard lock(mutex_);
  segment->id = nextSegment_++;
  segments_[segment->id] = segment;
  return static_cast<int>(segment->id);
}

const Descriptor* Engine::segment(uint32_t id) {
  std::lock_guard lock(mutex_);
  const auto found = segments_.find(id);
  return found == segments_.end() ? nullptr : &found->second->descriptor;
}

void Engine::dropSegment(uint32_t id) {
  {
    std::lock_guard lock(mutex_);
    segments_.erase(id);
  }
  for (const auto& worker : workers_) {
    worker->run([worker, id] { worker->dropSegment(id); }, 0);
  }
}

// --- transfers ---------------------------------------------------------------------------------

Status Engine::submit(const TransferSpec& spec) {
  return submit(&spec, 1) == 1 ? Status::ok : stopping_ ? Status::railDown : Status::again;
}

size_t Engine::submit(const TransferSpec* specs, size_t count) {
  const int64_t now = nowNs();
  std::lock_guard lock(mutex_);
  accepted_.resize(workers_.size());
  size_t taken = 0;
  while (taken < count && accept(specs[taken], now) == Status::ok) taken++;
  for (size_t rail = 0; rail < workers_.size(); rail++) {
    if (accepted_[rail].empty()) continue;
    workers_[rail]->enqueue(accepted_[rail]);
    accepted_[rail].clear();
  }
  return taken;
}

Status Engine::accept(const TransferSpec& spec, int64_t now) {
  if (stopping_) return Status::railDown;
  if (open_ >= settings_.maxTransfers) return Status::again;
  std::unique_ptr<Transfer> transfer = takeTransfer(spec.slices.size());
  transfer->tag = spec.tag;
  transfer->urgent = spec.urgent;
  transfer->flags = spec.flags;
  transfer->expectedCrc = spec.expectedCrc;
  transfer->submittedNs = now;
  transfer->deadlineNs = now + spec.deadlineNs;
  transfer->count = static_cast<uint32_t>(spec.slices.size());
  transfer->remaining = transfer->count;
  Status wrong = spec.slices.empty() ? Status::outOfBounds : Status::ok;
  for (uint32_t i = 0; i < transfer->count; i++) {
    const SliceSpec& from = spec.slices[i];
    Slice& slice = transfer->slices[i];
    Operation& op = slice.op;
    slice.transfer = transfer.get();
    slice.status = Status::ok;
    slice.postedNs = 0;
    slice.durationNs = 0;
    slice.closed = slice.cancelling = false;
    slice.prev = slice.next = nullptr;
    slice.remoteRail = from.remoteRail;
    slice.poolId = from.pool;
    slice.localSlot = from.localSlot;
    const auto pool = pools_.find(from.pool);
    const auto segment = segments_.find(from.segment);
    if (pool == pools_.end()) {
      wrong = Status::notRegistered;
    } else if (segment == segments_.end()) {
      wrong = Status::unknownSegment;
    } else if (from.rail >= workers_.size()) {
      wrong = Status::railDown;
    } else {
      const Descriptor& remote = segment->second->descriptor;
      const bool inside = pool->second->contains(from.localSlot, from.localOffset,
                                                 from.lengthBytes) &&
                          from.remoteSlot < remote.slots &&
                          from.remoteOffset <= remote.slotBytes &&
                          from.lengthBytes <= remote.slotBytes - from.remoteOffset &&
                          from.lengthBytes > 0 && from.lengthBytes <= UINT32_MAX;
      if (!inside) wrong = Status::outOfBounds;
    }
    if (wrong != Status::ok) break;
    slice.pool = pool->second.get();
    slice.segment = segment->second;
    op.kind = spec.kind;
    op.wantCrc = (spec.flags & (kVerify | kSum)) != 0;
    op.crcKnown = false;
    op.crc = 0;
    op.lengthBytes = static_cast<uint32_t>(from.lengthBytes);
    op.local = slice.pool->slot(from.localSlot) + from.localOffset;
    op.slot = from.remoteSlot;
    op.generation = from.generation;
    op.offsetInSlot = from.remoteOffset;
    op.remoteOffset = from.remoteSlot * segment->second->descriptor.slotBytes + from.remoteOffset;
  }
  if (wrong != Status::ok) {
    Event event;
    event.kind = EventKind::transfer;
    event.tag = spec.tag;
    event.status = wrong;
    for (uint32_t i = 0; i < transfer->count; i++) event.slices.push_back({wrong, 0});
    events_.push_back(std::move(event));
    refused_ = true;
    return Status::ok;
  }
  Transfer* raw = transfer.release();
  raw->next = first_;
  if (first_ != nullptr) first_->prev = raw;
  first_ = raw;
  open_++;
  // Most bursts of transfers begin and end while it waits for its next look.
  if (parked_) {
    parked_ = false;
    wakeSupervisor_.notify_one();
  }
  for (uint32_t i = 0; i < raw->count; i++) {
    raw->slices[i].pool->open[raw->slices[i].localSlot].fetch_add(1);
  }
  for (uint32_t i = 0; i < raw->count; i++) {
    accepted_[spec.slices[i].rail].push_back(&raw->slices[i]);
  }
  return Status::ok;
}

void Engine::kick() {
  for (const auto& worker : workers_) worker->kick();
  {
    std::lock_guard lock(mutex_);
    if (!refused_) return;
    refused_ = false;
  }
  notify();
}

void Engine::finishSlice(Slice* slice, Status status, int64_t atNs) {
  Transfer* transfer = slice->transfer;
  slice->closed = true;
  slice->status = status;
  slice->durationNs = slice->postedNs == 0 ? 0 : atNs - slice->postedNs;
  slice->pool->open[slice->localSlot].fetch_sub(1);
  if (--transfer->remaining > 0) return;
  if (!transfer->reported.load()) {
    report(transfer, atNs);
  } else {
    Event event;
    event.kind = EventKind::released;
    event.tag = transfer->tag;
    events_.push_back(std::move(event));
  }
  if (transfer->prev != nullptr) transfer->prev->next = transfer->next;
  if (transfer->next != nullptr) transfer->next->prev = transfer->prev;
  if (first_ == transfer) first_ = transfer->next;
  open_--;
  keepTransfer(std::unique_ptr<Transfer>(transfer));
}

// Most transfers have one slice, and their memory goes from thread to thread: so it is kept.
std::unique_ptr<Transfer> Engine::takeTransfer(size_t slices) {
  std::unique_ptr<Transfer> transfer;
  if (slices == 1 && !spare_.empty()) {
    transfer = std::move(spare_.back());
    spare_.pop_back();
    return transfer;
  }
  transfer = std::make_unique<Transfer>();
  transfer->slices = std::make_unique<Slice[]>(slices);
  return transfer;
}

void Engine::keepTransfer(std::unique_ptr<Transfer> transfer) {
  if (transfer->count != 1 || spare_.size() >= kSpareTransfers) return;
  transfer->slices[0].segment.reset();
  transfer->reported.store(false);
  transfer->prev = transfer->next = nullptr;
  spare_.push_back(std::move(transfer));
}

void Engine::report(Transfer* transfer, int64_t atNs) {
  Event event;
  event.kind = EventKind::transfer;
  event.tag = transfer->tag;
  event.durationNs = atNs - transfer->submittedNs;
  bool summed = true;
  for (uint32_t i = 0; i < transfer->count; i++) {
    const Slice& slice = transfer->slices[i];
    const Status status = slice.closed ? slice.status : Status::timedOut;
    if (!slice.closed) event.flags |= kQuarantined;
    if (status == Status::ok) {
      event.doneBytes += slice.op.lengthBytes;
    } else if (event.status == Status::ok) {
      event.status = status;
    }
    event.slices.push_back({status, slice.durationNs});
    summed = summed && slice.closed && slice.op.crcKnown;
    if (summed) {
      event.crc = i == 0 ? slice.op.crc
                         : crc32cCombine(event.crc, slice.op.crc, slice.op.lengthBytes);
    }
  }
  if ((transfer->flags & (kVerify | kSum)) != 0 && event.status == Status::ok) {
    if (!summed) {
      event.flags |= kUnverified;
    } else if ((transfer->flags & kVerify) != 0 && event.crc != transfer->expectedCrc) {
      event.status = Status::checksumMismatch;
    }
  }
  transfer->reported.store(true);
  events_.push_back(std::move(event));
}

void Engine::supervise() {
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    if (open_ == 0) {
      parked_ = true;
      wakeSupervisor_.wait(lock);
      continue;
    }
    wakeSupervisor_.wait_for(lock, std::chrono::nanoseconds(kSuperviseNs));
    const int64_t now = nowNs();
    bool reported = false;
    for (Transfer* transfer = first_; transfer != nullptr; transfer = transfer->next) {
      if (transfer->reported.load() || now < transfer->deadlineNs + settings_.graceNs) continue;
      report(transfer, now);
      reported = true;
    }
    if (!reported) continue;
    lock.unlock();
    notify();
    lock.lock();
  }
}

void Engine::railChanged(uint32_t rail, Status status) {
  {
    std::lock_guard lock(mutex_);
    Event event;
    event.kind = EventKind::rail;
    event.tag = rail;
    event.status = status;
    events_.push_back(std::move(event));
  }
  notify();
}

void Engine::notify() {
  {
    std::lock_guard lock(mutex_);
    if (events_.empty() || notified_) return;
    notified_ = true;
  }
  notify_();
}

uint32_t Engine::drain(std::vector<Event>* out) {
  out->clear();
  std::lock_guard lock(mutex_);
  notified_ = false;
  out->swap(events_);
  return open_;
}

uint32_t Engine::openTransfers() {
  std::lock_guard lock(mutex_);
  return open_;
}

bool Engine::stop() {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return true;
    stopping_ = true;
  }
  for (const auto& worker : workers_) worker->stop();
  bool clean = true;
  for (const auto& worker : workers_) {
    if (worker->join(kStopNs)) continue;
    worker->abandon();
    clean = false;
  }
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    wakeSupervisor_.notify_all();
    // What hanging threads may touch is never freed.
    if (!clean) {
      for (auto& [id, pool] : pools_) (void)pool.release();
    }
  }
  supervisor_.join();
  if (clean) {
    std::lock_guard lock(mutex_);
    segments_.clear();
    pools_.clear();
    workers_.clear();
  }
  return clean;
}

}  // namespace moontide
