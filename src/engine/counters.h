// Counters of a volume's requests. Each thread counts in one of a few shards, so
// that threads do not take a cache line from one another on every request.

#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "base/status.h"
#include "engine/bio.h"

namespace dmfs {

class Counters {
  public:
    static constexpr unsigned kOps = 5;  // as enum Op

    struct Totals {
        std::array<uint64_t, kOps> requests{};
        std::array<uint64_t, kOps> sectors{};
        std::array<uint64_t, kOps> errors{};
        std::array<uint64_t, kOps> begun{};
        uint64_t in_flight(Op op) const {
            auto index = static_cast<unsigned>(op);
            return begun[index] > requests[index] ? begun[index] - requests[index] : 0;
        }
    };

    void begin(Op op) { add(shard().begun[static_cast<unsigned>(op)], 1); }
    void end(const Bio& bio, Status status) {
        Shard& mine = shard();
        auto index = static_cast<unsigned>(bio.op);
        add(mine.requests[index], 1);
        if (status)
            add(mine.sectors[index], bio.count);
        else
            add(mine.errors[index], 1);
    }

    Totals totals() const {
        Totals totals;
        for (const Shard& shard : shards_)
            for (unsigned op = 0; op < kOps; op++) {
                totals.requests[op] += shard.requests[op].load(std::memory_order_relaxed);
                totals.sectors[op] += shard.sectors[op].load(std::memory_order_relaxed);
                totals.errors[op] += shard.errors[op].load(std::memory_order_relaxed);
                totals.begun[op] += shard.begun[op].load(std::memory_order_relaxed);
            }
        return totals;
    }

  private:
    using Counter = std::atomic<uint64_t>;
    struct alignas(64) Shard {
        std::array<Counter, kOps> requests{}, sectors{}, errors{}, begun{};
    };
    static constexpr unsigned kShards = 4;

    static void add(Counter& counter, uint64_t by) { counter.fetch_add(by, std::memory_order_relaxed); }
    Shard& shard() {
        static std::atomic<unsigned> threads{0};
        thread_local unsigned mine = threads.fetch_add(1, std::memory_order_relaxed) % kShards;
        return shards_[mine];
    }

    std::array<Shard, kShards> shards_;
};

}  // namespace dmfs
