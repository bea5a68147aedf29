#include "cli/top_rates.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/units.h"
#include "base/words.h"
#include "cli/escape.h"

namespace dmfs::cli {

namespace {

struct KeyName {
    SortKey key;
    const char* name;
};
constexpr std::array<KeyName, 10> kKeys = {{{SortKey::busy, "busy"},
                                            {SortKey::name, "name"},
                                            {SortKey::reads, "reads"},
                                            {SortKey::writes, "writes"},
                                            {SortKey::read_bytes, "read-mb"},
                                            {SortKey::write_bytes, "write-mb"},
                                            {SortKey::in_flight, "flight"},
                                            {SortKey::parked, "parked"},
                                            {SortKey::latency, "latency"},
                                            {SortKey::util, "util"}}};
constexpr size_t kColumnsBehindName = 67;  // of a line of rates_line()
constexpr size_t kNarrowest = 8, kWidest = 32;

std::vector<uint64_t> numbers_of(std::string_view line) {
    std::vector<uint64_t> numbers;
    for (const Word& word : split_words(line)) numbers.push_back(parse_decimal(word.text).value_or(0));
    return numbers;
}

// "12.3k": four characters or five.
std::string compact(double number) {
    constexpr const char* kUnits[] = {"", "k", "M", "G", "T"};
    size_t unit = 0;
    for (; number >= 999.5 && unit + 1 < std::size(kUnits); unit++) number /= 1000;
    bool whole =
        (unit == 0 && number == static_cast<double>(static_cast<uint64_t>(number))) || number >= 99.95;
    return fmt::format("{:.{}f}{}", number, whole ? 0 : 1, kUnits[unit]);
}

std::string time_text(std::optional<double> seconds) {
    if (!seconds) return "-";
    if (*seconds < 1e-3) return fmt::format("{:.{}f}us", *seconds * 1e6, *seconds < 1e-4 ? 1 : 0);
    if (*seconds < 1) return fmt::format("{:.{}f}ms", *seconds * 1e3, *seconds < 0.1 ? 1 : 0);
    return fmt::format("{:.1f}s", *seconds);
}

std::string shown_name(const Rates& rates, bool plain) {
    return plain ? quote_word(printable(rates.name)) : printable(rates.name);
}

uint64_t grown(uint64_t before, uint64_t now) { return now >= before ? now - before : now; }

}  // namespace

VolumeCounters parse_counters(std::string_view stats, std::string_view inflight) {
    VolumeCounters out;
    std::vector<std::string_view> lines = lines_of(stats);
    if (lines.size() >= 2) {
        std::vector<Word> titles = split_words(lines[0]);
        std::vector<uint64_t> numbers = numbers_of(lines[1]);
        for (size_t i = 0; i < std::min(titles.size(), numbers.size()); i++) {
            const std::string& title = titles[i].text;
            if (title == "reads") out.reads = numbers[i];
            if (title == "sectors_read") out.sectors_read = numbers[i];
            if (title == "writes") out.writes = numbers[i];
            if (title == "sectors_written") out.sectors_written = numbers[i];
            if (title == "read_errors" || title == "write_errors") out.errors += numbers[i];
            if (title == "discards" || title == "flushes" || title == "write_zeroes")
                out.others += numbers[i];
        }
    }
    std::vector<uint64_t> now = numbers_of(inflight);
    now.resize(std::max<size_t>(now.size(), 3));
    out.reads_in_flight = now[0];
    out.writes_in_flight = now[1];
    out.parked = now[2];
    return out;
}

std::optional<RegionCounters> parse_region(std::string_view answer) {
    // START+LENGTH and 13 numbers: reads, merged, sectors, ns; writes, merged, sectors, ns;
    // in flight, ns busy, weighted ns, ns busy reading, ns busy writing
    std::optional<RegionCounters> sum;
    for (std::string_view line : lines_of(answer)) {
        std::vector<uint64_t> numbers = numbers_of(line);
        if (numbers.size() < 14 || line.find('+') == std::string_view::npos) continue;
        if (!sum) sum.emplace();
        sum->requests += numbers[1] + numbers[5];
        sum->waited_ns += numbers[4] + numbers[8];
        sum->busy_ns += numbers[10];
    }
    return sum;
}

std::vector<ListedRegion> parse_regions(std::string_view answer) {
    // ID: START+LENGTH STEP PROGRAM AUX [...]
    std::vector<ListedRegion> regions;
    for (std::string_view line : lines_of(answer)) {
        std::vector<Word> words = split_words(line);
        if (words.size() < 4 || !words[0].text.ends_with(':')) continue;
        std::optional<uint64_t> id = parse_decimal(words[0].text.substr(0, words[0].text.size() - 1));
        if (id) regions.push_back({*id, words[3].text, words.size() > 4 ? words[4].text : std::string()});
    }
    return regions;
}

std::vector<Rates> rates_between(const Sample& before, const Sample& now) {
    std::vector<Rates> all;
    double seconds = std::max(static_cast<double>(now.at_ns - before.at_ns) / 1e9, 1e-9);
    for (const auto& [name, after] : now.volumes) {
        auto found = before.volumes.find(name);
        const VolumeCounters first = found == before.volumes.end() ? after : found->second;
        // Clang 14 captures no structured binding, as C++20 allows.
        auto rate = [&first, &last = after, seconds](uint64_t VolumeCounters::*counter) {
            return static_cast<double>(grown(first.*counter, last.*counter)) / seconds;
        };
        Rates one;
        one.name = name;
        one.reads = rate(&VolumeCounters::reads);
        one.writes = rate(&VolumeCounters::writes);
        one.others = rate(&VolumeCounters::others);
        one.errors = rate(&VolumeCounters::errors);
        one.bytes_read = rate(&VolumeCounters::sectors_read) * static_cast<double>(kSectorBytes);
        one.bytes_written = rate(&VolumeCounters::sectors_written) * static_cast<double>(kSectorBytes);
        one.in_flight = after.reads_in_flight + after.writes_in_flight;
        one.parked = after.parked;
        one.suspended = after.suspended;
        if (first.region && after.region) {
            uint64_t requests = grown(first.region->requests, after.region->requests);
            uint64_t waited = grown(first.region->waited_ns, after.region->waited_ns);
            if (requests > 0) one.latency = static_cast<double>(waited) / 1e9 / static_cast<double>(requests);
            uint64_t busy = grown(first.region->busy_ns, after.region->busy_ns);
            one.utilisation = std::min(static_cast<double>(busy) / 1e9 / seconds, 1.0);
        }
        all.push_back(std::move(one));
    }
    return all;
}

SortKey parse_sort_key(std::string_view word) {
    std::string known;
    for (const KeyName& key : kKeys) {
        if (key.name == word) return key.key;
        known += (known.empty() ? "" : ", ") + std::string(key.name);
    }
    throw Refused(EINVAL, "nothing is sorted by '" + std::string(word) + "'", known);
}

const char* name_of(SortKey key) {
    return std::find_if(kKeys.begin(), kKeys.end(), [&](const KeyName& each) { return each.key == key; })
        ->name;
}

SortKey next_of(SortKey key) {
    for (size_t i = 0; i < kKeys.size(); i++)
        if (kKeys[i].key == key) return kKeys[(i + 1) % kKeys.size()].key;
    return key;
}

void sort_rates(std::vector<Rates>& rates, SortKey key) {
    auto weight = [&](const Rates& one) -> double {
        switch (key) {
            case SortKey::busy:
                return one.reads + one.writes + one.others;
            case SortKey::name:
                return 0;
            case SortKey::reads:
                return one.reads;
            case SortKey::writes:
                return one.writes;
            case SortKey::read_bytes:
                return one.bytes_read;
            case SortKey::write_bytes:
                return one.bytes_written;
            case SortKey::in_flight:
                return static_cast<double>(one.in_flight);
            case SortKey::parked:
                return static_cast<double>(one.parked);
            case SortKey::latency:
                return one.latency.value_or(-1);
            case SortKey::util:
                return one.utilisation.value_or(-1);
        }
        return 0;
    };
    std::sort(rates.begin(), rates.end(), [&](const Rates& a, const Rates& b) {
        double first = weight(a), second = weight(b);
        return first != second ? first > second : a.name < b.name;
    });
}

size_t name_width_of(const std::vector<Rates>& rates, size_t columns, bool plain) {
    size_t width = kNarrowest;
    for (const Rates& one : rates) width = std::max(width, characters(shown_name(one, plain)));
    if (columns == 0) return width;
    size_t room = columns > kColumnsBehindName ? columns - kColumnsBehindName : 0;
    return std::clamp(std::min(width, room), kNarrowest, std::max(kWidest, room));
}

std::string rates_heading(size_t name_width) {
    return fmt::format("{:<{}} {:>6} {:>6} {:>6} {:>6} {:>6} {:>5} {:>5} {:>5} {:>7} {:>5}", "NAME",
                       name_width, "READ/S", "WRIT/S", "RMB/S", "WMB/S", "OTHR/S", "ERR/S", "FLGHT", "PARKD",
                       "LATENCY", "UTIL");
}

std::string rates_line(const Rates& rates, size_t name_width, bool plain) {
    std::string name = shown_name(rates, plain);
    if (!plain) name = shortened(name, name_width);
    name += std::string(name_width - std::min(name_width, characters(name)), ' ');
    std::string util = rates.utilisation ? fmt::format("{:.0f}%", *rates.utilisation * 100) : "-";
    return fmt::format("{} {:>6} {:>6} {:>6} {:>6} {:>6} {:>5} {:>5} {:>5} {:>7} {:>5}", name,
                       compact(rates.reads), compact(rates.writes), compact(rates.bytes_read / 1e6),
                       compact(rates.bytes_written / 1e6), compact(rates.others), compact(rates.errors),
                       rates.in_flight, rates.parked, time_text(rates.latency), util);
}

Json rates_json(const std::vector<Rates>& rates, double seconds) {
    Json volumes = Json::array();
    for (const Rates& one : rates)
        volumes.push_back({{"name", one.name},
                           {"reads", one.reads},
                           {"writes", one.writes},
                           {"bytes_read", one.bytes_read},
                           {"bytes_written", one.bytes_written},
                           {"others", one.others},
                           {"errors", one.errors},
                           {"in_flight", one.in_flight},
                           {"parked", one.parked},
                           {"suspended", one.suspended},
                           {"latency", one.latency ? Json(*one.latency) : Json(nullptr)},
                           {"utilisation", one.utilisation ? Json(*one.utilisation) : Json(nullptr)}});
    return {{"seconds", seconds}, {"volumes", std::move(volumes)}};
}

}  // namespace dmfs::cli
