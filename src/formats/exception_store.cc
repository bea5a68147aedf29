#include "formats/exception_store.h"

#include <bit>

#include "base/refused.h"

namespace dmfs::exception_store {

namespace {

struct DiskEntry {
    le64 old_chunk;
    le64 new_chunk;
};
static_assert(sizeof(DiskEntry) == kEntryBytes);

}  // namespace

void encode(const Header& header, std::byte* to) {
    write_structure(to, DiskHeader{kMagic, header.valid ? 1u : 0u, kVersion, header.chunk_sectors});
}

bool is_new(std::span<const std::byte> bytes) { return read_structure<le32>(bytes.data()) == 0u; }

Header decode(std::span<const std::byte> bytes) {
    if (bytes.size() < kHeaderBytes) throw Refused(EINVAL, "too short to hold an exception store");
    auto disk = read_structure<DiskHeader>(bytes.data());
    if (disk.magic != kMagic)
        throw Refused(
            ENXIO, "no exception store: it begins neither with its magic word nor with zeros",
            "the COW device of a snapshot, or an empty one: zeros in its first sector make it empty");
    if (disk.version != kVersion)
        throw Refused(EINVAL, "an exception store of version " + std::to_string(disk.version),
                      "version 1 is known");
    if (!is_chunk(disk.chunk_sectors))
        throw Refused(EINVAL,
                      "chunks of " + std::to_string(disk.chunk_sectors) + " sectors in the exception store",
                      "a power of two, at most " + std::to_string(kMostChunkSectors));
    return {disk.valid != 0u, disk.chunk_sectors};
}

bool is_chunk(uint64_t sectors) { return std::has_single_bit(sectors) && sectors <= kMostChunkSectors; }

void encode(const Entry& entry, std::byte* to) {
    write_structure(to, DiskEntry{entry.old_chunk, entry.new_chunk});
}

Entry decode_entry(const std::byte* from) {
    auto disk = read_structure<DiskEntry>(from);
    return {disk.old_chunk, disk.new_chunk};
}

}  // namespace dmfs::exception_store
