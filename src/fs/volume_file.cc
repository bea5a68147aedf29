#include "fs/volume_file.h"

#include <algorithm>
#include <cstring>

namespace dmfs::fs {

namespace {

constexpr std::chrono::seconds kBlocksFresh{1};

Bio data_bio(Op op, Memory* memory, uint64_t from, uint64_t to, Cancel* cancel) {
    Bio bio;
    bio.op = op;
    bio.sector = sectors_in(from);
    bio.count = sectors_in(to - from);
    bio.memory = memory;
    bio.cancel = cancel;
    return bio;
}

}  // namespace

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
        Task<Status> reading = volume_->io(data_bio(Op::read, &**memory, blocks.from, blocks.to, cancel));
        Status status = co_await reading;
        if (!begin_anew(&status, blocks.generation)) co_return status;
    }
}

Task<Status> VolumeFile::flush(Cancel* cancel) {
    Bio bio;
    bio.op = Op::flush;
    bio.cancel = cancel;
    return volume_->io(bio);
}

Task<Status> VolumeFile::write(Memory* data, uint64_t offset, uint64_t length, bool fua, Cancel* cancel) {
    while (true) {
        Blocks blocks = blocks_around(offset, length);
        bool whole = blocks.from == offset && blocks.to == offset + length;
        WriteOrder::Turn turn;
        Task<Status> locking = whole ? writes_.take_whole(blocks.from, blocks.to, &turn, cancel)
                                     : writes_.take_part(blocks.from, blocks.to, &turn, cancel);
        Status status = co_await locking;
        if (!status) co_return status;
        Task<Status> writing = write_locked(data, offset, length, blocks, fua, cancel);
        status = co_await writing;
        writes_.give_back(blocks.from, blocks.to, turn);
        if (!begin_anew(&status, blocks.generation)) co_return status;
    }
}

Task<Status> VolumeFile::write_locked(Memory* data, uint64_t offset, uint64_t length, Blocks blocks, bool fua,
                                      Cancel* cancel) {
    if (blocks.from != offset || blocks.to != offset + length)
        return write_unaligned(data, offset, length, blocks, fua, cancel);
    Bio bio = data_bio(Op::write, data, blocks.from, blocks.to, cancel);
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
        Bio first = data_bio(Op::read, &whole, blocks.from, blocks.from + blocks.size, cancel);
        first.generation = blocks.generation;
        Task<Status> reading = volume_->io(first);
        status = co_await reading;
    }
    if (status && cuts_last && !(cuts_first && blocks.to - blocks.from == blocks.size)) {
        Bio last = data_bio(Op::read, &whole, blocks.to - blocks.size, blocks.to, cancel);
        last.offset = blocks.to - blocks.size - blocks.from;
        last.generation = blocks.generation;
        Task<Status> reading = volume_->io(last);
        status = co_await reading;
    }
    if (!status) co_return status;
    memcpy(whole.data() + (offset - blocks.from), data->data(), length);
    Bio bio = data_bio(Op::write, &whole, blocks.from, blocks.to, cancel);
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
            Task<Status> clearing = clear_blocks(op, from, to, cancel);
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

Task<Status> VolumeFile::clear_blocks(Op op, uint64_t from, uint64_t to, Cancel* cancel) {
    WriteOrder::Turn turn;
    Task<Status> locking = writes_.take_whole(from, to, &turn, cancel);
    Status status = co_await locking;
    if (!status) co_return status;
    Task<Status> clearing = volume_->io(data_bio(op, nullptr, from, to, cancel));
    status = co_await clearing;
    writes_.give_back(from, to, turn);
    co_return status;
}

int64_t VolumeFile::seek(uint64_t offset, bool data) {
    Sector end = volume_->size();
    if (offset >= bytes_of(end)) return -ENXIO;
    for (Sector at = sectors_in(offset); at < end;) {
        Extent extent = volume_->extent(at);
        if (extent.data == data) return static_cast<int64_t>(std::max(offset, bytes_of(at)));
        at = extent.end;
    }
    return data ? -ENXIO : static_cast<int64_t>(bytes_of(end));
}

uint64_t VolumeFile::blocks() {
    auto now = std::chrono::steady_clock::now();
    {
        std::lock_guard guard(mutex_);
        if (blocks_renewed_ != std::chrono::steady_clock::time_point() &&
            now - blocks_renewed_ < kBlocksFresh)
            return std::min(blocks_, volume_->size());
    }
    Sector end = volume_->size();
    Sector counted = end == 0 ? 0 : volume_->allocated(0, end);
    std::lock_guard guard(mutex_);
    blocks_ = counted;
    blocks_renewed_ = now;
    return counted;
}

}  // namespace dmfs::fs
