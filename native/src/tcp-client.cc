#include <algorithm>
#include <cerrno>
#include <cstring>

#include <unistd.h>

#include "crc32c.h"
#include "hmac.h"
#include "memory.h"
#include "tcp-sockets.h"

namespace moontide::tcp {
namespace {

// What an operation on a connection keeps in its scratch.
struct Wire {
  Request request;
  Reply reply;
};
static_assert(sizeof(Wire) <= sizeof(Operation::scratch));

Wire* wire(Operation* op) { return reinterpret_cast<Wire*>(op->scratch); }

uint64_t outBytes(const Operation* op) {
  return sizeof(Request) + (op->kind == OpKind::write ? op->lengthBytes : 0);
}

uint64_t inBytes(const Operation* op) {
  return sizeof(Reply) + (op->kind == OpKind::read ? op->lengthBytes : 0);
}

// The part from `offset` of a head followed by a body.
int slice(iovec* out, void* head, size_t headBytes, void* body, size_t bodyBytes, uint64_t offset) {
  int count = 0;
  if (offset < headBytes) {
    out[count++] = {static_cast<uint8_t*>(head) + offset, headBytes - offset};
    offset = headBytes;
  }
  const uint64_t inBody = offset - headBytes;
  if (inBody < bodyBytes) {
    out[count++] = {static_cast<uint8_t*>(body) + inBody, bodyBytes - inBody};
  }
  return count;
}

}  // namespace

Socket::~Socket() { close(fd); }

ssize_t Socket::receive(iovec* pieces, int count) {
  const ssize_t n = readv(fd, pieces, count);
  if (n > 0) return n;
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
    readable = errno == EINTR;
    return 0;
  }
  dead = true;
  return -1;
}

ssize_t Socket::send(iovec* pieces, int count) {
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = static_cast<size_t>(count);
  const ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n >= 0) return n;
  if (errno == EAGAIN || errno == EINTR) {
    writable = errno == EINTR;
    return 0;
  }
  dead = true;
  return -1;
}

Client::Client(int fd, Shared* shared, uint64_t incarnation, int64_t now)
    : Socket(fd, shared), incarnation_(incarnation), bornNs_(now) {}

bool Client::busy() const {
  if (dead) return true;
  if (readable && (stage_ != Stage::connecting)) return true;
  if (spillAt_ < spill_.size()) return true;
  return writable && (stage_ != Stage::ready ? stage_ == Stage::connecting : sent_ < ops_.size());
}

void Client::turn(int64_t now) {
  if (stage_ != Stage::ready && !dead && !shake()) return;
  if (!dead) sendAll();
  if (!dead) receiveAll();
}

void Client::tick(int64_t now) {
  if (stage_ != Stage::ready && now > bornNs_ + kHandshakeNs) dead = true;
}

// True when the connection is ready.
bool Client::shake() {
  if (stage_ == Stage::connecting) {
    if (!writable) return false;
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
      dead = true;
      return false;
    }
    stage_ = Stage::hello;
  }
  while (stage_ == Stage::hello) {
    iovec piece{reinterpret_cast<uint8_t*>(&hello_) + got_, sizeof hello_ - got_};
    if (!readable) return false;
    const ssize_t n = receive(&piece, 1);
    if (n <= 0) return false;
    got_ += static_cast<size_t>(n);
    if (got_ < sizeof hello_) continue;
    // Another incarnation: the segments that we know are gone.
    if (hello_.magic != kMagic || hello_.version != kVersion ||
        hello_.incarnation != incarnation_) {
      dead = true;
      return false;
    }
    mine_.magic = kMagic;
    mine_.version = kVersion;
    const uint64_t nonce[2] = {randomBits(), randomBits()};
    std::memcpy(mine_.nonce, nonce, sizeof nonce);
    uint8_t text[33];
    text[0] = 'C';
    std::memcpy(text + 1, hello_.nonce, 16);
    std::memcpy(text + 17, mine_.nonce, 16);
    const Mac proof = hmacSha256(shared_->token, text, sizeof text);
    std::memcpy(mine_.proof, proof.data(), proof.size());
    iovec out{&mine_, sizeof mine_};
    // An empty socket takes 56 bytes whole.
    if (send(&out, 1) != static_cast<ssize_t>(sizeof mine_)) {
      dead = true;
      return false;
    }
    stage_ = Stage::proof;
    got_ = 0;
  }
  while (stage_ == Stage::proof) {
    iovec piece{reinterpret_cast<uint8_t*>(&proof_) + got_, sizeof proof_ - got_};
    if (!readable) return false;
    const ssize_t n = receive(&piece, 1);
    if (n <= 0) return false;
    got_ += static_cast<size_t>(n);
    if (got_ < sizeof proof_) continue;
    uint8_t text[33];
    text[0] = 'S';
    std::memcpy(text + 1, mine_.nonce, 16);
    std::memcpy(text + 17, hello_.nonce, 16);
    const Mac proof = hmacSha256(shared_->token, text, sizeof text);
    if (!equalMacs(proof.data(), proof_.proof)) {
      dead = true;
      return false;
    }
    stage_ = Stage::ready;
  }
  return true;
}

