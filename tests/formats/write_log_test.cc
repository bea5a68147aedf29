// The log of log-writes, byte for byte, and what is refused as one.

#include "formats/write_log.h"

#include <vector>

#include "base/endian.h"
#include "base/refused.h"
#include "catch.h"

using namespace dmfs;
using namespace dmfs::write_log;

namespace {

std::vector<std::byte> block_of(std::initializer_list<int> bytes, size_t size = 512) {
    std::vector<std::byte> block(size);
    size_t at = 0;
    for (int byte : bytes) block[at++] = static_cast<std::byte>(byte);
    return block;
}

std::string reason_of(const std::function<void()>& act) {
    try {
        act();
    } catch (const Refused& refused) {
        CHECK(refused.error() == EBADMSG);
        return refused.reason();
    }
    return {};
}

}  // namespace

TEST_CASE("a little-endian number lies with its lowest byte first, at any address") {
    struct Odd {
        uint8_t before;
        le32 number;
        le16 small;
        le64 large;
    };
    static_assert(sizeof(Odd) == 15);
    std::byte bytes[16] = {};
    write_structure(bytes + 1, Odd{1, 0x11223344, 0x5566, 0x0102030405060708});
    CHECK(std::vector<std::byte>(bytes, bytes + 16) ==
          block_of({0, 1, 0x44, 0x33, 0x22, 0x11, 0x66, 0x55, 8, 7, 6, 5, 4, 3, 2, 1}, 16));
    CHECK(read_structure<Odd>(bytes + 1).number == 0x11223344);
    CHECK(read_structure<Odd>(bytes + 1).large == 0x0102030405060708);
}

TEST_CASE("a super has the bytes that Linux writes") {
    std::vector<std::byte> block(512, std::byte{0xff});
    encode(Super{3, 512}, block.data());
    CHECK(block == block_of({0x72, 0x68, 0x73, 0x77, 0x66, 0x73, 0x6a, 0, 1, 0, 0, 0, 0, 0,
                             0,    0,    3,    0,    0,    0,    0,    0, 0, 0, 0, 2, 0, 0}));
    Super super = decode_super(block);
    CHECK(super.entries == 3);
    CHECK(super.sectorsize == 512);
}

TEST_CASE("an entry has the bytes that Linux writes") {
    std::vector<std::byte> block(512, std::byte{0xff});
    encode(Entry{0, 0, kMark, "first"}, 512, block.data());
    CHECK(block == block_of({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,   0,   0,   8,   0,  0,
                             0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 'f', 'i', 'r', 's', 't'}));
    CHECK(decode_entry(block).mark == "first");
    encode(Entry{0x5f8, 8, kDiscard, {}}, 512, block.data());
    CHECK(block == block_of({0xf8, 5, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 4}));
    CHECK(decode_entry(block).sector == 0x5f8);
    CHECK(decode_entry(block).data_sectors() == 0);
}

TEST_CASE("a long mark is cut so that a zero follows it") {
    std::vector<std::byte> block(512);
    encode(Entry{0, 0, kMark, std::string(600, 'x')}, 512, block.data());
    CHECK(decode_entry(block).mark == std::string(479, 'x'));
    CHECK(block[511] == std::byte{0});
}

TEST_CASE("what is no log is refused") {
    std::vector<std::byte> good(512);
    encode(Super{1, 512}, good.data());
    CHECK(reason_of([&] { decode_super({good.data(), 27}); }) == "too short to be a log");
    auto bad = good;
    bad[0] = std::byte{0};
    CHECK(reason_of([&] { decode_super(bad); }).starts_with("no log of log-writes"));
    bad = good;
    bad[8] = std::byte{2};
    CHECK(reason_of([&] { decode_super(bad); }) == "a log of version 2");
    for (int high : {0, 3, 1}) {  // 0, 768, 256 bytes
        bad = good;
        bad[25] = static_cast<std::byte>(high);
        CHECK(reason_of([&] { decode_super(bad); }).starts_with("its blocks of"));
    }
}

TEST_CASE("entries that do not lie within the log are refused") {
    std::vector<std::byte> block(512);
    encode(Entry{0, 2, 0, {}}, 512, block.data());
    CHECK(reason_of([&] {
              Walk({1, 512}, 1024).take({block.data(), 511});
          }).ends_with("beyond the end of the log"));
    CHECK(reason_of([&] { Walk({1, 512}, 1023).take(block); }).ends_with("beyond the end of the log"));
    CHECK(reason_of([&] { Walk({1, 512}, 2047).take(block); }).ends_with("lie beyond the end"));
    Walk walk({1, 512}, 2048);
    CHECK(walk.at() == 512);
    Record record = walk.take(block);
    CHECK(record.number == 1);
    CHECK(record.data_at == 1024);
    CHECK(record.data_bytes == 1024);
    CHECK(walk.at() == 2048);
    CHECK_FALSE(walk.more());

    encode(Entry{0, UINT64_MAX / 512 + 2, 0, {}}, 512, block.data());
    CHECK(reason_of([&] { Walk({1, 512}, 1 << 20).take(block); }).find("2^63") != std::string::npos);
    encode(Entry{UINT64_MAX, 8, kDiscard, {}}, 512, block.data());
    CHECK(reason_of([&] { Walk({1, 512}, 1 << 20).take(block); }).find("2^63") != std::string::npos);
    encode(Entry{0, 0, 32, {}}, 512, block.data());
    CHECK(reason_of([&] { decode_entry(block); }) == "flags 32 are unknown");
    encode(Entry{0, 0, kMark, "x"}, 512, block.data());
    block[25] = std::byte{2};
    CHECK(reason_of([&] { decode_entry(block); }).starts_with("a mark of 513 bytes"));
}
