// Sectors, in ranges: none touches another, so there are as few as can be.

#pragma once

#include <cstddef>
#include <map>

#include "base/units.h"

namespace dmfs {

class SectorRanges {
  public:
    using Ranges = std::map<Sector, Sector>;  // from -> end

    // [from, end), which is not empty. The range that it is in now.
    Ranges::iterator add(Sector from, Sector end);
    // Whether any of [from, end) is in one.
    bool overlap(Sector from, Sector end) const;
    // Closes the smaller of the gaps beside a range, if there is one.
    void close_gap_beside(Ranges::iterator range);
    void clear() { ranges_.clear(); }
    size_t size() const { return ranges_.size(); }

  private:
    Ranges ranges_;
};

}  // namespace dmfs
