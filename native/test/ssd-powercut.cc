// Cuts the power under a block store, many times: a device that completes out of order and forgets
// or tears whatever was not synced. After each cut a new process opens what is left and checks that
// every acknowledged block is there with its bytes, and nothing else that is not on its way.
//
// usage: ssd-powercut FOLDER SEED CUTS [ring|threads]
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <vector>

#include "crc32c.h"
#include "ssd-store.h"

namespace {

using namespace moontide;

constexpr uint32_t kSlotBytes = 16384;
constexpr uint32_t kSlots = 40;
constexpr uint32_t kKeys = 64;
constexpr uint32_t kSectorBytes = 512;
constexpr int kWriteCode = 10;

// What the process that dies has been told, kept where its death does not reach.
struct Told {
  uint32_t version;  // Of the block that is stored; 0: none.
  uint32_t coming;   // Of a put under way; 0: none.
  uint32_t leaving;  // 1: a remove is under way.
};

struct Shared {
  Told told[kKeys];
  uint32_t nextVersion;
  uint64_t acknowledged;
  uint64_t served;
};

Shared* shared;

[[noreturn]] void fail(const char* what, uint32_t key, uint64_t detail) {
  fprintf(stderr, "%s: key %u, %llu\n", what, key, static_cast<unsigned long long>(detail));
  _exit(1);
}

// Done in order and at once on the file, remembered until synced.
class PowerCutIo final : public SsdIo {
 public:
  PowerCutIo(uint64_t seed, uint32_t cutAfter) : random_(seed), left_(cutAfter) {}

  const char* name() const override { return "power cut"; }
  std::string addBuffer(uint8_t*, size_t) override { return ""; }

  void submit(IoOp* op) override {
    Started started{op, {}};
    if (op->kind == IoKind::sync) {
      for (size_t i = 0; i < unsynced_.size(); i++) {
        if (unsynced_[i].fd == op->fd) started.covers.push_back(unsynced_[i].serial);
      }
    }
    started_.push_back(std::move(started));
  }

  void wait(std::vector<IoOp*>& done, int64_t) override {
    if (started_.empty()) {
      std::unique_lock lock(mutex_);
      woken_.wait(lock, [this] { return wake_; });
      wake_ = false;
      return;
    }
    if (left_-- == 0) cut();
    const size_t pick = random_() % started_.size();
    const Started next = started_[pick];
    started_.erase(started_.begin() + static_cast<ptrdiff_t>(pick));
    perform(next);
    done.push_back(next.op);
  }

  void wake() override {
    std::lock_guard lock(mutex_);
    wake_ = true;
    woken_.notify_one();
  }

 private:
  struct Started {
    IoOp* op;
    std::vector<uint64_t> covers;
  };
  struct Unsynced {
    uint64_t serial;
    int fd;
    uint64_t offset;
    std::vector<uint8_t> before;
  };

  void perform(const Started& started) {
    IoOp* op = started.op;
    if (op->kind == IoKind::sync) {
      for (const uint64_t serial : started.covers) {
        std::erase_if(unsynced_, [&](const Unsynced& w) { return w.serial == serial; });
      }
      return;
    }
    if (op->kind == IoKind::read) {
      transfer(op->fd, op->data, op->sizeBytes, op->offset, false);
      return;
    }
    if (!op->durable) remember(op);
    transfer(op->fd, op->data, op->sizeBytes, op->offset, true);
  }

  void remember(IoOp* op) {
    Unsynced write{serial_++, op->fd, op->offset, std::vector<uint8_t>(op->sizeBytes)};
    AlignedBuffer buffer(op->sizeBytes);
    transfer(op->fd, buffer.data(), op->sizeBytes, op->offset, false);
    memcpy(write.before.data(), buffer.data(), op->sizeBytes);
    unsynced_.push_back(std::move(write));
  }

  static void transfer(int fd, uint8_t* data, size_t size, uint64_t offset, bool write) {
    const auto at = static_cast<off_t>(offset);
    const ssize_t moved = write ? pwrite(fd, data, size, at) : pread(fd, data, size, at);
    if (moved != static_cast<ssize_t>(size)) fail("the file is short", 0, offset);
  }

