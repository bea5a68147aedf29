// The superblock that veritysetup writes before a hash tree (cryptsetup, lib/verity): how
// the tree was made. The device mapper never reads it; who makes a table from it does.
//
//     0    "verity\0\0"     8 bytes
//     8    version          of the superblock: 1
//     12   type             of the tree: 1, or 0 as Chrome OS had it
//     16   uuid             16 bytes
//     32   algorithm        its name in 32 bytes, the rest zeros
//     64   data block       bytes: a power of two from 512 to 524288
//     68   hash block       likewise
//     72   data blocks
//     80   salt's length    0 to 256; 6 bytes of nothing
//     88   salt             256 bytes
//     344  nothing          168 bytes
//
// The tree begins with the first hash block after it. The root digest is not in it: it
// has to come from where it can be trusted.
//
// Nothing here does I/O. Refused (EBADMSG) says what is wrong with bytes that are none.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/endian.h"

namespace dmfs::verity_superblock {

inline constexpr size_t kBytes = 512;
inline constexpr uint32_t kSmallestBlock = 512, kLargestBlock = 524288;
inline constexpr size_t kMostSalt = 256, kAlgorithmBytes = 32;

struct Disk {
    char magic[8];
    le32 version;
    le32 type;
    uint8_t uuid[16];
    char algorithm[kAlgorithmBytes];
    le32 data_block;
    le32 hash_block;
    le64 data_blocks;
    le16 salt_bytes;
    uint8_t nothing[6];
    uint8_t salt[kMostSalt];
    uint8_t rest[168];
};
static_assert(sizeof(Disk) == kBytes);

struct Superblock {
    uint32_t type = 1;
    std::string uuid;  // "11111111-2222-3333-4444-555555555555"; all zeros where there is none
    std::string algorithm;
    uint32_t data_block = 4096, hash_block = 4096;
    uint64_t data_blocks = 0;
    std::vector<std::byte> salt;
};

// `to` has kBytes. The superblock is one that decode would take.
void encode(const Superblock& superblock, std::byte* to);
// From at least kBytes bytes. Throws Refused.
Superblock decode(std::span<const std::byte> bytes);

// Whether it is a size of blocks.
bool is_block(uint64_t bytes);
// The first hash block of the tree, if the superblock lies at `offset` bytes.
uint64_t hash_start(uint64_t offset, uint32_t hash_block);

}  // namespace dmfs::verity_superblock
