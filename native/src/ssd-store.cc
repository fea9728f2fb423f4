#include "ssd-store.h"

#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "crc32c.h"

namespace moontide {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

// Records kept free in the journal for removals when the disk is full.
constexpr size_t kReservedRecords = 84 * 64;

// Verified between two rounds with the device.
constexpr uint32_t kVerifyBytes = 256 * 1024;

// How long after a full disk growing is tried again.
constexpr int64_t kGrowAgainNs = kSecondNs;

int64_t nowNs() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * kSecondNs + time.tv_nsec;
}

uint32_t roundUp(uint32_t sizeBytes) { return (sizeBytes + kPageBytes - 1) & ~(kPageBytes - 1); }

bool isFull(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

bool aligned(const uint8_t* data) {
  return data != nullptr && reinterpret_cast<uintptr_t>(data) % kPageBytes == 0;
}

}  // namespace

SsdStore::SsdStore(SsdOptions options, std::function<void()> notify)
    : options_(std::move(options)),
      notify_(std::move(notify)),
      journalBuffer_(static_cast<size_t>(Journal::kMaxRecordsPerWrite) / 84 * kPageBytes) {
  thread_ = std::thread([this] { run(); });
}

SsdStore::~SsdStore() {
  close();
  thread_.join();
}

void SsdStore::submit(std::unique_ptr<SsdBatch> batch) {
  std::unique_lock lock(mutex_);
  if (ended_) {
    lock.unlock();
    return refuse(std::move(batch));
  }
  submitted_.push_back(std::move(batch));
  if (wakeReady_) io_->wake();
}

SsdStore::Drained SsdStore::drain() {
  std::lock_guard lock(mutex_);
  notified_ = false;
  return std::exchange(out_, {});
}

void SsdStore::close() {
  std::lock_guard lock(mutex_);
  closing_ = true;
  if (wakeReady_) io_->wake();
}

SsdStats SsdStore::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

// After the end: the items say `closed` from the start.
void SsdStore::refuse(std::unique_ptr<SsdBatch> batch) {
  std::unique_lock lock(mutex_);
  out_.batches.push_back(std::move(batch));
  const bool first = !std::exchange(notified_, true);
  lock.unlock();
  if (first) notify_();
}

void SsdStore::run() {
  const std::string error = openAll();
  {
    std::lock_guard lock(mutex_);
    out_.opened = true;
    out_.openError = error;
    notified_ = true;
    wakeReady_ = error.empty();
    stats_ = work_;
  }
  notify_();
  if (error.empty()) {
    for (;;) {
      takeSubmissions();
      start();
      startSync();
      startJournal();
      startScrub();
      deliver();
      if (quiet()) break;
      done_.clear();
      // What was started goes to the device here; what arrived before is verified behind it.
      io_->wait(done_, arrived_.empty() ? scrubWaitNs() : 0);
      verifySome();
      for (IoOp* op : done_) finish(static_cast<Task*>(op));
    }
  }
  std::vector<std::unique_ptr<SsdBatch>> late;
  std::unique_lock lock(mutex_);
  ended_ = true;
  wakeReady_ = false;
  late.swap(submitted_);
  for (auto& batch : late) out_.batches.push_back(std::move(batch));
  out_.closed = true;
  const bool first = !std::exchange(notified_, true);
  lock.unlock();
  if (first) notify_();
}

