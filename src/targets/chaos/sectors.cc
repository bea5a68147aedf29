#include "targets/chaos/sectors.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace dmfs::chaos {

void Past::put(Sector from, Sector count, const std::byte* data) {
    std::lock_guard guard(mutex_);
    for (Sector i = 0; i < count; i++, data += kSectorBytes) {
        auto known = by_sector_.find(from + i);
        if (known != by_sector_.end()) {
            known->second->bytes.assign(data, data + kSectorBytes);
            order_.splice(order_.end(), order_, known->second);
            continue;
        }
        if (by_sector_.size() == kMostSectors) drop(order_.begin());
        order_.push_back({from + i, std::vector<std::byte>(data, data + kSectorBytes)});
        by_sector_[from + i] = std::prev(order_.end());
    }
}

void Past::drop(Order::iterator kept) {
    by_sector_.erase(kept->sector);
    order_.erase(kept);
}

void Past::forget(Sector from, Sector end) {
    std::lock_guard guard(mutex_);
    for (auto at = order_.begin(); at != order_.end();) {
        auto next = std::next(at);
        if (at->sector >= from && at->sector < end) drop(at);
        at = next;
    }
}

void Past::clear() {
    std::lock_guard guard(mutex_);
    order_.clear();
    by_sector_.clear();
}

bool Past::has(Sector from, Sector end) const {
    std::lock_guard guard(mutex_);
    if (by_sector_.empty()) return false;
    for (Sector sector = from; sector < end; sector++)
        if (by_sector_.contains(sector)) return true;
    return false;
}

void Past::overlay(Sector from, Sector count, std::byte* data) const {
    std::lock_guard guard(mutex_);
    for (Sector i = 0; i < count; i++) {
        auto known = by_sector_.find(from + i);
        if (known != by_sector_.end()) memcpy(data + bytes_of(i), known->second->bytes.data(), kSectorBytes);
    }
}

void Repaired::put(Sector from, Sector end) {
    if (from >= end) return;
    std::lock_guard guard(mutex_);
    auto range = ranges_.add(from, end);
    if (ranges_.size() > most_) ranges_.close_gap_beside(range);
}

void Repaired::clear() {
    std::lock_guard guard(mutex_);
    ranges_.clear();
}

bool Repaired::has(Sector sector) const {
    std::lock_guard guard(mutex_);
    return ranges_.overlap(sector, sector + 1);
}

size_t Repaired::ranges() const {
    std::lock_guard guard(mutex_);
    return ranges_.size();
}

}  // namespace dmfs::chaos
