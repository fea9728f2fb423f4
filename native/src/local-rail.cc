#include "local-rail.h"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>

#include "crc32c.h"
#include "engine.h"
#include "epoll.h"
#include "local-channel.h"
#include "memory.h"

namespace moontide {
namespace local {
namespace {

constexpr uint8_t kVersion = 1;
constexpr uint32_t kMaxOpBytes = 64u << 20;
constexpr uint32_t kMaxOpen = 4096;
// Copied per poll, so that deadlines and new work are looked at in between: of our own READs and of
// peers' WRITEs, where each turn ends with a message that wakes the peer.
constexpr uint64_t kTurnBytes = 512u << 10;
constexpr uint64_t kServeBytes = 4u << 20;
// From here on a copy bypasses the cache.
constexpr uint32_t kStreamingBytes = 256u << 10;
constexpr int kEvents = 64;

std::string readLine(const char* path) {
  std::FILE* file = std::fopen(path, "re");
  if (file == nullptr) return "";
  char line[512];
  const size_t size = std::fread(line, 1, sizeof line - 1, file);
  std::fclose(file);
  return std::string(line, size);
}

// Ticks since boot at which a process started: tells a pid from its reuse. 0: no such process.
uint64_t startOf(int pid) {
  const std::string stat = readLine(("/proc/" + std::to_string(pid) + "/stat").c_str());
  size_t at = stat.rfind(')');
  // The 22nd field; the second ends with the last parenthesis.
  for (int field = 2; field < 22 && at != std::string::npos; field++) at = stat.find(' ', at + 1);
  return at == std::string::npos ? 0 : std::strtoull(stat.c_str() + at, nullptr, 10);
}

struct Mapping {
  std::byte* base = nullptr;
  uint64_t size = 0;
  void drop() {
    if (base != nullptr) munmap(base, size);
    base = nullptr;
  }
};

struct Peer {
  Blob address;
  std::string name;
  uint64_t cookie = 0;
  int pid = 0;
  uint64_t start = 0;
  Channel* channel = nullptr;
  bool used = false;
  // Its socket could be reached once: that it can't now means that it is gone.
  bool met = false;
  // Keys of own pools that it has been offered on this channel.
  std::vector<uint64_t> offered;
  // WRITEs that it has been asked to do, by sequence.
  std::map<uint32_t, Operation*> pulls;
};

enum class Mode { asking, mapped, process, failed };

struct Remote {
  PeerHandle peer = kNoHandle;
  MemoryRegion shape;
  uint64_t key = 0;
  uint64_t base = 0;
  Mode mode = Mode::asking;
  Mapping mapping;
};

struct Memory {
  MemoryRegion region;
  uint64_t key = 0;
  bool used = false;
};

// A process that we serve.
struct Guest {
  Channel* channel = nullptr;
  std::map<uint64_t, Mapping> offers;
  std::deque<Message> pulls;
};

class LocalRail final : public Rail {
 public:
  explicit LocalRail(const RailOptions& options) : options_(options) {}
  ~LocalRail() override {
    std::vector<Completion> ignored;
    close(&ignored);
  }

  const char* kind() const override { return "local"; }
  const RailCapabilities& capabilities() const override { return capabilities_; }
  Status open(std::string* why) override;
  Blob address() const override;
  Status addMemory(const MemoryRegion& region, MemoryHandle* handle, Blob* key) override;
  void removeMemory(MemoryHandle handle) override;
  Status connect(const Blob& address, PeerHandle* peer) override;
  void disconnect(PeerHandle peer) override;
  Status addRemote(PeerHandle peer, const Blob& key, const MemoryRegion& shape,
                   RemoteHandle* remote) override;
  void removeRemote(RemoteHandle remote) override;
  Status post(Operation* operation) override;
  int poll(Completion* out, int max) override;
  void wait(int wakeFd, int64_t timeoutNs) override;
  Status cancel(Operation* operation) override;
  void close(std::vector<Completion>* out) override;

 private:
  bool mapping() const {
    const auto found = options_.find("map");
    return found == options_.end() || found->second != "0";
  }
  bool call(Peer* peer);
  void ask(Remote* remote);
  void fallBack(Remote* remote);
  void endPeer(Peer* peer, Status status, const Operation* but);
  void endGuest(Guest* guest);
  void watch(int fd, void* who);
  void events(int64_t timeoutNs);
  void acceptAll();
  void hear(Peer* peer);
  void hear(Guest* guest);
  bool obey(Guest* guest, const Message& message, int passed);
  void serve(Guest* guest, uint64_t* budget);
  void pull(Guest* guest, const Message& message);
  void work();
  Status copy(Operation* op, const Remote& remote);
  Status copyFromProcess(Operation* op, const Remote& remote);
  Status push(Operation* op, Remote* remote);
  bool pending() const;

