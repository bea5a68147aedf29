// Truncation: a volume keeps its length, so what a file would lose has to read as zeros.
//
//     to 0    what is no hole is zeroed: by punching holes where the devices can, else by writing
//     to n    taken where [n, end) reads as zeros already; else refused, and nothing changes

#include <algorithm>
#include <cstring>

#include "engine/room.h"
#include "fs/volume_file.h"

namespace dmfs::fs {

namespace {

// Zeroed at a time; who is killed goes after one. Endless volumes get larger pieces, or they would take for
// ever.
constexpr Sector kPiece = sectors_in(uint64_t{64} << 20);
constexpr Sector kMostPieces = 1 << 16;
constexpr Sector kReadPiece = sectors_in(1 << 20);

Refused refused_with(Status status) {
    switch (status.error()) {
        case EPERM:
            return Refused(EPERM, "something below it is read-only");
        case EINTR:
            return Refused(EINTR, "interrupted: the volume is zeroed in part");
        default:
            return Refused(status.error(), "zeroing it failed: the volume is zeroed in part");
    }
}

}  // namespace

Task<Outcome> VolumeFile::truncate(uint64_t to, bool may_zero, Cancel* cancel) {
    const uint64_t end = bytes();
    if (to == end) co_return Outcome();
    if (to > end)
        co_return Refused(EFBIG, "a volume has the length of its table: " + std::to_string(end) + " bytes",
                          "another table makes it longer");
    if (volume_->readonly()) co_return Refused(EPERM, "the volume is read-only");
    const bool zeroes = to == 0 && may_zero;
    while (true) {
        const uint64_t generation = volume_->generation();
        Blocking::Enter enter = volume_->executor().blocking().enter();
        co_await enter;
        std::vector<Range> ranges = data_from(to, cancel);
        if (is_cancelled(cancel)) co_return Refused(EINTR, "interrupted");
        if (Outcome outcome = zeroes ? room_for(ranges, cancel) : Outcome(); !outcome) co_return outcome;
        bool all_zeros = true;
        Task<Status> doing = zeroes ? zero(std::move(ranges), generation, cancel)
                                    : look_for_data(std::move(ranges), to, generation, &all_zeros, cancel);
        Status status = co_await doing;
        if (begin_anew(&status, generation)) continue;
        if (!status && zeroes) co_return refused_with(status);
        if (!status) co_return Refused(status.error(), "what lies behind cannot be read");
        if (!all_zeros)
            co_return Refused(
                EPERM, "a volume keeps its length, and there is data behind byte " + std::to_string(to),
                to == 0 ? "the mount has truncate=refuse; blkdiscard or dd conv=notrunc do what is meant"
                        : "dd conv=notrunc");
        // What another table shows now was not looked at.
        if (volume_->generation() == generation) co_return Outcome();
    }
}

// What is no hole, in whole blocks.
std::vector<VolumeFile::Range> VolumeFile::data_from(uint64_t offset, Cancel* cancel) {
    const Sector end = volume_->size(), block = sectors_in(volume_->logical_block());
    std::vector<Range> ranges;
    Look look(cancel);
    for (Sector at = sectors_in(offset); at < end;) {
        Extent extent = volume_->extent(at, look);
        if (look.ended()) extent = {true, end};
        const Sector from = at;
        at = std::min(extent.end, end);
        if (!extent.data) continue;
        Range range{from / block * block, std::min(end, (at + block - 1) / block * block)};
        if (!ranges.empty() && ranges.back().end >= range.from)
            ranges.back().end = range.end;
        else
            ranges.push_back(range);
    }
    return ranges;
}

Outcome VolumeFile::room_for(const std::vector<Range>& ranges, Cancel* cancel) {
    Look look(cancel);
    Room room(look);
    for (const Range& range : ranges) volume_->ask_room(range.from, range.end - range.from, room);
    return room.outcome();
}

Task<Status> VolumeFile::zero(std::vector<Range> ranges, uint64_t generation, Cancel* cancel) {
    const Sector block = sectors_in(volume_->logical_block());
    const Sector most = std::max(kPiece, volume_->size() / kMostPieces) / block * block;
    Bio bio = data_bio(Op::write_zeroes, 0, 0, nullptr, cancel);
    bio.unmap = true;
    bio.generation = generation;
    if (cancel != nullptr) cancel->about_to_wait();
    for (const Range& range : ranges)
        for (bio.sector = range.from; bio.sector < range.end; bio.sector += bio.count) {
            if (is_cancelled(cancel)) co_return Status(EINTR);
            bio.count = std::min(most, range.end - bio.sector);
            Task<Status> zeroing = change_blocks(bio);
            Status status = co_await zeroing;
            if (!status) co_return status;
        }
    co_return kOk;
}

// Whether all of it from byte `offset` on is zeros.
Task<Status> VolumeFile::look_for_data(std::vector<Range> ranges, uint64_t offset, uint64_t generation,
                                       bool* all_zeros, Cancel* cancel) {
    const Sector most = std::max(kReadPiece, sectors_in(volume_->logical_block()));
    Memory memory(bytes_of(most));
    Bio bio = data_bio(Op::read, 0, 0, &memory, cancel);
    bio.generation = generation;
    if (cancel != nullptr) cancel->about_to_wait();
    for (const Range& range : ranges)
        for (bio.sector = range.from; bio.sector < range.end; bio.sector += bio.count) {
            if (is_cancelled(cancel)) co_return Status(EINTR);
            bio.count = std::min(most, range.end - bio.sector);
            Task<Status> reading = volume_->io(bio);
            Status status = co_await reading;
            if (!status) co_return status;
            const uint64_t begin = bytes_of(bio.sector), skipped = std::max(begin, offset) - begin;
            const std::byte* last = memory.data() + bio.bytes();
            const std::byte* first = memory.data() + std::min<uint64_t>(skipped, bio.bytes());
            *all_zeros = std::all_of(first, last, [](std::byte b) { return b == std::byte{0}; });
            if (!*all_zeros) co_return kOk;
        }
    co_return kOk;
}

}  // namespace dmfs::fs
