#include "tcp-rail.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine.h"
#include "epoll.h"
#include "tcp-sockets.h"

namespace moontide {
namespace tcp {
namespace {

constexpr uint8_t kAddressVersion = 1;
constexpr uint8_t kKeyVersion = 1;
constexpr int64_t kTickNs = 500'000'000;
constexpr int kEvents = 64;
// Between processes of one host the kernel's buffers are the link: with more bytes under way than
// twice this (the kernel doubles it) they fall out of the cache, and each copy pays for memory.
// Left to itself the kernel keeps 4 MiB and more. Measured: 0.28 CPU seconds per GB in place of 0.43.
constexpr int kSameHostSendBytes = 400'000;

struct Resolved {
  sockaddr_storage address;
  socklen_t size;
  int family;
};

// Numeric hosts only: a name server must not be able to stop the rail's thread.
bool resolveHost(const std::string& host, uint16_t port, Resolved* out) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return false;
  std::memcpy(&out->address, found->ai_addr, found->ai_addrlen);
  out->size = found->ai_addrlen;
  out->family = found->ai_family;
  freeaddrinfo(found);
  return true;
}

bool isWildcard(const std::string& host) { return host == "0.0.0.0" || host == "::"; }
bool isLoopback(const std::string& host) { return host.rfind("127.", 0) == 0 || host == "::1"; }

bool sameHost(const sockaddr_storage& a, const sockaddr_storage& b) {
  if (a.ss_family != b.ss_family) return false;
  if (a.ss_family == AF_INET) {
    const auto& one = reinterpret_cast<const sockaddr_in&>(a).sin_addr;
    const auto& other = reinterpret_cast<const sockaddr_in&>(b).sin_addr;
    return (ntohl(one.s_addr) >> 24 == 127 && ntohl(other.s_addr) >> 24 == 127) ||
           one.s_addr == other.s_addr;
  }
  return std::memcmp(&reinterpret_cast<const sockaddr_in6&>(a).sin6_addr,
                     &reinterpret_cast<const sockaddr_in6&>(b).sin6_addr, sizeof(in6_addr)) == 0;
}

struct Peer {
  Blob address;
  std::string host;
  uint16_t port = 0;
  uint64_t incarnation = 0;
  Client* client = nullptr;
  bool used = false;
};

struct Remote {
  PeerHandle peer = kNoHandle;
  uint64_t key = 0;
};

struct Memory {
  uint64_t key = 0;
  bool used = false;
};

class TcpRail final : public Rail {
 public:
  explicit TcpRail(const RailOptions& options) : options_(options) {}
  ~TcpRail() override {
    std::vector<Completion> ignored;
    close(&ignored);
  }

  const char* kind() const override { return "tcp"; }
  const RailCapabilities& capabilities() const override { return capabilities_; }
  Status open(std::string* why) override;
  Blob address() const override;
  Status addMemory(const MemoryRegion& region, MemoryHandle* handle, Blob* key) override;
  void removeMemory(MemoryHandle handle) override;
  Status connect(const Blob& address, PeerHandle* peer) override;
  void disconnect(PeerHandle peer) override;
  Status addRemote(PeerHandle peer, const Blob& key, const MemoryRegion& shape,
                   RemoteHandle* remote) override;
  void removeRemote(RemoteHandle remote) override { remotes_[remote].peer = kNoHandle; }
  Status post(Operation* operation) override;
  int poll(Completion* out, int max) override;
  void wait(int wakeFd, int64_t timeoutNs) override;
  Status cancel(Operation* operation) override;
  void close(std::vector<Completion>* out) override;

 private:
  std::string option(const char* name, const char* fallback) const {
    const auto found = options_.find(name);
    return found == options_.end() || found->second.empty() ? fallback : found->second;
  }
  bool listen(std::string* why);
  void tune(int fd) const;
  void tuneConnected(int fd) const;
  Client* dial(Peer* peer);
  void accept();
  void watch(Socket* socket, int fd);
  void list(Socket* socket);
  void events(int64_t timeoutNs);
  void turns();
  void bury(Socket* socket);
  void end(Client* client, Status status, const Operation* but, Status butStatus);

