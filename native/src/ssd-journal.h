// The index of a block store on disk: an append-only journal of 4 KiB pages, each with its own
// checksum. A record is written only after its block's data are durable, so every record that can
// be read is true, whatever happened around it: recovery skips pages that it cannot read.
//
// Two files take turns. Compaction writes what is live into the other file and then that file's
// header with the next epoch, twice; until the header is durable the old file remains the journal.
// Pages carry the header's random stamp, which tells them from what an earlier turn left behind, so
// no file is truncated or renamed.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

namespace moontide {

constexpr uint32_t kPageBytes = 4096;
constexpr uint32_t kKeyBytes = 32;

// Names a block: opaque bytes, such as namespace and chain hash.
struct BlockKey {
  std::array<uint8_t, kKeyBytes> bytes;
  bool operator==(const BlockKey&) const = default;
};

struct BlockKeyHash {
  size_t operator()(const BlockKey& key) const {
    uint64_t words[4];
    memcpy(words, key.bytes.data(), sizeof words);
    uint64_t hash = words[0] ^ words[1] * 0x9e3779b97f4a7c15ull ^ words[2] ^ words[3];
    hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93ull;
    return hash ^ hash >> 32;
  }
};

enum class RecordKind : uint32_t { none = 0, put = 1, remove = 2, bad = 3 };

// As on disk.
struct JournalRecord {
  BlockKey key;
  uint32_t slot;
  uint32_t lengthBytes;
  uint32_t crc;
  RecordKind kind;
};
static_assert(sizeof(JournalRecord) == 48);

struct Geometry {
  uint32_t slotBytes;
  uint32_t segmentSlots;
};

// 4096-aligned memory, as O_DIRECT needs it.
class AlignedBuffer {
 public:
  explicit AlignedBuffer(size_t sizeBytes);
  ~AlignedBuffer();
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  uint8_t* data() const { return data_; }
  size_t sizeBytes() const { return sizeBytes_; }

 private:
  uint8_t* data_;
  size_t sizeBytes_;
};

// Takes a file for this process alone; false: another has it. Waits a moment, because io_uring
// writes of a process that was killed may still be on their way and then hold its lock. So each
// file that is written needs it, not just one.
bool lockFile(int fd);

class Journal {
 public:
  Journal() = default;
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  using Apply = std::function<void(const JournalRecord&)>;

  // Opens or creates the journal in a folder and hands every record to `apply`, in order. Returns
  // why it can't, or nothing. `mayCreate`: no segment is there, so an absent journal is a new store.
  std::string open(const std::string& folder, const Geometry& geometry, bool direct,
                   bool mayCreate, const Apply& apply);

  struct Span {
    int fd;
    uint64_t offset;
    uint32_t sizeBytes;
  };

  // Lays records out as pages in `buffer` and gives the place where they must be written next;
  // the place is used up by advance(). There must be room for them.
  Span encode(const std::vector<JournalRecord>& records, AlignedBuffer& buffer) const;
  void advance(const Span& span);

  // Records that fit before the file must grow or be compacted.
  uint64_t roomRecords() const;

  // Writes zeros behind the end, so that later appends change no metadata. 0 or an errno.
  int grow();

  // Makes the other file the journal, holding just these. 0 or an errno; the old one then stays.
  int compact(const std::vector<JournalRecord>& live);

  uint64_t sizeRecords() const;

  // Pages that replay could not read and whose records were acknowledged: their blocks are gone.
  uint64_t lostPages() const { return lostPages_; }

  // Unreadable pages lie between readable ones: compact before appending.
  bool hasHoles() const { return holes_; }

  static constexpr uint32_t kMaxRecordsPerWrite = 84 * 64;

 private:
  struct File {
    int fd = -1;
    uint64_t pages = 0;  // Written, be it with zeros.
  };

  std::string openFiles(const std::string& folder, bool direct);
  std::string choose(const Geometry& geometry, bool mayCreate);
  std::string replay(const Apply& apply);
  int extend(File& file, uint64_t pages);
  int writeHeader(File& file, uint64_t epoch, uint64_t stamp);
  static void fillPage(uint8_t* page, uint64_t index, uint64_t groupFirst,
                       const JournalRecord* records, uint32_t count, uint64_t stamp);

  File files_[2];
  int current_ = 0;
  uint64_t epoch_ = 0;
  uint64_t stamp_ = 0;
  bool holes_ = false;
  uint64_t tail_ = 0;  // Page that is written next.
  uint64_t lostPages_ = 0;
  Geometry geometry_{};
};

}  // namespace moontide
