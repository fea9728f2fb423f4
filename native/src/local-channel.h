// Messages of the local rail: fixed records on an abstract SOCK_SEQPACKET socket, many per packet,
// with a file descriptor where a pool is shared.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace moontide::local {

inline constexpr uint32_t kMagic = 0x314c544d;  // "MTL1"
inline constexpr size_t kPacket = 128;

enum class Type : uint16_t { hello = 1, map = 2, mapped = 3, offer = 4, pull = 5, pulled = 6 };

struct Message {
  uint32_t magic = kMagic;
  Type type;
  uint16_t status = 0;
  uint32_t sequence = 0;
  uint32_t lengthBytes = 0;
  // hello: the cookie. map, mapped, offer: the pool. pull: the target's pool; then its source's.
  uint64_t key = 0;
  uint64_t sourceKey = 0;
  // mapped, offer: the size of the pool.
  uint64_t sourceOffset = 0;
  uint64_t offsetInSlot = 0;
  uint64_t generation = 0;
  uint32_t slot = 0;
  // pull: wants the checksum; pulled: the checksum.
  uint32_t crc = 0;
};
static_assert(sizeof(Message) == 64);

class Channel {
 public:
  explicit Channel(int fd) : fd(fd) {}
  ~Channel();
  Channel(const Channel&) = delete;

  // A connected socket; -1 with errno.
  static int connect(const std::string& name);
  static int listen(const std::string& name);
  // The other end runs as this user or as root.
  bool trusted() const;

  // `passed` goes along and is closed by the caller.
  void send(const Message& message, int passed = -1);
  void flush();
  // The next packet; messages 0: nothing there. `passed` is the receiver's to close.
  size_t receive(Message* out, int* passed);

  const int fd;
  bool dead = false;
  bool greeted = false;
  bool unsent() const { return !out_.empty(); }

 private:
  struct Out {
    Message message;
    int passed;
  };
  std::deque<Out> out_;
};

// A read-only descriptor of the memfd `fd`; -1 with errno.
int readOnly(int fd);

// Maps all `size` bytes of a sealed memfd, read-only; null when it is not one, or shorter.
std::byte* mapSealed(int fd, uint64_t size);

}  // namespace moontide::local
