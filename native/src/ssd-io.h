// How the block store reaches its files: a few kinds of operation, started without blocking and
// finished later. Two backends: io_uring and a pool of threads. One thread owns an SsdIo and makes
// all calls; only wake() may come from anywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace moontide {

enum class IoKind : uint8_t { read, write, sync };

struct IoOp {
  IoKind kind = IoKind::read;
  bool durable = false;  // The descriptor is O_DSYNC: once done, the write survives a power cut.
  int fd = -1;
  uint64_t offset = 0;
  uint8_t* data = nullptr;
  uint32_t sizeBytes = 0;
  uint32_t doneBytes = 0;  // Kept by the backend: a short transfer is continued.
  int error = 0;           // errno once finished, 0 for all of sizeBytes moved.
};

class SsdIo {
 public:
  virtual ~SsdIo() = default;

  virtual const char* name() const = 0;

  // Memory that operations will name. Returns why its pages could not be registered with the
  // kernel, or nothing; operations work either way.
  virtual std::string addBuffer(uint8_t* base, size_t sizeBytes) = 0;

  // The caller keeps the operation alive until wait() returns it, and at most `depth` in flight.
  virtual void submit(IoOp* op) = 0;

  // Appends finished operations; returns when there is one, after wake(), or after timeoutNs
  // (negative: no limit).
  virtual void wait(std::vector<IoOp*>& done, int64_t timeoutNs) = 0;

  virtual void wake() = 0;
};

// Null with a reason when the kernel or a seccomp filter forbids io_uring.
std::unique_ptr<SsdIo> makeRingIo(uint32_t depth, std::string& whyNot);

std::unique_ptr<SsdIo> makeThreadIo(uint32_t depth);

}  // namespace moontide
