// HMAC-SHA-256 (RFC 2104, FIPS 180-4), for the handshake of the tcp rail.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace moontide {

using Mac = std::array<uint8_t, 32>;

Mac sha256(const void* data, size_t size);
Mac hmacSha256(std::string_view key, const void* data, size_t size);

// In time that does not depend on where they differ.
bool equalMacs(const uint8_t* a, const uint8_t* b);

}  // namespace moontide
