#include "targets/chaos/mask.h"

#include <map>

#include "base/refused.h"

namespace dmfs::chaos {

std::shared_ptr<Mask> Mask::open(const std::string& name, Sector chunk_sectors) {
    static std::mutex mutex;
    static std::map<std::string, std::weak_ptr<Mask>> masks;
    std::lock_guard guard(mutex);
    std::erase_if(masks, [](const auto& each) { return each.second.expired(); });
    std::weak_ptr<Mask>& known = masks[name];
    if (std::shared_ptr<Mask> mask = known.lock()) {
        if (mask->chunk_sectors_ == chunk_sectors) return mask;
        std::string has = std::to_string(mask->chunk_sectors_);
        throw Refused(EINVAL, "mask '" + name + "' is in use with chunks of " + has + " sectors",
                      "mask=" + name + "/" + has + ", or another name");
    }
    auto mask = std::make_shared<Mask>(chunk_sectors);
    known = mask;
    return mask;
}

bool Mask::claim(const void* owner, const std::vector<Range>& ranges) {
    std::lock_guard guard(mutex_);
    size_t fresh = 0;
    for (const Range& range : ranges)
        for (Sector chunk = range.from / chunk_sectors_; chunk * chunk_sectors_ < range.end; chunk++) {
            auto owned = owners_.find(chunk);
            if (owned != owners_.end() && owned->second != owner) return false;
            if (owned == owners_.end() && owners_.size() + ++fresh > kMostChunks) return false;
        }
    for (const Range& range : ranges)
        for (Sector chunk = range.from / chunk_sectors_; chunk * chunk_sectors_ < range.end; chunk++)
            owners_.emplace(chunk, owner);
    return true;
}

void Mask::release(const void* owner) {
    std::lock_guard guard(mutex_);
    std::erase_if(owners_, [owner](const auto& each) { return each.second == owner; });
}

}  // namespace dmfs::chaos
