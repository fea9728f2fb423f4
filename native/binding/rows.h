// Moves alike, in columns that JavaScript sees: it writes what is to be moved, this writes what became
// of each row. src/runtime/move-columns.ts has the same layout.
#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <vector>

#include "engine.h"

namespace moontide::binding {

// What the rows have in common.
struct RowsShape {
  uint32_t pool;
  uint32_t segment;
  OpKind kind;
  bool urgent;
  uint32_t flags;
  int64_t deadlineNs;
  // Longer rows are cut.
  uint64_t sliceBytes;
};

class Rows {
 public:
  // A transfer with this bit in its tag is a row; others have tags of JavaScript's, which are doubles.
  static constexpr uint64_t kTag = 1ull << 63;
  static uint32_t idOf(uint64_t tag) { return static_cast<uint32_t>((tag & ~kTag) >> 32); }
  static uint32_t rowOf(uint64_t tag) { return static_cast<uint32_t>(tag); }

  Rows(uint32_t id, uint32_t count, const RowsShape& shape);

  uint8_t* data() { return memory_.get(); }
  size_t sizeBytes() const { return sizeBytes_; }
  uint32_t count() const { return count_; }
  bool anyOpen(uint32_t from, uint32_t count) const;
  void start(uint32_t from, uint32_t count, int64_t nowNs);
  void spec(uint32_t row, uint32_t rail, uint32_t remoteRail, TransferSpec* out);
  // Of the row's last transfer.
  uint32_t railOf(uint32_t row) const { return row < count_ ? rails_[row] : 0; }
  // It arrived. True: it is the first since the last were told.
  bool end(const Event& event, int64_t nowNs);

 private:
  // Of the head: rows that have ended and are not told yet, the list that they are in, rows open.
  enum Head { kUntold, kList, kOpen, kHead = 8 };
  static constexpr uint8_t kStatusOpen = 255;
  static constexpr uint8_t kStatusRest = 254;

  template <typename T>
  T* column(size_t length);

  const uint64_t tag_;
  const uint32_t count_;
  const RowsShape shape_;
  const size_t sizeBytes_;
  const std::unique_ptr<uint8_t[]> memory_;
  size_t laidBytes_ = 0;
  std::vector<uint32_t> rails_;

  int32_t* const head_;
  const double* const offsets_;
  const double* const remoteOffsets_;
  const double* const generations_;
  const double* const bytes_;
  double* const crcs_;
  double* const durationsNs_;
  const int32_t* const slots_;
  const int32_t* const remoteSlots_;
  const uint32_t* const expectedCrcs_;
  int32_t* const lists_;
  uint8_t* const statuses_;
  uint8_t* const quarantined_;
};

}  // namespace moontide::binding
