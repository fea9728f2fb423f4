#include "fabric-rail.h"

#include <poll.h>
#include <sys/random.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace moontide {

namespace {

constexpr uint8_t kAddressVersion = 1;
constexpr uint8_t kKeyVersion = 1;
// Open operations of one endpoint. Beyond a hundred or so nothing gets faster.
constexpr uint32_t kMaxOpen = 256;
// A peer that takes nothing for so long, with nothing open, can't be reached.
constexpr int64_t kStalledNs = 3'000'000'000;
constexpr int64_t kRefuseNs = 1'000'000'000;
// How soon to offer again what the provider refused; completions wake sooner.
constexpr int64_t kRetryNs = 1'000'000;
// How soon to look again whether the link is up.
constexpr int64_t kLinkNs = 100'000'000;
constexpr int kBurst = 64;

struct Scratch {
  // First: libfabric's own.
  fi::Context2 context;
  Operation* next;
  Operation* previous;
  uint64_t submitted;
  PeerHandle peer;
  bool waits;
  // It is in `ended_`: in no list, and reported by the next poll.
  bool ended;
};
static_assert(sizeof(Scratch) <= sizeof(Operation::scratch));

Scratch& scratch(Operation* operation) {
  return *reinterpret_cast<Scratch*>(operation->scratch);
}

int64_t nowNs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000ll + t.tv_nsec;
}

template <typename F>
void closeFid(F** fid) {
  if (*fid != nullptr) (*fid)->fid.ops->close(&(*fid)->fid);
  *fid = nullptr;
}

Status statusOf(int error) {
  switch (error) {
    case ENOMEM: return Status::noMemory;
    case EPERM:
    case EACCES: return Status::notPermitted;
    case ECANCELED: return Status::cancelled;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ETIMEDOUT: return Status::peerUnreachable;
    case ECONNRESET:
    case ECONNABORTED:
    case ENOTCONN:
    case ESHUTDOWN:
    case EPIPE:
    case EIO: return Status::peerReset;
    case ENOKEY:
    case EINVAL: return Status::unknownSegment;
    default: return Status::systemError;
  }
}

template <typename T>
uint32_t slotFor(std::vector<T>& table, const T& free, bool (*isFree)(const T&)) {
  for (uint32_t i = 0; i < table.size(); i++) {
    if (isFree(table[i])) return i;
  }
  table.push_back(free);
  return static_cast<uint32_t>(table.size() - 1);
}

}  // namespace

void FabricRail::List::append(Operation* operation) {
  Scratch& s = scratch(operation);
  s.next = nullptr;
  s.previous = last;
  if (last == nullptr) {
    first = operation;
  } else {
    scratch(last).next = operation;
  }
  last = operation;
  count++;
}

void FabricRail::List::remove(Operation* operation) {
  const Scratch& s = scratch(operation);
  if (s.previous == nullptr) {
    first = s.next;
  } else {
    scratch(s.previous).next = s.next;
  }
  if (s.next == nullptr) {
    last = s.previous;
  } else {
    scratch(s.next).previous = s.previous;
  }
  count--;
}

FabricRail::~FabricRail() {
  std::vector<Completion> ended;
  close(&ended);
  closeDomain();
}

Status FabricRail::fail(std::string* why, const char* step, int error) {
  *why = std::string(step) + " on " + capabilities_.detail + ": " + library_->strerror(-error);
  return statusOf(-error);
}

Status FabricRail::open(std::string* why) {
  library_ = FabricLibrary::load(why);
  if (library_ == nullptr) return Status::unsupported;
  Status status = domain_ == nullptr ? openDomain(why) : Status::ok;
  // An endpoint that is opened while its link is down stays deaf when it is up.
  if (status == Status::ok && linkIsDown(info_->domain_attr->name)) {
    *why = capabilities_.detail + ": the link is down";
    return Status::railDown;
  }
  if (status == Status::ok) status = openEndpoint(why);
  // Not even the domain can be trusted then (the device may be gone): the next attempt starts anew.
  if (status != Status::ok) closeDomain();
  return status;
}

