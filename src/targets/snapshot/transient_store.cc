// The store that keeps nothing: what is copied fills the COW device from sector 0 on.

#include <algorithm>

#include "targets/snapshot/store.h"

namespace dmfs::snapshot {

ChunkRun TransientStore::allocate(Chunk most, Sector room) {
    Chunk next = next_free_, end = std::min(room, device_.size()) / chunk_sectors_;
    Chunk count = next < end ? std::min(most, end - next) : 0;
    next_free_ = next + count;
    return {next, count};
}

Sector TransientStore::needs() const {
    const Sector end = (next_free_ + 1) * chunk_sectors_;
    return end <= device_.size() ? end : 0;
}

void TransientStore::give_back(ChunkRun run) {
    const bool last = run.first + run.count == next_free_;
    if (last) next_free_ = run.first;
    has_lost_chunks_ = has_lost_chunks_ || !last;
}

}  // namespace dmfs::snapshot
