// Drives the static library without Node, to be built with AddressSanitizer or ThreadSanitizer:
// two engines move random pieces over local and tcp rails while peers vanish, stall and reuse
// slots. Exits 0 when every law held; prints the seed of the first that did not.
//
// usage: driver SEED ROUNDS
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>

#include "crc32c.h"
#include "engine.h"
#include "hmac.h"

using namespace moontide;

namespace {

constexpr uint64_t kSlotBytes = 64 << 10;
constexpr uint32_t kSlots = 8;
constexpr int64_t kSecond = 1'000'000'000;

#define CHECK(condition)                                                              \
  do {                                                                                \
    if (!(condition)) {                                                               \
      std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);  \
      std::exit(1);                                                                   \
    }                                                                                 \
  } while (false)

struct Random {
  uint64_t state;
  uint64_t next() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
  }
  uint64_t below(uint64_t n) { return next() % n; }
};

// An engine with a pool, and what its events said.
class Side {
 public:
  explicit Side(std::initializer_list<const char*> kinds)
      : engine(settings(), [this] {
          std::lock_guard lock(mutex_);
          rung_ = true;
          ringing_.notify_all();
        }) {
    std::string why;
    for (const char* kind : kinds) {
      CHECK(engine.addRail({{"kind", kind}, {"token", "driver"}}, &why) >= 0);
    }
    const int id = engine.createPool({kSlotBytes, kSlots, false, false}, &why);
    CHECK(id == 0);
    pool = engine.pool(0);
  }

  static EngineSettings settings() {
    EngineSettings s;
    s.graceNs = 2 * kSecond;
    return s;
  }

  uint32_t import(Side& other) {
    Blob blob;
    CHECK(other.engine.describePool(0, &blob));
    const int id = engine.importSegment(blob.data(), blob.size());
    CHECK(id >= 0);
    return static_cast<uint32_t>(id);
  }

  // Waits until `count` transfers have ended; false after `timeoutNs`.
  bool await(size_t count, int64_t timeoutNs) {
    const int64_t until = nowNs() + timeoutNs;
    while (true) {
      std::vector<Event> events;
      engine.drain(&events);
      for (Event& event : events) {
        if (event.kind == EventKind::transfer) ended[event.tag] = event;
      }
      if (ended.size() >= count) return true;
      std::unique_lock lock(mutex_);
      if (!ringing_.wait_for(lock, std::chrono::nanoseconds(until - nowNs()),
                             [&] { return rung_; })) {
        return false;
      }
      rung_ = false;
    }
  }

  Engine engine;
  Pool* pool;
  std::map<uint64_t, Event> ended;

 private:
  std::mutex mutex_;
  std::condition_variable ringing_;
  bool rung_ = false;
};

void fill(std::byte* to, uint64_t size, uint64_t seed) {
  Random random{seed * 2 + 1};
  for (uint64_t i = 0; i < size; i += 8) {
    const uint64_t v = random.next();
    std::memcpy(to + i, &v, 8);
  }
}

// Pieces of `bytes` in turn over the rails.
std::vector<SliceSpec> slicesOf(uint32_t segment, uint32_t localSlot, uint32_t remoteSlot,
                                uint64_t bytes, uint64_t sliceBytes, uint32_t rails,
                                uint32_t firstRail) {
  std::vector<SliceSpec> slices;
  for (uint64_t at = 0; at < bytes; at += sliceBytes) {
    const auto rail = static_cast<uint32_t>((firstRail + slices.size()) % rails);
    slices.push_back({0, localSlot, at, segment, remoteSlot, 1, at,
                      std::min(sliceBytes, bytes - at), rail, kAnyRail});
  }
  return slices;
}

// A reader may have its last byte before the owner has noted that it is served.
bool released(const Pool& pool, uint32_t slot) {
  for (int tries = 0; pool.busy(slot) && tries < 5000; tries++) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return !pool.busy(slot);
}

