#include "descriptor.h"

#include "crc32c.h"

namespace moontide {
namespace {

constexpr uint32_t kMagic = 0x4753544d;  // "MTSG"
constexpr uint16_t kVersion = 1;
constexpr size_t kMaxRails = 64;

}  // namespace

Blob encodeDescriptor(const Descriptor& d) {
  BlobWriter w;
  w.u32(kMagic);
  w.u16(kVersion);
  w.u16(static_cast<uint16_t>(d.rails.size()));
  w.u64(d.owner);
  w.u64(d.incarnation);
  w.u64(d.slotBytes);
  w.u32(d.slots);
  for (const RailDescriptor& rail : d.rails) {
    w.text(rail.kind);
    w.u32(rail.index);
    w.blob(rail.address);
    w.blob(rail.key);
  }
  w.u32(crc32c(0, w.view().data(), w.view().size()));
  return w.take();
}

bool parseDescriptor(const uint8_t* data, size_t size, Descriptor* out) {
  if (size < 4) return false;
  uint32_t sum;
  std::memcpy(&sum, data + size - 4, 4);
  if (crc32c(0, data, size - 4) != sum) return false;
  BlobReader r(data, size - 4);
  if (r.u32() != kMagic || r.u16() != kVersion) return false;
  const uint16_t rails = r.u16();
  if (rails > kMaxRails) return false;
  out->owner = r.u64();
  out->incarnation = r.u64();
  out->slotBytes = r.u64();
  out->slots = r.u32();
  for (uint16_t i = 0; i < rails && r.ok(); i++) {
    RailDescriptor rail;
    rail.kind = r.text();
    rail.index = r.u32();
    rail.address = r.blob();
    rail.key = r.blob();
    out->rails.push_back(std::move(rail));
  }
  return r.ok() && r.left() == 0 && out->slots > 0 && out->slotBytes > 0 &&
         out->slotBytes <= (1ull << 40) / out->slots;
}

}  // namespace moontide