  const RailOptions options_;
  RailCapabilities capabilities_;
  Shared shared_{};
  int epoll_ = -1;
  int listener_ = -1;
  int wakeFd_ = -1;
  bool acceptable_ = false;
  int socketBytes_ = 0;
  std::string advertised_;
  uint16_t port_ = 0;
  std::vector<Peer> peers_;
  std::vector<Remote> remotes_;
  std::vector<Memory> memories_;
  std::vector<Client*> clients_;
  std::vector<Server*> servers_;
  // Sockets whose turn may do something.
  std::vector<Socket*> active_;
  int64_t tickedNs_ = 0;
};

Status TcpRail::open(std::string* why) {
  std::vector<Completion> ignored;
  close(&ignored);
  shared_.token = option("token", "");
  shared_.incarnation = randomBits();
  socketBytes_ = std::atoi(option("socketBytes", "0").c_str());
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0 || !listen(why)) {
    if (why->empty()) *why = std::strerror(errno);
    close(&ignored);
    return Status::systemError;
  }
  capabilities_.read = capabilities_.write = true;
  capabilities_.deliveryComplete = capabilities_.enforcesGrants = true;
  capabilities_.crcWhileMoving = true;
  capabilities_.maxOpen = kMaxOpen;
  capabilities_.maxOpenBytes = kMaxOpenBytes;
  capabilities_.maxOpBytes = kMaxOpBytes;
  capabilities_.detail = advertised_ + ":" + std::to_string(port_);
  return Status::ok;
}

bool TcpRail::listen(std::string* why) {
  const std::string host = option("host", "127.0.0.1");
  advertised_ = option("advertise", host.c_str());
  const int asked = std::atoi(option("port", "0").c_str());
  Resolved at;
  if (asked < 0 || asked > 65535 || !resolveHost(host, static_cast<uint16_t>(asked), &at)) {
    *why = "host and port: found '" + host + "' and " + std::to_string(asked) +
           ", expected a numeric address and 0 to 65535";
    return false;
  }
  if (isWildcard(advertised_)) {
    *why = "advertise: needed where host is " + host;
    return false;
  }
  if (shared_.token.empty() && !isLoopback(host)) {
    *why = "token: needed where host is not a loopback address";
    return false;
  }
  listener_ = socket(at.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int one = 1;
  if (listener_ >= 0) setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (listener_ >= 0) tune(listener_);
  if (listener_ < 0 || bind(listener_, reinterpret_cast<sockaddr*>(&at.address), at.size) != 0 ||
      ::listen(listener_, 256) != 0) {
    *why = host + ":" + std::to_string(asked) + ": " + std::strerror(errno);
    return false;
  }
  socklen_t size = sizeof at.address;
  getsockname(listener_, reinterpret_cast<sockaddr*>(&at.address), &size);
  port_ = ntohs(at.family == AF_INET6
                    ? reinterpret_cast<sockaddr_in6*>(&at.address)->sin6_port
                    : reinterpret_cast<sockaddr_in*>(&at.address)->sin_port);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.ptr = this;
  return epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event) == 0;
}

void TcpRail::tune(int fd) const {
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (socketBytes_ <= 0) return;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &socketBytes_, sizeof socketBytes_);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &socketBytes_, sizeof socketBytes_);
}

// Once both ends are known.
void TcpRail::tuneConnected(int fd) const {
  if (socketBytes_ > 0) return;
  sockaddr_storage own{};
  sockaddr_storage other{};
  socklen_t ownSize = sizeof own;
  socklen_t otherSize = sizeof other;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&own), &ownSize) != 0 ||
      getpeername(fd, reinterpret_cast<sockaddr*>(&other), &otherSize) != 0 ||
      !sameHost(own, other)) {
    return;
  }
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSameHostSendBytes, sizeof kSameHostSendBytes);
}

Blob TcpRail::address() const {
  BlobWriter w;
  w.u8(kAddressVersion);
  w.text(advertised_);
  w.u16(port_);
  w.u64(shared_.incarnation);
  return w.take();
}

