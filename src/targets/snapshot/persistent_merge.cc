// What a merge asks of the store that outlives its volume: the newest entries, and that they go.

#include <algorithm>
#include <cassert>
#include <cstring>

#include "targets/snapshot/store.h"

namespace dmfs::snapshot {

using namespace exception_store;

Task<Status> PersistentStore::newest(size_t most, std::vector<Entry>* entries) {
    if (committed_ == 0) {
        if (area_ == 0) co_return kOk;
        area_--;
        committed_ = areas().entries();  // where commit() would go on in the next
    }
    const uint64_t in_block = entries_in_block();
    uint64_t from = committed_ - std::min<uint64_t>(most, committed_);
    uint64_t first_block = from / in_block, end_block = (committed_ + in_block - 1) / in_block;
    Memory memory((end_block - first_block) * block_->bytes());
    Task<Status> reading = transfer(
        Op::read, sector_of(areas().chunk_of(area_)) + first_block * sectors_in(block_->bytes()), &memory);
    Status status = co_await reading;
    if (!status) co_return status;
    for (uint64_t at = committed_; at-- > from;)
        entries->push_back(decode_entry(memory.data() + (at - first_block * in_block) * kEntryBytes));
    co_return kOk;
}

Task<Status> PersistentStore::forget(size_t count) {
    Memory before(block_->bytes());
    memcpy(before.data(), block_->data(), before.bytes());
    Task<Status> forgetting = forget_newest(count);
    Status status = co_await forgetting;
    if (!status) memcpy(block_->data(), before.data(), before.bytes());
    co_return status;
}

Task<Status> PersistentStore::forget_newest(size_t count) {
    assert(count <= committed_);
    const uint64_t in_block = entries_in_block(), left = committed_ - count;
    const uint64_t last_block = (committed_ - 1) / in_block;
    Status status;
    if (left % in_block != 0) {
        Task<Status> reading = block_io(Op::read, area_, left);
        status = co_await reading;
        if (!status) co_return status;
    }
    size_t kept = left % in_block * kEntryBytes;
    memset(block_->data() + kept, 0, block_->bytes() - kept);
    const bool one_block = left / in_block == last_block;
    Task<Status> writing = block_io(Op::write, area_, left, one_block);
    status = co_await writing;
    if (status && !one_block) {
        Sector block = sectors_in(block_->bytes());
        Task<Status> zeroing = write_zeros(sector_of(areas().chunk_of(area_)) + (left / in_block + 1) * block,
                                           (last_block - left / in_block) * block);
        status = co_await zeroing;
        if (!status) co_return status;
        Task<Status> flushing = flush();
        status = co_await flushing;
    }
    if (!status) co_return status;
    committed_ = left;
    allocated_ = area_ * areas().entries() + left;
    // If the chunks were not taken in order this is for the status alone: what is allocated next
    // stays beyond all that ever was.
    shown_free_ = areas().chunk_of(area_) + left + 1;
    if (in_order_) next_free_ = shown_free_;
    co_return kOk;
}

Task<Status> PersistentStore::remember(std::span<const Entry> newest) {
    const uint64_t in_block = entries_in_block(), from = committed_ - newest.size();
    const Sector area = sector_of(areas().chunk_of(area_));
    Memory memory(block_->bytes());
    for (uint64_t block = from / in_block; block * in_block < committed_; block++) {
        Sector sector = area + block * sectors_in(memory.bytes());
        Task<Status> reading = transfer(Op::read, sector, &memory);
        Status status = co_await reading;
        if (!status) co_return status;
        for (uint64_t at = std::max(from, block * in_block);
             at < std::min(committed_, (block + 1) * in_block); at++)
            encode(newest[committed_ - 1 - at], memory.data() + at % in_block * kEntryBytes);
        Task<Status> writing = transfer(Op::write, sector, &memory);
        status = co_await writing;
        if (!status) co_return status;
    }
    Task<Status> flushing = flush();
    Status status = co_await flushing;
    co_return status;
}

}  // namespace dmfs::snapshot
