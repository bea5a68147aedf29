#include "formats/verity_superblock.h"

#include <algorithm>
#include <bit>

#include "base/refused.h"

namespace dmfs::verity_superblock {

namespace {

constexpr char kMagic[8] = {'v', 'e', 'r', 'i', 't', 'y', 0, 0};
constexpr uint32_t kVersion = 1;
constexpr size_t kDashes[] = {4, 6, 8, 10};  // before these bytes of a uuid

Refused damaged(const std::string& reason, const std::string& remedy = {}) {
    return Refused(EBADMSG, reason, remedy);
}

std::string uuid_text(const uint8_t* bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (size_t i = 0; i < 16; i++) {
        if (std::ranges::find(kDashes, i) != std::end(kDashes)) text += '-';
        text += kDigits[bytes[i] >> 4];
        text += kDigits[bytes[i] & 15];
    }
    return text;
}

uint8_t digit(char c) { return static_cast<uint8_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10); }

void uuid_bytes(const std::string& text, uint8_t* bytes) {
    size_t at = 0;
    for (size_t i = 0; i < 16 && at + 1 < text.size(); i++, at += 2) {
        if (text[at] == '-') at++;
        bytes[i] = static_cast<uint8_t>(digit(text[at]) << 4 | digit(text[at + 1]));
    }
}

}  // namespace

bool is_block(uint64_t bytes) {
    return std::has_single_bit(bytes) && bytes >= kSmallestBlock && bytes <= kLargestBlock;
}

uint64_t hash_start(uint64_t offset, uint32_t hash_block) {
    return offset / hash_block + (offset % hash_block + kBytes + hash_block - 1) / hash_block;
}

void encode(const Superblock& superblock, std::byte* to) {
    Disk disk{};
    std::ranges::copy(kMagic, disk.magic);
    disk.version = kVersion;
    disk.type = superblock.type;
    uuid_bytes(superblock.uuid, disk.uuid);
    superblock.algorithm.copy(disk.algorithm, kAlgorithmBytes - 1);
    disk.data_block = superblock.data_block;
    disk.hash_block = superblock.hash_block;
    disk.data_blocks = superblock.data_blocks;
    disk.salt_bytes = static_cast<uint16_t>(superblock.salt.size());
    auto salt = std::span(superblock.salt).first(std::min(superblock.salt.size(), kMostSalt));
    std::ranges::copy(salt, std::as_writable_bytes(std::span(disk.salt)).begin());
    write_structure(to, disk);
}

Superblock decode(std::span<const std::byte> bytes) {
    if (bytes.size() < kBytes) throw damaged("too short to hold a superblock of verity");
    Disk disk = read_structure<Disk>(bytes.data());
    if (!std::ranges::equal(disk.magic, kMagic))
        throw damaged("no superblock of verity: it does not begin with its magic word",
                      "the hash device of veritysetup; --hash-offset says where on it the superblock lies, "
                      "--no-superblock that there is none");
    if (disk.version != kVersion)
        throw damaged("a superblock of version " + std::to_string(disk.version), "version 1 is known");
    if (disk.type > 1) throw damaged("a hash tree of type " + std::to_string(disk.type), "0 and 1 are known");
    const char* end = std::find(disk.algorithm, disk.algorithm + kAlgorithmBytes, '\0');
    Superblock superblock{disk.type,
                          uuid_text(disk.uuid),
                          std::string(static_cast<const char*>(disk.algorithm), end),
                          disk.data_block,
                          disk.hash_block,
                          disk.data_blocks,
                          {}};
    bool name = end != disk.algorithm + kAlgorithmBytes && !superblock.algorithm.empty() &&
                std::ranges::all_of(superblock.algorithm, [](char c) { return c > ' ' && c < 127; });
    if (!name) throw damaged("its hash has no name");
    if (!is_block(superblock.data_block))
        throw damaged("data blocks of " + std::to_string(superblock.data_block) + " bytes are none",
                      "a power of two from 512 to 524288");
    if (!is_block(superblock.hash_block))
        throw damaged("hash blocks of " + std::to_string(superblock.hash_block) + " bytes are none",
                      "a power of two from 512 to 524288");
    if (superblock.data_blocks > (UINT64_MAX >> 1) / superblock.data_block)
        throw damaged(std::to_string(superblock.data_blocks) + " data blocks are more than a volume has");
    if (disk.salt_bytes > kMostSalt)
        throw damaged("a salt of " + std::to_string(disk.salt_bytes) + " bytes", "at most 256");
    auto salt = std::as_bytes(std::span(disk.salt)).first(disk.salt_bytes);
    superblock.salt.assign(salt.begin(), salt.end());
    return superblock;
}

}  // namespace dmfs::verity_superblock
