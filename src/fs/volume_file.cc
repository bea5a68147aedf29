#include "fs/volume_file.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace dmfs::fs {

namespace {

constexpr uint64_t kPage = 4096;  // what a read that meets an error is cut at

}  // namespace

Bio VolumeFile::data_bio(Op op, uint64_t from, uint64_t to, Memory* memory, Cancel* cancel) {
    Bio bio;
    bio.op = op;
    bio.sector = sectors_in(from);
    bio.count = sectors_in(to - from);
    bio.memory = memory;
    bio.cancel = cancel;
    return bio;
}

VolumeFile::VolumeFile(std::shared_ptr<Volume> volume)
    : volume_(std::move(volume)), writes_(volume_->executor()) {}

// Whether a request that the volume would not take was meant for an earlier table.
bool VolumeFile::begin_anew(Status* status, uint64_t generation) const {
    if (status->error() != ERESTART) return false;
    if (volume_->generation() != generation) return true;
    *status = Status(EIO);  // a volume further below has larger blocks now
    return false;
}

Task<Status> VolumeFile::read(std::optional<Memory>* memory, size_t* begin, uint64_t offset, uint64_t length,
                              Cancel* cancel) {
    while (true) {
        Blocks blocks = blocks_around(offset, length);
        memory->emplace(blocks.to - blocks.from);
        *begin = offset - blocks.from;
        Task<Status> reading = volume_->io(data_bio(Op::read, blocks.from, blocks.to, &**memory, cancel));
        Status status = co_await reading;
        if (!begin_anew(&status, blocks.generation)) co_return status;
    }
}

// Halves, quarters, ...: each page is read once more, but for those after the first bad one.
Task<Status> VolumeFile::read_before_error(std::optional<Memory>* memory, size_t* begin, uint64_t offset,
                                           uint64_t* length, Cancel* cancel) {
    const uint64_t page = std::max<uint64_t>(kPage, volume_->logical_block());
    const uint64_t from = offset / page * page;
    const uint64_t to = std::min((offset + *length + page - 1) / page * page, bytes());
    const uint64_t pages = to > from ? (to - from + page - 1) / page : 0;
    if (pages < 2) co_return Status(EIO);
    memory->emplace(to - from);
    uint64_t good = 0;  // pages
    Status status;
    for (uint64_t step = std::bit_floor(pages - 1); step > 0 && status.error() != EINTR; step /= 2) {
        if (good + step >= pages) continue;
        Bio part = data_bio(Op::read, from + good * page, from + (good + step) * page, &**memory, cancel);
        part.offset = good * page;
        Task<Status> reading = volume_->io(part);
        status = co_await reading;
        if (status) good += step;
    }
    if (status.error() == EINTR || from + good * page <= offset) co_return Status(EIO);
    const uint64_t place = from + good * page;
    Bio bad = data_bio(Op::read, place, std::min(place + page, to), &**memory, cancel);
    bad.offset = good * page;
    Task<Status> reading = volume_->io(bad);
    status = co_await reading;
    if (status) co_return Status(EIO);
    *begin = offset - from;
    *length = std::min(*length, place - offset);
    co_return kOk;
}

Task<Status> VolumeFile::flush(Cancel* cancel) { return volume_->io(Bio::flush(cancel)); }

Task<Status> VolumeFile::write(Memory* data, uint64_t offset, uint64_t length, bool fua, Cancel* cancel) {
    while (true) {
        Blocks blocks = blocks_around(offset, length);
        bool whole = blocks.from == offset && blocks.to == offset + length;
        WriteOrder::Turn turn;
        Task<Status> locking = whole ? writes_.take_whole(blocks.from, blocks.to, &turn, cancel)
                                     : writes_.take_part(blocks.from, blocks.to, &turn, cancel);
        Status status = co_await locking;
        if (!status) co_return status;
        WriteOrder::Guard guard(writes_, blocks.from, blocks.to, turn);
        Task<Status> writing = write_locked(data, offset, length, blocks, fua, cancel);
        status = co_await writing;
        if (!begin_anew(&status, blocks.generation)) co_return status;
    }
}

