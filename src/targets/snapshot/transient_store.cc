// The store that keeps nothing: what is copied fills the COW device from sector 0 on.

#include <algorithm>

#include "targets/snapshot/store.h"

namespace dmfs::snapshot {

ChunkRun TransientStore::allocate(Chunk most) {
    Chunk next = next_free_, end = device_.size() / chunk_sectors_;
    Chunk count = next < end ? std::min(most, end - next) : 0;
    next_free_ = next + count;
    return {next, count};
}

}  // namespace dmfs::snapshot
