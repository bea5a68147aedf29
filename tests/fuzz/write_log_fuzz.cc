// The log of log-writes: any bytes are a log or are refused, and no entry leads out of it.

#include <algorithm>
#include <vector>

#include "base/refused.h"
#include "formats/write_log.h"
#include "fuzz/check.h"

using namespace dmfs;
using namespace dmfs::write_log;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::span<const std::byte> log(reinterpret_cast<const std::byte*>(data), size);
    try {
        Super super = decode_super(log);
        std::vector<std::byte> block(super.sectorsize);
        encode(super, block.data());
        PROMISE(decode_super(block).entries == super.entries);
        Walk walk(super, size);
        uint64_t end = super.sectorsize, number = 0;
        while (walk.more()) {
            PROMISE(walk.at() == end);
            size_t from = std::min<uint64_t>(walk.at(), size);
            size_t here = std::min<uint64_t>(size - from, super.sectorsize);
            Record record = walk.take(log.subspan(from, here));
            PROMISE(record.number == ++number && record.at == end);
            PROMISE(record.data_at == end + super.sectorsize);
            PROMISE(record.data_at + record.data_bytes <= size);
            PROMISE(record.entry.sector * super.sectorsize / super.sectorsize == record.entry.sector);
            PROMISE(!words_of(record.entry.flags).empty());
            end = record.data_at + record.data_bytes;
            encode(record.entry, super.sectorsize, block.data());
            Entry again = decode_entry(block);
            PROMISE(again.sector == record.entry.sector && again.flags == record.entry.flags);
            PROMISE(again.mark == record.entry.mark.substr(0, mark_room(super.sectorsize)));
        }
    } catch (const Refused& refused) {
        PROMISE(refused.error() == EBADMSG && !refused.reason().empty());
    }
    return 0;
}
