// CRC-32C (Castagnoli, RFC 3720), by SSE4.2 where there is one, three streams interleaved.
#pragma once

#include <cstddef>
#include <cstdint>

namespace moontide {

// Of `size` bytes that follow bytes whose CRC is `crc` (0 at the start).
uint32_t crc32c(uint32_t crc, const void* data, size_t size);

// By tables; the oracle of the fast one.
uint32_t crc32cSoftware(uint32_t crc, const void* data, size_t size);

// CRC of two pieces from theirs: a, and b of `sizeB` bytes.
uint32_t crc32cCombine(uint32_t crcA, uint32_t crcB, uint64_t sizeB);

bool crc32cHardware();

// memcpy that also gives the CRC of what it copied: one pass over memory in place of two.
// `streaming`: bypass the cache on the way out (large blocks that nobody reads at once).
uint32_t copyCrc32c(void* to, const void* from, size_t size, bool streaming);

// memcpy for large blocks, with stores that bypass the cache where the processor has them.
void copyStreaming(void* to, const void* from, size_t size);

}  // namespace moontide
