// The files that hold blocks: preallocated segments of fixed slots.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ssd-journal.h"

namespace moontide {

class SsdSegments {
 public:
  SsdSegments() = default;
  ~SsdSegments();
  SsdSegments(const SsdSegments&) = delete;
  SsdSegments& operator=(const SsdSegments&) = delete;

  // Makes the folder if need be, finds out whether O_DIRECT works there (`direct`: whether it is
  // wanted) and opens the segments that exist. Returns why it can't, or nothing.
  std::string open(const std::string& folder, const Geometry& geometry, bool direct);

  bool direct() const { return direct_; }
  const std::string& directReason() const { return directReason_; }
  bool any() const { return !segments_.empty(); }
  uint64_t slots() const;

  // Whether the slot's place is in its file: a truncated file has fewer.
  bool has(uint32_t slot) const;
  int fd(uint32_t slot) const { return segments_[slot / geometry_.segmentSlots].fd; }
  uint64_t offset(uint32_t slot) const {
    return static_cast<uint64_t>(slot % geometry_.segmentSlots) * geometry_.slotBytes;
  }

  // Gives the first segment that lacks slots as many as fit, below maxSlots in all; `added` gets
  // their numbers. 0, or the errno of not a single one.
  int grow(uint64_t maxSlots, std::vector<uint32_t>& added);

 private:
  struct Segment {
    int fd = -1;
    uint32_t slots = 0;
  };

  std::string probe();
  std::string path(size_t segment) const;
  int openSegment(size_t segment, bool create);
  int extend(Segment& segment, uint32_t slots);

  std::string folder_;
  Geometry geometry_{};
  bool direct_ = false;
  std::string directReason_;
  int folderFd_ = -1;
  std::vector<Segment> segments_;
};

}  // namespace moontide
