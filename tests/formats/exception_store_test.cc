// The persistent exception store, byte for byte as Linux 6.12 writes it, and what is refused.

#include "formats/exception_store.h"

#include <cstring>
#include <vector>

#include "base/refused.h"
#include "catch.h"

using namespace dmfs;
using namespace dmfs::exception_store;

namespace {

std::vector<std::byte> header_bytes(uint32_t magic, uint32_t valid, uint32_t version, uint32_t chunk) {
    std::vector<std::byte> bytes(kHeaderBytes);
    write_structure(bytes.data(), DiskHeader{magic, valid, version, chunk});
    return bytes;
}

int error_of(const std::vector<std::byte>& bytes) {
    try {
        decode(bytes);
    } catch (const Refused& refused) {
        return refused.error();
    }
    return 0;
}

}  // namespace

TEST_CASE("the header of an exception store has the kernel's bytes") {
    const uint8_t kernel[] = {0x53, 0x6e, 0x41, 0x70, 1, 0, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0};
    std::byte mine[kHeaderBytes];
    encode(Header{true, 16}, mine);
    CHECK(memcmp(mine, kernel, sizeof kernel) == 0);
    CHECK(decode(mine).valid);
    CHECK(decode(mine).chunk_sectors == 16);
    encode(Header{false, 16}, mine);
    CHECK(mine[4] == std::byte{0});
    CHECK_FALSE(decode(mine).valid);
}

TEST_CASE("a store is new where its magic word is zero, whatever else there is") {
    CHECK(is_new(header_bytes(0, 1, 2, 3)));
    CHECK_FALSE(is_new(header_bytes(1, 0, 0, 0)));
}

TEST_CASE("bytes that are no header of an exception store are refused with the kernel's errno") {
    CHECK(error_of(header_bytes(kMagic, 1, 1, 8)) == 0);
    CHECK(error_of(header_bytes(kMagic + 1, 1, 1, 8)) == ENXIO);
    CHECK(error_of(header_bytes(kMagic, 1, 2, 8)) == EINVAL);
    CHECK(error_of(header_bytes(kMagic, 1, 0, 8)) == EINVAL);
    for (uint32_t chunk : {0u, 3u, 24u, 1u << 22, UINT32_MAX})
        CHECK(error_of(header_bytes(kMagic, 1, 1, chunk)) == EINVAL);
    for (uint32_t chunk : {1u, 2u, 1u << 21}) CHECK(error_of(header_bytes(kMagic, 1, 1, chunk)) == 0);
    CHECK(error_of(std::vector<std::byte>(8)) == EINVAL);
}

TEST_CASE("areas lie behind the header and behind as many chunks as they have entries") {
    Areas areas(16);  // 8 KiB: 512 entries
    CHECK(areas.entries() == 512);
    CHECK(areas.chunk_of(0) == 1);
    CHECK(areas.chunk_of(1) == 514);
    CHECK(areas.chunk_of(2) == 1027);
    for (Chunk chunk : {1u, 514u, 1027u}) {
        CHECK(areas.is_area(chunk));
        CHECK(areas.skip(chunk) == chunk + 1);
    }
    for (Chunk chunk : {0u, 2u, 513u, 515u}) {
        CHECK_FALSE(areas.is_area(chunk));
        CHECK(areas.skip(chunk) == chunk);
    }
    CHECK(Areas(1).entries() == 32);
    CHECK(Areas(1).chunks_for(0) == 2);
    CHECK(Areas(1).chunks_for(31) == 33);
    CHECK(Areas(1).chunks_for(32) == 35);  // the next area is there before the last entry is
}

TEST_CASE("an entry is two little-endian numbers") {
    const uint8_t kernel[] = {0x40, 0, 0, 0, 0, 0, 0, 0, 0x43, 0x01, 0, 0, 0, 0, 0, 0};
    Entry entry{0x40, 0x143};
    std::byte mine[kEntryBytes];
    encode(entry, mine);
    CHECK(memcmp(mine, kernel, sizeof kernel) == 0);
    CHECK(decode_entry(mine) == entry);
}
