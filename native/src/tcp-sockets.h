// The two ends of a connection of the tcp rail. Both belong to the rail's thread.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "rail.h"
#include "tcp-wire.h"

namespace moontide::tcp {

// Limits of what a peer can ask for or make us keep.
inline constexpr uint32_t kMaxOpBytes = 1u << 30;
inline constexpr uint32_t kMaxOpen = 4096;
inline constexpr uint64_t kMaxOpenBytes = 256ull << 20;
inline constexpr size_t kMaxReplies = 4096;
inline constexpr size_t kMaxConnections = 4096;
inline constexpr int64_t kHandshakeNs = 3'000'000'000;
// Without a byte of progress, a served operation is given up after this.
inline constexpr int64_t kStallNs = 10'000'000'000;
// One turn of a socket, so that none starves the others.
inline constexpr size_t kTurnBytes = 8u << 20;
inline constexpr int kMaxPieces = 64;

struct Shared {
  std::string token;
  uint64_t incarnation;
  // Memory that peers may name, by key.
  std::unordered_map<uint64_t, MemoryRegion> regions;
  std::vector<Completion> done;
};

class Socket {
 public:
  Socket(int fd, Shared* shared) : fd(fd), shared_(shared) {}
  virtual ~Socket();
  Socket(const Socket&) = delete;

  // Moves what can be moved now; sets `dead` when the connection is over.
  virtual void turn(int64_t now) = 0;
  // Gives up what waits for the other side too long.
  virtual void tick(int64_t now) = 0;
  // Whether a turn would do something before the next event.
  virtual bool busy() const = 0;

  const int fd;
  bool readable = false;
  bool writable = false;
  // The other side has ended: what is left to read is followed by the end.
  bool hungUp = false;
  bool dead = false;
  bool listed = false;

 protected:
  // Bytes moved; 0: would block (clears the flag); -1: over.
  ssize_t receive(iovec* pieces, int count);
  ssize_t send(iovec* pieces, int count);
  Shared* const shared_;
};

// The side that asks.
class Client : public Socket {
 public:
  Client(int fd, Shared* shared, uint64_t incarnation, int64_t now);
  void turn(int64_t now) override;
  void tick(int64_t now) override;
  bool busy() const override;

  bool full(uint32_t bytes) const {
    return ops_.size() >= kMaxOpen || (openBytes_ > 0 && openBytes_ + bytes > kMaxOpenBytes);
  }
  void post(Operation* op, uint64_t key);
  // False: it is on the wire; the connection must end.
  bool withdraw(Operation* op);
  bool owns(const Operation* op) const;
  // Ends all operations.
  void fail(Status status, const Operation* but = nullptr, Status butStatus = Status::ok);
  bool ready() const { return stage_ == Stage::ready; }
  // Why the connection ended, for its operations.
  Status outcome() const { return ready() ? Status::peerReset : Status::peerUnreachable; }

 private:
  enum class Stage { connecting, hello, proof, ready };
  bool shake();
  void sendAll();
  void receiveAll();
  // Takes `size` bytes that have arrived where they were expected; false: protocol error.
  bool arrived(size_t size);
  bool header(Operation* op);
  void complete(Operation* op, Status status);
  int expected(iovec* pieces, int max, size_t* bytes);

  Stage stage_ = Stage::connecting;
  const uint64_t incarnation_;
  const int64_t bornNs_;
  size_t got_ = 0;
  size_t put_ = 0;
  ServerHello hello_{};
  ClientHello mine_{};
  ServerProof proof_{};
  std::deque<Operation*> ops_;
  uint64_t openBytes_ = 0;
  uint32_t sequence_ = 0;
  // Operations from the front whose requests are wholly sent, and bytes sent of the next.
  size_t sent_ = 0;
  uint64_t sentOffset_ = 0;
  // Bytes received of the front's reply.
  uint64_t receivedOffset_ = 0;
  // What arrived at a wrong place because a READ failed: taken before the socket.
  std::vector<uint8_t> spill_;
  size_t spillAt_ = 0;
};

// The side that serves.
class Server : public Socket {
 public:
  Server(int fd, Shared* shared, int64_t now);
  ~Server() override;
  void turn(int64_t now) override;
  void tick(int64_t now) override;
  bool busy() const override;
  bool uses(const MemoryRegion& region) const;

 private:
  enum class Stage { hello, proof, ready };
  struct Answer {
    Reply reply;
    const std::byte* payload;
    uint32_t payloadBytes;
    std::atomic<uint32_t>* serving;
  };
  bool shake();
  void receiveAll();
  bool parse();
  bool begin(const Request& request);
  void take(size_t size);
  void endWrite();
  void sendAll();

  Stage stage_ = Stage::hello;
  int64_t progressNs_;
  ServerHello mine_{};
  ClientHello hello_{};
  size_t got_ = 0;
  size_t put_ = 0;
  // Requests that came in one go.
  alignas(8) uint8_t buffer_[4096];
  size_t from_ = 0;
  size_t to_ = 0;
  // The WRITE whose payload is coming in; `target` null: refused, its bytes are dropped.
  bool writing_ = false;
  bool sumWrite_ = false;
  std::byte* target_ = nullptr;
  uint32_t left_ = 0;
  std::atomic<uint32_t>* serving_ = nullptr;
  Reply writeReply_{};
  std::vector<std::byte> dropped_;
  std::deque<Answer> answers_;
  uint64_t answerOffset_ = 0;
};

}  // namespace moontide::tcp
