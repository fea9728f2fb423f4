// The fallback where io_uring is forbidden: threads that block in pread, pwrite and fdatasync.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "ssd-io.h"

namespace moontide {
namespace {

// More threads than a device has use for only cost memory.
constexpr uint32_t kMaxThreads = 32;

void perform(IoOp* op) {
  if (op->kind == IoKind::sync) {
    if (fdatasync(op->fd) < 0) op->error = errno;
    return;
  }
  while (op->doneBytes < op->sizeBytes) {
    uint8_t* data = op->data + op->doneBytes;
    const size_t size = op->sizeBytes - op->doneBytes;
    const off_t offset = static_cast<off_t>(op->offset + op->doneBytes);
    const ssize_t moved = op->kind == IoKind::read ? pread(op->fd, data, size, offset)
                                                   : pwrite(op->fd, data, size, offset);
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0) {
      op->error = moved < 0 ? errno : EIO;
      return;
    }
    op->doneBytes += static_cast<uint32_t>(moved);
  }
}

class ThreadIo final : public SsdIo {
 public:
  explicit ThreadIo(uint32_t depth) {
    const uint32_t count = std::clamp(depth, 1u, kMaxThreads);
    for (uint32_t i = 0; i < count; i++) threads_.emplace_back([this] { work(); });
  }

  ~ThreadIo() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    todoReady_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  const char* name() const override { return "threads"; }

  std::string addBuffer(uint8_t*, size_t) override {
    return "registering buffers: not with threads";
  }

  void submit(IoOp* op) override {
    {
      std::lock_guard lock(mutex_);
      todo_.push_back(op);
    }
    todoReady_.notify_one();
  }

  void wait(std::vector<IoOp*>& done, int64_t timeoutNs) override {
    std::unique_lock lock(mutex_);
    const auto ready = [this] { return woken_ || !done_.empty(); };
    if (timeoutNs < 0) {
      doneReady_.wait(lock, ready);
    } else {
      doneReady_.wait_for(lock, std::chrono::nanoseconds(timeoutNs), ready);
    }
    woken_ = false;
    done.insert(done.end(), done_.begin(), done_.end());
    done_.clear();
  }

  void wake() override {
    {
      std::lock_guard lock(mutex_);
      woken_ = true;
    }
    doneReady_.notify_one();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      todoReady_.wait(lock, [this] { return stopping_ || !todo_.empty(); });
      if (todo_.empty()) return;
      IoOp* op = todo_.front();
      todo_.pop_front();
      lock.unlock();
      perform(op);
      lock.lock();
      done_.push_back(op);
      doneReady_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable todoReady_;
  std::condition_variable doneReady_;
  std::deque<IoOp*> todo_;
  std::vector<IoOp*> done_;
  std::vector<std::thread> threads_;
  bool woken_ = false;
  bool stopping_ = false;
};

}  // namespace

std::unique_ptr<SsdIo> makeThreadIo(uint32_t depth) { return std::make_unique<ThreadIo>(depth); }

}  // namespace moontide