Status FabricRail::openDomain(std::string* why) {
  info_ = findFabric(*library_, choice_.provider, choice_.domain, choice_.address, why);
  if (info_ == nullptr) return Status::unsupported;
  capabilities_ = {};
  capabilities_.read = true;
  capabilities_.write = true;
  capabilities_.deliveryComplete = true;
  capabilities_.maxOpen = kMaxOpen;
  capabilities_.maxOpenBytes = 256u << 20;
  capabilities_.maxOpBytes =
      static_cast<uint32_t>(std::min<size_t>(info_->ep_attr->max_msg_size, 1u << 30));
  capabilities_.detail =
      std::string(info_->fabric_attr->prov_name) + " " + info_->domain_attr->name;
  if (info_->domain_attr->mr_key_size > sizeof(uint64_t)) {
    *why = capabilities_.detail + " has memory keys of more than 8 bytes";
    return Status::unsupported;
  }
  if (int e = library_->fabric(info_->fabric_attr, &fabric_, nullptr)) {
    return fail(why, "opening the fabric", e);
  }
  if (int e = fabric_->ops->domain(fabric_, info_, &domain_, nullptr)) {
    return fail(why, "opening the domain", e);
  }
  return Status::ok;
}

Status FabricRail::openEndpoint(std::string* why) {
  fi::AvAttr avAttr{};
  avAttr.type = info_->domain_attr->av_type;
  if (int e = domain_->ops->av_open(domain_, &avAttr, &av_, nullptr)) {
    return fail(why, "opening the address vector", e);
  }
  fi::CqAttr cqAttr{};
  cqAttr.size = 2 * kMaxOpen;
  cqAttr.format = fi::kCqFormatContext;
  cqAttr.wait_obj = fi::kWaitFd;
  if (int e = domain_->ops->cq_open(domain_, &cqAttr, &cq_, nullptr)) {
    return fail(why, "opening the completion queue", e);
  }
  if (int e = cq_->fid.ops->control(&cq_->fid, fi::kGetWait, &cqFd_)) {
    return fail(why, "taking the completion queue's descriptor", e);
  }
  if (int e = domain_->ops->endpoint(domain_, info_, &endpoint_, nullptr)) {
    return fail(why, "opening the endpoint", e);
  }
  fi::Fid* endpoint = &endpoint_->fid;
  if (int e = endpoint->ops->bind(endpoint, &av_->fid, 0)) {
    return fail(why, "binding the address vector", e);
  }
  if (int e = endpoint->ops->bind(endpoint, &cq_->fid, fi::kTransmit | fi::kRecv)) {
    return fail(why, "binding the completion queue", e);
  }
  if (int e = endpoint->ops->control(endpoint, fi::kEnable, nullptr)) {
    return fail(why, "enabling the endpoint", e);
  }
  uint8_t name[256];
  size_t size = sizeof name;
  if (int e = endpoint_->cm->getname(endpoint, name, &size)) {
    return fail(why, "asking for the endpoint's address", e);
  }
  BlobWriter writer;
  writer.u8(kAddressVersion);
  writer.text(info_->fabric_attr->prov_name);
  writer.bytes(name, size);
  address_ = writer.take();
  return Status::ok;
}

// When the endpoint is gone the provider touches no memory.
void FabricRail::closeEndpoint() {
  closeFid(&endpoint_);
  closeFid(&cq_);
  closeFid(&av_);
  cqFd_ = -1;
}

void FabricRail::closeDomain() {
  // Registrations that are bound to the endpoint (FI_MR_ENDPOINT) must go before it.
  const bool bound = info_ != nullptr && (info_->domain_attr->mr_mode & fi::kMrEndpoint) != 0;
  if (!bound) closeEndpoint();
  for (Memory& memory : memories_) closeFid(&memory.registration);
  memories_.clear();
  dropKept();
  closeEndpoint();
  closeFid(&domain_);
  closeFid(&fabric_);
  if (info_ != nullptr) library_->freeinfo(info_);
  info_ = nullptr;
}