Status TcpRail::addMemory(const MemoryRegion& region, MemoryHandle* handle, Blob* key) {
  *handle = static_cast<MemoryHandle>(memories_.size());
  memories_.push_back({randomBits(), true});
  shared_.regions[memories_.back().key] = region;
  BlobWriter w;
  w.u8(kKeyVersion);
  w.u64(memories_.back().key);
  *key = w.take();
  return Status::ok;
}

void TcpRail::removeMemory(MemoryHandle handle) {
  if (handle >= memories_.size() || !memories_[handle].used) return;
  memories_[handle].used = false;
  const auto found = shared_.regions.find(memories_[handle].key);
  for (Server* server : servers_) {
    if (!server->uses(found->second)) continue;
    server->dead = true;
    list(server);
  }
  turns();
  shared_.regions.erase(found);
}

Status TcpRail::connect(const Blob& address, PeerHandle* handle) {
  for (size_t i = 0; i < peers_.size(); i++) {
    if (peers_[i].used && peers_[i].address == address) {
      *handle = static_cast<PeerHandle>(i);
      return Status::ok;
    }
  }
  BlobReader r(address);
  if (r.u8() != kAddressVersion) return Status::badDescriptor;
  Peer peer;
  peer.address = address;
  peer.host = r.text();
  peer.port = r.u16();
  peer.incarnation = r.u64();
  peer.used = true;
  Resolved at;
  if (!r.ok() || !resolveHost(peer.host, peer.port, &at)) return Status::badDescriptor;
  *handle = static_cast<PeerHandle>(peers_.size());
  peers_.push_back(peer);
  dial(&peers_.back());
  return Status::ok;
}

void TcpRail::disconnect(PeerHandle handle) {
  Peer& peer = peers_[handle];
  peer.used = false;
  if (peer.client != nullptr) end(peer.client, Status::cancelled, nullptr, Status::ok);
}

Status TcpRail::addRemote(PeerHandle peer, const Blob& key, const MemoryRegion&,
                          RemoteHandle* remote) {
  BlobReader r(key);
  if (r.u8() != kKeyVersion) return Status::badDescriptor;
  Remote entry{peer, r.u64()};
  if (!r.ok()) return Status::badDescriptor;
  *remote = static_cast<RemoteHandle>(remotes_.size());
  remotes_.push_back(entry);
  return Status::ok;
}

// Null: no socket, or refused at once.
Client* TcpRail::dial(Peer* peer) {
  Resolved to;
  if (!resolveHost(peer->host, peer->port, &to)) return nullptr;
  const int fd = socket(to.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return nullptr;
  tune(fd);
  // From this rail's own address, so that the bytes take its link.
  const std::string host = option("host", "127.0.0.1");
  Resolved from;
  if (!isWildcard(host) && resolveHost(host, 0, &from) && from.family == to.family) {
    const int one = 1;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    (void)!bind(fd, reinterpret_cast<sockaddr*>(&from.address), from.size);
  }
  if (::connect(fd, reinterpret_cast<sockaddr*>(&to.address), to.size) != 0 &&
      errno != EINPROGRESS) {
    ::close(fd);
    return nullptr;
  }
  tuneConnected(fd);
  auto* client = new Client(fd, &shared_, peer->incarnation, nowNs());
  clients_.push_back(client);
  watch(client, fd);
  peer->client = client;
  return client;
}

void TcpRail::watch(Socket* socket, int fd) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = socket;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) {
    socket->dead = true;
    list(socket);
  }
}

void TcpRail::list(Socket* socket) {
  if (socket->listed) return;
  socket->listed = true;
  active_.push_back(socket);
}

Status TcpRail::post(Operation* op) {
  const Remote& remote = remotes_[op->remote];
  Peer& peer = peers_[remote.peer];
  Client* client = peer.client;
  if (client == nullptr) client = dial(&peer);
  if (client == nullptr) return Status::peerUnreachable;
  if (client->full(op->lengthBytes)) return Status::again;
  client->post(op, remote.key);
  list(client);
  return Status::ok;
}

void TcpRail::accept() {
  while (acceptable_) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      acceptable_ = errno == EINTR || errno == ECONNABORTED;
      continue;
    }
    if (servers_.size() >= kMaxConnections) {
      ::close(fd);
      continue;
    }
    tune(fd);
    tuneConnected(fd);
    auto* server = new Server(fd, &shared_, nowNs());
    servers_.push_back(server);
    watch(server, fd);
  }
}