  const RailOptions options_;
  RailCapabilities capabilities_;
  std::string bootId_;
  std::string name_;
  uint64_t cookie_ = 0;
  int epoll_ = -1;
  int listener_ = -1;
  int wakeFd_ = -1;
  uint32_t sequence_ = 0;
  std::deque<Peer> peers_;
  std::deque<Remote> remotes_;
  std::vector<Memory> memories_;
  std::vector<Guest*> guests_;
  std::deque<Operation*> ops_;
  std::vector<Completion> done_;
  // Something happened on a socket since the last turn.
  bool heard_ = false;
};

Status LocalRail::open(std::string* why) {
  std::vector<Completion> ignored;
  close(&ignored);
  bootId_ = readLine("/proc/sys/kernel/random/boot_id");
  cookie_ = randomBits();
  char name[64];
  std::snprintf(name, sizeof name, "moontide-%016lx", randomBits());
  name_ = name;
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  listener_ = epoll_ < 0 ? -1 : Channel::listen(name_);
  if (listener_ < 0) {
    *why = std::string("abstract socket: ") + std::strerror(errno);
    close(&ignored);
    return Status::systemError;
  }
  watch(listener_, this);
  capabilities_.read = capabilities_.write = true;
  capabilities_.deliveryComplete = capabilities_.enforcesGrants = true;
  capabilities_.crcWhileMoving = true;
  capabilities_.sameHostOnly = true;
  capabilities_.maxOpen = kMaxOpen;
  capabilities_.maxOpenBytes = uint64_t{kMaxOpen} * kMaxOpBytes;
  capabilities_.maxOpBytes = kMaxOpBytes;
  capabilities_.detail = "@" + name_;
  return Status::ok;
}

Blob LocalRail::address() const {
  BlobWriter w;
  w.u8(kVersion);
  w.text(bootId_);
  w.text(name_);
  w.u64(cookie_);
  w.u32(static_cast<uint32_t>(getpid()));
  w.u64(startOf(getpid()));
  return w.take();
}

Status LocalRail::addMemory(const MemoryRegion& region, MemoryHandle* handle, Blob* key) {
  *handle = static_cast<MemoryHandle>(memories_.size());
  memories_.push_back({region, randomBits(), true});
  BlobWriter w;
  w.u8(kVersion);
  w.u64(memories_.back().key);
  w.u64(reinterpret_cast<uint64_t>(region.base));
  w.u64(region.sizeBytes);
  w.u64(region.tableOffset);
  *key = w.take();
  return Status::ok;
}

void LocalRail::removeMemory(MemoryHandle handle) {
  if (handle < memories_.size()) memories_[handle].used = false;
}

Status LocalRail::connect(const Blob& address, PeerHandle* handle) {
  for (size_t i = 0; i < peers_.size(); i++) {
    if (peers_[i].used && peers_[i].address == address) {
      *handle = static_cast<PeerHandle>(i);
      return Status::ok;
    }
  }
  BlobReader r(address);
  if (r.u8() != kVersion) return Status::badDescriptor;
  const std::string boot = r.text();
  Peer peer;
  peer.address = address;
  peer.name = r.text();
  peer.cookie = r.u64();
  peer.pid = static_cast<int>(r.u32());
  peer.start = r.u64();
  peer.used = true;
  if (!r.ok()) return Status::badDescriptor;
  if (boot != bootId_) return Status::unsupported;
  *handle = static_cast<PeerHandle>(peers_.size());
  peers_.push_back(std::move(peer));
  return Status::ok;
}

void LocalRail::disconnect(PeerHandle handle) {
  endPeer(&peers_[handle], Status::cancelled, nullptr);
  peers_[handle].used = false;
}

// The channel to a peer stands; false: it can't be reached.
bool LocalRail::call(Peer* peer) {
  if (peer->channel != nullptr) return true;
  const int fd = Channel::connect(peer->name);
  if (fd < 0) return false;
  peer->channel = new Channel(fd);
  if (!peer->channel->trusted()) {
    delete peer->channel;
    peer->channel = nullptr;
    return false;
  }
  watch(fd, peer);
  peer->met = true;
  Message hello{.type = Type::hello};
  hello.key = peer->cookie;
  peer->channel->send(hello);
  return true;
}

Status LocalRail::addRemote(PeerHandle peer, const Blob& key, const MemoryRegion& shape,
                            RemoteHandle* handle) {
  BlobReader r(key);
  if (r.u8() != kVersion) return Status::badDescriptor;
  Remote remote;
  remote.peer = peer;
  remote.shape = shape;
  remote.key = r.u64();
  remote.base = r.u64();
  remote.shape.sizeBytes = r.u64();
  remote.shape.tableOffset = r.u64();
  // The shape is the peer's word: it must fit into what will be mapped.
  const uint64_t table = sizeof(TableHeader) + sizeof(SlotEntry) * uint64_t{shape.slots};
  if (!r.ok() || remote.shape.tableOffset != shape.slotBytes * shape.slots ||
      remote.shape.sizeBytes > (1ull << 41) ||
      remote.shape.sizeBytes < remote.shape.tableOffset + table) {
    return Status::badDescriptor;
  }
  *handle = static_cast<RemoteHandle>(remotes_.size());
  remotes_.push_back(remote);
  ask(&remotes_.back());
  return Status::ok;
}

void LocalRail::ask(Remote* remote) {
  Peer* peer = &peers_[remote->peer];
  remote->mode = Mode::asking;
  if (!mapping() || !call(peer)) {
    fallBack(remote);
    return;
  }
  Message map{.type = Type::map};
  map.key = remote->key;
  peer->channel->send(map);
  peer->channel->flush();
}

// process_vm_readv, if the process is the one that it was and the kernel lets us.
void LocalRail::fallBack(Remote* remote) {
  const Peer& peer = peers_[remote->peer];
  remote->mode = Mode::failed;
  if (peer.met && mapping()) return;
  if (peer.start == 0 || startOf(peer.pid) != peer.start) return;
  TableHeader header{};
  iovec here{&header, sizeof header};
  iovec there{reinterpret_cast<void*>(remote->base + remote->shape.tableOffset), sizeof header};
  if (process_vm_readv(peer.pid, &here, 1, &there, 1, 0) != sizeof header) return;
  if (header.magic != kTableMagic || header.incarnation != remote->shape.incarnation) return;
  remote->mode = Mode::process;
}

void LocalRail::removeRemote(RemoteHandle handle) {
  remotes_[handle].mapping.drop();
  remotes_[handle].mode = Mode::failed;
  remotes_[handle].peer = kNoHandle;
}

// The channel is gone: what it served fails, what it mapped must be asked for again.
void LocalRail::endPeer(Peer* peer, Status status, const Operation* but) {
  for (const auto& [sequence, op] : peer->pulls) {
    done_.push_back({op, op == but ? Status::cancelled : status});
  }
  peer->pulls.clear();
  peer->offered.clear();
  delete peer->channel;
  peer->channel = nullptr;
  for (Remote& remote : remotes_) {
    if (remote.peer == kNoHandle || &peers_[remote.peer] != peer) continue;
    const bool never = remote.mode == Mode::asking;
    remote.mapping.drop();
    remote.mode = Mode::failed;
    if (never) fallBack(&remote);
  }
}

void LocalRail::endGuest(Guest* guest) {
  for (auto& [key, mapping] : guest->offers) mapping.drop();
  guests_.erase(std::find(guests_.begin(), guests_.end(), guest));
  delete guest->channel;
  delete guest;
}

void LocalRail::watch(int fd, void* who) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = who;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
}

// --- moving ------------------------------------------------------------------------------------

Status LocalRail::post(Operation* op) {
  if (ops_.size() >= kMaxOpen) return Status::again;
  Remote& remote = remotes_[op->remote];
  if (remote.mode == Mode::failed) {
    // Perhaps it is back: a restarted channel, not a restarted process (its cookie differs).
    ask(&remote);
    if (remote.mode == Mode::failed) return Status::peerUnreachable;
  }
  if (op->kind == OpKind::write) {
    if (peers_[remote.peer].pulls.size() >= kMaxOpen) return Status::again;
    return push(op, &remote);
  }
  ops_.push_back(op);
  return Status::ok;
}

// A WRITE: the owner copies from our pool.
Status LocalRail::push(Operation* op, Remote* remote) {
  Peer* peer = &peers_[remote->peer];
  const Memory& from = memories_[op->localMemory];
  if (!mapping() || from.region.fd < 0) return Status::unsupported;
  if (!call(peer)) return Status::peerUnreachable;
  if (std::find(peer->offered.begin(), peer->offered.end(), from.key) == peer->offered.end()) {
    const int shared = readOnly(from.region.fd);
    if (shared < 0) return Status::systemError;
    Message offer{.type = Type::offer};
    offer.key = from.key;
    offer.sourceOffset = from.region.sizeBytes;
    peer->channel->send(offer, shared);
    ::close(shared);
    peer->offered.push_back(from.key);
  }
  Message pull{.type = Type::pull};
  pull.sequence = sequence_++;
  pull.lengthBytes = op->lengthBytes;
  pull.key = remote->key;
  pull.sourceKey = from.key;
  pull.sourceOffset = static_cast<uint64_t>(op->local - from.region.base);
  pull.offsetInSlot = op->offsetInSlot;
  pull.generation = op->generation;
  pull.slot = op->slot;
  pull.crc = op->wantCrc ? 1 : 0;
  peer->channel->send(pull);
  peer->pulls[pull.sequence] = op;
  heard_ = true;
  return Status::ok;
}

uint32_t moveBytes(std::byte* to, const std::byte* from, uint32_t size, bool sum) {
  const bool streaming = size >= kStreamingBytes;
  if (sum) return copyCrc32c(to, from, size, streaming);
  if (streaming) {
    copyStreaming(to, from, size);
  } else {
    std::memcpy(to, from, size);
  }
  return 0;
}

Status LocalRail::copy(Operation* op, const Remote& remote) {
  if (remote.mode == Mode::process) return copyFromProcess(op, remote);
  MemoryRegion region = remote.shape;
  region.base = remote.mapping.base;
  Status status = checkSlot(region, op->slot, op->generation, kGrantRead);
  if (status != Status::ok) return status;
  const std::byte* from = region.base + op->slot * region.slotBytes + op->offsetInSlot;
  op->crc = moveBytes(op->local, from, op->lengthBytes, op->wantCrc);
  op->crcKnown = op->wantCrc;
  // The owner changes the entry before the bytes: unchanged after them, they are its bytes.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return checkSlot(region, op->slot, op->generation, kGrantRead);
}

Status LocalRail::copyFromProcess(Operation* op, const Remote& remote) {
  const int pid = peers_[remote.peer].pid;
  const uint64_t entryAt = remote.base + remote.shape.tableOffset + sizeof(TableHeader) +
                           op->slot * sizeof(SlotEntry);
  // The header last: the pool still stands at that address.
  SlotEntry before{};
  SlotEntry after{};
  TableHeader header{};
  iovec here[4] = {{&before, sizeof before},
                   {op->local, op->lengthBytes},
                   {&after, sizeof after},
                   {&header, sizeof header}};
  iovec there[4] = {{reinterpret_cast<void*>(entryAt), sizeof before},
                    {reinterpret_cast<void*>(remote.base + op->remoteOffset), op->lengthBytes},
                    {reinterpret_cast<void*>(entryAt), sizeof after},
                    {reinterpret_cast<void*>(remote.base + remote.shape.tableOffset),
                     sizeof header}};
  const auto whole = static_cast<ssize_t>(op->lengthBytes + 2 * sizeof before + sizeof header);
  const ssize_t n = process_vm_readv(pid, here, 4, there, 4, 0);
  if (n < 0) return errno == EPERM ? Status::notPermitted : Status::peerReset;
  if (n != whole || header.magic != kTableMagic ||
      header.incarnation != remote.shape.incarnation) {
    return Status::peerReset;
  }
  const auto granted = [&](const SlotEntry& entry) {
    return entry.generation == op->generation && (entry.grants & kGrantRead) != 0;
  };
  return granted(before) && granted(after) ? Status::ok : Status::staleSlot;
}

void LocalRail::work() {
  uint64_t budget = kTurnBytes;
  // Operations whose mapping is still asked for go round once.
  for (size_t left = ops_.size(); left > 0 && budget > 0; left--) {
    Operation* op = ops_.front();
    ops_.pop_front();
    const Remote& remote = remotes_[op->remote];
    if (remote.mode == Mode::asking) {
      ops_.push_back(op);
    } else if (remote.mode == Mode::failed) {
      done_.push_back({op, Status::peerUnreachable});
    } else {
      budget -= std::min<uint64_t>(budget, op->lengthBytes);
      done_.push_back({op, copy(op, remote)});
    }
  }
  budget = kServeBytes;
  for (Guest* guest : guests_) serve(guest, &budget);
}

bool LocalRail::pending() const {
  const auto ready = [&](const Operation* op) { return remotes_[op->remote].mode != Mode::asking; };
  return std::any_of(ops_.begin(), ops_.end(), ready) ||
         std::any_of(guests_.begin(), guests_.end(), [](const Guest* guest) {
           return !guest->pulls.empty() || guest->channel->dead;
         });
}

// --- serving -----------------------------------------------------------------------------------

void LocalRail::acceptAll() {
  while (true) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    auto* guest = new Guest();
    guest->channel = new Channel(fd);
    guests_.push_back(guest);
    if (!guest->channel->trusted()) {
      endGuest(guest);
      continue;
    }
    watch(fd, nullptr);
  }
}

void LocalRail::hear(Guest* guest) {
  Message packet[kPacket];
  int passed;
  while (!guest->channel->dead && guest->pulls.size() < kMaxOpen) {
    const size_t count = guest->channel->receive(packet, &passed);
    if (count == 0) break;
    for (size_t i = 0; i < count; i++) {
      if (!obey(guest, packet[i], passed)) guest->channel->dead = true;
    }
    if (passed >= 0) ::close(passed);
  }
  // More may have come than is taken now, and no event will say so again.
  if (guest->pulls.size() >= kMaxOpen) heard_ = true;
}

bool LocalRail::obey(Guest* guest, const Message& message, int passed) {
  if (message.type == Type::hello) {
    guest->channel->greeted = message.key == cookie_;
    return guest->channel->greeted;
  }
  if (!guest->channel->greeted) return false;
  if (message.type == Type::pull) {
    guest->pulls.push_back(message);
    return true;
  }
  if (message.type == Type::offer) {
    Mapping mapping;
    mapping.size = message.sourceOffset;
    mapping.base = passed < 0 ? nullptr : mapSealed(passed, mapping.size);
    if (mapping.base == nullptr) return false;
    guest->offers[message.key].drop();
    guest->offers[message.key] = mapping;
    return true;
  }
  if (message.type != Type::map) return false;
  Message answer{.type = Type::mapped};
  answer.key = message.key;
  answer.status = static_cast<uint16_t>(Status::unknownSegment);
  int shared = -1;
  for (const Memory& memory : memories_) {
    if (!memory.used || memory.key != message.key || memory.region.fd < 0) continue;
    shared = readOnly(memory.region.fd);
    answer.sourceOffset = memory.region.sizeBytes;
    answer.status = static_cast<uint16_t>(shared < 0 ? Status::systemError : Status::ok);
  }
  guest->channel->send(answer, shared);
  if (shared >= 0) ::close(shared);
  return true;
}

void LocalRail::serve(Guest* guest, uint64_t* budget) {
  while (!guest->pulls.empty() && *budget > 0) {
    *budget -= std::min<uint64_t>(*budget, guest->pulls.front().lengthBytes);
    pull(guest, guest->pulls.front());
    guest->pulls.pop_front();
  }
  guest->channel->flush();
}

void LocalRail::pull(Guest* guest, const Message& message) {
  Message answer{.type = Type::pulled};
  answer.sequence = message.sequence;
  Status status = Status::unknownSegment;
  const auto target = std::find_if(memories_.begin(), memories_.end(), [&](const Memory& memory) {
    return memory.used && memory.key == message.key;
  });
  const auto source = guest->offers.find(message.sourceKey);
  if (target != memories_.end() && source != guest->offers.end()) {
    const MemoryRegion& region = target->region;
    const bool inside = message.slot < region.slots && message.offsetInSlot <= region.slotBytes &&
                        message.lengthBytes <= region.slotBytes - message.offsetInSlot &&
                        message.sourceOffset <= source->second.size &&
                        message.lengthBytes <= source->second.size - message.sourceOffset;
    status = Status::outOfBounds;
    if (inside) {
      std::atomic<uint32_t>& serving = region.serving[message.slot];
      serving.fetch_add(1);
      status = checkSlot(region, message.slot, message.generation, kGrantWrite);
      if (status == Status::ok) {
        std::byte* to = region.base + message.slot * region.slotBytes + message.offsetInSlot;
        answer.crc = moveBytes(to, source->second.base + message.sourceOffset,
                               message.lengthBytes, message.crc != 0);
      }
      serving.fetch_sub(1);
    }
  }
  answer.status = static_cast<uint16_t>(status);
  guest->channel->send(answer);
}

// --- asking ------------------------------------------------------------------------------------

void LocalRail::hear(Peer* peer) {
  Message packet[kPacket];
  int passed;
  while (peer->channel != nullptr && !peer->channel->dead) {
    const size_t count = peer->channel->receive(packet, &passed);
    if (count == 0) break;
    for (size_t i = 0; i < count; i++) {
      const Message& message = packet[i];
      const auto status = static_cast<Status>(message.status);
      if (message.type == Type::pulled) {
        const auto found = peer->pulls.find(message.sequence);
        if (found == peer->pulls.end()) continue;
        found->second->crc = message.crc;
        found->second->crcKnown = found->second->wantCrc && status == Status::ok;
        done_.push_back({found->second, status});
        peer->pulls.erase(found);
      } else if (message.type == Type::mapped) {
        for (Remote& remote : remotes_) {
          if (remote.peer == kNoHandle || &peers_[remote.peer] != peer) continue;
          if (remote.key != message.key || remote.mode != Mode::asking) continue;
          if (status == Status::ok && passed >= 0) {
            remote.mapping.size = remote.shape.sizeBytes;
            remote.mapping.base = mapSealed(passed, remote.mapping.size);
          }
          remote.mode = Mode::mapped;
          if (remote.mapping.base == nullptr) fallBack(&remote);
        }
      }
    }
    if (passed >= 0) ::close(passed);
  }
}

void LocalRail::events(int64_t timeoutNs) {
  epoll_event events[kEvents];
  if (epollWait(epoll_, events, kEvents, timeoutNs) > 0) heard_ = true;
}

int LocalRail::poll(Completion* out, int max) {
  if (done_.empty()) {
    events(0);
    if (heard_) {
      heard_ = false;
      acceptAll();
      for (Peer& peer : peers_) {
        if (peer.channel == nullptr) continue;
        peer.channel->flush();
        hear(&peer);
        if (peer.channel->dead) endPeer(&peer, Status::peerReset, nullptr);
      }
      for (size_t i = guests_.size(); i > 0; i--) hear(guests_[i - 1]);
    }
    work();
    for (size_t i = guests_.size(); i > 0; i--) {
      if (guests_[i - 1]->channel->dead) endGuest(guests_[i - 1]);
    }
  }
  const int count = std::min<int>(max, static_cast<int>(done_.size()));
  std::copy_n(done_.begin(), count, out);
  done_.erase(done_.begin(), done_.begin() + count);
  return count;
}

void LocalRail::wait(int wakeFd, int64_t timeoutNs) {
  if (!done_.empty() || heard_ || pending()) return;
  if (wakeFd_ != wakeFd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = nullptr;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, wakeFd, &event);
    wakeFd_ = wakeFd;
  }
  events(timeoutNs);
}

