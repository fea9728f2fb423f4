#include "crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace moontide {
namespace {

// The polynomial 0x1EDC6F41, its bits reversed.
constexpr uint32_t kPolynomial = 0x82f63b78;

struct Tables {
  uint32_t byte[8][256];
};

constexpr Tables makeTables() {
  Tables t{};
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) ? kPolynomial : 0);
    t.byte[0][i] = crc;
  }
  for (int k = 1; k < 8; k++) {
    for (uint32_t i = 0; i < 256; i++) {
      t.byte[k][i] = (t.byte[k - 1][i] >> 8) ^ t.byte[0][t.byte[k - 1][i] & 0xff];
    }
  }
  return t;
}

constexpr Tables kTables = makeTables();

// a * b modulo the polynomial, in the reflected representation (bit 31 is x^0).
constexpr uint32_t multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (uint32_t bit = 0x80000000u; bit != 0; bit >>= 1) {
    if (a & bit) product ^= b;
    b = (b >> 1) ^ ((b & 1) ? kPolynomial : 0);
  }
  return product;
}

// x^(8 * bytes) modulo the polynomial: what `bytes` zeros after a message multiply its CRC by.
constexpr uint32_t shiftBy(uint64_t bytes) {
  uint32_t result = 0x80000000u;  // x^0
  uint32_t square = 0x00800000u;  // x^8
  for (; bytes != 0; bytes >>= 1) {
    if (bytes & 1) result = multiply(result, square);
    square = multiply(square, square);
  }
  return result;
}

// Multiplication by a constant, four table look-ups.
struct Shift {
  uint32_t byte[4][256];
};

constexpr Shift makeShift(uint64_t bytes) {
  Shift s{};
  const uint32_t factor = shiftBy(bytes);
  for (int k = 0; k < 4; k++) {
    for (uint32_t i = 0; i < 256; i++) s.byte[k][i] = multiply(i << (8 * k), factor);
  }
  return s;
}

// Bytes of each of the three interleaved streams.
constexpr size_t kStream = 1024;
constexpr Shift kShift1 = makeShift(kStream);
constexpr Shift kShift2 = makeShift(2 * kStream);

uint32_t apply(const Shift& s, uint32_t crc) {
  return s.byte[0][crc & 0xff] ^ s.byte[1][(crc >> 8) & 0xff] ^ s.byte[2][(crc >> 16) & 0xff] ^
         s.byte[3][crc >> 24];
}

uint64_t load64(const uint8_t* p) {
  uint64_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t hardware(uint32_t crc, const uint8_t* p, size_t size) {
  uint64_t a = ~crc;
  while (size >= 3 * kStream) {
    uint64_t b = 0;
    uint64_t c = 0;
    for (size_t i = 0; i < kStream; i += 8) {
      a = _mm_crc32_u64(a, load64(p + i));
      b = _mm_crc32_u64(b, load64(p + kStream + i));
      c = _mm_crc32_u64(c, load64(p + 2 * kStream + i));
    }
    a = apply(kShift2, static_cast<uint32_t>(a)) ^ apply(kShift1, static_cast<uint32_t>(b)) ^ c;
    p += 3 * kStream;
    size -= 3 * kStream;
  }
  for (; size >= 8; p += 8, size -= 8) a = _mm_crc32_u64(a, load64(p));
  for (; size > 0; p++, size--) a = _mm_crc32_u8(static_cast<uint32_t>(a), *p);
  return ~static_cast<uint32_t>(a);
}

__attribute__((target("avx2"))) void streamAvx2(uint8_t* to, const uint8_t* from, size_t size) {
  for (; size >= 128; to += 128, from += 128, size -= 128) {
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32));
    const __m256i c = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 64));
    const __m256i d = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 96));
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to), a);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to + 32), b);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to + 64), c);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to + 96), d);
  }
  _mm_sfence();
  if (size > 0) std::memcpy(to, from, size);
}

