// What rules remember of sectors. Both are guarded by mutexes of their own, which only
// requests take that their rule looks at.

#pragma once

#include <cstddef>
#include <list>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/units.h"
#include "parts/sector_ranges.h"

namespace dmfs::chaos {

// What stood in sectors before their last write: for stale reads.
class Past {
  public:
    // 16 MiB; beyond that those that were written the longest ago are forgotten.
    static constexpr size_t kMostSectors = 32768;

    // `data` is what [from, from + count) had.
    void put(Sector from, Sector count, const std::byte* data);
    void forget(Sector from, Sector end);
    void clear();
    bool has(Sector from, Sector end) const;
    // Puts what is known of [from, from + count) over `data`.
    void overlay(Sector from, Sector count, std::byte* data) const;

  private:
    struct Kept {
        Sector sector;
        std::vector<std::byte> bytes;
    };
    using Order = std::list<Kept>;  // by the last write, oldest first

    void drop(Order::iterator kept);

    mutable std::mutex mutex_;
    Order order_;
    std::unordered_map<Sector, Order::iterator> by_sector_;
};

// Sectors that were written, in ranges: latent errors do not come back there.
class Repaired {
  public:
    // Some 64 MiB. Beyond that a gap is closed: what lies between two ranges counts as
    // written, too.
    static constexpr size_t kMostRanges = 1 << 20;

    explicit Repaired(size_t most = kMostRanges) : most_(most) {}

    void put(Sector from, Sector end);
    void clear();
    bool has(Sector sector) const;
    size_t ranges() const;

  private:
    const size_t most_;
    mutable std::mutex mutex_;
    SectorRanges ranges_;
};

}  // namespace dmfs::chaos
