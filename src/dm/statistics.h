// Statistics of a volume, as dm-stats counts them: regions, each cut into areas of
// `step` sectors, each with its counters and perhaps a histogram of latencies
// (Linux Documentation/admin-guide/device-mapper/statistics.rst).
//
//     region 0   |--area--|--area--|--area-|      @stats_create START+LENGTH STEP
//
// `dmfs message VOLUME 0 @stats_...` speaks to it. dmstats(8) asks by ioctl(2), which no FUSE file has.
//
// All statistics of the process together, which is those of a mount, take a limited memory;
// no loop over areas that a message asks for keeps requests waiting for long.

#pragma once

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/refused.h"
#include "base/words.h"
#include "engine/volume.h"

namespace dmfs {

class Statistics final : public Watcher {
  public:
    struct Region {
        Sector start = 0, end = 0;  // [start, end)
        Sector step = 1;
        bool precise = false;                // nanoseconds, else milliseconds
        std::vector<uint64_t> boundaries{};  // of the histogram, rising; in the region's unit
        std::string program = "-", aux = "-";
    };

    // Bytes of all statistics together: 1 GiB, or a quarter of the memory if that is less.
    static uint64_t most_bytes();
    static uint64_t bytes_in_use();
    // Numbers of one print.
    static constexpr uint64_t kMostPrinted = 1 << 22;

    explicit Statistics(Executor& executor) : executor_(executor) {}

    // Each throws Refused as the kernel refuses; ENOENT for a region that is not there.
    // The number of the new region, the lowest that is free.
    uint64_t create(Region region);
    void remove(uint64_t id);
    void clear(uint64_t id);
    void set_aux(uint64_t id, const std::string& aux);
    // One line a region: "ID: START+LENGTH STEP PROGRAM AUX [precise_timestamps] [histogram:...]".
    std::string list(const std::string* program) const;
    // One line an area: "START+STEP" and the 13 counters, then the histogram. EOVERFLOW for
    // more than kMostPrinted numbers.
    std::string print(uint64_t id, uint64_t first, uint64_t count, bool clear_too);

    void begun(const WatchedRequest& request) override { account(request, false); }
    void ended(const WatchedRequest& request) override { account(request, true); }

  private:
    enum Direction { reading, writing };
    struct Area {
        std::array<uint64_t, 2> requests{}, merged{}, sectors{}, ns{}, busy_ns{};
        std::array<uint32_t, 2> in_flight{};
        uint64_t any_busy_ns = 0, queued_ns = 0;
        int64_t seen_ns = 0;
    };

    // A part of the memory that there is for all statistics.
    class Share {
      public:
        Share() = default;
        Share(const Share&) = delete;
        Share& operator=(const Share&) = delete;
        ~Share() { resize(0); }
        // Whether there is so much.
        bool resize(uint64_t bytes);

      private:
        uint64_t bytes_ = 0;
    };

    struct Kept {
        Share share;  // gives back what follows
        Region region;
        std::vector<Area> areas;
        std::vector<uint64_t> histograms;  // of all areas, one after the other
        // Requests under way when it was made are not its own.
        int64_t since_ns = 0;

        size_t buckets() const { return region.boundaries.empty() ? 0 : region.boundaries.size() + 1; }
        uint64_t* histogram(size_t index) { return histograms.data() + index * buckets(); }
        uint64_t bytes(size_t areas) const;
    };

    Kept& find(uint64_t id);
    void account(const WatchedRequest& request, bool end);
    template <class Visit>
    static void each_area(const Region& region, const Bio& piece, Visit visit);
    static void begin(Area& area, Direction way, bool follows, int64_t now_ns);
    static void end(Kept& kept, size_t index, Direction way, Sector sectors, const WatchedRequest& request);
    static void clear(Kept& kept, size_t index, int64_t now_ns);
    static void round(Area& area, int64_t now_ns);
    static std::string line(Kept& kept, size_t index);
    template <class Visit>
    void in_pieces(uint64_t id, uint64_t first, uint64_t count, Visit visit);

    Executor& executor_;
    mutable std::mutex mutex_;
    std::map<uint64_t, std::unique_ptr<Kept>> regions_;
    // Where the last piece ended: one that begins there is counted as merged. (The
    // kernel keeps this for each processor.)
    Sector last_end_ = kMaxSectors;
    Direction last_way_ = reading;
};

// The answer to a message @stats_... to a volume, or nothing if it is none; `words` are
// those of `line` that are the message. Throws Refused.
std::optional<std::string> statistics_message(Volume& volume, const std::vector<Word>& words,
                                              const std::string& line);

}  // namespace dmfs
