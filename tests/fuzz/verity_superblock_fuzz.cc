// The superblock of verity: any bytes are one or are refused, and one is written as it was read.

#include <vector>

#include "base/refused.h"
#include "formats/verity_superblock.h"
#include "fuzz/check.h"

using namespace dmfs;
using namespace dmfs::verity_superblock;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
    try {
        Superblock superblock = decode(bytes);
        PROMISE(superblock.type <= 1 && superblock.salt.size() <= kMostSalt);
        PROMISE(is_block(superblock.data_block) && is_block(superblock.hash_block));
        PROMISE(superblock.data_blocks * superblock.data_block / superblock.data_block ==
                superblock.data_blocks);
        PROMISE(superblock.uuid.size() == 36);
        PROMISE(hash_start(superblock.data_blocks, superblock.hash_block) > 0);
        std::vector<std::byte> block(kBytes);
        encode(superblock, block.data());
        Superblock again = decode(block);
        PROMISE(again.type == superblock.type && again.uuid == superblock.uuid);
        PROMISE(again.algorithm == superblock.algorithm && again.salt == superblock.salt);
        PROMISE(again.data_block == superblock.data_block && again.hash_block == superblock.hash_block);
        PROMISE(again.data_blocks == superblock.data_blocks);
    } catch (const Refused& refused) {
        PROMISE(refused.error() == EBADMSG && !refused.reason().empty());
    }
    return 0;
}
