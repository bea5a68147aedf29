#include "parts/sector_ranges.h"

#include <algorithm>
#include <iterator>

namespace dmfs {

SectorRanges::Ranges::iterator SectorRanges::add(Sector from, Sector end) {
    auto at = ranges_.upper_bound(from);
    if (at != ranges_.begin() && std::prev(at)->second >= from) --at;
    while (at != ranges_.end() && at->first <= end) {
        from = std::min(from, at->first);
        end = std::max(end, at->second);
        at = ranges_.erase(at);
    }
    return ranges_.emplace_hint(at, from, end);
}

bool SectorRanges::overlap(Sector from, Sector end) const {
    auto behind = ranges_.lower_bound(end);
    return behind != ranges_.begin() && std::prev(behind)->second > from;
}

void SectorRanges::close_gap_beside(Ranges::iterator range) {
    const bool before = range != ranges_.begin(), behind = std::next(range) != ranges_.end();
    if (before &&
        (!behind || range->first - std::prev(range)->second <= std::next(range)->first - range->second))
        add(std::prev(range)->second, range->first);
    else if (behind)
        add(range->second, std::next(range)->first);
}

}  // namespace dmfs