void Client::post(Operation* op, uint64_t key) {
  Request& request = wire(op)->request;
  request = {};
  request.magic = kMagic;
  request.op = static_cast<uint8_t>(op->kind);
  request.flags = op->wantCrc ? kFlagSum : 0;
  request.sequence = sequence_++;
  request.lengthBytes = op->lengthBytes;
  request.key = key;
  request.generation = op->generation;
  request.offsetInSlot = op->offsetInSlot;
  request.slot = op->slot;
  ops_.push_back(op);
  openBytes_ += op->lengthBytes;
}

bool Client::owns(const Operation* op) const {
  return std::find(ops_.begin(), ops_.end(), op) != ops_.end();
}

bool Client::withdraw(Operation* op) {
  const auto at = std::find(ops_.begin(), ops_.end(), op);
  const auto index = static_cast<size_t>(at - ops_.begin());
  if (index < sent_ || (index == sent_ && sentOffset_ > 0)) return false;
  // Its sequence number goes missing: so only the very last may go alone.
  if (index + 1 != ops_.size()) return false;
  sequence_--;
  ops_.erase(at);
  openBytes_ -= op->lengthBytes;
  shared_->done.push_back({op, Status::cancelled});
  return true;
}

void Client::fail(Status status, const Operation* but, Status butStatus) {
  for (Operation* op : ops_) shared_->done.push_back({op, op == but ? butStatus : status});
  ops_.clear();
  openBytes_ = 0;
  sent_ = 0;
}

void Client::sendAll() {
  size_t turnBytes = 0;
  while (writable && sent_ < ops_.size() && turnBytes < kTurnBytes) {
    iovec pieces[kMaxPieces];
    int count = 0;
    uint64_t offset = sentOffset_;
    for (size_t i = sent_; i < ops_.size() && count + 2 <= kMaxPieces; i++) {
      Operation* op = ops_[i];
      const size_t body = op->kind == OpKind::write ? op->lengthBytes : 0;
      count += slice(pieces + count, &wire(op)->request, sizeof(Request), op->local, body, offset);
      offset = 0;
    }
    const ssize_t n = send(pieces, count);
    if (n <= 0) return;
    turnBytes += static_cast<size_t>(n);
    sentOffset_ += static_cast<uint64_t>(n);
    while (sent_ < ops_.size() && sentOffset_ >= outBytes(ops_[sent_])) {
      sentOffset_ -= outBytes(ops_[sent_]);
      sent_++;
    }
  }
}

int Client::expected(iovec* pieces, int max, size_t* bytes) {
  int count = 0;
  uint64_t offset = receivedOffset_;
  *bytes = 0;
  for (size_t i = 0; i < sent_ && count + 2 <= max; i++) {
    Operation* op = ops_[i];
    const size_t body = op->kind == OpKind::read ? op->lengthBytes : 0;
    count += slice(pieces + count, &wire(op)->reply, sizeof(Reply), op->local, body, offset);
    *bytes += inBytes(op) - offset;
    offset = 0;
  }
  return count;
}

