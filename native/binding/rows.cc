#include "rows.h"

#include <algorithm>

namespace moontide::binding {
namespace {

// Per row: six columns of doubles, five of 32 bits (the lists are two), statuses and quarantined.
constexpr size_t kRowBytes = 6 * 8 + 5 * 4 + 2;
constexpr uint64_t kSlicesMax = 1 << 16;

}  // namespace

template <typename T>
T* Rows::column(size_t length) {
  T* at = reinterpret_cast<T*>(memory_.get() + laidBytes_);
  laidBytes_ += length * sizeof(T);
  return at;
}

Rows::Rows(uint32_t id, uint32_t count, const RowsShape& shape)
    : tag_(kTag | uint64_t{id} << 32),
      count_(count),
      shape_(shape),
      sizeBytes_(kHead * sizeof(int32_t) + count * kRowBytes),
      memory_(new uint8_t[sizeBytes_]()),
      rails_(count),
      head_(column<int32_t>(kHead)),
      offsets_(column<double>(count)),
      remoteOffsets_(column<double>(count)),
      generations_(column<double>(count)),
      bytes_(column<double>(count)),
      crcs_(column<double>(count)),
      durationsNs_(column<double>(count)),
      slots_(column<int32_t>(count)),
      remoteSlots_(column<int32_t>(count)),
      expectedCrcs_(column<uint32_t>(count)),
      lists_(column<int32_t>(2 * size_t{count})),
      statuses_(column<uint8_t>(count)),
      quarantined_(column<uint8_t>(count)) {
  std::fill_n(statuses_, count, kStatusRest);
}

bool Rows::anyOpen(uint32_t from, uint32_t count) const {
  return std::memchr(statuses_ + from, kStatusOpen, count) != nullptr;
}

void Rows::start(uint32_t from, uint32_t count, int64_t nowNs) {
  std::fill_n(statuses_ + from, count, kStatusOpen);
  std::fill_n(quarantined_ + from, count, uint8_t{0});
  std::fill_n(durationsNs_ + from, count, static_cast<double>(nowNs));
  head_[kOpen] += static_cast<int32_t>(count);
}

void Rows::spec(uint32_t row, uint32_t rail, uint32_t remoteRail, TransferSpec* out) {
  rails_[row] = rail;
  out->tag = tag_ | row;
  out->kind = shape_.kind;
  out->urgent = shape_.urgent;
  out->flags = shape_.flags;
  out->expectedCrc = expectedCrcs_[row];
  out->deadlineNs = shape_.deadlineNs;
  const auto bytes = static_cast<uint64_t>(bytes_[row]);
  // The engine refuses rows without bytes and what is out of bounds: each as one slice.
  const uint64_t slices = bytes / shape_.sliceBytes + (bytes % shape_.sliceBytes == 0 ? 0 : 1);
  const bool whole = slices <= 1 || slices > kSlicesMax;
  const uint64_t sliceBytes = whole ? bytes : shape_.sliceBytes;
  out->slices.resize(whole ? 1 : slices);
  uint64_t from = 0;
  for (SliceSpec& slice : out->slices) {
    slice.pool = shape_.pool;
    slice.localSlot = static_cast<uint32_t>(slots_[row]);
    slice.localOffset = static_cast<uint64_t>(offsets_[row]) + from;
    slice.segment = shape_.segment;
    slice.remoteSlot = static_cast<uint32_t>(remoteSlots_[row]);
    slice.generation = static_cast<uint64_t>(generations_[row]);
    slice.remoteOffset = static_cast<uint64_t>(remoteOffsets_[row]) + from;
    slice.lengthBytes = std::min(sliceBytes, bytes - from);
    slice.rail = rail;
    slice.remoteRail = remoteRail;
    from += slice.lengthBytes;
  }
}

bool Rows::end(const Event& event, int64_t nowNs) {
  const uint32_t row = rowOf(event.tag);
  const bool summed = (shape_.flags & (kVerify | kSum)) != 0 && (event.flags & kUnverified) == 0;
  statuses_[row] = static_cast<uint8_t>(event.status);
  crcs_[row] = summed ? event.crc : std::nan("");
  durationsNs_[row] = static_cast<double>(nowNs) - durationsNs_[row];
  head_[kOpen]--;
  // What JavaScript wrote into its memory must not lead out of it.
  const auto untold = static_cast<uint32_t>(head_[kUntold]);
  if (untold >= count_) return false;
  int32_t* const list = lists_ + ((head_[kList] & 1) == 0 ? 0 : size_t{count_});
  list[untold] = static_cast<int32_t>(row);
  head_[kUntold]++;
  return untold == 0;
}

}  // namespace moontide::binding
