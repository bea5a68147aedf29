// A volume as a file: bytes in, sectors out. Requests of any position and length
// become requests of whole blocks:
//
//     blocks   |........|........|........|
//     write         |~~~~~~~~~~~~~~~|             the ends: read, changed, written
//
// No two writes that touch a block run at the same time (a range lock), or one
// could undo what another has put into the same block.

#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>

#include "engine/locks.h"
#include "engine/volume.h"

namespace dmfs::fs {

class VolumeFile {
  public:
    // Does not count as open.
    explicit VolumeFile(std::shared_ptr<Volume> volume);

    Volume& volume() { return *volume_; }
    uint64_t bytes() const { return bytes_of(volume_->size()); }

    // All positions and lengths are bytes, within bytes(). EINTR: cancelled.

    // What is to be read, from where to where; data then stands in memory from
    // offset - aligned_from(offset) on.
    Task<Status> read(Memory* memory, uint64_t offset, uint64_t length, Cancel* cancel);
    Task<Status> write(Memory* data, uint64_t offset, uint64_t length, bool fua, Cancel* cancel);
    Task<Status> flush(Cancel* cancel);
    // Op::discard or Op::write_zeroes: the range reads as zeros where the volume's
    // targets do so; blocks cut by its ends are zeroed by writing.
    Task<Status> clear(Op op, uint64_t offset, uint64_t length, Cancel* cancel);

    uint64_t aligned_from(uint64_t offset) const { return offset / block() * block(); }
    uint64_t aligned_to(uint64_t offset) const { return (offset + block() - 1) / block() * block(); }

    // SEEK_DATA and SEEK_HOLE: the first byte from `offset` on that is (in) data, or
    // a hole; -ENXIO where there is none.
    int64_t seek(uint64_t offset, bool data);
    // st_blocks: an estimate, renewed once a second at most.
    uint64_t blocks();

  private:
    uint64_t block() const { return volume_->logical_block(); }
    Task<Status> write_unaligned(Memory* data, uint64_t offset, uint64_t length, bool fua, Cancel* cancel);
    Task<Status> write_locked(Bio bio, uint64_t from, uint64_t to);

    std::shared_ptr<Volume> volume_;
    RangeLock writes_;  // bytes
    std::mutex mutex_;
    uint64_t blocks_ = 0;
    std::chrono::steady_clock::time_point blocks_renewed_{};
};

}  // namespace dmfs::fs