std::string SsdStore::openAll() {
  const uint32_t slotBytes = options_.slotBytes;
  if (slotBytes == 0 || slotBytes % kPageBytes != 0 || slotBytes > 1u << 30) {
    return "slot bytes: expected a multiple of 4096, at most 1 GiB";
  }
  geometry_ = {slotBytes, static_cast<uint32_t>(std::clamp<uint64_t>(
                              options_.segmentBytes / slotBytes, 1, 1u << 20))};
  maxSlots_ = std::min<uint64_t>(options_.capacityBytes / slotBytes, UINT32_MAX - 1u);
  std::string error = segments_.open(options_.folder, geometry_, options_.direct);
  if (!error.empty()) return error;
  capabilities_.direct = segments_.direct();
  capabilities_.directReason = segments_.directReason();
  error = makeIo();
  if (!error.empty()) return error;
  error = journal_.open(options_.folder, geometry_, segments_.direct(), !segments_.any(),
                        [this](const JournalRecord& record) { applyRecord(record); });
  if (!error.empty()) return error;
  rebuild();
  if (journal_.hasHoles()) journalBroken_ = compact() != 0;
  if (options_.scrubBytesPerSec > 0) scrubBuffer_ = std::make_unique<AlignedBuffer>(slotBytes);
  return "";
}

std::string SsdStore::makeIo() {
  options_.queueDepth = std::clamp(options_.queueDepth, 1u, 1024u);
  if (options_.backend != SsdOptions::Backend::threads) {
    io_ = makeRingIo(options_.queueDepth, capabilities_.backendReason);
    if (io_ == nullptr && options_.backend == SsdOptions::Backend::ring) {
      return capabilities_.backendReason;
    }
  } else {
    capabilities_.backendReason = "threads were asked for";
  }
  if (io_ == nullptr) io_ = makeThreadIo(options_.queueDepth);
  capabilities_.backend = io_->name();
  if (options_.wrapIo) io_ = options_.wrapIo(std::move(io_));
  return "";
}

// The last record of a slot, and the last of a key, are the true ones.
void SsdStore::applyRecord(const JournalRecord& record) {
  if (record.slot >= slots_.size()) slots_.resize(record.slot + 1);
  Slot& slot = slots_[record.slot];
  const auto forget = [this](uint32_t number) {
    Slot& old = slots_[number];
    const auto entry = index_.find(old.key);
    if (old.state == SlotState::ready && entry != index_.end() && entry->second == number) {
      index_.erase(entry);
    }
    old.state = SlotState::free;
  };
  if (record.kind == RecordKind::put) {
    forget(record.slot);
    const auto entry = index_.find(record.key);
    if (entry != index_.end()) forget(entry->second);
    slot = {record.key, record.lengthBytes, record.crc, 0, SlotState::ready, false};
    index_[record.key] = record.slot;
  } else if (record.kind == RecordKind::remove && slot.state != SlotState::quarantined) {
    forget(record.slot);
  } else if (record.kind == RecordKind::bad) {
    forget(record.slot);
    slot.state = SlotState::quarantined;
  }
}

// What replay left, against the files that are there.
void SsdStore::rebuild() {
  work_.lostJournalPages = journal_.lostPages();
  const uint64_t known = slots_.size();
  uint64_t total = known;
  while (segments_.has(static_cast<uint32_t>(total))) total++;
  slots_.resize(total);
  for (uint64_t i = total; i-- > 0;) {
    const auto number = static_cast<uint32_t>(i);
    Slot& slot = slots_[number];
    const bool fits = slot.lengthBytes <= geometry_.slotBytes;
    if (slot.state == SlotState::ready && (!segments_.has(number) || !fits)) {
      work_.lostBlocks++;
      lost_.push_back(slot.key);
      index_.erase(slot.key);
      slot.state = SlotState::free;
      removals_.push_back({number, 0, nullptr, RecordKind::remove});
    } else if (slot.state == SlotState::quarantined) {
      work_.quarantinedSlots++;
    }
    if (slot.state == SlotState::free && segments_.has(number) && number < maxSlots_) {
      freeSlots_.push_back(number);
    }
  }
  work_.blocks = index_.size();
  work_.capacitySlots = maxSlots_;
}

void SsdStore::takeSubmissions() {
  std::vector<std::unique_ptr<SsdBatch>> batches;
  bool closing;
  {
    std::lock_guard lock(mutex_);
    batches.swap(submitted_);
    closing = closing_;
  }
  for (auto& batch : batches) accept(std::move(batch));
  if (!closing) return;
  for (auto* queue : {&waitingGets_, &waitingPuts_}) {
    for (const Waiting& waiting : *queue) answer(waiting.batch, waiting.item, SsdStatus::closed);
    queue->clear();
  }
}

