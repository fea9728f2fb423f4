#include "worker.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "crc32c.h"

namespace moontide {
namespace {

constexpr int kPollMax = 64;
// Between two callbacks while a rail is busy: at least, and what one that has ended waits at most.
// A callback costs JavaScript's thread as much as dozens of operations, and the rail has work.
constexpr int64_t kTellNsMin = 200'000;
constexpr int64_t kTellNsMax = 1'000'000;
// The rail's work lasts so long at least when more is asked for: JavaScript takes that to answer.
constexpr int64_t kAnswerNs = 60'000;
// Of the sums that tell a rail's pace: what is left after each poll.
constexpr double kPaceKept = 0.9;

}  // namespace

RailWorker::RailWorker(Engine* engine, uint32_t index, std::unique_ptr<Rail> rail)
    : engine_(engine),
      index_(index),
      rail_(std::move(rail)),
      wakeFd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      backoffNs_(engine->settings_.reopenNsMin) {}

RailWorker::~RailWorker() { close(wakeFd_); }

void RailWorker::start() {
  thread_ = std::thread([self = shared_from_this()] {
    const std::string name = "rail" + std::to_string(self->index_) + "-" + self->rail_->kind();
    pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
    self->loop();
  });
}

// --- from other threads ------------------------------------------------------------------------

void RailWorker::enqueue(const std::vector<Slice*>& slices) {
  std::lock_guard lock(mutex_);
  incoming_.insert(incoming_.end(), slices.begin(), slices.end());
  queued_.fetch_add(slices.size(), std::memory_order_relaxed);
}

void RailWorker::wake() {
  if (!sleeping_.exchange(false)) return;
  const uint64_t one = 1;
  (void)!write(wakeFd_, &one, sizeof one);
}

void RailWorker::kick() {
  if (queued_.load() > 0) wake();
}

bool RailWorker::run(std::function<void()> call, int64_t timeoutNs) {
  struct Wait {
    std::mutex mutex;
    std::condition_variable ended;
    bool done = false;
  };
  const auto wait = std::make_shared<Wait>();
  {
    std::lock_guard lock(mutex_);
    if (done_) return false;
    calls_.push_back([wait, call = std::move(call)] {
      call();
      std::lock_guard inner(wait->mutex);
      wait->done = true;
      wait->ended.notify_all();
    });
  }
  wake();
  std::unique_lock lock(wait->mutex);
  return wait->ended.wait_for(lock, std::chrono::nanoseconds(timeoutNs),
                              [&] { return wait->done; });
}

bool RailWorker::join(int64_t timeoutNs) {
  {
    std::unique_lock lock(mutex_);
    if (!ended_.wait_for(lock, std::chrono::nanoseconds(timeoutNs), [&] { return done_; })) {
      return false;
    }
  }
  thread_.join();
  return true;
}

bool RailWorker::describe(uint32_t pool, RailDescriptor* out) {
  std::lock_guard lock(mutex_);
  const auto found = memory_.find(pool);
  if (state_ != RailState::open || found == memory_.end()) return false;
  if (found->second.handle == kNoHandle) return false;
  out->kind = rail_->kind();
  out->index = index_;
  out->address = address_;
  out->key = found->second.key;
  return true;
}

RailInfo RailWorker::info() {
  std::lock_guard lock(mutex_);
  RailInfo info;
  info.kind = rail_->kind();
  info.state = state_;
  info.capabilities = capabilities_;
  info.cause = cause_;
  info.movedBytes = movedBytes_.load(std::memory_order_relaxed);
  info.operations = operations_.load(std::memory_order_relaxed);
  info.failures = failures_.load(std::memory_order_relaxed);
  info.reopened = reopened_.load(std::memory_order_relaxed);
  info.queued = queued_.load(std::memory_order_relaxed);
  return info;
}

// --- on the rail's thread ----------------------------------------------------------------------

void RailWorker::loop() {
  openRail();
  while (!stopping_.load()) {
    takeQueue();
    const int64_t now = nowNs();
    if (!isOpen_) {
      failQueued(Status::railDown);
      if (now >= reopenAtNs_) openRail();
    } else {
      postAll();
      if (pollOnce() > 0) continue;
      if (now >= nextDeadlineNs_) checkDeadlines(now);
    }
    tell(now);
    sleep();
  }
  takeQueue();
  if (isOpen_) closeRail("stopped");
  failQueued(Status::cancelled);
  if (untold_ > 0) engine_->notify();
  std::vector<std::function<void()>> calls;
  {
    std::lock_guard lock(mutex_);
    state_ = RailState::stopped;
    done_ = true;
    calls.swap(calls_);
  }
  for (const auto& call : calls) call();
  // What came in after the last look: nothing is posted any more, so it ends here.
  takeQueue();
  failQueued(Status::cancelled);
  std::lock_guard lock(mutex_);
  ended_.notify_all();
}

void RailWorker::takeQueue() {
  std::vector<Slice*> incoming;
  std::vector<std::function<void()>> calls;
  {
    std::lock_guard lock(mutex_);
    if (incoming_.empty() && calls_.empty()) return;
    incoming.swap(incoming_);
    calls.swap(calls_);
  }
  if (leftBytes_ == 0) paceFromNs_ = nowNs();
  for (Slice* slice : incoming) {
    leftBytes_ += slice->op.lengthBytes;
    (slice->transfer->urgent ? urgent_ : normal_).push_back(slice);
  }
  for (const auto& call : calls) call();
}

void RailWorker::openRail() {
  std::string why;
  const Status status = rail_->open(&why);
  const int64_t now = nowNs();
  if (status != Status::ok) {
    reopenAtNs_ = now + backoffNs_;
    backoffNs_ = std::min(backoffNs_ * 2, engine_->settings_.reopenNsMax);
    std::lock_guard lock(mutex_);
    state_ = RailState::down;
    cause_ = why;
    return;
  }
  isOpen_ = true;
  backoffNs_ = engine_->settings_.reopenNsMin;
  std::vector<std::pair<uint32_t, MemoryRegion>> regions;
  {
    std::lock_guard lock(mutex_);
    address_ = rail_->address();
    capabilities_ = rail_->capabilities();
    cause_.clear();
    for (const auto& [id, memory] : memory_) regions.emplace_back(id, memory.region);
  }
  for (const auto& [id, region] : regions) addPool(id, region);
  {
    std::lock_guard lock(mutex_);
    state_ = RailState::open;
  }
  engine_->railChanged(index_, Status::ok);
}

// Every open slice ends here; the memory is touched no more.
void RailWorker::closeRail(const std::string& cause) {
  std::vector<Completion> done;
  rail_->close(&done);
  isOpen_ = false;
  remotes_.clear();
  peerUses_.clear();
  reopenAtNs_ = nowNs() + backoffNs_;
  backoffNs_ = std::min(backoffNs_ * 2, engine_->settings_.reopenNsMax);
  {
    std::lock_guard lock(mutex_);
    state_ = RailState::down;
    cause_ = cause;
    for (auto& [id, memory] : memory_) memory.handle = kNoHandle;
  }
  for (size_t at = 0; at < done.size(); at += kPollMax) {
    finish(&done[at], static_cast<int>(std::min<size_t>(kPollMax, done.size() - at)));
  }
  reopened_.fetch_add(1, std::memory_order_relaxed);
  if (!stopping_.load()) engine_->railChanged(index_, Status::railDown);
}

void RailWorker::addPool(uint32_t id, const MemoryRegion& region) {
  Memory memory;
  memory.region = region;
  if (isOpen_ && rail_->addMemory(region, &memory.handle, &memory.key) != Status::ok) {
    memory.handle = kNoHandle;
  }
  std::lock_guard lock(mutex_);
  memory_[id] = std::move(memory);
}

void RailWorker::removePool(uint32_t id) {
  MemoryHandle handle = kNoHandle;
  {
    std::lock_guard lock(mutex_);
    const auto found = memory_.find(id);
    if (found == memory_.end()) return;
    handle = found->second.handle;
    memory_.erase(found);
  }
  if (isOpen_ && handle != kNoHandle) rail_->removeMemory(handle);
}

void RailWorker::dropSegment(uint32_t id) {
  auto at = remotes_.lower_bound({id, 0});
  while (at != remotes_.end() && at->first.first == id) {
    rail_->removeRemote(at->second.handle);
    const PeerHandle peer = at->second.peer;
    if (--peerUses_[peer] == 0) {
      peerUses_.erase(peer);
      rail_->disconnect(peer);
    }
    at = remotes_.erase(at);
  }
}

Status RailWorker::resolve(Slice* slice, RemoteHandle* out) {
  const std::pair<uint32_t, uint32_t> key{slice->segment->id, slice->remoteRail};
  const auto found = remotes_.find(key);
  if (found != remotes_.end()) {
    *out = found->second.handle;
    return Status::ok;
  }
  const Descriptor& descriptor = slice->segment->descriptor;
  std::vector<const RailDescriptor*> same;
  const RailDescriptor* chosen = nullptr;
  for (const RailDescriptor& rail : descriptor.rails) {
    if (rail.kind != rail_->kind()) continue;
    same.push_back(&rail);
    if (rail.index == slice->remoteRail) chosen = &rail;
  }
  if (slice->remoteRail == kAnyRail && !same.empty()) chosen = same[index_ % same.size()];
  if (chosen == nullptr) return Status::unsupported;
  Remote remote;
  Status status = rail_->connect(chosen->address, &remote.peer);
  if (status != Status::ok) return status;
  MemoryRegion shape;
  shape.slotBytes = descriptor.slotBytes;
  shape.slots = descriptor.slots;
  shape.incarnation = descriptor.incarnation;
  status = rail_->addRemote(remote.peer, chosen->key, shape, &remote.handle);
  if (status != Status::ok) {
    if (status != Status::again && peerUses_.count(remote.peer) == 0) {
      rail_->disconnect(remote.peer);
    }
    return status;
  }
  peerUses_[remote.peer]++;
  remotes_[key] = remote;
  *out = remote.handle;
  return Status::ok;
}

Status RailWorker::prepare(Slice* slice) {
  Operation& op = slice->op;
  {
    std::lock_guard lock(mutex_);
    const auto found = memory_.find(slice->poolId);
    if (found == memory_.end() || found->second.handle == kNoHandle) return Status::notRegistered;
    op.localMemory = found->second.handle;
  }
  const RailCapabilities& can = rail_->capabilities();
  if (op.kind == OpKind::read ? !can.read : !can.write) return Status::unsupported;
  if (op.lengthBytes > can.maxOpBytes) return Status::outOfBounds;
  return resolve(slice, &op.remote);
}

void RailWorker::postAll() {
  if (postFrom(&urgent_)) postFrom(&normal_);
}

// False: the rail is full.
bool RailWorker::postFrom(std::deque<Slice*>* queue) {
  if (queue->empty()) return true;
  Completion failed[kPollMax];
  int failures = 0;
  const int64_t now = nowNs();
  bool room = true;
  while (!queue->empty() && failures < kPollMax) {
    Slice* slice = queue->front();
    Status status = Status::timedOut;
    if (!slice->transfer->reported.load() && now < slice->transfer->deadlineNs) {
      status = prepare(slice);
      if (status == Status::ok) {
        slice->postedNs = now;
        status = rail_->post(&slice->op);
      }
      if (status == Status::again) {
        // Not a failure: but it may not wait for ever either.
        nextDeadlineNs_ = std::min(nextDeadlineNs_, slice->transfer->deadlineNs);
        room = false;
        break;
      }
    }
    queue->pop_front();
    queued_.fetch_sub(1, std::memory_order_relaxed);
    if (status == Status::ok) {
      link(slice);
      nextDeadlineNs_ = std::min(nextDeadlineNs_, slice->transfer->deadlineNs);
    } else {
      failed[failures++] = {&slice->op, status};
    }
  }
  if (failures > 0) finish(failed, failures);
  return room && failures < kPollMax;
}

int RailWorker::pollOnce() {
  Completion done[kPollMax];
  const int count = rail_->poll(done, kPollMax);
  if (count < 0) {
    closeRail("its endpoint failed");
    return 0;
  }
  if (count > 0) finish(done, count);
  return count;
}

// Fills in the checksum that the rail has not, where the bytes are here.
void RailWorker::sum(Slice* slice, Status* status) {
  Operation& op = slice->op;
  if (*status != Status::ok || !op.wantCrc || op.crcKnown || op.kind != OpKind::read) return;
  op.crc = crc32c(0, op.local, op.lengthBytes);
  op.crcKnown = true;
}

void RailWorker::finish(Completion* done, int count) {
  uint64_t ended = 0;
  uint64_t bytes = 0;
  uint64_t failures = 0;
  for (int i = 0; i < count; i++) {
    auto* slice = reinterpret_cast<Slice*>(done[i].operation);
    ended += slice->op.lengthBytes;
    sum(slice, &done[i].status);
    if (slice->cancelling && done[i].status != Status::ok) done[i].status = Status::timedOut;
    if (done[i].status == Status::ok) {
      bytes += slice->op.lengthBytes;
    } else {
      failures++;
    }
    untoldUrgent_ |= slice->transfer->urgent;
    unlink(slice);
  }
  movedBytes_.fetch_add(bytes, std::memory_order_relaxed);
  operations_.fetch_add(static_cast<uint64_t>(count), std::memory_order_relaxed);
  if (failures > 0) failures_.fetch_add(failures, std::memory_order_relaxed);
  const int64_t now = nowNs();
  {
    std::lock_guard lock(engine_->mutex_);
    for (int i = 0; i < count; i++) {
      engine_->finishSlice(reinterpret_cast<Slice*>(done[i].operation), done[i].status, now);
    }
  }
  pace(ended, now);
  if (untold_ == 0) untoldNs_ = now;
  untold_ += static_cast<size_t>(count);
  tell(now);
}

void RailWorker::pace(uint64_t bytes, int64_t now) {
  leftBytes_ -= bytes;
  paceNs_ = paceNs_ * kPaceKept + static_cast<double>(now - paceFromNs_);
  paceBytes_ = paceBytes_ * kPaceKept + static_cast<double>(bytes);
  paceFromNs_ = now;
}

// When what has ended is to be told: at once when nothing else is open; before the rail runs out of
// work; but not more often than the callback on the other side is worth.
int64_t RailWorker::tellAtNs() const {
  if (leftBytes_ == 0) return 0;
  if (untoldUrgent_) return toldNs_ + kTellNsMin;
  const auto leftNs = static_cast<int64_t>(static_cast<double>(leftBytes_) * paceNs_ / paceBytes_);
  const int64_t inTime = paceFromNs_ + leftNs - kAnswerNs;
  return std::min(untoldNs_ + kTellNsMax, std::max(toldNs_ + kTellNsMin, inTime));
}

void RailWorker::tell(int64_t now) {
  if (untold_ == 0 || now < tellAtNs()) return;
  untold_ = 0;
  untoldUrgent_ = false;
  toldNs_ = now;
  engine_->notify();
}

void RailWorker::failQueued(Status status) {
  Completion failed[kPollMax];
  for (std::deque<Slice*>* queue : {&urgent_, &normal_}) {
    while (!queue->empty()) {
      int count = 0;
      for (; count < kPollMax && !queue->empty(); count++) {
        failed[count] = {&queue->front()->op, status};
        queue->pop_front();
        queued_.fetch_sub(1, std::memory_order_relaxed);
      }
      finish(failed, count);
    }
  }
}

void RailWorker::checkDeadlines(int64_t now) {
  const int64_t cancelNs = engine_->settings_.cancelNs;
  int64_t next = INT64_MAX;
  bool mustClose = false;
  for (Slice* slice = open_; slice != nullptr; slice = slice->next) {
    const int64_t deadline = slice->transfer->deadlineNs;
    if (now < deadline) {
      next = std::min(next, deadline);
      continue;
    }
    if (!slice->cancelling) {
      slice->cancelling = true;
      if (rail_->cancel(&slice->op) == Status::railDown) mustClose = true;
    } else if (now >= deadline + cancelNs) {
      mustClose = true;
    }
    next = std::min(next, deadline + cancelNs);
  }
  for (const std::deque<Slice*>* queue : {&urgent_, &normal_}) {
    if (!queue->empty()) next = std::min(next, queue->front()->transfer->deadlineNs);
  }
  nextDeadlineNs_ = std::max(next, now + 1'000'000);
  if (mustClose) closeRail("an operation passed its deadline and could not be cancelled");
}

int64_t RailWorker::sleepNs(int64_t now) const {
  int64_t until = isOpen_ ? nextDeadlineNs_ : reopenAtNs_;
  if (untold_ > 0) until = std::min(until, tellAtNs());
  if (until == INT64_MAX) return 1'000'000'000;
  return std::clamp<int64_t>(until - now, 0, 1'000'000'000);
}

void RailWorker::sleep() {
  const int64_t timeout = sleepNs(nowNs());
  sleeping_.store(true);
  bool work;
  {
    std::lock_guard lock(mutex_);
    work = !incoming_.empty() || !calls_.empty();
  }
  if (!work && !stopping_.load()) {
    if (isOpen_) {
      rail_->wait(wakeFd_, timeout);
    } else {
      pollfd fd{wakeFd_, POLLIN, 0};
      ::poll(&fd, 1, static_cast<int>(timeout / 1'000'000) + 1);
    }
  }
  if (!sleeping_.exchange(false)) {
    uint64_t count;
    (void)!read(wakeFd_, &count, sizeof count);
  }
}

void RailWorker::link(Slice* slice) {
  slice->prev = nullptr;
  slice->next = open_;
  if (open_ != nullptr) open_->prev = slice;
  open_ = slice;
  openCount_++;
}

void RailWorker::unlink(Slice* slice) {
  if (slice->prev == nullptr && open_ != slice) return;  // Never was open.
  if (slice->prev != nullptr) slice->prev->next = slice->next;
  if (slice->next != nullptr) slice->next->prev = slice->prev;
  if (open_ == slice) open_ = slice->next;
  openCount_--;
  slice->prev = slice->next = nullptr;
}

}  // namespace moontide