bool FabricRail::takeKept(Memory* memory) {
  for (Memory& kept : kept_) {
    if (kept.incarnation != memory->incarnation || kept.base != memory->base ||
        kept.sizeBytes != memory->sizeBytes) {
      continue;
    }
    memory->registration = kept.registration;
    kept = kept_.back();
    kept_.pop_back();
    return true;
  }
  return false;
}

// Of regions that were removed while the endpoint was closed.
void FabricRail::dropKept() {
  for (Memory& memory : kept_) closeFid(&memory.registration);
  kept_.clear();
}

Status FabricRail::registerMemory(const MemoryRegion& region, uint64_t sizeBytes,
                                  Memory* memory) {
  const int mode = info_->domain_attr->mr_mode;
  // Where the provider makes no key itself it should be hard to guess: it is all that stands
  // between a stranger and the pool.
  uint64_t wanted = 0;
  if ((mode & fi::kMrProvKey) == 0 && getrandom(&wanted, sizeof wanted, 0) != sizeof wanted) {
    return Status::systemError;
  }
  const size_t keySize = info_->domain_attr->mr_key_size;
  if (keySize < sizeof wanted) wanted &= (uint64_t{1} << (8 * keySize)) - 1;
  const uint64_t access = fi::kRead | fi::kWrite | fi::kRemoteRead | fi::kRemoteWrite;
  fi::MemoryRegion* made = nullptr;
  int error = domain_->mr->reg(&domain_->fid, region.base, sizeBytes, access, 0, wanted, 0, &made,
                               nullptr);
  if (error == 0 && (mode & fi::kMrEndpoint) != 0) {
    error = made->fid.ops->bind(&made->fid, &endpoint_->fid, 0);
    if (error == 0) error = made->fid.ops->control(&made->fid, fi::kEnable, nullptr);
  }
  if (error != 0) {
    closeFid(&made);
    return error == -EINVAL ? Status::systemError : statusOf(-error);
  }
  memory->registration = made;
  return Status::ok;
}

// The slots alone: peers have no business in the table behind them.
Status FabricRail::addMemory(const MemoryRegion& region, MemoryHandle* handle, Blob* key) {
  if (endpoint_ == nullptr) return Status::railDown;
  Memory memory;
  memory.base = region.base;
  memory.sizeBytes = region.tableOffset == 0 ? region.sizeBytes : region.tableOffset;
  memory.incarnation = region.incarnation;
  if (!takeKept(&memory)) {
    const Status status = registerMemory(region, memory.sizeBytes, &memory);
    if (status != Status::ok) return status;
  }
  *handle = slotFor<Memory>(memories_, Memory(),
                            [](const Memory& m) { return m.registration == nullptr; });
  memories_[*handle] = memory;
  const bool virtualAddress = (info_->domain_attr->mr_mode & fi::kMrVirtAddr) != 0;
  BlobWriter writer;
  writer.u8(kKeyVersion);
  writer.u64(memory.registration->key);
  writer.u64(virtualAddress ? reinterpret_cast<uintptr_t>(region.base) : 0);
  *key = writer.take();
  return Status::ok;
}

void FabricRail::removeMemory(MemoryHandle handle) {
  if (handle < memories_.size()) closeFid(&memories_[handle].registration);
}

Status FabricRail::connect(const Blob& address, PeerHandle* peer) {
  if (endpoint_ == nullptr) return Status::railDown;
  BlobReader reader(address);
  const uint8_t version = reader.u8();
  const std::string provider = reader.text();
  const Blob name = reader.blob();
  if (!reader.ok() || version != kAddressVersion || name.empty()) return Status::badDescriptor;
  if (provider != info_->fabric_attr->prov_name) return Status::unsupported;
  std::string text(name.begin(), name.end());
  if (const auto known = byAddress_.find(text); known != byAddress_.end()) {
    *peer = known->second;
    return Status::ok;
  }
  Peer added;
  added.used = true;
  // Inserted one at a time; with no event queue bound this is done on return. 1: inserted.
  const int inserted = av_->ops->insert(av_, name.data(), 1, &added.address, 0, nullptr);
  if (inserted != 1) return Status::badDescriptor;
  *peer = slotFor<Peer>(peers_, Peer(), [](const Peer& p) { return !p.used; });
  added.name = text;
  peers_[*peer] = added;
  byAddress_.emplace(std::move(text), *peer);
  return Status::ok;
}