void SsdStore::accept(std::unique_ptr<SsdBatch> owned) {
  SsdBatch* batch = owned.get();
  batch->remaining = static_cast<uint32_t>(batch->items.size());
  const bool immediate = batch->verb == SsdVerb::list || batch->verb == SsdVerb::attach;
  if (immediate || batch->remaining == 0) {
    if (batch->verb == SsdVerb::list) listBlocks(*batch);
    if (batch->verb == SsdVerb::attach) batch->detail = io_->addBuffer(batch->base, batch->baseBytes);
    finished_.push_back(std::move(owned));
    return;
  }
  open_.emplace(batch, std::move(owned));
  const auto count = static_cast<uint32_t>(batch->items.size());
  for (uint32_t i = 0; i < count; i++) {
    SsdItem& item = batch->items[i];
    switch (batch->verb) {
      case SsdVerb::get:
        waitingGets_.push_back({batch, i});
        break;
      case SsdVerb::put:
        waitingPuts_.push_back({batch, i});
        break;
      case SsdVerb::remove:
        startRemove(batch, i);
        break;
      default: {
        const auto entry = index_.find(item.key);
        const Slot* slot = entry == index_.end() ? nullptr : &slots_[entry->second];
        const bool stored = slot != nullptr && slot->state == SlotState::ready;
        if (stored) item.sizeBytes = slot->lengthBytes;
        if (stored) item.crc = slot->crc;
        answer(batch, i, stored ? SsdStatus::ok : SsdStatus::missing);
      }
    }
  }
}

// Gets go first, somebody waits for them; a quarter of the depth is kept for puts.
void SsdStore::start() {
  const uint32_t depth = options_.queueDepth;
  const auto inFlight = [this] { return getsInFlight_ + putsInFlight_; };
  const uint32_t getLimit = std::max(1u, depth - depth / 4);
  while (inFlight() < depth) {
    const bool getAllowed = waitingPuts_.empty() || getsInFlight_ < getLimit;
    if (!waitingGets_.empty() && getAllowed) {
      const Waiting next = waitingGets_.front();
      waitingGets_.pop_front();
      startGet(next.batch, next.item);
    } else if (!waitingPuts_.empty()) {
      const Waiting next = waitingPuts_.front();
      waitingPuts_.pop_front();
      startPut(next.batch, next.item);
    } else {
      return;
    }
  }
}

void SsdStore::startGet(SsdBatch* batch, uint32_t number) {
  SsdItem& item = batch->items[number];
  const auto entry = index_.find(item.key);
  if (entry == index_.end()) return answer(batch, number, SsdStatus::missing);
  Slot& slot = slots_[entry->second];
  if (slot.state != SlotState::ready) return answer(batch, number, SsdStatus::missing);
  const bool fits = item.sizeBytes >= roundUp(slot.lengthBytes);
  if (!aligned(item.data) || !fits) return answer(batch, number, SsdStatus::invalid);
  Task* task = newTask(TaskKind::get, entry->second);
  task->kind = IoKind::read;
  task->batch = batch;
  task->item = number;
  task->data = item.data;
  task->sizeBytes = roundUp(slot.lengthBytes);
  slot.readers++;
  getsInFlight_++;
  io_->submit(task);
}

