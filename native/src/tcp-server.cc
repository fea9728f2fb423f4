#include <algorithm>
#include <cstring>

#include "crc32c.h"
#include "hmac.h"
#include "memory.h"
#include "tcp-sockets.h"

namespace moontide::tcp {

Server::Server(int fd, Shared* shared, int64_t now) : Socket(fd, shared), progressNs_(now) {
  mine_.magic = kMagic;
  mine_.version = kVersion;
  mine_.incarnation = shared->incarnation;
  const uint64_t nonce[2] = {randomBits(), randomBits()};
  std::memcpy(mine_.nonce, nonce, sizeof nonce);
}

Server::~Server() {
  if (serving_ != nullptr) serving_->fetch_sub(1);
  for (const Answer& answer : answers_) {
    if (answer.serving != nullptr) answer.serving->fetch_sub(1);
  }
}

bool Server::busy() const {
  if (dead) return true;
  if (stage_ != Stage::ready) return readable || (writable && put_ < sizeof mine_);
  return (readable && answers_.size() < kMaxReplies) || (writable && !answers_.empty());
}

bool Server::uses(const MemoryRegion& region) const {
  const auto within = [&](const std::atomic<uint32_t>* serving) {
    return serving >= region.serving && serving < region.serving + region.slots;
  };
  if (serving_ != nullptr && within(serving_)) return true;
  return std::any_of(answers_.begin(), answers_.end(), [&](const Answer& answer) {
    return answer.serving != nullptr && within(answer.serving);
  });
}

void Server::turn(int64_t now) {
  if (stage_ != Stage::ready && !shake()) return;
  // Answers first: they free the slots that they hold.
  if (!dead) sendAll();
  if (!dead) receiveAll();
  if (!dead && writable) sendAll();
  progressNs_ = now;
}

// A turn happens on an event or while there is something to do: so no turn means no progress.
void Server::tick(int64_t now) {
  if (stage_ != Stage::ready) {
    if (now > progressNs_ + kHandshakeNs) dead = true;
  } else if ((writing_ || !answers_.empty()) && now > progressNs_ + kStallNs) {
    dead = true;
  }
}

bool Server::shake() {
  while (put_ < sizeof mine_ && writable) {
    iovec piece{reinterpret_cast<uint8_t*>(&mine_) + put_, sizeof mine_ - put_};
    const ssize_t n = send(&piece, 1);
    if (n <= 0) return false;
    put_ += static_cast<size_t>(n);
  }
  while (readable && got_ < sizeof hello_) {
    iovec piece{reinterpret_cast<uint8_t*>(&hello_) + got_, sizeof hello_ - got_};
    const ssize_t n = receive(&piece, 1);
    if (n <= 0) return false;
    got_ += static_cast<size_t>(n);
  }
  if (got_ < sizeof hello_ || put_ < sizeof mine_) return false;
  uint8_t text[33];
  text[0] = 'C';
  std::memcpy(text + 1, mine_.nonce, 16);
  std::memcpy(text + 17, hello_.nonce, 16);
  const Mac proof = hmacSha256(shared_->token, text, sizeof text);
  if (hello_.magic != kMagic || hello_.version != kVersion ||
      !equalMacs(proof.data(), hello_.proof)) {
    dead = true;
    return false;
  }
  text[0] = 'S';
  std::memcpy(text + 1, hello_.nonce, 16);
  std::memcpy(text + 17, mine_.nonce, 16);
  Mac mine = hmacSha256(shared_->token, text, sizeof text);
  iovec out{mine.data(), mine.size()};
  if (send(&out, 1) != static_cast<ssize_t>(mine.size())) {
    dead = true;
    return false;
  }
  stage_ = Stage::ready;
  return true;
}

void Server::receiveAll() {
  size_t turnBytes = 0;
  while (readable && turnBytes < kTurnBytes && answers_.size() < kMaxReplies) {
    iovec pieces[2];
    int count = 0;
    size_t want = 0;
    if (writing_ && from_ == to_) {
      if (target_ == nullptr && dropped_.empty()) dropped_.resize(64 << 10);
      const size_t room = target_ != nullptr ? left_ : std::min<size_t>(left_, dropped_.size());
      pieces[count++] = {target_ != nullptr ? target_ : dropped_.data(), room};
      want += room;
    }
    // Behind the payload, a little of what follows: not more, because it is copied.
    if (from_ == to_) from_ = to_ = 0;
    if (from_ > 0 && to_ == sizeof buffer_) {
      std::memmove(buffer_, buffer_ + from_, to_ - from_);
      to_ -= from_;
      from_ = 0;
    }
    const bool whole = !writing_ || target_ != nullptr || left_ <= dropped_.size();
    if (whole) {
      pieces[count++] = {buffer_ + to_, sizeof buffer_ - to_};
      want += sizeof buffer_ - to_;
    }
    const ssize_t n = receive(pieces, count);
    if (n <= 0) return;
    auto got = static_cast<size_t>(n);
    turnBytes += got;
    if (got < want && got < (256u << 10) && !hungUp) readable = false;
    if (writing_ && pieces[0].iov_base != buffer_ + to_) {
      const size_t part = std::min<size_t>(got, pieces[0].iov_len);
      take(part);
      got -= part;
    }
    to_ += got;
    if (!parse()) {
      dead = true;
      return;
    }
  }
}

// Everything whole in the buffer; false: not our protocol.
bool Server::parse() {
  while (true) {
    if (writing_) {
      const size_t part = std::min<size_t>(left_, to_ - from_);
      if (part == 0) return true;
      if (target_ != nullptr) std::memcpy(target_, buffer_ + from_, part);
      from_ += part;
      take(part);
      continue;
    }
    if (to_ - from_ < sizeof(Request)) return true;
    Request request;
    std::memcpy(&request, buffer_ + from_, sizeof request);
    from_ += sizeof request;
    if (!begin(request)) return false;
  }
}

bool Server::begin(const Request& request) {
  if (request.magic != kMagic || request.op > static_cast<uint8_t>(OpKind::write)) return false;
  if (request.lengthBytes == 0 || request.lengthBytes > kMaxOpBytes) return false;
  const bool isWrite = request.op == static_cast<uint8_t>(OpKind::write);
  Status status = Status::ok;
  std::atomic<uint32_t>* serving = nullptr;
  std::byte* at = nullptr;
  const auto found = shared_->regions.find(request.key);
  if (found == shared_->regions.end()) {
    status = Status::unknownSegment;
  } else if (const MemoryRegion& region = found->second;
             request.slot >= region.slots || request.offsetInSlot > region.slotBytes ||
             request.lengthBytes > region.slotBytes - request.offsetInSlot) {
    status = Status::outOfBounds;
  } else {
    serving = &region.serving[request.slot];
    serving->fetch_add(1);
    status = checkSlot(region, request.slot, request.generation,
                       isWrite ? kGrantWrite : kGrantRead);
    at = region.base + request.slot * region.slotBytes + request.offsetInSlot;
    if (status != Status::ok) {
      serving->fetch_sub(1);
      serving = nullptr;
      at = nullptr;
    }
  }
  const Reply reply{kReplyMagic, request.sequence, static_cast<uint32_t>(status), 0};
  if (!isWrite) {
    answers_.push_back({reply, at, at == nullptr ? 0 : request.lengthBytes, serving});
    return true;
  }
  writing_ = true;
  sumWrite_ = (request.flags & kFlagSum) != 0;
  target_ = at;
  left_ = request.lengthBytes;
  serving_ = serving;
  writeReply_ = reply;
  return true;
}

// `size` bytes of the WRITE's payload have arrived at `target_`.
void Server::take(size_t size) {
  if (target_ != nullptr) {
    if (sumWrite_) writeReply_.crc = crc32c(writeReply_.crc, target_, size);
    target_ += size;
  }
  left_ -= static_cast<uint32_t>(size);
  if (left_ == 0) endWrite();
}

void Server::endWrite() {
  if (serving_ != nullptr) serving_->fetch_sub(1);
  serving_ = nullptr;
  target_ = nullptr;
  writing_ = false;
  answers_.push_back({writeReply_, nullptr, 0, nullptr});
}

void Server::sendAll() {
  size_t turnBytes = 0;
  while (writable && !answers_.empty() && turnBytes < kTurnBytes) {
    iovec pieces[kMaxPieces];
    int count = 0;
    uint64_t offset = answerOffset_;
    for (size_t i = 0; i < answers_.size() && count + 2 <= kMaxPieces; i++) {
      Answer& answer = answers_[i];
      if (offset < sizeof(Reply)) {
        pieces[count++] = {reinterpret_cast<uint8_t*>(&answer.reply) + offset,
                           sizeof(Reply) - offset};
        offset = sizeof(Reply);
      }
      const uint64_t inPayload = offset - sizeof(Reply);
      if (inPayload < answer.payloadBytes) {
        pieces[count++] = {const_cast<std::byte*>(answer.payload) + inPayload,
                           answer.payloadBytes - inPayload};
      }
      offset = 0;
    }
    const ssize_t n = send(pieces, count);
    if (n <= 0) return;
    turnBytes += static_cast<size_t>(n);
    answerOffset_ += static_cast<uint64_t>(n);
    while (!answers_.empty() &&
           answerOffset_ >= sizeof(Reply) + answers_.front().payloadBytes) {
      Answer& answer = answers_.front();
      answerOffset_ -= sizeof(Reply) + answer.payloadBytes;
      if (answer.serving != nullptr) answer.serving->fetch_sub(1);
      answers_.pop_front();
    }
  }
}

}  // namespace moontide::tcp
