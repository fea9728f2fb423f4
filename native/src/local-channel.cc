#include "local-channel.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

namespace moontide::local {
namespace {

constexpr uint64_t kPopulateBytesMax = uint64_t{1} << 30;

socklen_t abstractAddress(const std::string& name, sockaddr_un* out) {
  *out = {};
  out->sun_family = AF_UNIX;
  const size_t size = std::min(name.size(), sizeof out->sun_path - 1);
  std::memcpy(out->sun_path + 1, name.data(), size);
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + size);
}

int openSocket() {
  return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

}  // namespace

Channel::~Channel() {
  for (const Out& out : out_) {
    if (out.passed >= 0) close(out.passed);
  }
  close(fd);
}

int Channel::connect(const std::string& name) {
  const int fd = openSocket();
  if (fd < 0) return -1;
  sockaddr_un address;
  const socklen_t size = abstractAddress(name, &address);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), size) == 0) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

int Channel::listen(const std::string& name) {
  const int fd = openSocket();
  if (fd < 0) return -1;
  sockaddr_un address;
  const socklen_t size = abstractAddress(name, &address);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 && ::listen(fd, 256) == 0) {
    return fd;
  }
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

bool Channel::trusted() const {
  ucred other{};
  socklen_t size = sizeof other;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &other, &size) != 0) return false;
  return other.uid == getuid() || other.uid == 0;
}

void Channel::send(const Message& message, int passed) {
  out_.push_back({message, passed < 0 ? -1 : fcntl(passed, F_DUPFD_CLOEXEC, 0)});
}

void Channel::flush() {
  while (!out_.empty() && !dead) {
    Message packet[kPacket];
    size_t count = 0;
    int passed = -1;
    // A descriptor travels alone, so that its receiver knows whose it is.
    for (; count < kPacket && count < out_.size(); count++) {
      if (out_[count].passed >= 0 && count > 0) break;
      packet[count] = out_[count].message;
      if (out_[count].passed < 0) continue;
      passed = out_[count++].passed;
      break;
    }
    iovec piece{packet, count * sizeof(Message)};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    if (passed >= 0) {
      header.msg_control = control;
      header.msg_controllen = sizeof control;
      cmsghdr* c = CMSG_FIRSTHDR(&header);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(c), &passed, sizeof passed);
    }
    if (sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != ENOBUFS) dead = true;
      return;
    }
    if (passed >= 0) close(passed);
    out_.erase(out_.begin(), out_.begin() + static_cast<ptrdiff_t>(count));
  }
}

size_t Channel::receive(Message* out, int* passed) {
  *passed = -1;
  iovec piece{out, kPacket * sizeof(Message)};
  alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))];
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  const ssize_t n = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  for (cmsghdr* c = n < 0 ? nullptr : CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int got;
      std::memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof got);
      if (*passed < 0) {
        *passed = got;
      } else {
        close(got);
      }
    }
  }
  const auto size = static_cast<size_t>(n < 0 ? 0 : n);
  bool good = size > 0 && size % sizeof(Message) == 0 && (header.msg_flags & MSG_TRUNC) == 0;
  const size_t count = size / sizeof(Message);
  for (size_t i = 0; i < count; i++) good = good && out[i].magic == kMagic;
  if (good) return count;
  if (*passed >= 0) close(*passed);
  *passed = -1;
  dead = true;
  return 0;
}

int readOnly(int fd) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  return open(path.c_str(), O_RDONLY | O_CLOEXEC);
}

std::byte* mapSealed(int fd, uint64_t size) {
  struct stat about;
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) return nullptr;
  if (fstat(fd, &about) != 0 || static_cast<uint64_t>(about.st_size) != size) return nullptr;
  // Faults cost as much as copies, so that a pool is mapped whole at once; a large one is not: its
  // owner may never touch most of it, and mapping a page makes it.
  const int populate = size <= kPopulateBytesMax ? MAP_POPULATE : 0;
  void* mapped = mmap(nullptr, size, PROT_READ, MAP_SHARED | populate, fd, 0);
  if (mapped == MAP_FAILED) return nullptr;
  madvise(mapped, size, MADV_DONTFORK);
  return static_cast<std::byte*>(mapped);
}

}  // namespace moontide::local
