#include "ssd-segments.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace moontide {

SsdSegments::~SsdSegments() {
  for (const Segment& segment : segments_) {
    if (segment.fd >= 0) close(segment.fd);
  }
  if (folderFd_ >= 0) close(folderFd_);
}

std::string SsdSegments::open(const std::string& folder, const Geometry& geometry, bool direct) {
  folder_ = folder;
  geometry_ = geometry;
  if (mkdir(folder.c_str(), 0755) < 0 && errno != EEXIST) return folder + ": " + strerror(errno);
  folderFd_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folderFd_ < 0) return folder + ": " + strerror(errno);
  if (direct) {
    const std::string reason = probe();
    if (!reason.empty()) return reason;
  } else {
    directReason_ = "not asked for";
  }
  for (size_t i = 0;; i++) {
    const int error = openSegment(i, false);
    if (error == ENOENT) break;
    if (error == EBUSY) return "another process has this store open";
    if (error != 0) return path(i) + ": " + strerror(error);
  }
  return "";
}

// Sets direct_; what it returns is a folder that cannot be written.
std::string SsdSegments::probe() {
  const std::string name = folder_ + "/probe-" + std::to_string(getpid());
  int fd = ::open(name.c_str(), O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0644);
  if (fd < 0 && errno != EINVAL) return name + ": " + strerror(errno);
  unlink(name.c_str());
  if (fd < 0) {
    directReason_ = "the filesystem has no O_DIRECT";
    return "";
  }
  AlignedBuffer page(kPageBytes);
  memset(page.data(), 0, kPageBytes);
  const bool refused = pwrite(fd, page.data(), kPageBytes, 0) < 0 && errno == EINVAL;
  close(fd);
  direct_ = !refused;
  if (refused) directReason_ = "the filesystem refuses O_DIRECT writes of 4096 bytes";
  return "";
}

std::string SsdSegments::path(size_t segment) const {
  char name[32];
  snprintf(name, sizeof name, "/segment-%06zu", segment);
  return folder_ + name;
}

int SsdSegments::openSegment(size_t segment, bool create) {
  const int flags = O_RDWR | O_CLOEXEC | (direct_ ? O_DIRECT : 0) | (create ? O_CREAT : 0);
  const int fd = ::open(path(segment).c_str(), flags, 0644);
  if (fd < 0) return errno;
  if (!lockFile(fd)) {
    close(fd);
    return EBUSY;
  }
  struct stat status;
  if (fstat(fd, &status) < 0 || (create && fsync(folderFd_) < 0)) {
    const int error = errno;
    close(fd);
    return error;
  }
  const uint64_t slots = static_cast<uint64_t>(status.st_size) / geometry_.slotBytes;
  segments_.push_back(
      {fd, static_cast<uint32_t>(std::min<uint64_t>(slots, geometry_.segmentSlots))});
  return 0;
}

uint64_t SsdSegments::slots() const {
  uint64_t sum = 0;
  for (const Segment& segment : segments_) sum += segment.slots;
  return sum;
}

bool SsdSegments::has(uint32_t slot) const {
  const size_t segment = slot / geometry_.segmentSlots;
  return segment < segments_.size() && slot % geometry_.segmentSlots < segments_[segment].slots;
}

int SsdSegments::grow(uint64_t maxSlots, std::vector<uint32_t>& added) {
  size_t i = 0;
  const auto wanted = [&] {
    const uint64_t first = i * geometry_.segmentSlots;
    return static_cast<uint32_t>(
        std::min<uint64_t>(geometry_.segmentSlots, maxSlots > first ? maxSlots - first : 0));
  };
  while (i < segments_.size() && segments_[i].slots >= wanted()) i++;
  uint32_t target = wanted();
  if (target == 0) return ENOSPC;
  if (i == segments_.size()) {
    const int error = openSegment(i, true);
    if (error != 0) return error;
  }
  Segment& segment = segments_[i];
  const uint32_t before = segment.slots;
  // A disk that is almost full still has room for some.
  while (target > before) {
    const int error = extend(segment, target);
    if (error == 0) break;
    const uint32_t half = before + (target - before) / 2;
    if (half == before) return error;
    target = half;
  }
  for (uint32_t slot = before; slot < segment.slots; slot++) {
    added.push_back(static_cast<uint32_t>(i) * geometry_.segmentSlots + slot);
  }
  return 0;
}

int SsdSegments::extend(Segment& segment, uint32_t slots) {
  const off_t from = static_cast<off_t>(segment.slots) * geometry_.slotBytes;
  const off_t to = static_cast<off_t>(slots) * geometry_.slotBytes;
  int error = fallocate(segment.fd, 0, from, to - from) < 0 ? errno : 0;
  // Without preallocation a full disk shows at the write, as back-pressure too.
  if (error == EOPNOTSUPP) error = ftruncate(segment.fd, to) < 0 ? errno : 0;
  if (error == 0 && fsync(segment.fd) < 0) error = errno;
  if (error != 0) {
    [[maybe_unused]] const int ignored = ftruncate(segment.fd, from);
    return error;
  }
  segment.slots = slots;
  return 0;
}

}  // namespace moontide
