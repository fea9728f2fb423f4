#include "hmac.h"

#include <cstring>
#include <vector>

namespace moontide {
namespace {

constexpr uint32_t kRound[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

uint32_t rotate(uint32_t v, int by) { return (v >> by) | (v << (32 - by)); }

void block(uint32_t state[8], const uint8_t* data) {
  uint32_t w[64];
  for (int i = 0; i < 16; i++) {
    w[i] = uint32_t{data[4 * i]} << 24 | uint32_t{data[4 * i + 1]} << 16 |
           uint32_t{data[4 * i + 2]} << 8 | data[4 * i + 3];
  }
  for (int i = 16; i < 64; i++) {
    const uint32_t a = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >> 3);
    const uint32_t b = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >> 10);
    w[i] = w[i - 16] + a + w[i - 7] + b;
  }
  uint32_t s[8];
  std::memcpy(s, state, sizeof s);
  for (int i = 0; i < 64; i++) {
    const uint32_t e = rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25);
    const uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
    const uint32_t t1 = s[7] + e + choice + kRound[i] + w[i];
    const uint32_t a = rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22);
    const uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
    std::memmove(s + 1, s, 7 * sizeof s[0]);
    s[4] += t1;
    s[0] = t1 + a + majority;
  }
  for (int i = 0; i < 8; i++) state[i] += s[i];
}

}  // namespace

Mac sha256(const void* data, size_t size) {
  uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                       0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  const auto* bytes = static_cast<const uint8_t*>(data);
  std::vector<uint8_t> padded(bytes, bytes + size);
  padded.push_back(0x80);
  while (padded.size() % 64 != 56) padded.push_back(0);
  for (int shift = 56; shift >= 0; shift -= 8) {
    padded.push_back(static_cast<uint8_t>((uint64_t{size} * 8) >> shift));
  }
  for (size_t at = 0; at < padded.size(); at += 64) block(state, padded.data() + at);
  Mac mac;
  for (int i = 0; i < 32; i++) mac[i] = static_cast<uint8_t>(state[i / 4] >> (24 - 8 * (i % 4)));
  return mac;
}

Mac hmacSha256(std::string_view key, const void* data, size_t size) {
  uint8_t padded[64] = {};
  if (key.size() > 64) {
    const Mac hash = sha256(key.data(), key.size());
    std::memcpy(padded, hash.data(), hash.size());
  } else {
    std::memcpy(padded, key.data(), key.size());
  }
  std::vector<uint8_t> text;
  for (const uint8_t byte : padded) text.push_back(byte ^ 0x36);
  const auto* bytes = static_cast<const uint8_t*>(data);
  text.insert(text.end(), bytes, bytes + size);
  const Mac inner = sha256(text.data(), text.size());
  text.clear();
  for (const uint8_t byte : padded) text.push_back(byte ^ 0x5c);
  text.insert(text.end(), inner.begin(), inner.end());
  return sha256(text.data(), text.size());
}

bool equalMacs(const uint8_t* a, const uint8_t* b) {
  uint8_t difference = 0;
  for (int i = 0; i < 32; i++) difference |= a[i] ^ b[i];
  return difference == 0;
}

}  // namespace moontide
