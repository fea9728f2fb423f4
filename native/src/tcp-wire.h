// What the tcp rail says on the wire. Little-endian structs, in this order on a connection:
//   server: ServerHello; client: ClientHello; server: ServerProof; then
//   client: Request [payload of a WRITE] …; server: Reply [payload of a READ] …, in the order asked.
// A READ that fails has no payload. Each side proves that it knows the token by an HMAC over both
// nonces; the bytes themselves are neither encrypted nor signed (checksums are above).
#pragma once

#include <cstdint>

namespace moontide::tcp {

inline constexpr uint32_t kMagic = 0x3154544d;  // "MTT1"
inline constexpr uint32_t kReplyMagic = 0x3152544d;
inline constexpr uint16_t kVersion = 1;

struct ServerHello {
  uint32_t magic;
  uint32_t version;
  uint64_t incarnation;
  uint8_t nonce[16];
};
static_assert(sizeof(ServerHello) == 32);

struct ClientHello {
  uint32_t magic;
  uint32_t version;
  uint8_t nonce[16];
  uint8_t proof[32];
};
static_assert(sizeof(ClientHello) == 56);

struct ServerProof {
  uint8_t proof[32];
};

inline constexpr uint8_t kFlagSum = 1;

struct Request {
  uint32_t magic;
  uint8_t op;
  uint8_t flags;
  uint16_t zero;
  uint32_t sequence;
  uint32_t lengthBytes;
  uint64_t key;
  uint64_t generation;
  uint64_t offsetInSlot;
  uint32_t slot;
  uint32_t zero2;
};
static_assert(sizeof(Request) == 48);

struct Reply {
  uint32_t magic;
  uint32_t sequence;
  uint32_t status;
  uint32_t crc;
};
static_assert(sizeof(Reply) == 16);

}  // namespace moontide::tcp
