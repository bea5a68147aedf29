// A volume as a file: bytes in, sectors out. Requests of any position and length
// become requests of whole blocks:
//
//     blocks   |........|........|........|
//     write         |~~~~~~~~~~~~~~~|             the ends: read, changed, written
//
// In what order writes may go on: see WriteOrder.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/volume.h"
#include "fs/write_order.h"

namespace dmfs::fs {

class VolumeFile {
  public:
    // Does not count as open.
    explicit VolumeFile(std::shared_ptr<Volume> volume);

    Volume& volume() { return *volume_; }
    uint64_t bytes() const { return bytes_of(volume_->size()); }

    // All positions and lengths are bytes, within bytes(). EINTR: cancelled. Each
    // begins anew where a swap of tables, while it waited, has made it wrong.

    // Afterwards the data stands in *memory, from *begin on.
    Task<Status> read(std::optional<Memory>* memory, size_t* begin, uint64_t offset, uint64_t length,
                      Cancel* cancel);
    Task<Status> write(Memory* data, uint64_t offset, uint64_t length, bool fua, Cancel* cancel);
    Task<Status> flush(Cancel* cancel);
    // Op::discard or Op::write_zeroes: the range reads as zeros where the volume's
    // targets do so; blocks cut by its ends are zeroed by writing.
    Task<Status> clear(Op op, uint64_t offset, uint64_t length, Cancel* cancel);

    // After a read that failed: reads what lies before the place that cannot be read, and *length
    // becomes less. Nothing is given unless that place fails again: a fault that comes once is told.
    Task<Status> read_before_error(std::optional<Memory>* memory, size_t* begin, uint64_t offset,
                                   uint64_t* length, Cancel* cancel);
    // O_TRUNC and truncate(2); see volume_truncate.cc. `may_zero`: to 0 zeroes all.
    Task<Outcome> truncate(uint64_t to, bool may_zero, Cancel* cancel);

    // SEEK_DATA and SEEK_HOLE: the first byte from `offset` on that is (in) data, or
    // a hole; -ENXIO where there is none. Where it would take long to find out: as if all that
    // is not known were data. -EINTR: cancelled.
    int64_t seek(uint64_t offset, bool data, Cancel* cancel = nullptr);
    // st_blocks: an estimate. May wait for what is below (see BlockCounts).
    uint64_t blocks(Cancel* cancel = nullptr);

  private:
    // The range of whole blocks around a range of bytes.
    struct Blocks {
        uint64_t generation, size, from, to;
        Blocks(uint64_t of, uint64_t block, uint64_t offset, uint64_t length)
            : generation(of),
              size(block),
              from(offset / block * block),
              to((offset + length + block - 1) / block * block) {}
    };

    Blocks blocks_around(uint64_t offset, uint64_t length) const {
        uint64_t generation = volume_->generation();  // before what it may change
        return {generation, volume_->logical_block(), offset, length};
    }
    bool begin_anew(Status* status, uint64_t generation) const;
    Task<Status> write_locked(Memory* data, uint64_t offset, uint64_t length, Blocks blocks, bool fua,
                              Cancel* cancel);
    Task<Status> write_unaligned(Memory* data, uint64_t offset, uint64_t length, Blocks blocks, bool fua,
                                 Cancel* cancel);
    Task<Status> change_blocks(Bio bio);

    struct Range {
        Sector from, end;
    };
    std::vector<Range> data_from(uint64_t offset, Cancel* cancel);
    Outcome room_for(const std::vector<Range>& ranges, Cancel* cancel);
    Task<Status> zero(std::vector<Range> ranges, uint64_t generation, Cancel* cancel);
    Task<Status> look_for_data(std::vector<Range> ranges, uint64_t offset, uint64_t generation,
                               bool* all_zeros, Cancel* cancel);

    // [from, to) in bytes, whole sectors.
    static Bio data_bio(Op op, uint64_t from, uint64_t to, Memory* memory, Cancel* cancel);

    std::shared_ptr<Volume> volume_;
    WriteOrder writes_;
};

}  // namespace dmfs::fs