void FabricRail::release(Peer& peer) {
  av_->ops->remove(av_, &peer.address, 1, 0);
  peer = Peer();
}

void FabricRail::disconnect(PeerHandle handle) {
  if (handle >= peers_.size() || !peers_[handle].used || peers_[handle].leaving) return;
  refuseWaiting(handle, Status::cancelled);
  Peer& peer = peers_[handle];
  byAddress_.erase(peer.name);
  for (Remote& remote : remotes_) {
    if (remote.peer == handle) remote = Remote();
  }
  if (peer.open == 0) {
    release(peer);
  } else {
    peer.leaving = true;
  }
}

Status FabricRail::addRemote(PeerHandle peer, const Blob& key, const MemoryRegion& shape,
                             RemoteHandle* remote) {
  if (peer >= peers_.size() || !peers_[peer].used || peers_[peer].leaving) {
    return Status::badDescriptor;
  }
  BlobReader reader(key);
  const uint8_t version = reader.u8();
  Remote added;
  added.peer = peer;
  added.key = reader.u64();
  added.base = reader.u64();
  if (!reader.ok() || version != kKeyVersion) return Status::badDescriptor;
  *remote = slotFor<Remote>(remotes_, Remote(),
                            [](const Remote& r) { return r.peer == kNoHandle; });
  remotes_[*remote] = added;
  return Status::ok;
}

void FabricRail::removeRemote(RemoteHandle remote) {
  if (remote < remotes_.size()) remotes_[remote] = Remote();
}

ssize_t FabricRail::submit(Operation* operation, const Remote& remote, fi::Address peer) {
  void* descriptor = memories_[operation->localMemory].registration->mem_desc;
  const uint64_t at = remote.base + operation->remoteOffset;
  fi::RmaOps* rma = endpoint_->rma;
  if (operation->kind == OpKind::read) {
    return rma->read(endpoint_, operation->local, operation->lengthBytes, descriptor, peer, at,
                     remote.key, operation);
  }
  // A plain write completes when it is sent. The flag must be the operation's: `net` ignores that
  // of the endpoint, and on reads it costs shm a factor of forty.
  const iovec local{operation->local, operation->lengthBytes};
  const fi::RmaIov target{at, operation->lengthBytes, remote.key};
  const fi::RmaMessage message{&local, &descriptor, 1, peer, &target, 1, operation, 0};
  return rma->writemsg(endpoint_, &message, fi::kCompletion | fi::kDeliveryComplete);
}

Status FabricRail::post(Operation* operation) {
  if (endpoint_ == nullptr || broken_) return Status::railDown;
  if (operation->remote >= remotes_.size() || remotes_[operation->remote].peer == kNoHandle) {
    return Status::unknownSegment;
  }
  if (operation->localMemory >= memories_.size() ||
      memories_[operation->localMemory].registration == nullptr) {
    return Status::notRegistered;
  }
  if (inFlight_.count >= kMaxOpen) return Status::again;
  const Remote& remote = remotes_[operation->remote];
  Peer& peer = peers_[remote.peer];
  if (peer.refusedUntilNs != 0) {
    if (nowNs() < peer.refusedUntilNs) return Status::peerUnreachable;
    peer.refusedUntilNs = 0;
  }
  Scratch& s = scratch(operation);
  s.peer = remote.peer;
  s.waits = peer.waiting.count > 0;
  s.ended = false;
  if (!s.waits) {
    const ssize_t error = submit(operation, remote, peer.address);
    if (error == 0) {
      s.submitted = submitted_++;
      peer.open++;
      inFlight_.append(operation);
      return Status::ok;
    }
    if (error != -EAGAIN) return statusOf(static_cast<int>(-error));
    // Its queues are full: back-pressure. Else it is not connected yet, which must not hold up
    // operations on other peers.
    if (peer.open > 0) return Status::again;
    s.waits = true;
  }
  peer.waiting.append(operation);
  waiting_++;
  return Status::ok;
}

