// The persistent exception store: what the COW device of a snapshot holds (the kernel's
// dm-snap-persistent.c). All numbers are little-endian; everything is counted in chunks.
//
//     chunk   0    1    2   ...         e+1   e+2  e+3  ...
//            [H]  [A0] [data of A0's]  [    ][A1] [data of A1's] ...
//
//     H    the header, at the beginning of chunk 0; the rest of it is zeros
//     A    an area: e entries of 16 bytes that fill one chunk
//
//     entry   old chunk, new chunk      what chunk `old` of the origin held is in chunk
//                                       `new` here; new 0 ends the entries of all areas
//
// Entries are in the order in which they were made, and so are their new chunks, mostly: a
// store that an old kernel wrote may have them out of order, or leave some chunks out.
// An area is zeroed before the last entry of the area before it is written, so that reading
// always ends.
//
// Nothing here does I/O.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/endian.h"
#include "base/units.h"

namespace dmfs::exception_store {

using Chunk = uint64_t;  // the number of one, of the origin or of the COW device

inline constexpr uint32_t kMagic = 0x70416e53;  // "SnAp"
inline constexpr uint32_t kVersion = 1;
inline constexpr size_t kHeaderBytes = 16;
// INT_MAX >> 9, as a power of two.
inline constexpr uint32_t kMostChunkSectors = 1u << 21;

struct DiskHeader {
    le32 magic;
    le32 valid;
    le32 version;
    le32 chunk_sectors;
};
static_assert(sizeof(DiskHeader) == kHeaderBytes);

struct Header {
    bool valid = true;  // false: the snapshot lost something, and shows nothing any more
    uint32_t chunk_sectors = 0;
};

// `to` has kHeaderBytes.
void encode(const Header& header, std::byte* to);
// Whether there is no store yet: the magic is 0, whatever else stands there.
bool is_new(std::span<const std::byte> bytes);
// From at least kHeaderBytes bytes, not is_new(). Throws Refused: ENXIO for another magic, EINVAL
// for another version or a chunk size that is none, as the kernel has it.
Header decode(std::span<const std::byte> bytes);

// Whether it is a size of chunks: a power of two, at most kMostChunkSectors.
bool is_chunk(uint64_t sectors);

struct Entry {
    Chunk old_chunk = 0;
    Chunk new_chunk = 0;
    friend bool operator==(const Entry&, const Entry&) = default;
};
inline constexpr size_t kEntryBytes = 16;

void encode(const Entry& entry, std::byte* to);  // kEntryBytes
Entry decode_entry(const std::byte* from);

// Where the areas lie.
class Areas {
  public:
    explicit Areas(uint32_t chunk_sectors) : entries_(bytes_of(chunk_sectors) / kEntryBytes) {}

    uint64_t entries() const { return entries_; }  // of one area
    Chunk chunk_of(uint64_t area) const { return 1 + area * (entries_ + 1); }
    bool is_area(Chunk chunk) const { return chunk % (entries_ + 1) == 1; }
    // `chunk`, or the next if that one is an area.
    Chunk skip(Chunk chunk) const { return is_area(chunk) ? chunk + 1 : chunk; }
    // How many chunks a device needs on which so many exceptions fit: each area is there before the
    // one before it is full.
    uint64_t chunks_for(uint64_t exceptions) const { return 2 + exceptions + exceptions / entries_; }
    // Where data begin: after the header and the first area.
    static constexpr Chunk kFirstData = 2;

  private:
    uint64_t entries_;
};

}  // namespace dmfs::exception_store
