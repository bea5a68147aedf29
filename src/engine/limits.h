// Limits: what a device can do and at which sizes, and how the limits of devices
// add up to those of a volume (the block layer's queue limits; blk_stack_limits).

#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "base/units.h"

namespace dmfs {

struct Limits {
    uint32_t logical_block = 512;      // bytes; what requests have to be aligned to
    uint32_t physical_block = 512;     // bytes; what the device writes as a whole
    uint32_t io_min = 512;             // bytes; smaller requests cost more
    uint32_t io_opt = 0;               // bytes; the preferred request, 0: none
    uint32_t discard_granularity = 0;  // bytes; 0: nothing can be discarded
    bool write_zeroes = true;
    bool write_cache = false;  // a write is durable only after a flush
    bool fua = false;

    bool discard() const { return discard_granularity != 0; }

    // These limits, for a device that also stands on `below`.
    void stack(const Limits& below) {
        logical_block = std::max(logical_block, below.logical_block);
        physical_block = std::max(physical_block, below.physical_block);
        io_min = std::max(io_min, below.io_min);
        // Too large a common multiple says nothing any more.
        uint64_t common = io_opt == 0 || below.io_opt == 0 ? uint64_t{io_opt} + below.io_opt
                                                           : std::lcm<uint64_t>(io_opt, below.io_opt);
        io_opt = common > UINT32_MAX ? 0 : static_cast<uint32_t>(common);
        discard_granularity =
            discard() && below.discard() ? std::max(discard_granularity, below.discard_granularity) : 0;
        write_zeroes = write_zeroes && below.write_zeroes;
        write_cache = write_cache || below.write_cache;
        fua = fua || below.fua;
    }

    // What stacking begins with: a device that can do everything.
    static Limits unlimited() {
        Limits limits;
        limits.discard_granularity = 512;
        return limits;
    }
};

}  // namespace dmfs