Task<Status> VolumeFile::write_locked(Memory* data, uint64_t offset, uint64_t length, Blocks blocks, bool fua,
                                      Cancel* cancel) {
    if (blocks.from != offset || blocks.to != offset + length)
        return write_unaligned(data, offset, length, blocks, fua, cancel);
    Bio bio = data_bio(Op::write, blocks.from, blocks.to, data, cancel);
    bio.fua = fua;
    return volume_->io(bio);
}

Task<Status> VolumeFile::write_unaligned(Memory* data, uint64_t offset, uint64_t length, Blocks blocks,
                                         bool fua, Cancel* cancel) {
    Memory whole(blocks.to - blocks.from);
    Status status;
    // What was read from one table is not written to another: each names the generation.
    // The blocks that are only partly overwritten: the first, the last, or both in one.
    bool cuts_first = blocks.from != offset, cuts_last = blocks.to != offset + length;
    if (cuts_first) {
        Bio first = data_bio(Op::read, blocks.from, blocks.from + blocks.size, &whole, cancel);
        first.generation = blocks.generation;
        Task<Status> reading = volume_->io(first);
        status = co_await reading;
    }
    if (status && cuts_last && !(cuts_first && blocks.to - blocks.from == blocks.size)) {
        Bio last = data_bio(Op::read, blocks.to - blocks.size, blocks.to, &whole, cancel);
        last.offset = blocks.to - blocks.size - blocks.from;
        last.generation = blocks.generation;
        Task<Status> reading = volume_->io(last);
        status = co_await reading;
    }
    if (!status) co_return status;
    memcpy(whole.data() + (offset - blocks.from), data->data(), length);
    Bio bio = data_bio(Op::write, blocks.from, blocks.to, &whole, cancel);
    bio.fua = fua;
    bio.generation = blocks.generation;
    Task<Status> writing = volume_->io(bio);
    status = co_await writing;
    co_return status;
}

Task<Status> VolumeFile::clear(Op op, uint64_t offset, uint64_t length, Cancel* cancel) {
    while (true) {
        uint64_t generation = volume_->generation(), block = volume_->logical_block(), end = offset + length;
        uint64_t from = (offset + block - 1) / block * block, to = end / block * block;
        Status status;
        if (from < to) {
            Task<Status> clearing = change_blocks(data_bio(op, from, to, nullptr, cancel));
            status = co_await clearing;
        }
        if (begin_anew(&status, generation)) continue;
        // The ends, which may lie in one block or in two.
        std::pair<uint64_t, uint64_t> ends[2] = {{offset, std::min(from, end)}, {std::max(to, from), end}};
        for (auto [begin, until] : ends) {
            if (begin >= until || !status) continue;
            Memory zeros(until - begin);
            memset(zeros.data(), 0, until - begin);
            Task<Status> writing = write(&zeros, begin, until - begin, false, cancel);
            status = co_await writing;
        }
        co_return status;
    }
}

// Without data; whole blocks.
Task<Status> VolumeFile::change_blocks(Bio bio) {
    WriteOrder::Turn turn;
    const uint64_t from = bytes_of(bio.sector), to = bytes_of(bio.end());
    Task<Status> locking = writes_.take_whole(from, to, &turn, bio.cancel);
    Status status = co_await locking;
    if (!status) co_return status;
    WriteOrder::Guard guard(writes_, from, to, turn);
    Task<Status> changing = volume_->io(bio);
    status = co_await changing;
    co_return status;
}

int64_t VolumeFile::seek(uint64_t offset, bool data, Cancel* cancel) {
    Sector end = volume_->size();
    if (offset >= bytes_of(end)) return -ENXIO;
    Look look(cancel);
    for (Sector at = sectors_in(offset); at < end;) {
        Extent extent = volume_->extent(at, look);
        if (look.cancelled()) return -EINTR;
        if (look.ended() && !data) break;
        if (extent.data == data) return static_cast<int64_t>(std::max(offset, bytes_of(at)));
        at = extent.end;
    }
    return data ? -ENXIO : static_cast<int64_t>(bytes_of(end));
}

uint64_t VolumeFile::blocks(Cancel* cancel) {
    Sector end = volume_->size();
    Look look(cancel);
    return end == 0 ? 0 : std::min(end, volume_->allocated(0, end, look));
}

}  // namespace dmfs::fs