// Offers again what the provider refused. Called after each drain: room comes from completions.
void FabricRail::submitWaiting(int64_t now) {
  for (PeerHandle handle = 0; handle < peers_.size(); handle++) {
    Peer& peer = peers_[handle];
    ssize_t error = 0;
    while (peer.waiting.count > 0 && error == 0) {
      Operation* operation = peer.waiting.first;
      error = submit(operation, remotes_[operation->remote], peer.address);
      if (error != 0) break;
      peer.waiting.remove(operation);
      waiting_--;
      scratch(operation).waits = false;
      scratch(operation).submitted = submitted_++;
      peer.open++;
      peer.stalledSinceNs = 0;
      inFlight_.append(operation);
    }
    if (error == 0) continue;
    if (error != -EAGAIN) {
      refuseWaiting(handle, statusOf(static_cast<int>(-error)));
    } else if (peer.open > 0) {
      peer.stalledSinceNs = 0;
    } else if (peer.stalledSinceNs == 0) {
      peer.stalledSinceNs = now;
    } else if (now - peer.stalledSinceNs > kStalledNs) {
      refuseWaiting(handle, Status::peerUnreachable);
      peer.stalledSinceNs = 0;
      peer.refusedUntilNs = now + kRefuseNs;
    }
  }
}

void FabricRail::refuseWaiting(PeerHandle handle, Status status) {
  List& waiting = peers_[handle].waiting;
  while (waiting.first != nullptr) {
    Operation* operation = waiting.first;
    waiting.remove(operation);
    waiting_--;
    scratch(operation).ended = true;
    ended_.push_back({operation, status});
  }
}

void FabricRail::finish(Operation* operation, Status status, Completion* out) {
  inFlight_.remove(operation);
  Peer& peer = peers_[scratch(operation).peer];
  peer.open--;
  if (peer.leaving && peer.open == 0) release(peer);
  *out = {operation, status};
}

// A link that went down fails what is under way, and then everything for ever, even when it is up
// again, because the dead connection stays with the endpoint. A peer that died does not: later
// operations wait for a new connection. So a failure of what was submitted after a failure means
// that the endpoint must be reopened.
Status FabricRail::outcomeOf(const Operation* operation, const fi::CqErrorEntry& error) {
  const Scratch& s = *reinterpret_cast<const Scratch*>(operation->scratch);
  Peer& peer = peers_[s.peer];
  const Status status = statusOf(error.err);
  const bool flushed = status == Status::cancelled || status == Status::peerReset;
  if (flushed && peer.failedAt != 0 && s.submitted >= peer.failedAt) {
    broken_ = true;
    return Status::railDown;
  }
  if (flushed && peer.failedAt == 0) peer.failedAt = submitted_;
  // Nobody here cancelled it: the provider flushes what a broken connection held.
  return status == Status::cancelled ? Status::peerReset : status;
}

int FabricRail::readErrors(Completion* out, int max) {
  int n = 0;
  while (n < max) {
    fi::CqErrorEntry error{};
    const ssize_t got = cq_->ops->readerr(cq_, &error, 0);
    if (got < 0) break;
    if (error.op_context == nullptr) {
      broken_ = true;
      continue;
    }
    auto* operation = static_cast<Operation*>(error.op_context);
    finish(operation, outcomeOf(operation, error), &out[n++]);
  }
  return n;
}

