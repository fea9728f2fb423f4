// io_uring by raw system calls: one ring, registered buffers, one io_uring_enter per round.
#include <linux/io_uring.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "ssd-io.h"

namespace moontide {
namespace {

// The kernel's limit for one registered buffer.
constexpr size_t kChunkBytes = 1ull << 30;
constexpr uint32_t kMaxChunks = 256;

int ringSetup(uint32_t entries, io_uring_params* params) {
  return static_cast<int>(syscall(__NR_io_uring_setup, entries, params));
}

int ringRegister(int fd, unsigned opcode, const void* arg, unsigned count) {
  return static_cast<int>(syscall(__NR_io_uring_register, fd, opcode, arg, count));
}

template <typename T>
T* at(void* base, uint32_t offset) {
  return reinterpret_cast<T*>(static_cast<uint8_t*>(base) + offset);
}

class RingIo final : public SsdIo {
 public:
  ~RingIo() override {
    if (sqes_ != nullptr) munmap(sqes_, sqesBytes_);
    if (rings_ != nullptr) munmap(rings_, ringsBytes_);
    if (ring_ >= 0) close(ring_);
    if (wakeFd_ >= 0) close(wakeFd_);
  }

  std::string open(uint32_t depth) {
    io_uring_params params{};
    std::string reason = setup(depth, params);
    if (!reason.empty()) return reason;
    const unsigned needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
    if ((params.features & needed) != needed) return "the kernel's io_uring is older than 5.11";
    reason = map(params);
    if (!reason.empty()) return reason;
    io_uring_rsrc_register table{};
    table.nr = kMaxChunks;
    table.flags = IORING_RSRC_REGISTER_SPARSE;
    if (ringRegister(ring_, IORING_REGISTER_BUFFERS2, &table, sizeof table) < 0) {
      tableError_ = errno;
    }
    wakeFd_ = eventfd(0, EFD_CLOEXEC);
    if (wakeFd_ < 0) return std::string("eventfd: ") + strerror(errno);
    armWake();
    return "";
  }

  const char* name() const override { return "io_uring"; }

  std::string addBuffer(uint8_t* base, size_t sizeBytes) override {
    if (tableError_ != 0) return std::string("registering buffers: ") + strerror(tableError_);
    for (size_t from = 0; from < sizeBytes; from += kChunkBytes) {
      if (chunks_.size() == kMaxChunks) return "registering buffers: more than 256 GiB";
      const size_t size = std::min(kChunkBytes, sizeBytes - from);
      iovec range{base + from, size};
      io_uring_rsrc_update2 update{};
      update.offset = static_cast<uint32_t>(chunks_.size());
      update.data = reinterpret_cast<uint64_t>(&range);
      update.nr = 1;
      if (ringRegister(ring_, IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof update) < 0) {
        return std::string("registering buffers: ") + strerror(errno);
      }
      chunks_.push_back({base + from, size});
    }
    return "";
  }

  void submit(IoOp* op) override {
    io_uring_sqe* sqe = nextSqe();
    sqe->fd = op->fd;
    sqe->user_data = reinterpret_cast<uint64_t>(op);
    if (op->kind == IoKind::sync) {
      sqe->opcode = IORING_OP_FSYNC;
      sqe->fsync_flags = IORING_FSYNC_DATASYNC;
      return;
    }
    const bool read = op->kind == IoKind::read;
    uint8_t* data = op->data + op->doneBytes;
    const uint32_t size = op->sizeBytes - op->doneBytes;
    const int chunk = chunkOf(data, size);
    if (chunk >= 0) {
      sqe->opcode = read ? IORING_OP_READ_FIXED : IORING_OP_WRITE_FIXED;
      sqe->buf_index = static_cast<uint16_t>(chunk);
    } else {
      sqe->opcode = read ? IORING_OP_READ : IORING_OP_WRITE;
    }
    sqe->addr = reinterpret_cast<uint64_t>(data);
    sqe->len = size;
    sqe->off = op->offset + op->doneBytes;
  }

  void wait(std::vector<IoOp*>& done, int64_t timeoutNs) override {
    const size_t before = done.size();
    bool woken = reap(done);
    const bool idle = done.size() == before && !woken;
    if (!idle && queued_ == 0) return;
    enter(idle ? 1 : 0, timeoutNs);
    reap(done);
  }

  void wake() override {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(wakeFd_, &one, sizeof one);
  }

 private:
  struct Chunk {
    uint8_t* base;
    size_t sizeBytes;
  };

  std::string setup(uint32_t depth, io_uring_params& params) {
    // Newest first: completions run when this thread asks, without interrupting it.
    const unsigned choices[] = {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
                                IORING_SETUP_COOP_TASKRUN, 0};
    for (const unsigned flags : choices) {
      params = {};
      params.flags = flags | IORING_SETUP_CLAMP;
      ring_ = ringSetup(depth * 2 + 8, &params);
      if (ring_ >= 0) return "";
      if (errno != EINVAL) break;
    }
    if (errno == EPERM || errno == EACCES) return "io_uring is forbidden here (EPERM)";
    return std::string("io_uring_setup: ") + strerror(errno);
  }

