// The superblock of veritysetup, byte for byte, and what is refused as one.

#include "formats/verity_superblock.h"

#include <functional>

#include "base/refused.h"
#include "catch.h"

using namespace dmfs;
using namespace dmfs::verity_superblock;

namespace {

// What veritysetup 2.6 wrote for --salt=00ff --uuid=12345678-9abc-def0-1122-334455667788 over
// 2048 blocks.
std::vector<std::byte> written() {
    const uint8_t head[] = {
        'v',  'e',  'r',  'i',  't',  'y',  0,    0,    1,    0,    0,    0,    1,
        0,    0,    0,    0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 0x11, 0x22,
        0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 's',  'h',  'a',  '2',  '5',  '6',
    };
    const uint8_t sizes[] = {0, 0x10, 0, 0, 0, 0x10, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 2, 0};
    std::vector<std::byte> bytes(kBytes);
    memcpy(bytes.data(), head, sizeof head);
    memcpy(bytes.data() + 64, sizes, sizeof sizes);
    bytes[89] = std::byte{0xff};
    return bytes;
}

std::string reason_of(const std::function<void(std::vector<std::byte>&)>& damage) {
    std::vector<std::byte> bytes = written();
    damage(bytes);
    try {
        decode(bytes);
    } catch (const Refused& refused) {
        CHECK(refused.error() == EBADMSG);
        return refused.reason();
    }
    return {};
}

}  // namespace

TEST_CASE("a verity superblock has the bytes that veritysetup writes") {
    Superblock superblock = decode(written());
    CHECK(superblock.type == 1);
    CHECK(superblock.uuid == "12345678-9abc-def0-1122-334455667788");
    CHECK(superblock.algorithm == "sha256");
    CHECK(superblock.data_block == 4096);
    CHECK(superblock.hash_block == 4096);
    CHECK(superblock.data_blocks == 2048);
    CHECK(superblock.salt == std::vector<std::byte>{std::byte{0}, std::byte{0xff}});
    std::vector<std::byte> bytes(kBytes, std::byte{0xaa});
    encode(superblock, bytes.data());
    CHECK(bytes == written());
}

TEST_CASE("the tree begins with the first hash block behind the superblock") {
    CHECK(hash_start(0, 512) == 1);
    CHECK(hash_start(0, 4096) == 1);
    CHECK(hash_start(3584, 4096) == 1);
    CHECK(hash_start(4096, 4096) == 2);
    CHECK(hash_start(4608, 4096) == 2);
    CHECK(hash_start(1 << 20, 1024) == 1025);
    CHECK(hash_start(UINT64_MAX, 4096) == (uint64_t{1} << 52) + 1);
}

TEST_CASE("bytes that are no verity superblock are refused") {
    auto set = [](size_t at, int value) {
        return [=](std::vector<std::byte>& bytes) { bytes[at] = static_cast<std::byte>(value); };
    };
    CHECK(reason_of(set(500, 1)) == "");  // nothing stands there
    CHECK(reason_of(set(0, 'V')).starts_with("no superblock of verity"));
    CHECK(reason_of(set(7, 1)).starts_with("no superblock of verity"));
    CHECK(reason_of(set(8, 2)) == "a superblock of version 2");
    CHECK(reason_of(set(12, 2)) == "a hash tree of type 2");
    CHECK(reason_of(set(32, 0)) == "its hash has no name");
    CHECK(reason_of(set(33, ' ')) == "its hash has no name");
    CHECK(reason_of([](auto& bytes) { std::fill_n(bytes.begin() + 32, 32, std::byte{'x'}); }) ==
          "its hash has no name");
    CHECK(reason_of(set(64, 1)).starts_with("data blocks of 4097"));
    CHECK(reason_of(set(65, 1)).starts_with("data blocks of 256"));
    CHECK(reason_of(set(70, 16)).starts_with("hash blocks of 1052672"));
    CHECK(reason_of(set(79, 0x7f)).ends_with("more than a volume has"));
    CHECK(reason_of(set(81, 1)) == "a salt of 258 bytes");
    CHECK(reason_of([](auto& bytes) { bytes.resize(511); }).starts_with("too short"));
}