void TcpRail::events(int64_t timeoutNs) {
  epoll_event events[kEvents];
  const int count = epollWait(epoll_, events, kEvents, timeoutNs);
  for (int i = 0; i < count; i++) {
    if (events[i].data.ptr == nullptr) continue;
    if (events[i].data.ptr == this) {
      acceptable_ = true;
      continue;
    }
    auto* socket = static_cast<Socket*>(events[i].data.ptr);
    const uint32_t what = events[i].events;
    if (what & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) socket->hungUp = true;
    if (what & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) socket->readable = true;
    if (what & (EPOLLOUT | EPOLLHUP | EPOLLERR)) socket->writable = true;
    list(socket);
  }
}

void TcpRail::turns() {
  const int64_t now = nowNs();
  if (now >= tickedNs_ + kTickNs) {
    tickedNs_ = now;
    for (Client* client : clients_) client->tick(now);
    for (Server* server : servers_) server->tick(now);
    for (Client* client : clients_) {
      if (client->dead) list(client);
    }
    for (Server* server : servers_) {
      if (server->dead) list(server);
    }
  }
  std::vector<Socket*> active;
  active.swap(active_);
  for (Socket* socket : active) {
    socket->listed = false;
    if (!socket->dead) socket->turn(now);
    if (socket->dead) {
      bury(socket);
    } else if (socket->busy()) {
      list(socket);
    }
  }
}

void TcpRail::bury(Socket* socket) {
  const auto client = std::find(clients_.begin(), clients_.end(), socket);
  if (client != clients_.end()) {
    end(*client, (*client)->outcome(), nullptr, Status::ok);
    return;
  }
  servers_.erase(std::find(servers_.begin(), servers_.end(), socket));
  delete socket;
}

void TcpRail::end(Client* client, Status status, const Operation* but, Status butStatus) {
  client->fail(status, but, butStatus);
  for (Peer& peer : peers_) {
    if (peer.client == client) peer.client = nullptr;
  }
  active_.erase(std::remove(active_.begin(), active_.end(), client), active_.end());
  clients_.erase(std::find(clients_.begin(), clients_.end(), client));
  delete client;
}

int TcpRail::poll(Completion* out, int max) {
  if (shared_.done.empty()) {
    events(0);
    accept();
    turns();
  }
  const int count = std::min<int>(max, static_cast<int>(shared_.done.size()));
  std::copy_n(shared_.done.begin(), count, out);
  shared_.done.erase(shared_.done.begin(), shared_.done.begin() + count);
  return count;
}

void TcpRail::wait(int wakeFd, int64_t timeoutNs) {
  if (!shared_.done.empty() || !active_.empty()) return;
  if (wakeFd_ != wakeFd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = nullptr;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, wakeFd, &event);
    wakeFd_ = wakeFd;
  }
  const bool ticks = !clients_.empty() || !servers_.empty();
  if (ticks) timeoutNs = std::min(timeoutNs, kTickNs);
  events(timeoutNs);
}

Status TcpRail::cancel(Operation* op) {
  Client* client = peers_[remotes_[op->remote].peer].client;
  if (client == nullptr || !client->owns(op)) return Status::ok;
  if (!client->withdraw(op)) end(client, client->outcome(), op, Status::cancelled);
  return Status::ok;
}

void TcpRail::close(std::vector<Completion>* out) {
  while (!clients_.empty()) end(clients_.back(), Status::cancelled, nullptr, Status::ok);
  for (Server* server : servers_) delete server;
  servers_.clear();
  active_.clear();
  peers_.clear();
  remotes_.clear();
  memories_.clear();
  shared_.regions.clear();
  out->insert(out->end(), shared_.done.begin(), shared_.done.end());
  shared_.done.clear();
  if (listener_ >= 0) ::close(listener_);
  if (epoll_ >= 0) ::close(epoll_);
  listener_ = epoll_ = wakeFd_ = -1;
}

}  // namespace
}  // namespace tcp

std::unique_ptr<Rail> makeTcpRail(const RailOptions& options, std::string*) {
  return std::make_unique<tcp::TcpRail>(options);
}

}  // namespace moontide