void SsdStore::startPut(SsdBatch* batch, uint32_t number) {
  SsdItem& item = batch->items[number];
  const uint32_t length = item.sizeBytes;
  if (!aligned(item.data) || length == 0 || length > geometry_.slotBytes) {
    return answer(batch, number, SsdStatus::invalid);
  }
  const auto entry = index_.find(item.key);
  if (entry != index_.end()) {
    const bool ready = slots_[entry->second].state == SlotState::ready;
    return answer(batch, number, ready ? SsdStatus::exists : SsdStatus::busy);
  }
  if (journalBroken_) return answer(batch, number, SsdStatus::ioError);
  uint32_t place;
  if (!takeSlot(place)) return answer(batch, number, SsdStatus::full);
  const uint32_t crc = batch->hasCrcs ? item.crc : crc32c(0, item.data, length);
  item.crc = crc;
  slots_[place] = {item.key, length, crc, 0, SlotState::writing, false};
  index_.emplace(item.key, place);
  Task* task = newTask(TaskKind::put, place);
  task->kind = IoKind::write;
  task->batch = batch;
  task->item = number;
  task->data = item.data;
  task->sizeBytes = roundUp(length);
  putsInFlight_++;
  io_->submit(task);
}

void SsdStore::startRemove(SsdBatch* batch, uint32_t number) {
  const auto entry = index_.find(batch->items[number].key);
  if (entry == index_.end()) return answer(batch, number, SsdStatus::missing);
  Slot& slot = slots_[entry->second];
  if (slot.state != SlotState::ready) return answer(batch, number, SsdStatus::busy);
  if (journalBroken_) return answer(batch, number, SsdStatus::ioError);
  slot.state = SlotState::leaving;
  removals_.push_back({entry->second, number, batch, RecordKind::remove});
}

void SsdStore::listBlocks(SsdBatch& batch) {
  uint64_t at = batch.cursor;
  for (; at < slots_.size() && batch.items.size() < batch.limit; at++) {
    const Slot& slot = slots_[at];
    if (slot.state != SlotState::ready) continue;
    batch.items.push_back({slot.key, nullptr, slot.lengthBytes, slot.crc, SsdStatus::ok});
  }
  batch.cursor = at < slots_.size() ? at : 0;
}

void SsdStore::finish(Task* task) {
  switch (task->task) {
    case TaskKind::get:
      getsInFlight_--;
      arrived_.push_back(task);
      return;
    case TaskKind::put:
      return finishPut(task);
    case TaskKind::scrub:
      return finishScrub(task);
    case TaskKind::sync:
      return finishSync(task);
    case TaskKind::journal:
      return finishJournal(task);
  }
}

// A little at a time: in between the device is given more to do.
void SsdStore::verifySome() {
  for (uint32_t bytes = 0; !arrived_.empty() && bytes < kVerifyBytes;) {
    Task* task = arrived_.front();
    arrived_.pop_front();
    bytes += task->sizeBytes;
    finishGet(task);
  }
}

void SsdStore::finishGet(Task* task) {
  Slot& slot = slots_[task->slot];
  SsdItem& item = task->batch->items[task->item];
  const bool good = task->error == 0 && crc32c(0, task->data, slot.lengthBytes) == slot.crc;
  if (!good && !task->retried) {
    // Into memory that nobody else can have written to meanwhile: a block is not lost because two
    // reads were given one place.
    task->second = std::make_unique<AlignedBuffer>(task->sizeBytes);
    task->data = task->second->data();
    task->retried = true;
    task->error = 0;
    task->doneBytes = 0;
    getsInFlight_++;
    return io_->submit(task);
  }
  if (good && task->second != nullptr) memcpy(item.data, task->data, slot.lengthBytes);
  work_.bytesRead += task->sizeBytes;
  item.sizeBytes = slot.lengthBytes;
  item.crc = slot.crc;
  if (!good && slot.state == SlotState::ready) blockLost(task->slot);
  unpin(task->slot);
  answer(task->batch, task->item, good ? SsdStatus::ok : SsdStatus::lost);
  freeTasks_.push_back(task);
}

void SsdStore::finishPut(Task* task) {
  putsInFlight_--;
  if (task->error != 0) return failPut(task, task->error);
  work_.bytesWritten += task->sizeBytes;
  written_.push_back(task);
}

