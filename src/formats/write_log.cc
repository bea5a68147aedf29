#include "formats/write_log.h"

#include <algorithm>
#include <bit>

#include "base/refused.h"
#include "base/units.h"

namespace dmfs::write_log {

namespace {

constexpr uint32_t kSmallestBlock = 512, kLargestBlock = 65536;

Refused damaged(const std::string& reason, const std::string& remedy = {}) {
    return Refused(EBADMSG, reason, remedy);
}

}  // namespace

void encode(const Super& super, std::byte* to) {
    std::fill_n(to, super.sectorsize, std::byte{0});
    write_structure(to, DiskSuper{kMagic, kVersion, super.entries, super.sectorsize});
}

void encode(const Entry& entry, uint32_t sectorsize, std::byte* to) {
    std::fill_n(to, sectorsize, std::byte{0});
    size_t text = std::min(entry.mark.size(), mark_room(sectorsize));
    write_structure(to, DiskEntry{entry.sector, entry.sectors, entry.flags, uint64_t{text}});
    memcpy(to + sizeof(DiskEntry), entry.mark.data(), text);
}

Super decode_super(std::span<const std::byte> block) {
    if (block.size() < sizeof(DiskSuper)) throw damaged("too short to be a log");
    auto disk = read_structure<DiskSuper>(block.data());
    if (disk.magic != kMagic)
        throw damaged(
            "no log of log-writes: it does not begin with its magic number",
            "the log is the second device of the row; it is empty until the first mark or FUA write");
    if (disk.version != kVersion)
        throw damaged("a log of version " + std::to_string(disk.version), "version 1 is known");
    uint32_t sectorsize = disk.sectorsize;
    if (!std::has_single_bit(sectorsize) || sectorsize < kSmallestBlock || sectorsize > kLargestBlock)
        throw damaged("its blocks of " + std::to_string(sectorsize) + " bytes are none", "512 to 65536");
    return {disk.entries, sectorsize};
}

Entry decode_entry(std::span<const std::byte> block) {
    if (block.size() < sizeof(DiskEntry)) throw damaged("it ends within an entry");
    auto disk = read_structure<DiskEntry>(block.data());
    Entry entry{disk.sector, disk.sectors, disk.flags, {}};
    if ((entry.flags & ~kKnownFlags) != 0)
        throw damaged("flags " + std::to_string(entry.flags) + " are unknown");
    if ((entry.flags & kMark) == 0) return entry;
    uint64_t text = disk.text_bytes;
    if (text > block.size() - sizeof(DiskEntry))
        throw damaged("a mark of " + std::to_string(text) + " bytes is longer than its block");
    entry.mark.assign(reinterpret_cast<const char*>(block.data()) + sizeof(DiskEntry), text);
    return entry;
}

std::string words_of(uint64_t flags) {
    std::string words;
    if ((flags & (kFlush | kDiscard | kMark)) == 0) words = "write";
    constexpr struct {
        uint64_t flag;
        const char* word;
    } kWords[] = {
        {kFlush, "flush"}, {kDiscard, "discard"}, {kMark, "mark"}, {kFua, "fua"}, {kMetadata, "metadata"}};
    for (const auto& [flag, word] : kWords)
        if ((flags & flag) != 0) words += (words.empty() ? "" : " ") + std::string(word);
    return words;
}

Record Walk::take(std::span<const std::byte> block) {
    std::string which = "entry " + std::to_string(taken_ + 1) + " of " + std::to_string(super_.entries);
    uint64_t room = at_ <= log_bytes_ ? log_bytes_ - at_ : 0;
    if (room < super_.sectorsize || block.size() < super_.sectorsize)
        throw damaged(which + " lies beyond the end of the log");
    Record record{taken_ + 1, at_, at_ + super_.sectorsize, 0, {}};
    try {
        record.entry = decode_entry(block.first(super_.sectorsize));
    } catch (const Refused& refused) {
        throw damaged(which + ": " + refused.reason(), refused.remedy());
    }
    room -= super_.sectorsize;
    const Entry& entry = record.entry;
    uint64_t most = bytes_of(kMaxSectors) / super_.sectorsize;
    if (entry.sector > most || entry.sectors > most - entry.sector)
        throw damaged(which + " writes beyond 2^63 bytes: sector " + std::to_string(entry.sector));
    record.data_bytes = entry.data_sectors() * super_.sectorsize;
    if (record.data_bytes > room)
        throw damaged(which + ": its " + std::to_string(record.data_bytes) +
                      " bytes of data lie beyond the end");
    at_ = record.data_at + record.data_bytes;
    taken_++;
    return record;
}

}  // namespace dmfs::write_log