void Client::receiveAll() {
  size_t turnBytes = 0;
  while ((readable || spillAt_ < spill_.size()) && turnBytes < kTurnBytes) {
    iovec pieces[kMaxPieces];
    size_t bytes = 0;
    int count = expected(pieces, kMaxPieces, &bytes);
    size_t got;
    if (spillAt_ < spill_.size()) {
      if (count == 0) {
        dead = true;
        return;
      }
      got = 0;
      for (int i = 0; i < count && spillAt_ < spill_.size(); i++) {
        const size_t size = std::min(pieces[i].iov_len, spill_.size() - spillAt_);
        std::memcpy(pieces[i].iov_base, spill_.data() + spillAt_, size);
        spillAt_ += size;
        got += size;
      }
      if (spillAt_ == spill_.size()) {
        spill_.clear();
        spillAt_ = 0;
      }
    } else {
      uint8_t unasked[16];
      if (count == 0) {
        // Nothing is due: a byte now is an error, the end is the end.
        pieces[0] = {unasked, sizeof unasked};
        if (receive(pieces, 1) > 0) dead = true;
        return;
      }
      const ssize_t n = receive(pieces, count);
      if (n <= 0) return;
      got = static_cast<size_t>(n);
      // A short read means an empty socket; the next event says when there is more.
      if (got < bytes && got < (256u << 10) && !hungUp) readable = false;
    }
    turnBytes += got;
    if (!arrived(got)) {
      dead = true;
      return;
    }
  }
}

bool Client::arrived(size_t size) {
  while (size > 0) {
    Operation* op = ops_.front();
    if (receivedOffset_ < sizeof(Reply)) {
      const size_t part = std::min(size, static_cast<size_t>(sizeof(Reply) - receivedOffset_));
      receivedOffset_ += part;
      size -= part;
      if (receivedOffset_ < sizeof(Reply)) return true;
      if (!header(op)) return false;
      const auto status = static_cast<Status>(wire(op)->reply.status);
      if (status != Status::ok && op->kind == OpKind::read) {
        // No payload comes; what was taken for it belongs to the next replies.
        std::vector<uint8_t> rest;
        size_t left = size;
        receivedOffset_ = sizeof(Reply);
        iovec pieces[kMaxPieces];
        size_t bytes;
        const int count = expected(pieces, kMaxPieces, &bytes);
        for (int i = 0; i < count && left > 0; i++) {
          const size_t take = std::min(left, pieces[i].iov_len);
          const auto* from = static_cast<const uint8_t*>(pieces[i].iov_base);
          rest.insert(rest.end(), from, from + take);
          left -= take;
        }
        if (left > 0) return false;
        rest.insert(rest.end(), spill_.begin() + static_cast<ptrdiff_t>(spillAt_), spill_.end());
        spill_ = std::move(rest);
        spillAt_ = 0;
        complete(op, status);
        return true;
      }
      if (op->kind == OpKind::write) complete(op, status);
      continue;
    }
    const uint64_t at = receivedOffset_ - sizeof(Reply);
    const size_t part = std::min(size, static_cast<size_t>(op->lengthBytes - at));
    if (op->wantCrc) op->crc = crc32c(op->crc, op->local + at, part);
    receivedOffset_ += part;
    size -= part;
    if (receivedOffset_ == inBytes(op)) {
      op->crcKnown = op->wantCrc;
      complete(op, Status::ok);
    }
  }
  return true;
}

bool Client::header(Operation* op) {
  const Wire* w = wire(op);
  if (w->reply.magic != kReplyMagic || w->reply.sequence != w->request.sequence) return false;
  if (w->reply.status > static_cast<uint32_t>(Status::systemError)) return false;
  if (w->reply.status == static_cast<uint32_t>(Status::again)) return false;
  op->crc = 0;
  if (op->kind == OpKind::write && op->wantCrc) {
    op->crc = w->reply.crc;
    op->crcKnown = true;
  }
  return true;
}

void Client::complete(Operation* op, Status status) {
  ops_.pop_front();
  sent_--;
  openBytes_ -= op->lengthBytes;
  receivedOffset_ = 0;
  shared_->done.push_back({op, status});
}

}  // namespace moontide::tcp