// A full disk leaves the slot as it was; after any other failure nobody knows what it holds.
void SsdStore::failPut(Task* task, int error) {
  index_.erase(slots_[task->slot].key);
  if (isFull(error)) {
    releaseSlot(task->slot);
  } else {
    slots_[task->slot].state = SlotState::quarantined;
    work_.quarantinedSlots++;
    removals_.push_back({task->slot, 0, nullptr, RecordKind::bad});
  }
  answer(task->batch, task->item, isFull(error) ? SsdStatus::full : SsdStatus::ioError);
  freeTasks_.push_back(task);
}

void SsdStore::startSync() {
  if (syncsInFlight_ > 0 || written_.empty()) return;
  syncing_.swap(written_);
  syncError_ = 0;
  std::vector<int> fds;
  for (const Task* task : syncing_) fds.push_back(task->fd);
  std::sort(fds.begin(), fds.end());
  fds.erase(std::unique(fds.begin(), fds.end()), fds.end());
  for (const int fd : fds) {
    Task* task = newTask(TaskKind::sync, 0);
    task->kind = IoKind::sync;
    task->fd = fd;
    syncsInFlight_++;
    work_.syncs++;
    io_->submit(task);
  }
}

void SsdStore::finishSync(Task* task) {
  if (task->error != 0) syncError_ = task->error;
  freeTasks_.push_back(task);
  if (--syncsInFlight_ > 0) return;
  for (Task* put : syncing_) {
    if (syncError_ == 0) {
      synced_.push_back(put);
    } else {
      failPut(put, syncError_ == ENOSPC ? EIO : syncError_);
    }
  }
  syncing_.clear();
}

void SsdStore::startJournal() {
  if (journalInFlight_ || (synced_.empty() && removals_.empty())) return;
  if (journalBroken_) {
    for (Task* put : std::exchange(synced_, {})) failPut(put, EIO);
    for (const Removal& removal : std::exchange(removals_, {})) {
      failRemoval(removal, SsdStatus::ioError);
    }
    return;
  }
  const size_t removals = std::min<size_t>(removals_.size(), Journal::kMaxRecordsPerWrite);
  size_t puts = std::min<size_t>(synced_.size(), Journal::kMaxRecordsPerWrite - removals);
  int error = makeJournalRoom(removals + puts + kReservedRecords);
  if (error != 0) {
    // No room to remember more blocks; those that leave may use the reserve.
    for (size_t i = 0; i < puts; i++) failPut(synced_[i], ENOSPC);
    synced_.erase(synced_.begin(), synced_.begin() + static_cast<ptrdiff_t>(puts));
    puts = 0;
    error = makeJournalRoom(removals);
    if (error != 0) {
      const SsdStatus status = isFull(error) ? SsdStatus::full : SsdStatus::ioError;
      for (const Removal& removal : std::exchange(removals_, {})) failRemoval(removal, status);
    }
  }
  if (error != 0 || removals + puts == 0) return;
  journalingRemovals_.assign(removals_.begin(), removals_.begin() + static_cast<ptrdiff_t>(removals));
  removals_.erase(removals_.begin(), removals_.begin() + static_cast<ptrdiff_t>(removals));
  journaling_.assign(synced_.begin(), synced_.begin() + static_cast<ptrdiff_t>(puts));
  synced_.erase(synced_.begin(), synced_.begin() + static_cast<ptrdiff_t>(puts));
  records_.clear();
  for (const Removal& removal : journalingRemovals_) {
    records_.push_back({slots_[removal.slot].key, removal.slot, 0, 0, removal.kind});
  }
  for (const Task* put : journaling_) {
    const Slot& slot = slots_[put->slot];
    records_.push_back({slot.key, put->slot, slot.lengthBytes, slot.crc, RecordKind::put});
  }
  journalSpan_ = journal_.encode(records_, journalBuffer_);
  Task* task = newTask(TaskKind::journal, 0);
  task->kind = IoKind::write;
  task->durable = true;
  task->fd = journalSpan_.fd;
  task->offset = journalSpan_.offset;
  task->data = journalBuffer_.data();
  task->sizeBytes = journalSpan_.sizeBytes;
  journalInFlight_ = true;
  io_->submit(task);
}