// Every byte arrives, over whichever rails, with the checksum of the source.
void movesArrive(Random random) {
  Side here{"local", "tcp", "tcp"};
  Side there{"local", "tcp", "tcp"};
  const uint32_t segment = here.import(there);
  for (uint32_t slot = 0; slot < kSlots; slot++) {
    fill(there.pool->slot(slot), kSlotBytes, random.next());
    there.pool->setSlot(slot, 1, kGrantRead | kGrantWrite);
  }
  for (int batch = 0; batch < 10; batch++) {
    here.ended.clear();
    const bool write = random.below(2) == 1;
    std::vector<uint64_t> bytes;
    for (uint32_t slot = 0; slot < kSlots; slot++) {
      if (write) fill(here.pool->slot(slot), kSlotBytes, random.next());
      bytes.push_back(1 + random.below(kSlotBytes));
      const auto slices = slicesOf(segment, slot, slot, bytes[slot], 1 + random.below(40'000), 3,
                                   static_cast<uint32_t>(random.below(3)));
      CHECK(here.engine.submit({slot, write ? OpKind::write : OpKind::read, random.below(2) == 1,
                                kSum, 0, 20 * kSecond, slices}) == Status::ok);
    }
    here.engine.kick();
    CHECK(here.await(kSlots, 25 * kSecond));
    for (uint32_t slot = 0; slot < kSlots; slot++) {
      const Event& event = here.ended[slot];
      CHECK(event.status == Status::ok);
      CHECK(std::memcmp(here.pool->slot(slot), there.pool->slot(slot), bytes[slot]) == 0);
      CHECK(event.crc == crc32cSoftware(0, there.pool->slot(slot), bytes[slot]));
      CHECK(here.pool->open[slot].load() == 0);
      CHECK(released(*there.pool, slot));
    }
  }
  CHECK(here.engine.stop() && there.engine.stop());
}

// A peer that goes in the middle: every transfer ends, ok only with the right bytes.
void peerGoes(Random random) {
  Side here{"local", "tcp"};
  auto there = std::make_unique<Side>(std::initializer_list<const char*>{"local", "tcp"});
  const uint32_t segment = here.import(*there);
  std::vector<uint32_t> sums;
  for (uint32_t slot = 0; slot < kSlots; slot++) {
    fill(there->pool->slot(slot), kSlotBytes, random.next());
    sums.push_back(crc32c(0, there->pool->slot(slot), kSlotBytes));
    there->pool->setSlot(slot, 1, kGrantRead | kGrantWrite);
  }
  const size_t count = 64;
  for (uint64_t tag = 0; tag < count; tag++) {
    const auto slot = static_cast<uint32_t>(tag % kSlots);
    const bool write = tag >= count / 2;
    const auto slices = slicesOf(segment, slot, slot, kSlotBytes, 16 << 10, 2,
                                 static_cast<uint32_t>(tag));
    CHECK(here.engine.submit({tag, write ? OpKind::write : OpKind::read, false,
                              write ? 0u : kVerify, sums[slot], 3 * kSecond, slices}) ==
          Status::ok);
  }
  here.engine.kick();
  usleep(static_cast<useconds_t>(random.below(3'000)));
  CHECK(there->engine.stop());
  there.reset();
  CHECK(here.await(count, 8 * kSecond));
  for (uint32_t slot = 0; slot < kSlots; slot++) CHECK(here.pool->open[slot].load() == 0);
  CHECK(here.engine.stop());
}

// Someone takes the connection and never says a word: the deadline holds.
void peerStalls() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  CHECK(bind(listener, reinterpret_cast<sockaddr*>(&at), size) == 0 && listen(listener, 8) == 0);
  CHECK(getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size) == 0);
  BlobWriter address;
  address.u8(1);
  address.text("127.0.0.1");
  address.u16(ntohs(at.sin_port));
  address.u64(1);
  BlobWriter key;
  key.u8(1);
  key.u64(1);
  const Blob blob =
      encodeDescriptor({1, 1, kSlotBytes, kSlots, {{"tcp", 0, address.take(), key.take()}}});
  Side here{"tcp"};
  const int segment = here.engine.importSegment(blob.data(), blob.size());
  CHECK(segment >= 0);
  const int64_t start = nowNs();
  const auto slices = slicesOf(static_cast<uint32_t>(segment), 0, 0, kSlotBytes, kSlotBytes, 1, 0);
  CHECK(here.engine.submit({7, OpKind::read, false, 0, 0, kSecond / 5, slices}) == Status::ok);
  here.engine.kick();
  CHECK(here.await(1, 5 * kSecond));
  CHECK(here.ended[7].status == Status::timedOut);
  CHECK(nowNs() - start >= kSecond / 5);
  CHECK(here.pool->open[0].load() == 0);
  CHECK(here.engine.stop());
  close(listener);
}

// The owner reuses slots by the rules while a reader reads them: ok means the generation asked for.
void slotsAreReused(Random random) {
  Side here{"tcp", "local"};
  Side there{"tcp", "local"};
  const uint32_t segment = here.import(there);
  std::atomic<uint64_t> generation{1};
  std::atomic<bool> over{false};
  const auto publish = [&](uint64_t g) {
    fill(there.pool->slot(0), kSlotBytes, g);
    there.pool->setSlot(0, g, kGrantRead);
    generation.store(g);
  };
  publish(1);
  std::thread owner([&] {
    for (uint64_t g = 2; !over.load(); g++) {
      there.pool->setSlot(0, g, 0);
      while (there.pool->busy(0)) std::this_thread::yield();
      publish(g);
      usleep(50);
    }
  });
  std::vector<std::byte> expected(kSlotBytes);
  for (uint64_t tag = 0; tag < 200; tag++) {
    here.ended.clear();
    const uint64_t g = generation.load();
    fill(expected.data(), kSlotBytes, g);
    auto slices = slicesOf(segment, 0, 0, kSlotBytes, kSlotBytes, 2,
                           static_cast<uint32_t>(random.below(2)));
    slices[0].generation = g;
    const uint32_t sum = crc32c(0, expected.data(), kSlotBytes);
    CHECK(here.engine.submit({tag, OpKind::read, false, kVerify, sum, 20 * kSecond, slices}) ==
          Status::ok);
    here.engine.kick();
    CHECK(here.await(1, 25 * kSecond));
    if (here.ended[tag].status != Status::ok) continue;
    CHECK(std::memcmp(here.pool->slot(0), expected.data(), kSlotBytes) == 0);
  }
  over.store(true);
  owner.join();
  CHECK(here.engine.stop() && there.engine.stop());
}

void digests() {
  const Mac mac = hmacSha256("Jefe", "what do ya want for nothing?", 28);  // RFC 4231, case 2.
  const uint8_t head[] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e};
  CHECK(std::memcmp(mac.data(), head, sizeof head) == 0);
  std::vector<std::byte> from(100'000), to(100'000);
  fill(from.data(), 99'992, 5);
  for (const size_t size : {0ul, 1ul, 4'095ul, 99'999ul}) {
    const uint32_t sum = crc32cSoftware(0, from.data(), size);
    CHECK(crc32c(0, from.data(), size) == sum);
    CHECK(copyCrc32c(to.data(), from.data(), size, true) == sum);
    CHECK(std::memcmp(to.data(), from.data(), size) == 0);
    CHECK(copyCrc32c(to.data() + 1, from.data() + 1, size / 2, false) ==
          crc32cSoftware(0, from.data() + 1, size / 2));
    const uint32_t a = crc32c(0, from.data(), size / 3);
    const uint32_t b = crc32c(0, from.data() + size / 3, size - size / 3);
    CHECK(crc32cCombine(a, b, size - size / 3) == sum);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const uint64_t seed = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 1;
  digests();
  for (int round = 0; round < rounds; round++) {
    const uint64_t s = (seed + static_cast<uint64_t>(round)) * 0x9e3779b97f4a7c15ull + 1;
    std::fprintf(stderr, "seed %lu\n", seed + static_cast<uint64_t>(round));
    movesArrive({s});
    peerGoes({s});
    slotsAreReused({s});
    peerStalls();
  }
  return 0;
}