  // Sectors under way land or not; those not synced stay or not.
  [[noreturn]] void cut() {
    for (const Started& started : started_) {
      IoOp* op = started.op;
      if (op->kind == IoKind::write) {
        remember(op);
        transfer(op->fd, op->data, op->sizeBytes, op->offset, true);
      }
    }
    for (auto write = unsynced_.rbegin(); write != unsynced_.rend(); write++) {
      AlignedBuffer now(write->before.size());
      transfer(write->fd, now.data(), now.sizeBytes(), write->offset, false);
      const bool whole = random_() % 4 == 0;
      for (size_t at = 0; at < now.sizeBytes(); at += kSectorBytes) {
        if (whole || random_() % 2 == 0) memcpy(now.data() + at, &write->before[at], kSectorBytes);
      }
      transfer(write->fd, now.data(), now.sizeBytes(), write->offset, true);
    }
    _exit(kWriteCode);
  }

  std::mt19937_64 random_;
  uint32_t left_;
  uint64_t serial_ = 0;
  std::vector<Started> started_;
  std::vector<Unsynced> unsynced_;
  std::mutex mutex_;
  std::condition_variable woken_;
  bool wake_ = false;
};

BlockKey keyOf(uint32_t key) {
  BlockKey block{};
  memcpy(block.bytes.data(), &key, sizeof key);
  return block;
}

uint32_t lengthOf(uint32_t version) { return 1 + version * 7919u % kSlotBytes; }

void fill(uint8_t* data, uint32_t key, uint32_t version) {
  std::mt19937 bytes(key * 65537u + version);
  const uint32_t length = lengthOf(version);
  for (uint32_t i = 0; i < length; i++) data[i] = static_cast<uint8_t>(bytes());
}

// A store and the wait for its answers.
class Client {
 public:
  explicit Client(SsdOptions options)
      : store_(std::move(options), [this] {
          std::lock_guard lock(mutex_);
          ready_ = true;
          some_.notify_one();
        }) {
    const SsdStore::Drained opened = wait();
    if (!opened.openError.empty()) fail(opened.openError.c_str(), 0, 0);
    batches_ = opened.batches.size();
  }

  SsdStore& store() { return store_; }

  SsdStore::Drained wait() {
    std::unique_lock lock(mutex_);
    some_.wait(lock, [this] { return ready_; });
    ready_ = false;
    lock.unlock();
    return store_.drain();
  }