void SsdStore::finishJournal(Task* task) {
  const int error = task->error;
  journalInFlight_ = false;
  freeTasks_.push_back(task);
  if (error != 0) {
    // Whether the records are there is unknown. A new journal without them settles it.
    journalBroken_ = compact() != 0;
    for (Task* put : std::exchange(journaling_, {})) failPut(put, error);
    const SsdStatus status = isFull(error) ? SsdStatus::full : SsdStatus::ioError;
    for (const Removal& removal : std::exchange(journalingRemovals_, {})) {
      failRemoval(removal, status);
    }
    return;
  }
  journal_.advance(journalSpan_);
  work_.commits++;
  work_.committedBlocks += journaling_.size();
  for (Task* put : std::exchange(journaling_, {})) {
    slots_[put->slot].state = SlotState::ready;
    answer(put->batch, put->item, SsdStatus::ok);
    freeTasks_.push_back(put);
  }
  for (const Removal& removal : std::exchange(journalingRemovals_, {})) {
    if (removal.batch == nullptr) continue;
    Slot& slot = slots_[removal.slot];
    index_.erase(slot.key);
    slot.freeWhenRead = slot.readers > 0;
    if (slot.readers == 0) releaseSlot(removal.slot);
    answer(removal.batch, removal.item, SsdStatus::ok);
  }
}

// The block stays, or stays lost: a record that is not written changes nothing after a restart.
void SsdStore::failRemoval(const Removal& removal, SsdStatus status) {
  if (removal.batch == nullptr) return;
  slots_[removal.slot].state = SlotState::ready;
  answer(removal.batch, removal.item, status);
}

int SsdStore::makeJournalRoom(size_t records) {
  int error = 0;
  while (journal_.roomRecords() < records && error == 0) {
    const bool mostlyStale = journal_.sizeRecords() > 2 * index_.size() + kReservedRecords;
    error = mostlyStale ? compact() : journal_.grow();
    if (error != 0 && !mostlyStale && journal_.sizeRecords() > index_.size()) error = compact();
  }
  return error;
}

int SsdStore::compact() {
  std::vector<JournalRecord> live;
  live.reserve(index_.size());
  for (uint32_t i = 0; i < slots_.size(); i++) {
    const Slot& slot = slots_[i];
    if (slot.state == SlotState::quarantined) {
      live.push_back({BlockKey{}, i, 0, 0, RecordKind::bad});
    } else if (slot.state == SlotState::ready || slot.state == SlotState::leaving) {
      live.push_back({slot.key, i, slot.lengthBytes, slot.crc, RecordKind::put});
    }
  }
  work_.compactions++;
  return journal_.compact(live);
}

bool SsdStore::takeSlot(uint32_t& place) {
  if (freeSlots_.empty()) {
    if (segments_.slots() >= maxSlots_ || nowNs() < growNotBeforeNs_) return false;
    std::vector<uint32_t> added;
    if (segments_.grow(maxSlots_, added) != 0) growNotBeforeNs_ = nowNs() + kGrowAgainNs;
    // Low numbers first: they are taken from the back.
    for (auto slot = added.rbegin(); slot != added.rend(); slot++) {
      if (*slot >= slots_.size()) slots_.resize(*slot + 1);
      if (slots_[*slot].state == SlotState::free) freeSlots_.push_back(*slot);
    }
    if (freeSlots_.empty()) return false;
  }
  place = freeSlots_.back();
  freeSlots_.pop_back();
  return true;
}

void SsdStore::releaseSlot(uint32_t place) {
  slots_[place].state = SlotState::free;
  if (place < maxSlots_) freeSlots_.push_back(place);
}

void SsdStore::blockLost(uint32_t place) {
  Slot& slot = slots_[place];
  index_.erase(slot.key);
  slot.state = SlotState::quarantined;
  work_.lostBlocks++;
  work_.quarantinedSlots++;
  lost_.push_back(slot.key);
  removals_.push_back({place, 0, nullptr, RecordKind::bad});
}

