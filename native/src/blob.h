// Opaque bytes that travel between hosts: endpoint addresses, memory keys, segment descriptors.
// Little-endian, written and read field by field; a reader never looks past the end.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace moontide {

using Blob = std::vector<uint8_t>;

class BlobWriter {
 public:
  void u8(uint8_t v) { bytes_.push_back(v); }
  void u16(uint16_t v) { raw(&v, sizeof v); }
  void u32(uint32_t v) { raw(&v, sizeof v); }
  void u64(uint64_t v) { raw(&v, sizeof v); }
  // At most 64 KiB.
  void bytes(const void* data, size_t size) {
    u16(static_cast<uint16_t>(size));
    raw(data, size);
  }
  void text(std::string_view s) { bytes(s.data(), s.size()); }
  void blob(const Blob& b) { bytes(b.data(), b.size()); }
  Blob take() { return std::move(bytes_); }
  const Blob& view() const { return bytes_; }

 private:
  void raw(const void* data, size_t size) {
    const auto* from = static_cast<const uint8_t*>(data);
    bytes_.insert(bytes_.end(), from, from + size);
  }
  Blob bytes_;
};

// After a read past the end `ok()` is false and every further read gives zeros.
class BlobReader {
 public:
  BlobReader(const uint8_t* data, size_t size) : at_(data), left_(size) {}
  explicit BlobReader(const Blob& b) : BlobReader(b.data(), b.size()) {}
  bool ok() const { return ok_; }
  size_t left() const { return left_; }
  uint8_t u8() { return number<uint8_t>(); }
  uint16_t u16() { return number<uint16_t>(); }
  uint32_t u32() { return number<uint32_t>(); }
  uint64_t u64() { return number<uint64_t>(); }
  Blob blob() {
    const size_t size = u16();
    const uint8_t* from = skip(size);
    return from == nullptr ? Blob() : Blob(from, from + size);
  }
  std::string text() {
    const Blob b = blob();
    return std::string(b.begin(), b.end());
  }

 private:
  template <typename T>
  T number() {
    T v = 0;
    const uint8_t* from = skip(sizeof v);
    if (from != nullptr) std::memcpy(&v, from, sizeof v);
    return v;
  }
  const uint8_t* skip(size_t size) {
    if (!ok_ || size > left_) {
      ok_ = false;
      return nullptr;
    }
    const uint8_t* from = at_;
    at_ += size;
    left_ -= size;
    return from;
  }
  const uint8_t* at_;
  size_t left_;
  bool ok_ = true;
};

}  // namespace moontide
