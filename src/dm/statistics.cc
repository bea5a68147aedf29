#include "dm/statistics.h"

#include <fmt/format.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <utility>

namespace dmfs {

namespace {

constexpr uint64_t kNsOfMs = 1'000'000;
// Limits of dm-stats.c.
constexpr uint64_t kMostAreas = 8388608;
constexpr uint64_t kMostHistogramEntries = 134217728;
constexpr uint64_t kShareOfMemory = 4;
constexpr uint64_t kMostBytes = uint64_t{1} << 30;
constexpr uint64_t kOfARegion = 512;  // bytes, about, besides its areas and texts
constexpr uint64_t kAtATime = 1024;   // areas; requests may pass between them
constexpr uint64_t kCountersOfAnArea = 15;

std::atomic<uint64_t> all_bytes{0};

}  // namespace

uint64_t Statistics::most_bytes() {
    struct sysinfo found {};
    if (sysinfo(&found) != 0) return kMostBytes;
    return std::min(kMostBytes, uint64_t{found.totalram} * found.mem_unit / kShareOfMemory);
}

uint64_t Statistics::bytes_in_use() { return all_bytes.load(); }

bool Statistics::Share::resize(uint64_t bytes) {
    if (bytes > bytes_) {
        uint64_t more = bytes - bytes_, most = most_bytes();
        uint64_t before = all_bytes.load();
        do {
            if (more > most || before > most - more) return false;
        } while (!all_bytes.compare_exchange_weak(before, before + more));
    } else {
        all_bytes.fetch_sub(bytes_ - bytes);
    }
    bytes_ = bytes;
    return true;
}

uint64_t Statistics::Kept::bytes(size_t count) const {
    return kOfARegion + region.program.capacity() + region.aux.capacity() +
           region.boundaries.capacity() * sizeof(uint64_t) +
           count * (sizeof(Area) + buckets() * sizeof(uint64_t));
}

uint64_t Statistics::create(Region region) {
    if (region.end <= region.start || region.step == 0)
        throw Refused(EINVAL, "a region of no length, or a step of 0");
    Sector length = region.end - region.start;
    uint64_t areas = length / region.step + (length % region.step != 0 ? 1 : 0);
    if (areas > kMostAreas || areas * (region.boundaries.size() + 1) > kMostHistogramEntries)
        throw Refused(EOVERFLOW, std::to_string(areas) + " areas are too many", "a larger step");
    // Made before anybody has to wait for it.
    auto made = std::make_unique<Kept>();
    made->region = std::move(region);
    bool fits = made->share.resize(made->bytes(areas));
    try {
        if (fits) made->areas.resize(areas);
        if (fits) made->histograms.resize(areas * made->buckets());
    } catch (const std::bad_alloc&) {
        fits = false;
    }
    if (!fits)
        throw Refused(ENOMEM,
                      fmt::format("{} areas take {} MiB, and all statistics of a mount together at most {}",
                                  areas, (made->bytes(areas) >> 20) + 1, most_bytes() >> 20),
                      "a larger step, or @stats_delete of another region");
    std::lock_guard guard(mutex_);
    made->since_ns = executor_.now_ns();
    uint64_t id = 0;
    while (regions_.contains(id)) id++;
    regions_[id] = std::move(made);
    return id;
}

Statistics::Kept& Statistics::find(uint64_t id) {
    auto found = regions_.find(id);
    if (found == regions_.end())
        throw Refused(ENOENT, "there is no region " + std::to_string(id), "@stats_list lists them");
    return *found->second;
}

void Statistics::remove(uint64_t id) {
    std::unique_ptr<Kept> gone;  // freed when nobody has to wait for it
    std::lock_guard guard(mutex_);
    find(id);
    gone = std::move(regions_[id]);
    regions_.erase(id);
}

// Calls visit(kept, index) for some areas under the mutex, and lets requests pass now and
// then. ENOENT: the region is gone, perhaps meanwhile.
template <class Visit>
void Statistics::in_pieces(uint64_t id, uint64_t first, uint64_t count, Visit visit) {
    for (uint64_t done = 0;;) {
        std::lock_guard guard(mutex_);
        Kept& kept = find(id);
        uint64_t from = std::min<uint64_t>(first, kept.areas.size());
        uint64_t all = std::min<uint64_t>(count, kept.areas.size() - from);
        uint64_t end = std::min(all, done + kAtATime);
        for (; done < end; done++) visit(kept, from + done);
        if (done >= all) return;
    }
}

void Statistics::clear(uint64_t id) {
    int64_t now_ns = executor_.now_ns();
    in_pieces(id, 0, UINT64_MAX, [&](Kept& kept, size_t index) { clear(kept, index, now_ns); });
}

void Statistics::set_aux(uint64_t id, const std::string& aux) {
    std::lock_guard guard(mutex_);
    Kept& kept = find(id);
    std::string before = std::exchange(kept.region.aux, aux);
    if (kept.share.resize(kept.bytes(kept.areas.size()))) return;
    kept.region.aux = std::move(before);
    throw Refused(ENOMEM, "there is no memory for more statistics", "@stats_delete of a region");
}

std::string Statistics::list(const std::string* program) const {
    std::lock_guard guard(mutex_);
    std::string text;
    for (const auto& [id, kept] : regions_) {
        const Region& region = kept->region;
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
    {
        std::lock_guard guard(mutex_);
        Kept& kept = find(id);
        uint64_t areas =
            std::min<uint64_t>(count, kept.areas.size() - std::min<uint64_t>(first, kept.areas.size()));
        uint64_t numbers = areas * (kCountersOfAnArea + kept.buckets());
        if (numbers > kMostPrinted)
            throw Refused(EOVERFLOW,
                          fmt::format("{} areas of region {} are {} numbers, more than {} in one answer",
                                      areas, id, numbers, kMostPrinted),
                          fmt::format("some of them: @stats_print {} FIRST {}", id,
                                      kMostPrinted / (kCountersOfAnArea + kept.buckets())));
    }
    std::string text;
    int64_t now_ns = executor_.now_ns();
    in_pieces(id, first, count, [&](Kept& kept, size_t index) {
        round(kept.areas[index], now_ns);
        text += line(kept, index);
        if (clear_too) clear(kept, index, now_ns);
    });
    return text;
}

// The last area's line has the full step, even where the area is shorter.
std::string Statistics::line(Kept& kept, size_t index) {
    const Area& area = kept.areas[index];
    uint64_t unit = kept.region.precise ? 1 : kNsOfMs;
    std::string text = fmt::format("{}+{}", kept.region.start + kept.region.step * index, kept.region.step);
    for (Direction way : {reading, writing})
        text += fmt::format(" {} {} {} {}", area.requests[way], area.merged[way], area.sectors[way],
                            area.ns[way] / unit);
    text += fmt::format(" {} {} {} {} {}", area.in_flight[reading] + area.in_flight[writing],
                        area.any_busy_ns / unit, area.queued_ns / unit, area.busy_ns[reading] / unit,
                        area.busy_ns[writing] / unit);
    const uint64_t* histogram = kept.histogram(index);
    if (kept.buckets() != 0)
        text += fmt::format(" {}", fmt::join(histogram, histogram + kept.buckets(), ":"));
    return text + "\n";
}

// Counts the time since the last look for what was under way in it. Looks come late: a message
// that goes over many areas has one time for all, and requests have theirs from before the mutex.
void Statistics::round(Area& area, int64_t now_ns) {
    if (now_ns < area.seen_ns) return;
    uint64_t passed = area.seen_ns == 0 ? 0 : static_cast<uint64_t>(now_ns - area.seen_ns);
    uint64_t in_flight = area.in_flight[reading] + area.in_flight[writing];
    for (Direction way : {reading, writing})
        if (area.in_flight[way] != 0) area.busy_ns[way] += passed;
    if (in_flight != 0) area.any_busy_ns += passed;
    area.queued_ns += in_flight * passed;
    area.seen_ns = now_ns;
}

// What is under way stays counted as such.
void Statistics::clear(Kept& kept, size_t index, int64_t now_ns) {
    Area& area = kept.areas[index];
    Area fresh;
    fresh.in_flight = area.in_flight;
    fresh.seen_ns = std::max(area.seen_ns, now_ns);
    area = fresh;
    std::fill_n(kept.histogram(index), kept.buckets(), 0);
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
            Kept& kept = *region.second;
            if (request.began_ns < kept.since_ns) continue;
            each_area(kept.region, piece, [&](size_t index, Sector sectors) {
                if (end)
                    this->end(kept, index, way, sectors, request);
                else
                    begin(kept.areas[index], way, follows, request.began_ns);
            });
        }
        return true;
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

void Statistics::end(Kept& kept, size_t index, Direction way, Sector sectors, const WatchedRequest& request) {
    Area& area = kept.areas[index];
    auto took = static_cast<uint64_t>(request.ended_ns - request.began_ns);
    round(area, request.ended_ns);
    area.in_flight[way]--;
    area.requests[way]++;
    area.sectors[way] += sectors;
    area.ns[way] += took;
    if (kept.buckets() == 0) return;
    const std::vector<uint64_t>& bounds = kept.region.boundaries;
    auto bucket = std::upper_bound(bounds.begin(), bounds.end(), took / (kept.region.precise ? 1 : kNsOfMs));
    kept.histogram(index)[bucket - bounds.begin()]++;
}

}  // namespace dmfs