  std::string map(const io_uring_params& params) {
    ringsBytes_ = std::max<size_t>(params.sq_off.array + params.sq_entries * sizeof(uint32_t),
                                   params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe));
    const int access = PROT_READ | PROT_WRITE;
    const int flags = MAP_SHARED | MAP_POPULATE;
    void* rings = mmap(nullptr, ringsBytes_, access, flags, ring_, IORING_OFF_SQ_RING);
    if (rings == MAP_FAILED) return std::string("mapping the ring: ") + strerror(errno);
    rings_ = rings;
    sqesBytes_ = params.sq_entries * sizeof(io_uring_sqe);
    void* sqes = mmap(nullptr, sqesBytes_, access, flags, ring_, IORING_OFF_SQES);
    if (sqes == MAP_FAILED) return std::string("mapping the ring: ") + strerror(errno);
    sqes_ = static_cast<io_uring_sqe*>(sqes);
    sqTail_ = at<uint32_t>(rings, params.sq_off.tail);
    sqMask_ = *at<uint32_t>(rings, params.sq_off.ring_mask);
    sqArray_ = at<uint32_t>(rings, params.sq_off.array);
    cqHead_ = at<uint32_t>(rings, params.cq_off.head);
    cqTail_ = at<uint32_t>(rings, params.cq_off.tail);
    cqMask_ = *at<uint32_t>(rings, params.cq_off.ring_mask);
    cqes_ = at<io_uring_cqe>(rings, params.cq_off.cqes);
    entries_ = params.sq_entries;
    return "";
  }

  io_uring_sqe* nextSqe() {
    if (queued_ == entries_) enter(0, 0);
    const uint32_t tail = *sqTail_;
    const uint32_t index = tail & sqMask_;
    memset(&sqes_[index], 0, sizeof sqes_[index]);
    sqArray_[index] = index;
    // Only this thread submits, and the kernel looks when it is entered: the entry may be filled
    // in after the tail moved.
    __atomic_store_n(sqTail_, tail + 1, __ATOMIC_RELEASE);
    queued_++;
    return &sqes_[index];
  }

  void enter(unsigned minComplete, int64_t timeoutNs) {
    __kernel_timespec time{timeoutNs / 1'000'000'000, timeoutNs % 1'000'000'000};
    io_uring_getevents_arg arg{};
    arg.sigmask_sz = 8;
    if (timeoutNs >= 0) arg.ts = reinterpret_cast<uint64_t>(&time);
    const unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
    const long taken = syscall(__NR_io_uring_enter, ring_, queued_, minComplete, flags, &arg,
                               sizeof arg);
    if (taken > 0) queued_ -= static_cast<uint32_t>(taken);
    // After ETIME, EINTR, EAGAIN or EBUSY the caller comes round again.
  }

  // True when wake() was among the completions.
  bool reap(std::vector<IoOp*>& done) {
    bool woken = false;
    uint32_t head = *cqHead_;
    while (head != __atomic_load_n(cqTail_, __ATOMIC_ACQUIRE)) {
      const io_uring_cqe cqe = cqes_[head & cqMask_];
      __atomic_store_n(cqHead_, ++head, __ATOMIC_RELEASE);
      if (cqe.user_data == 0) {
        woken = true;
        armWake();
      } else {
        finish(reinterpret_cast<IoOp*>(cqe.user_data), cqe.res, done);
      }
    }
    return woken;
  }

  void finish(IoOp* op, int32_t result, std::vector<IoOp*>& done) {
    if (result == -EAGAIN || result == -EINTR) return submit(op);
    if (result < 0) {
      op->error = -result;
    } else if (op->kind != IoKind::sync) {
      op->doneBytes += static_cast<uint32_t>(result);
      if (result == 0) op->error = EIO;  // Behind the file's end.
      if (result > 0 && op->doneBytes < op->sizeBytes) return submit(op);
    }
    done.push_back(op);
  }

  int chunkOf(const uint8_t* data, uint32_t sizeBytes) const {
    for (size_t i = 0; i < chunks_.size(); i++) {
      const Chunk& chunk = chunks_[i];
      if (data >= chunk.base && data + sizeBytes <= chunk.base + chunk.sizeBytes) {
        return static_cast<int>(i);
      }
    }
    return -1;
  }

  void armWake() {
    io_uring_sqe* sqe = nextSqe();
    sqe->opcode = IORING_OP_READ;
    sqe->fd = wakeFd_;
    sqe->addr = reinterpret_cast<uint64_t>(&wakeCount_);
    sqe->len = sizeof wakeCount_;
  }

  int ring_ = -1;
  int wakeFd_ = -1;
  int tableError_ = 0;
  uint64_t wakeCount_ = 0;
  void* rings_ = nullptr;
  size_t ringsBytes_ = 0;
  io_uring_sqe* sqes_ = nullptr;
  size_t sqesBytes_ = 0;
  uint32_t* sqTail_ = nullptr;
  uint32_t* sqArray_ = nullptr;
  uint32_t sqMask_ = 0;
  uint32_t* cqHead_ = nullptr;
  uint32_t* cqTail_ = nullptr;
  uint32_t cqMask_ = 0;
  io_uring_cqe* cqes_ = nullptr;
  uint32_t entries_ = 0;
  uint32_t queued_ = 0;  // Written to the ring, not yet taken by the kernel.
  std::vector<Chunk> chunks_;
};

}  // namespace

std::unique_ptr<SsdIo> makeRingIo(uint32_t depth, std::string& whyNot) {
  auto io = std::make_unique<RingIo>();
  whyNot = io->open(depth);
  if (!whyNot.empty()) return nullptr;
  return io;
}

}  // namespace moontide