void SsdStore::unpin(uint32_t place) {
  Slot& slot = slots_[place];
  if (--slot.readers > 0 || !slot.freeWhenRead) return;
  slot.freeWhenRead = false;
  releaseSlot(place);
}

// One block at a time, so that a scrub is never more than that in the way.
void SsdStore::startScrub() {
  if (scrubBuffer_ == nullptr || scrubbing_ || nowNs() < scrubDueNs_) return;
  for (size_t looked = 0; looked < slots_.size(); looked++) {
    if (scrubSlot_ >= slots_.size()) {
      scrubSlot_ = 0;
      work_.scrubPasses++;
    }
    const uint32_t place = scrubSlot_++;
    Slot& slot = slots_[place];
    if (slot.state != SlotState::ready) continue;
    Task* task = newTask(TaskKind::scrub, place);
    task->kind = IoKind::read;
    task->data = scrubBuffer_->data();
    task->sizeBytes = roundUp(slot.lengthBytes);
    slot.readers++;
    scrubbing_ = true;
    scrubDueNs_ = nowNs() + static_cast<int64_t>(static_cast<double>(task->sizeBytes) * kSecondNs /
                                                 static_cast<double>(options_.scrubBytesPerSec));
    io_->submit(task);
    return;
  }
  scrubDueNs_ = nowNs() + kSecondNs;  // Nothing stored.
}

void SsdStore::finishScrub(Task* task) {
  Slot& slot = slots_[task->slot];
  const bool good = task->error == 0 && crc32c(0, task->data, slot.lengthBytes) == slot.crc;
  work_.scrubbedBytes += task->sizeBytes;
  if (!good && !task->retried) {
    task->retried = true;
    task->error = 0;
    task->doneBytes = 0;
    return io_->submit(task);
  }
  if (!good && slot.state == SlotState::ready) blockLost(task->slot);
  unpin(task->slot);
  scrubbing_ = false;
  freeTasks_.push_back(task);
}

int64_t SsdStore::scrubWaitNs() const {
  if (scrubBuffer_ == nullptr || scrubbing_) return -1;
  return std::max<int64_t>(0, scrubDueNs_ - nowNs());
}

SsdStore::Task* SsdStore::newTask(TaskKind kind, uint32_t place) {
  if (freeTasks_.empty()) {
    tasks_.push_back(std::make_unique<Task>());
    freeTasks_.push_back(tasks_.back().get());
  }
  Task* task = freeTasks_.back();
  freeTasks_.pop_back();
  *task = Task{};
  task->task = kind;
  task->slot = place;
  if (kind == TaskKind::get || kind == TaskKind::put || kind == TaskKind::scrub) {
    task->fd = segments_.fd(place);
    task->offset = segments_.offset(place);
  }
  return task;
}

void SsdStore::answer(SsdBatch* batch, uint32_t item, SsdStatus status) {
  batch->items[item].status = status;
  if (--batch->remaining > 0) return;
  const auto entry = open_.find(batch);
  finished_.push_back(std::move(entry->second));
  open_.erase(entry);
}

void SsdStore::deliver() {
  work_.blocks = index_.size();
  bool first = false;
  {
    std::lock_guard lock(mutex_);
    stats_ = work_;
    if (finished_.empty() && lost_.empty()) return;
    for (auto& batch : finished_) out_.batches.push_back(std::move(batch));
    out_.lost.insert(out_.lost.end(), lost_.begin(), lost_.end());
    first = !std::exchange(notified_, true);
  }
  finished_.clear();
  lost_.clear();
  if (first) notify_();
}

// Closing, and nothing is left to do.
bool SsdStore::quiet() const {
  {
    std::lock_guard lock(mutex_);
    if (!closing_ || !submitted_.empty()) return false;
  }
  return open_.empty() && !scrubbing_ && syncsInFlight_ == 0 && !journalInFlight_ &&
         removals_.empty();
}

}  // namespace moontide
