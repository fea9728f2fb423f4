#include "ssd-journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>

#include "crc32c.h"

namespace moontide {
namespace {

static_assert(std::endian::native == std::endian::little, "on-disk numbers are little-endian");

constexpr uint32_t kHeaderMagic = 0x4453544d;  // "MTSD"
constexpr uint32_t kPageMagic = 0x4a53544d;    // "MTSJ"
constexpr uint32_t kVersion = 1;
constexpr uint64_t kHeaderPages = 2;
constexpr uint64_t kGrowPages = 256;
constexpr uint64_t kMaxGrowPages = 16384;
constexpr uint32_t kReplayPages = 256;

struct Header {
  uint32_t magic;
  uint32_t crc;  // Of the page with this field 0.
  uint32_t version;
  uint32_t slotBytes;
  uint64_t epoch;
  uint64_t stamp;
  uint32_t segmentSlots;
  uint32_t zero;
};

struct PageHead {
  uint32_t magic;
  uint32_t crc;  // Of the page with this field 0.
  uint64_t stamp;       // That of the header.
  uint32_t page;        // Its place in the file.
  uint32_t groupFirst;  // First page of the write it belongs to.
  uint32_t count;
  uint32_t zero;
};
static_assert(sizeof(PageHead) == 32);

constexpr uint32_t kPageRecords = (kPageBytes - sizeof(PageHead)) / sizeof(JournalRecord);
static_assert(Journal::kMaxRecordsPerWrite % kPageRecords == 0);

uint32_t pageCrc(const uint8_t* page) {
  constexpr size_t at = offsetof(PageHead, crc);
  static_assert(offsetof(Header, crc) == at);
  const uint32_t zero = 0;
  uint32_t crc = crc32c(0, page, at);
  crc = crc32c(crc, &zero, sizeof zero);
  return crc32c(crc, page + at + sizeof zero, kPageBytes - at - sizeof zero);
}

bool isZero(const uint8_t* page) {
  return page[0] == 0 && memcmp(page, page + 1, kPageBytes - 1) == 0;
}

// Pages left over from a compaction that was cut off must not be taken for those of the next.
uint64_t newStamp() {
  uint64_t stamp = 0;
  while (getrandom(&stamp, sizeof stamp, 0) != sizeof stamp) {
  }
  return stamp;
}

int writeAll(int fd, const uint8_t* data, size_t sizeBytes, uint64_t offset) {
  while (sizeBytes > 0) {
    const ssize_t written = pwrite(fd, data, sizeBytes, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    data += written;
    sizeBytes -= static_cast<size_t>(written);
    offset += static_cast<uint64_t>(written);
  }
  return 0;
}

// Bytes read, fewer at the end of the file; -1 with errno set.
ssize_t readAll(int fd, uint8_t* data, size_t sizeBytes, uint64_t offset) {
  size_t got = 0;
  while (got < sizeBytes) {
    const ssize_t part = pread(fd, data + got, sizeBytes - got, static_cast<off_t>(offset + got));
    if (part < 0 && errno == EINTR) continue;
    if (part < 0) return -1;
    if (part == 0) break;
    got += static_cast<size_t>(part);
  }
  return static_cast<ssize_t>(got);
}

bool readHeader(int fd, Header& header, bool& blank) {
  AlignedBuffer pages(kHeaderPages * kPageBytes);
  memset(pages.data(), 0, pages.sizeBytes());
  readAll(fd, pages.data(), pages.sizeBytes(), 0);
  blank = true;
  for (uint64_t copy = 0; copy < kHeaderPages; copy++) {
    const uint8_t* page = pages.data() + copy * kPageBytes;
    memcpy(&header, page, sizeof header);
    if (header.magic == kHeaderMagic && header.crc == pageCrc(page)) return true;
    blank = blank && isZero(page);
  }
  return false;
}

}  // namespace

AlignedBuffer::AlignedBuffer(size_t sizeBytes) : sizeBytes_(sizeBytes) {
  data_ = static_cast<uint8_t*>(std::aligned_alloc(kPageBytes, sizeBytes));
  if (data_ == nullptr) std::abort();
}

AlignedBuffer::~AlignedBuffer() { std::free(data_); }

bool lockFile(int fd) {
  constexpr int kTries = 200;
  const timespec pause{0, 10'000'000};
  for (int i = 0; i < kTries; i++) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
    nanosleep(&pause, nullptr);
  }
  return false;
}

Journal::~Journal() {
  for (const File& file : files_) {
    if (file.fd >= 0) close(file.fd);
  }
}

std::string Journal::open(const std::string& folder, const Geometry& geometry, bool direct,
                          bool mayCreate, const Apply& apply) {
  std::string reason = openFiles(folder, direct);
  if (reason.empty()) reason = choose(geometry, mayCreate);
  if (reason.empty()) reason = replay(apply);
  return reason;
}

std::string Journal::openFiles(const std::string& folder, bool direct) {
  const char* names[2] = {"/journal-a", "/journal-b"};
  for (int i = 0; i < 2; i++) {
    const std::string path = folder + names[i];
    const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_DSYNC | (direct ? O_DIRECT : 0);
    const int fd = ::open(path.c_str(), flags, 0644);
    if (fd < 0) return path + ": " + strerror(errno);
    files_[i].fd = fd;
    if (!lockFile(fd)) return "another process has this store open";
    struct stat status;
    if (fstat(fd, &status) < 0) return path + ": " + strerror(errno);
    files_[i].pages = static_cast<uint64_t>(status.st_size) / kPageBytes;
  }
  return "";
}

std::string Journal::choose(const Geometry& geometry, bool mayCreate) {
  geometry_ = geometry;
  Header best{};
  bool found = false;
  bool allBlank = true;
  for (int i = 0; i < 2; i++) {
    Header header;
    bool blank;
    if (readHeader(files_[i].fd, header, blank)) {
      if (!found || header.epoch > best.epoch) {
        best = header;
        current_ = i;
      }
      found = true;
    }
    allBlank = allBlank && blank;
  }
  if (found) {
    if (best.version != kVersion) return "written by another version of the store";
    if (best.slotBytes != geometry.slotBytes || best.segmentSlots != geometry.segmentSlots) {
      return "made with slots of " + std::to_string(best.slotBytes) + " bytes, " +
             std::to_string(best.segmentSlots) + " in a segment; asked for " +
             std::to_string(geometry.slotBytes) + " and " + std::to_string(geometry.segmentSlots);
    }
    epoch_ = best.epoch;
    stamp_ = best.stamp;
    return "";
  }
  // Without segments nothing was ever stored: a torn header is a first start that was cut off.
  if (!mayCreate) return allBlank ? "segments without a journal" : "the journal can't be read";
  current_ = 0;
  epoch_ = 1;
  stamp_ = newStamp();
  int error = extend(files_[0], kGrowPages);
  if (error == 0) error = writeHeader(files_[0], epoch_, stamp_);
  return error == 0 ? "" : std::string("writing the journal: ") + strerror(error);
}

std::string Journal::replay(const Apply& apply) {
  const File& file = files_[current_];
  AlignedBuffer buffer(static_cast<size_t>(kReplayPages) * kPageBytes);
  tail_ = kHeaderPages;
  std::vector<uint64_t> unreadable;
  uint64_t lastGroup = kHeaderPages;
  for (uint64_t from = kHeaderPages; from < file.pages; from += kReplayPages) {
    const uint64_t count = std::min<uint64_t>(kReplayPages, file.pages - from);
    if (readAll(file.fd, buffer.data(), count * kPageBytes, from * kPageBytes) < 0) {
      // The device refuses a part: take it page by page, what stays zero counts as unreadable.
      for (uint64_t i = 0; i < count; i++) {
        uint8_t* page = buffer.data() + i * kPageBytes;
        if (readAll(file.fd, page, kPageBytes, (from + i) * kPageBytes) < 0) {
          memset(page, 0, kPageBytes);
        }
      }
    }
    for (uint64_t i = 0; i < count; i++) {
      const uint8_t* page = buffer.data() + i * kPageBytes;
      PageHead head;
      memcpy(&head, page, sizeof head);
      const bool good = head.magic == kPageMagic && head.stamp == stamp_ &&
                        head.page == from + i && head.count <= kPageRecords &&
                        head.crc == pageCrc(page);
      if (!good) {
        unreadable.push_back(from + i);
        continue;
      }
      for (uint32_t r = 0; r < head.count; r++) {
        JournalRecord record;
        memcpy(&record, page + sizeof head + r * sizeof record, sizeof record);
        apply(record);
      }
      tail_ = from + i + 1;
      lastGroup = head.groupFirst;
    }
  }
  // Within the last write a page that can't be read was torn before anyone was told of it.
  for (const uint64_t page : unreadable) {
    if (page < tail_) holes_ = true;
    if (page < lastGroup) lostPages_++;
  }
  return "";
}

uint64_t Journal::roomRecords() const {
  return (files_[current_].pages - std::min(files_[current_].pages, tail_)) * kPageRecords;
}

uint64_t Journal::sizeRecords() const { return (tail_ - kHeaderPages) * kPageRecords; }

Journal::Span Journal::encode(const std::vector<JournalRecord>& records,
                              AlignedBuffer& buffer) const {
  const size_t pages = (records.size() + kPageRecords - 1) / kPageRecords;
  for (size_t i = 0; i < pages; i++) {
    const size_t from = i * kPageRecords;
    const auto count = static_cast<uint32_t>(std::min<size_t>(kPageRecords, records.size() - from));
    fillPage(buffer.data() + i * kPageBytes, tail_ + i, tail_, &records[from], count, stamp_);
  }
  return {files_[current_].fd, tail_ * kPageBytes, static_cast<uint32_t>(pages * kPageBytes)};
}

void Journal::advance(const Span& span) { tail_ += span.sizeBytes / kPageBytes; }

int Journal::grow() {
  File& file = files_[current_];
  return extend(file, file.pages + std::clamp(file.pages / 4, kGrowPages, kMaxGrowPages));
}

int Journal::compact(const std::vector<JournalRecord>& live) {
  File& file = files_[1 - current_];
  const uint64_t stamp = newStamp();
  const uint64_t pages = (live.size() + kPageRecords - 1) / kPageRecords;
  const uint64_t end = kHeaderPages + pages;
  int error = extend(file, end + kGrowPages);
  AlignedBuffer buffer(static_cast<size_t>(kReplayPages) * kPageBytes);
  for (uint64_t from = 0; from < pages && error == 0; from += kReplayPages) {
    const uint64_t count = std::min<uint64_t>(kReplayPages, pages - from);
    for (uint64_t i = 0; i < count; i++) {
      const size_t first = (from + i) * kPageRecords;
      const auto size = static_cast<uint32_t>(std::min<size_t>(kPageRecords, live.size() - first));
      // Each is its own group: acknowledged long ago, so a bad one counts as lost.
      const uint64_t place = kHeaderPages + from + i;
      fillPage(buffer.data() + i * kPageBytes, place, place, &live[first], size, stamp);
    }
    error = writeAll(file.fd, buffer.data(), count * kPageBytes,
                     (kHeaderPages + from) * kPageBytes);
  }
  if (error == 0) error = writeHeader(file, epoch_ + 1, stamp);
  if (error != 0) return error;
  current_ = 1 - current_;
  epoch_++;
  stamp_ = stamp;
  tail_ = end;
  holes_ = false;
  return 0;
}

int Journal::extend(File& file, uint64_t pages) {
  if (file.pages >= pages) return 0;
  AlignedBuffer zeros(static_cast<size_t>(kGrowPages) * kPageBytes);
  memset(zeros.data(), 0, zeros.sizeBytes());
  while (file.pages < pages) {
    const uint64_t count = std::min(kGrowPages, pages - file.pages);
    const int error =
        writeAll(file.fd, zeros.data(), count * kPageBytes, file.pages * kPageBytes);
    if (error != 0) return error;
    file.pages += count;
  }
  return 0;
}

int Journal::writeHeader(File& file, uint64_t epoch, uint64_t stamp) {
  AlignedBuffer page(kPageBytes);
  memset(page.data(), 0, kPageBytes);
  Header header{kHeaderMagic, 0, kVersion, geometry_.slotBytes, epoch, stamp,
                geometry_.segmentSlots, 0};
  memcpy(page.data(), &header, sizeof header);
  header.crc = pageCrc(page.data());
  memcpy(page.data(), &header, sizeof header);
  for (uint64_t copy = 0; copy < kHeaderPages; copy++) {
    const int error = writeAll(file.fd, page.data(), kPageBytes, copy * kPageBytes);
    if (error != 0) return error;
  }
  return 0;
}

void Journal::fillPage(uint8_t* page, uint64_t index, uint64_t groupFirst,
                       const JournalRecord* records, uint32_t count, uint64_t stamp) {
  memset(page, 0, kPageBytes);
  PageHead head{kPageMagic, 0, stamp, static_cast<uint32_t>(index),
                static_cast<uint32_t>(groupFirst), count, 0};
  memcpy(page, &head, sizeof head);
  memcpy(page + sizeof head, records, count * sizeof *records);
  head.crc = pageCrc(page);
  memcpy(page, &head, sizeof head);
}

}  // namespace moontide
