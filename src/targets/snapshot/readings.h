// Readings: which chunks are being read now, so that whoever changes them can wait for
// those who began before. Not thread-safe.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

namespace dmfs::snapshot {

class Readings {
  public:
    using Ticket = size_t;

    // [first, end) is being read until the ticket is given back.
    Ticket add(uint64_t first, uint64_t end) {
        if (free_.empty()) {
            free_.push_back(ranges_.size());
            ranges_.push_back({});
        }
        Ticket ticket = free_.back();
        free_.pop_back();
        ranges_[ticket] = {first, end};
        return ticket;
    }
    void remove(Ticket ticket) {
        ranges_[ticket] = {};
        free_.push_back(ticket);
    }

    bool overlap(uint64_t first, uint64_t end) const {
        return std::any_of(ranges_.begin(), ranges_.end(),
                           [&](const Range& range) { return range.first < end && first < range.end; });
    }
    bool overlap(const std::set<uint64_t>& numbers) const {
        return std::any_of(ranges_.begin(), ranges_.end(), [&](const Range& range) {
            auto next = numbers.lower_bound(range.first);
            return next != numbers.end() && *next < range.end;
        });
    }

  private:
    struct Range {
        uint64_t first = 0, end = 0;  // empty: nobody's
    };
    std::vector<Range> ranges_;  // as many as there ever were at once
    std::vector<Ticket> free_;
};

}  // namespace dmfs::snapshot