// Copies and sums what it copied: each word is loaded once, so bytes that change meanwhile cannot
// have the sum of others. `to` and `from` are aligned to 8.
__attribute__((target("sse4.2"))) uint32_t streamCrc(uint8_t* to, const uint8_t* from, size_t size,
                                                     uint32_t crc) {
  uint64_t a = ~crc;
  const auto move = [&](size_t at) {
    const uint64_t v = __atomic_load_n(reinterpret_cast<const uint64_t*>(from + at), __ATOMIC_RELAXED);
    _mm_stream_si64(reinterpret_cast<long long*>(to + at), static_cast<long long>(v));
    return v;
  };
  while (size >= 3 * kStream) {
    uint64_t b = 0;
    uint64_t c = 0;
    for (size_t i = 0; i < kStream; i += 8) {
      a = _mm_crc32_u64(a, move(i));
      b = _mm_crc32_u64(b, move(kStream + i));
      c = _mm_crc32_u64(c, move(2 * kStream + i));
    }
    a = apply(kShift2, static_cast<uint32_t>(a)) ^ apply(kShift1, static_cast<uint32_t>(b)) ^ c;
    from += 3 * kStream;
    to += 3 * kStream;
    size -= 3 * kStream;
  }
  for (; size >= 8; from += 8, to += 8, size -= 8) a = _mm_crc32_u64(a, move(0));
  _mm_sfence();
  std::memcpy(to, from, size);
  for (size_t i = 0; i < size; i++) a = _mm_crc32_u8(static_cast<uint32_t>(a), to[i]);
  return ~static_cast<uint32_t>(a);
}

const bool kHasSse42 = __builtin_cpu_supports("sse4.2");
const bool kHasAvx2 = __builtin_cpu_supports("avx2");
#else
constexpr bool kHasSse42 = false;
#endif

// A chunk stays in the first-level cache between its checksum and its copy.
constexpr size_t kChunk = 12 * 1024;

}  // namespace

bool crc32cHardware() { return kHasSse42; }

uint32_t crc32cSoftware(uint32_t crc, const void* data, size_t size) {
  const auto* p = static_cast<const uint8_t*>(data);
  crc = ~crc;
  for (; size >= 8; p += 8, size -= 8) {
    const uint64_t v = load64(p) ^ crc;
    crc = 0;
    for (int k = 0; k < 8; k++) crc ^= kTables.byte[7 - k][(v >> (8 * k)) & 0xff];
  }
  for (; size > 0; p++, size--) crc = (crc >> 8) ^ kTables.byte[0][(crc ^ *p) & 0xff];
  return ~crc;
}

uint32_t crc32c(uint32_t crc, const void* data, size_t size) {
#if defined(__x86_64__)
  if (kHasSse42) return hardware(crc, static_cast<const uint8_t*>(data), size);
#endif
  return crc32cSoftware(crc, data, size);
}

uint32_t crc32cCombine(uint32_t crcA, uint32_t crcB, uint64_t sizeB) {
  return multiply(crcA, shiftBy(sizeB)) ^ crcB;
}

void copyStreaming(void* to, const void* from, size_t size) {
#if defined(__x86_64__)
  if (kHasAvx2 && (reinterpret_cast<uintptr_t>(to) & 31) == 0) {
    streamAvx2(static_cast<uint8_t*>(to), static_cast<const uint8_t*>(from), size);
    return;
  }
#endif
  std::memcpy(to, from, size);
}

uint32_t copyCrc32c(void* to, const void* from, size_t size, bool streaming) {
  auto* target = static_cast<uint8_t*>(to);
  const auto* source = static_cast<const uint8_t*>(from);
#if defined(__x86_64__)
  const uintptr_t bits = reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from);
  if (streaming && kHasSse42 && (bits & 7) == 0) return streamCrc(target, source, size, 0);
#endif
  uint32_t crc = 0;
  while (size > 0) {
    const size_t piece = size < kChunk ? size : kChunk;
    std::memcpy(target, source, piece);
    // Of the copy: the source may change meanwhile.
    crc = crc32c(crc, target, piece);
    target += piece;
    source += piece;
    size -= piece;
  }
  return crc;
}

}  // namespace moontide
