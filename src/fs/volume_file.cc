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

Task<Status> VolumeFile::read(Memory* memory, uint64_t offset, uint64_t length, Cancel* cancel) {
    return volume_->io(data_bio(Op::read, memory, aligned_from(offset), aligned_to(offset + length), cancel));
}

Task<Status> VolumeFile::flush(Cancel* cancel) {
    Bio bio;
    bio.op = Op::flush;
    bio.cancel = cancel;
    return volume_->io(bio);
}

Task<Status> VolumeFile::write(Memory* data, uint64_t offset, uint64_t length, bool fua, Cancel* cancel) {
    uint64_t from = aligned_from(offset), to = aligned_to(offset + length);
    if (from != offset || to != offset + length) return write_unaligned(data, offset, length, fua, cancel);
    Bio bio = data_bio(Op::write, data, from, to, cancel);
    bio.fua = fua;
    return write_locked(bio, from, to);
}

Task<Status> VolumeFile::write_locked(Bio bio, uint64_t from, uint64_t to) {
    Task<Status> locking = writes_.acquire(from, to, bio.cancel);
    Status status = co_await locking;
    if (!status) co_return status;
    Task<Status> writing = volume_->io(bio);
    status = co_await writing;
    writes_.release(from, to);
    co_return status;
}

Task<Status> VolumeFile::write_unaligned(Memory* data, uint64_t offset, uint64_t length, bool fua, Cancel* cancel) {
    uint64_t from = aligned_from(offset), to = aligned_to(offset + length), step = block();
    Task<Status> locking = writes_.acquire(from, to, cancel);
    Status status = co_await locking;
    if (!status) co_return status;
    Memory whole(to - from);
    // The blocks that are only partly overwritten: the first, the last, or both in one.
    if (from != offset) {
        Task<Status> reading = volume_->io(data_bio(Op::read, &whole, from, from + step, cancel));
        status = co_await reading;
    }
    if (status && to != offset + length && (from == offset || to - from > step)) {
        Bio last = data_bio(Op::read, &whole, to - step, to, cancel);
        last.offset = to - step - from;
        Task<Status> reading = volume_->io(last);
        status = co_await reading;
    }
    if (status) {
        memcpy(whole.data() + (offset - from), data->data(), length);
        Bio bio = data_bio(Op::write, &whole, from, to, cancel);
        bio.fua = fua;
        Task<Status> writing = volume_->io(bio);
        status = co_await writing;
    }
    writes_.release(from, to);
    co_return status;
}

Task<Status> VolumeFile::clear(Op op, uint64_t offset, uint64_t length, Cancel* cancel) {
    uint64_t from = aligned_to(offset), to = aligned_from(offset + length);
    Status status;
    if (from < to) {
        Task<Status> locking = writes_.acquire(from, to, cancel);
        status = co_await locking;
        if (!status) co_return status;
        Bio bio = data_bio(op, nullptr, from, to, cancel);
        Task<Status> clearing = volume_->io(bio);
        status = co_await clearing;
        writes_.release(from, to);
    }
    // The ends, which may lie in one block or in two.
    uint64_t ends[2][2] = {{offset, std::min(from, offset + length)}, {std::max(to, offset), offset + length}};
    if (from > to) ends[1][0] = ends[1][1];
    for (auto [begin, end] : ends) {
        if (begin >= end || !status) continue;
        Memory zeros(end - begin);
        memset(zeros.data(), 0, end - begin);
        Task<Status> writing = write(&zeros, begin, end - begin, false, cancel);
        status = co_await writing;
    }
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
        if (blocks_renewed_ != std::chrono::steady_clock::time_point() && now - blocks_renewed_ < kBlocksFresh)
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
