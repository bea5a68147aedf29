// Units. The device mapper counts in sectors of 512 bytes, whatever the block
// size of the disks below; every position, length and chunk in a table is one.

#pragma once

#include <cstddef>
#include <cstdint>

namespace dmfs {

using Sector = uint64_t;

inline constexpr unsigned kSectorShift = 9;
inline constexpr uint64_t kSectorBytes = 512;

constexpr uint64_t bytes_of(Sector sectors) { return sectors << kSectorShift; }
constexpr Sector sectors_in(uint64_t bytes) { return bytes >> kSectorShift; }

// No volume ends beyond this sector: a length in bytes has to fit 63 bits (dm-ioctl.c).
inline constexpr Sector kMaxSectors = (uint64_t{1} << 63 >> kSectorShift) - 1;

}  // namespace dmfs