 private:
  std::mutex mutex_;
  std::condition_variable some_;
  bool ready_ = false;
  size_t batches_ = 0;
  SsdStore store_;
};

SsdOptions optionsFor(const char* folder, const char* backend) {
  SsdOptions options;
  options.folder = folder;
  options.slotBytes = kSlotBytes;
  options.segmentBytes = kSlotBytes * 16;
  options.capacityBytes = kSlotBytes * kSlots;
  options.queueDepth = 8;
  options.backend = strcmp(backend, "threads") == 0 ? SsdOptions::Backend::threads
                                                    : SsdOptions::Backend::automatic;
  return options;
}

std::unique_ptr<SsdBatch> batchOf(SsdVerb verb, uint32_t key, uint8_t* data, uint32_t size) {
  auto batch = std::make_unique<SsdBatch>();
  batch->verb = verb;
  batch->id = key;
  batch->items.push_back({keyOf(key), data, size, 0, SsdStatus::closed});
  return batch;
}

// Puts and removes at random until the power goes.
[[noreturn]] void write(const char* folder, uint64_t seed, const char* backend) {
  std::mt19937_64 random(seed);
  SsdOptions options = optionsFor(folder, backend);
  const auto cutAfter = static_cast<uint32_t>(random() % 400);
  options.wrapIo = [=](std::unique_ptr<SsdIo>) {
    return std::make_unique<PowerCutIo>(seed, cutAfter);
  };
  Client client(std::move(options));
  AlignedBuffer memory(static_cast<size_t>(kKeys) * kSlotBytes);
  uint32_t open = 0;
  for (;;) {
    const auto key = static_cast<uint32_t>(random() % kKeys);
    Told& told = shared->told[key];
    uint8_t* data = memory.data() + static_cast<size_t>(key) * kSlotBytes;
    if (told.coming == 0 && told.leaving == 0 && open < 12) {
      open++;
      if (told.version == 0) {
        const uint32_t version = ++shared->nextVersion;
        fill(data, key, version);
        told.coming = version;
        client.store().submit(batchOf(SsdVerb::put, key, data, lengthOf(version)));
      } else {
        told.leaving = 1;
        client.store().submit(batchOf(SsdVerb::remove, key, nullptr, 0));
      }
      continue;
    }
    for (const auto& batch : client.wait().batches) {
      open--;
      Told& asked = shared->told[batch->id];
      const SsdStatus status = batch->items[0].status;
      const bool put = batch->verb == SsdVerb::put;
      if (status == SsdStatus::ok) {
        asked.version = put ? asked.coming : 0;
        shared->acknowledged++;
      } else if (!(put && status == SsdStatus::full)) {
        fail("unexpected status", static_cast<uint32_t>(batch->id), static_cast<int>(status));
      }
      asked.coming = 0;
      asked.leaving = 0;
    }
  }
}

[[noreturn]] void check(const char* folder, const char* backend) {
  Client client(optionsFor(folder, backend));
  AlignedBuffer memory(kSlotBytes);
  AlignedBuffer expected(kSlotBytes);
  for (uint32_t key = 0; key < kKeys; key++) {
    Told& told = shared->told[key];
    client.store().submit(batchOf(SsdVerb::get, key, memory.data(), kSlotBytes));
    SsdStore::Drained answer;
    while (answer.batches.empty()) answer = client.wait();
    const SsdItem& item = answer.batches[0]->items[0];
    if (item.status == SsdStatus::missing) {
      if (told.version != 0 && told.leaving == 0) fail("acknowledged, lost", key, told.version);
      told = {};
      continue;
    }
    if (item.status != SsdStatus::ok) fail("unreadable", key, static_cast<int>(item.status));
    const uint32_t version = told.version != 0 ? told.version : told.coming;
    if (version == 0) fail("served, never stored", key, item.sizeBytes);
    fill(expected.data(), key, version);
    if (item.sizeBytes != lengthOf(version)) fail("wrong length", key, item.sizeBytes);
    if (memcmp(expected.data(), memory.data(), item.sizeBytes) != 0) {
      fail("wrong bytes", key, version);
    }
    told = {version, 0, 0};
    shared->served++;
  }
  const SsdStats stats = client.store().stats();
  if (stats.lostBlocks + stats.quarantinedSlots + stats.lostJournalPages != 0) {
    fail("counted as lost", 0, stats.lostBlocks);
  }
  _exit(0);
}

template <typename F>
int inChild(F&& body) {
  const pid_t child = fork();
  if (child == 0) body();
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const char* folder = argv[1];
  const uint64_t seed = strtoull(argv[2], nullptr, 10);
  const uint64_t cuts = strtoull(argv[3], nullptr, 10);
  const char* backend = argc > 4 ? argv[4] : "ring";
  shared = static_cast<Shared*>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
                                     MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  for (uint64_t i = 0; i < cuts; i++) {
    const uint64_t cutSeed = seed * 1'000'003 + i;
    if (inChild([&] { write(folder, cutSeed, backend); }) != kWriteCode ||
        inChild([&] { check(folder, backend); }) != 0) {
      fprintf(stderr, "seed %llu, cut %llu\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(i));
      return 1;
    }
  }
  printf("{\"cuts\":%llu,\"acknowledged\":%llu,\"served\":%llu}\n",
         static_cast<unsigned long long>(cuts),
         static_cast<unsigned long long>(shared->acknowledged),
         static_cast<unsigned long long>(shared->served));
  return 0;
}
