// Outcomes as numbers; their texts are in src/runtime/native.ts, which has the same list.
#pragma once

#include <cstdint>

namespace moontide {

enum class Status : int32_t {
  ok = 0,
  // Back-pressure, not an error: nothing was taken, try again after a poll.
  again = 1,
  // What the other side, or the link to it, did.
  peerUnreachable = 2,
  peerReset = 3,
  timedOut = 4,
  cancelled = 5,
  // The remote does not know the segment (it restarted, or closed the pool).
  unknownSegment = 6,
  // The slot holds another generation, or its grant does not allow this.
  staleSlot = 7,
  checksumMismatch = 8,
  // What this side did wrong or lacks.
  outOfBounds = 9,
  unsupported = 10,
  badDescriptor = 11,
  notRegistered = 12,
  noMemory = 13,
  notPermitted = 14,
  railDown = 15,
  systemError = 16,
};

}  // namespace moontide