int FabricRail::poll(Completion* out, int max) {
  int n = 0;
  while (n < max && !ended_.empty()) {
    out[n++] = ended_.front();
    ended_.pop_front();
  }
  if (endpoint_ == nullptr) return n;
  if (!kept_.empty()) dropKept();
  while (n < max) {
    fi::CqEntry entries[kBurst];
    const ssize_t got = cq_->ops->read(cq_, entries, std::min(kBurst, max - n));
    if (got == -fi::kErrAvailable) {
      const int errors = readErrors(out + n, max - n);
      n += errors;
      if (errors == 0) break;
      continue;
    }
    if (got <= 0) break;
    for (ssize_t i = 0; i < got; i++) {
      auto* operation = static_cast<Operation*>(entries[i].op_context);
      peers_[scratch(operation).peer].failedAt = 0;
      finish(operation, Status::ok, &out[n++]);
    }
    if (got < kBurst) break;
  }
  if (waiting_ > 0) submitWaiting(nowNs());
  // The engine closes and opens it.
  if (!broken_ || n > 0 || linkDown()) return n;
  reopening_ = true;
  return -1;
}

// A broken endpoint waits for its link before it is closed: closing says goodbye to its peers, and
// after a goodbye into a link that was down, Soft-RoCE (Linux 6.1) took no connection any more,
// however often the endpoint was opened anew; why, we have not traced.
// Meanwhile `post` says railDown; what was open has been flushed.
bool FabricRail::linkDown() {
  const int64_t now = nowNs();
  if (now < lookAtLinkNs_) return true;
  if (!linkIsDown(info_->domain_attr->name)) return false;
  lookAtLinkNs_ = now + kLinkNs;
  return true;
}

void FabricRail::wait(int wakeFd, int64_t timeoutNs) {
  if (!ended_.empty()) return;
  pollfd fds[2] = {{wakeFd, POLLIN, 0}, {cqFd_, POLLIN, 0}};
  nfds_t count = 1;
  if (broken_ && inFlight_.count == 0) timeoutNs = std::min(timeoutNs, kLinkNs);
  if (endpoint_ != nullptr && !(broken_ && inFlight_.count == 0)) {
    fi::Fid* queue = &cq_->fid;
    // Something is there already, or the provider must be polled before its descriptor counts.
    if (fabric_->ops->trywait(fabric_, &queue, 1) != 0) return;
    count = 2;
    if (waiting_ > 0) timeoutNs = std::min(timeoutNs, kRetryNs);
  }
  const timespec timeout{timeoutNs / 1'000'000'000, timeoutNs % 1'000'000'000};
  ppoll(fds, count, timeoutNs < 0 ? nullptr : &timeout, nullptr);
}

Status FabricRail::cancel(Operation* operation) {
  Scratch& s = scratch(operation);
  if (s.ended) return Status::ok;
  if (!s.waits) {
    reopening_ = true;
    return Status::railDown;
  }
  peers_[s.peer].waiting.remove(operation);
  waiting_--;
  s.ended = true;
  ended_.push_back({operation, Status::cancelled});
  return Status::ok;
}

void FabricRail::close(std::vector<Completion>* out) {
  for (PeerHandle peer = 0; peer < peers_.size(); peer++) refuseWaiting(peer, Status::cancelled);
  if (endpoint_ != nullptr) {
    // What did complete should count.
    Completion done[kBurst];
    for (int n; (n = poll(done, kBurst)) > 0;) out->insert(out->end(), done, done + n);
  }
  if (reopening_ && domain_ != nullptr &&
      (info_->domain_attr->mr_mode & fi::kMrEndpoint) == 0) {
    closeEndpoint();
    for (const Memory& memory : memories_) {
      if (memory.registration != nullptr) kept_.push_back(memory);
    }
    memories_.clear();
  } else {
    closeDomain();
  }
  out->insert(out->end(), ended_.begin(), ended_.end());
  ended_.clear();
  while (inFlight_.first != nullptr) {
    out->push_back({inFlight_.first, Status::cancelled});
    inFlight_.remove(inFlight_.first);
  }
  submitted_ = 0;
  broken_ = false;
  lookAtLinkNs_ = 0;
  reopening_ = false;
  peers_.clear();
  remotes_.clear();
  byAddress_.clear();
  address_.clear();
}

}  // namespace moontide