Status LocalRail::cancel(Operation* op) {
  const auto at = std::find(ops_.begin(), ops_.end(), op);
  if (at != ops_.end()) {
    ops_.erase(at);
    done_.push_back({op, Status::cancelled});
    return Status::ok;
  }
  Peer* peer = &peers_[remotes_[op->remote].peer];
  for (const auto& [sequence, pulled] : peer->pulls) {
    if (pulled != op) continue;
    // The owner only reads our pool: what it still copies harms nothing here.
    endPeer(peer, Status::peerReset, op);
    break;
  }
  return Status::ok;
}

void LocalRail::close(std::vector<Completion>* out) {
  for (Peer& peer : peers_) endPeer(&peer, Status::cancelled, nullptr);
  while (!guests_.empty()) endGuest(guests_.back());
  for (Operation* op : ops_) done_.push_back({op, Status::cancelled});
  out->insert(out->end(), done_.begin(), done_.end());
  ops_.clear();
  done_.clear();
  for (Remote& remote : remotes_) remote.mapping.drop();
  peers_.clear();
  remotes_.clear();
  memories_.clear();
  if (listener_ >= 0) ::close(listener_);
  if (epoll_ >= 0) ::close(epoll_);
  listener_ = epoll_ = wakeFd_ = -1;
}

}  // namespace
}  // namespace local

std::unique_ptr<Rail> makeLocalRail(const RailOptions& options, std::string*) {
  return std::make_unique<local::LocalRail>(options);
}

}  // namespace moontide
