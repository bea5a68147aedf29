#include "dm/statistics.h"

#include <fmt/format.h>
#include <sys/sysinfo.h>

#include <algorithm>

namespace dmfs {

namespace {

constexpr uint64_t kNsOfMs = 1'000'000;
// Limits of dm-stats.c.
constexpr uint64_t kMostAreas = 8388608;
constexpr uint64_t kMostHistogramEntries = 134217728;
constexpr uint64_t kShareOfMemory = 4;

uint64_t memory_bytes() {
    struct sysinfo found {};
    return sysinfo(&found) == 0 ? uint64_t{found.totalram} * found.mem_unit : UINT64_MAX;
}

}  // namespace

uint64_t Statistics::create(Region region) {
    if (region.end <= region.start || region.step == 0)
        throw Refused(EINVAL, "a region of no length, or a step of 0");
    Sector length = region.end - region.start;
    uint64_t areas = length / region.step + (length % region.step != 0 ? 1 : 0);
    uint64_t buckets = region.boundaries.empty() ? 0 : region.boundaries.size() + 1;
    if (areas > kMostAreas || areas * (region.boundaries.size() + 1) > kMostHistogramEntries)
        throw Refused(EOVERFLOW, std::to_string(areas) + " areas are too many", "a larger step");
    uint64_t bytes = areas * (sizeof(Area) + buckets * sizeof(uint64_t));
    std::lock_guard guard(mutex_);
    if (bytes_ + bytes > memory_bytes() / kShareOfMemory)
        throw Refused(ENOMEM, std::to_string(areas) + " areas take more than a quarter of the memory",
                      "a larger step");
    bytes_ += bytes;
    uint64_t id = 0;
    while (regions_.contains(id)) id++;
    Kept& kept = regions_[id];
    kept.region = std::move(region);
    kept.areas.resize(areas);
    for (Area& area : kept.areas) area.histogram.resize(buckets);
    kept.since_ns = executor_.now_ns();
    return id;
}

Statistics::Kept& Statistics::find(uint64_t id) {
    auto found = regions_.find(id);
    if (found == regions_.end())
        throw Refused(ENOENT, "there is no region " + std::to_string(id), "@stats_list lists them");
    return found->second;
}

void Statistics::remove(uint64_t id) {
    std::lock_guard guard(mutex_);
    const Kept& kept = find(id);
    bytes_ -= kept.areas.size() * (sizeof(Area) + kept.areas.front().histogram.size() * sizeof(uint64_t));
    regions_.erase(id);
}

void Statistics::clear(uint64_t id) {
    std::lock_guard guard(mutex_);
    for (Area& area : find(id).areas) clear(area, executor_.now_ns());
}

void Statistics::set_aux(uint64_t id, const std::string& aux) {
    std::lock_guard guard(mutex_);
    find(id).region.aux = aux;
}

std::string Statistics::list(const std::string* program) const {
    std::lock_guard guard(mutex_);
    std::string text;
    for (const auto& [id, kept] : regions_) {
        const Region& region = kept.region;
        if (program != nullptr && *program != region.program) continue;
        text += fmt::format("{}: {}+{} {} {} {}", id, region.start, region.end - region.start, region.step,
                            region.program, region.aux);
        if (region.precise) text += " precise_timestamps";
        if (!region.boundaries.empty())
            text += fmt::format(" histogram:{}", fmt::join(region.boundaries, ","));
        text += '\n';
    }
    return text;
}

std::string Statistics::print(uint64_t id, uint64_t first, uint64_t count, bool clear_too) {
    std::lock_guard guard(mutex_);
    Kept& kept = find(id);
    first = std::min<uint64_t>(first, kept.areas.size());
    count = std::min<uint64_t>(count, kept.areas.size() - first);
    std::string text;
    int64_t now_ns = executor_.now_ns();
    for (uint64_t index = first; index < first + count; index++) {
        Area& area = kept.areas[index];
        round(area, now_ns);
        text += line(kept, index);
        if (clear_too) clear(area, now_ns);
    }
    return text;
}

// The last area's line has the full step, even where the area is shorter.
std::string Statistics::line(const Kept& kept, size_t index) {
    const Area& area = kept.areas[index];
    uint64_t unit = kept.region.precise ? 1 : kNsOfMs;
    std::string text = fmt::format("{}+{}", kept.region.start + kept.region.step * index, kept.region.step);
    for (Direction way : {reading, writing})
        text += fmt::format(" {} {} {} {}", area.requests[way], area.merged[way], area.sectors[way],
                            area.ns[way] / unit);
    text += fmt::format(" {} {} {} {} {}", area.in_flight[reading] + area.in_flight[writing],
                        area.any_busy_ns / unit, area.queued_ns / unit, area.busy_ns[reading] / unit,
                        area.busy_ns[writing] / unit);
    if (!area.histogram.empty()) text += fmt::format(" {}", fmt::join(area.histogram, ":"));
    return text + "\n";
}

// Counts the time since the last look for what was under way in it.
void Statistics::round(Area& area, int64_t now_ns) {
    uint64_t passed =
        area.seen_ns == 0 || now_ns < area.seen_ns ? 0 : static_cast<uint64_t>(now_ns - area.seen_ns);
    uint64_t in_flight = area.in_flight[reading] + area.in_flight[writing];
    for (Direction way : {reading, writing})
        if (area.in_flight[way] != 0) area.busy_ns[way] += passed;
    if (in_flight != 0) area.any_busy_ns += passed;
    area.queued_ns += in_flight * passed;
    area.seen_ns = now_ns;
}

// What is under way stays counted as such.
void Statistics::clear(Area& area, int64_t now_ns) {
    Area fresh;
    fresh.in_flight = area.in_flight;
    fresh.seen_ns = now_ns;
    fresh.histogram.resize(area.histogram.size());
    area = std::move(fresh);
}

// Each piece that the table makes of a request counts as a request, as in the kernel.
void Statistics::account(const WatchedRequest& request, bool end) {
    if (request.bio.count == 0 || request.bio.end() > request.table.size()) return;
    Direction way = request.bio.op == Op::read ? reading : writing;
    std::lock_guard guard(mutex_);
    request.table.each_piece(request.bio, [&](const Table::Row&, const Bio& piece) {
        bool follows = false;
        if (!end) {
            follows = piece.sector == last_end_ && way == last_way_;
            last_end_ = piece.end();
            last_way_ = way;
        }
        for (auto& region : regions_) {
            Kept& kept = region.second;
            if (request.began_ns < kept.since_ns) continue;
            each_area(kept.region, piece, [&](size_t index, Sector sectors) {
                if (end)
                    this->end(kept, kept.areas[index], way, sectors, request);
                else
                    begin(kept.areas[index], way, follows, request.began_ns);
            });
        }
    });
}

template <class Visit>
void Statistics::each_area(const Region& region, const Bio& piece, Visit visit) {
    Sector from = std::max(piece.sector, region.start), to = std::min(piece.end(), region.end);
    while (from < to) {
        uint64_t index = (from - region.start) / region.step;
        Sector next = std::min(to, region.start + (index + 1) * region.step);
        visit(index, next - from);
        from = next;
    }
}

void Statistics::begin(Area& area, Direction way, bool follows, int64_t now_ns) {
    round(area, now_ns);
    area.in_flight[way]++;
    area.merged[way] += follows ? 1 : 0;
}

void Statistics::end(const Kept& kept, Area& area, Direction way, Sector sectors,
                     const WatchedRequest& request) {
    auto took = static_cast<uint64_t>(request.ended_ns - request.began_ns);
    round(area, request.ended_ns);
    area.in_flight[way]--;
    area.requests[way]++;
    area.sectors[way] += sectors;
    area.ns[way] += took;
    if (area.histogram.empty()) return;
    const std::vector<uint64_t>& bounds = kept.region.boundaries;
    auto bucket = std::upper_bound(bounds.begin(), bounds.end(), took / (kept.region.precise ? 1 : kNsOfMs));
    area.histogram[static_cast<size_t>(bucket - bounds.begin())]++;
}

}  // namespace dmfs
