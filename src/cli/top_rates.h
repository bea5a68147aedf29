// What a volume does: counters read twice, and what lies between.
//
//     stats, inflight   counted by dmfs: requests, sectors, errors; what is being served
//     a region          dm's own statistics (@stats_create): how long requests took
//
// Latency is (time of reads + time of writes) / (reads + writes), utilisation the
// part of the time in which there was a request at all.

#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"

namespace dmfs::cli {

// A line of @stats_print, of a region with precise timestamps: nanoseconds.
struct RegionCounters {
    uint64_t requests = 0;  // reads and writes completed
    uint64_t waited_ns = 0;
    uint64_t busy_ns = 0;
};

struct VolumeCounters {
    uint64_t reads = 0, sectors_read = 0, writes = 0, sectors_written = 0;
    uint64_t others = 0;  // discards, flushes, zeroings
    uint64_t errors = 0;
    uint64_t reads_in_flight = 0, writes_in_flight = 0, parked = 0;
    bool suspended = false;
    std::optional<RegionCounters> region;
};

struct Sample {
    int64_t at_ns = 0;
    std::map<std::string, VolumeCounters> volumes;
};

struct Rates {
    std::string name;
    double reads = 0, writes = 0, others = 0, errors = 0;  // a second
    double bytes_read = 0, bytes_written = 0;              // a second
    uint64_t in_flight = 0, parked = 0;
    bool suspended = false;
    std::optional<double> latency;      // seconds; nothing where it is not known
    std::optional<double> utilisation;  // of 1
};

// Reads the files `stats` and `inflight`. A column that is missing counts 0.
VolumeCounters parse_counters(std::string_view stats, std::string_view inflight);
// The sum of the lines of an answer to @stats_print. Nothing where it is none.
std::optional<RegionCounters> parse_region(std::string_view answer);

// A region of a killed top, as @stats_list shows it.
struct ListedRegion {
    uint64_t id;
    std::string program;
    std::string aux;
};
std::vector<ListedRegion> parse_regions(std::string_view answer);

// The rates of each volume that is in both. Counters that went back (the volume was made anew)
// count from 0.
std::vector<Rates> rates_between(const Sample& before, const Sample& now);

enum class SortKey { busy, name, reads, writes, read_bytes, write_bytes, in_flight, parked, latency, util };
// Throws Refused with what there is.
SortKey parse_sort_key(std::string_view word);
const char* name_of(SortKey key);
SortKey next_of(SortKey key);
// The most first; by name, the first first. What is not known comes last.
void sort_rates(std::vector<Rates>& rates, SortKey key);

// The heading and a line for each volume; names are cut to what `columns` leave
// (0: nothing is cut). With `plain` names are quoted as in a table.
std::string rates_heading(size_t name_width);
std::string rates_line(const Rates& rates, size_t name_width, bool plain);
size_t name_width_of(const std::vector<Rates>& rates, size_t columns, bool plain);

Json rates_json(const std::vector<Rates>& rates, double seconds);

}  // namespace dmfs::cli
