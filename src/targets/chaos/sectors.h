// What rules remember of sectors. Both are guarded by mutexes of their own, which only
// requests take that their rule looks at.

#pragma once

#include <bitset>
#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/units.h"

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

// Sectors that were written, a bit for each: latent errors do not come back there.
class Repaired {
  public:
    void put(Sector from, Sector end);
    void clear();
    bool has(Sector sector) const;

  private:
    static constexpr Sector kPage = 32768;  // 4 KiB of bits for 16 MiB of the row

    mutable std::mutex mutex_;
    std::unordered_map<Sector, std::unique_ptr<std::bitset<kPage>>> pages_;
};

}  // namespace dmfs::chaos
