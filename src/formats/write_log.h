// The log of the target log-writes, as Linux writes it (drivers/md/dm-log-writes.c). It
// counts in blocks of `sectorsize` bytes, the logical block of the device that was logged:
//
//     block 0          super     magic, version, number of entries, sectorsize
//     block 1          entry 1   sector, sectors, flags, length of its text; the text of a mark
//     blocks 2 ...     its data  as many blocks as it has sectors; none for a discard
//                      entry 2
//                      its data
//                      ...
//
// Entries count from 1. The super is rewritten for marks and FUA writes: what stands after
// its number of entries is not part of the log yet.
//
// Nothing here does I/O. Refused (EBADMSG) says what is wrong with bytes that are no log.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/endian.h"

namespace dmfs::write_log {

inline constexpr uint64_t kMagic = 0x6a736677736872;
inline constexpr uint64_t kVersion = 1;

// What an entry was. None of them: a write.
inline constexpr uint64_t kFlush = 1;
inline constexpr uint64_t kFua = 2;
inline constexpr uint64_t kDiscard = 4;
inline constexpr uint64_t kMark = 8;
inline constexpr uint64_t kMetadata = 16;  // a filesystem's own (REQ_META)
inline constexpr uint64_t kKnownFlags = 31;

// The mark that the kernel and dmfs write when the table goes.
inline constexpr char kEndMark[] = "dm-log-writes-end";

struct DiskSuper {
    le64 magic;
    le64 version;
    le64 entries;
    le32 sectorsize;  // after it, in the kernel, four bytes that mean nothing
};
static_assert(sizeof(DiskSuper) == 28);

struct DiskEntry {
    le64 sector;
    le64 sectors;
    le64 flags;
    le64 text_bytes;
};
static_assert(sizeof(DiskEntry) == 32);

struct Super {
    uint64_t entries = 0;
    uint32_t sectorsize = 512;  // bytes; a power of two, 512 to 65536
};

// sector and sectors count blocks of sectorsize.
struct Entry {
    uint64_t sector = 0;
    uint64_t sectors = 0;
    uint64_t flags = 0;
    std::string mark;

    // Blocks of data after it in the log.
    uint64_t data_sectors() const { return (flags & kDiscard) != 0 ? 0 : sectors; }
};

// How many bytes of a mark's text find room: more are cut off.
constexpr size_t mark_room(uint32_t sectorsize) { return sectorsize - sizeof(DiskEntry) - 1; }

// One block; `to` has sectorsize bytes, all of which are written.
void encode(const Super& super, std::byte* to);
void encode(const Entry& entry, uint32_t sectorsize, std::byte* to);

// From the first 512 bytes, at least, of a log. Throws Refused.
Super decode_super(std::span<const std::byte> block);
// From one block. Throws Refused.
Entry decode_entry(std::span<const std::byte> block);

// "flush", "write fua": what an entry was, in words.
std::string words_of(uint64_t flags);

// One entry and where it lies, in bytes of the log.
struct Record {
    uint64_t number = 0;  // from 1
    uint64_t at = 0;
    uint64_t data_at = 0;
    uint64_t data_bytes = 0;
    Entry entry;
};

// Walks through a log of `log_bytes`, checking that each record lies within it:
//
//     while (walk.more()) { read sectorsize bytes at walk.at(); Record r = walk.take(them); }
class Walk {
  public:
    Walk(const Super& super, uint64_t log_bytes)
        : super_(super), log_bytes_(log_bytes), at_(super.sectorsize) {}

    bool more() const { return taken_ < super_.entries; }
    uint64_t at() const { return at_; }
    // The next record; `block` is what stands at at(), or what of it lies in the log.
    // Throws Refused.
    Record take(std::span<const std::byte> block);

  private:
    Super super_;
    uint64_t log_bytes_;
    uint64_t taken_ = 0;
    uint64_t at_;
};

}  // namespace dmfs::write_log
