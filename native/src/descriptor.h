// What a pool's owner tells others, as one opaque blob: the pool's shape, and for each of its rails
// how to reach it there.
#pragma once

#include <string>
#include <vector>

#include "blob.h"
#include "rail.h"

namespace moontide {

struct RailDescriptor {
  std::string kind;
  // The rail's index at its owner: a command may name it.
  uint32_t index = 0;
  Blob address;
  Blob key;
};

struct Descriptor {
  // The owner's engine: unique per process start.
  uint64_t owner = 0;
  uint64_t incarnation = 0;
  uint64_t slotBytes = 0;
  uint32_t slots = 0;
  std::vector<RailDescriptor> rails;
};

Blob encodeDescriptor(const Descriptor& descriptor);

// False for anything but a whole, unchanged descriptor of this version.
bool parseDescriptor(const uint8_t* data, size_t size, Descriptor* out);

}  // namespace moontide
