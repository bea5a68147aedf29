// What the control files say. The layouts are dmsetup's: scripts parse them.

#include <fmt/format.h>

#include "dm/device_mapper.h"
#include "targets/registry.h"

namespace dmfs {

namespace {

// The device mapper's interface of Linux 6.12, which is the one reproduced here.
constexpr const char* kInterface = "4.48.0";

constexpr unsigned kReadAhead = 256;  // sectors; what the kernel gives a new device

// One line a row, with what `words_of` says of it. There may be keys in it, so it is not put
// together in fmt's memory, which is the stack.
template <class WordsOf>
std::string lines(const Volume& volume, Which which, WordsOf words_of) {
    std::shared_ptr<Table> table = which == Which::live ? volume.live() : volume.inactive();
    if (!table) return {};
    std::string text;
    for (const Table::Row& row : table->rows())
        text += std::to_string(row.start) + " " + std::to_string(row.length) + " " + row.type + " " +
                words_of(row) + "\n";
    return text;
}

std::string measure_of(const Table::Row& row) {
    std::string words = row.target->status(StatusKind::measure);
    if (words.empty()) return words;
    return fmt::format("target_name={},target_version={}.{}.{},{}", row.type, row.target_type->version[0],
                       row.target_type->version[1], row.target_type->version[2], words);
}

}  // namespace

std::string version_text() { return fmt::format("dmfs {}\ninterface {}\n", DMFS_VERSION, kInterface); }

std::string targets_text() {
    std::string text;
    for (const TargetType& type : target_registry().types)
        text +=
            fmt::format("{:<16} v{}.{}.{}\n", type.name, type.version[0], type.version[1], type.version[2]);
    return text;
}

std::string table_text(const Volume& volume, Which which) {
    return lines(volume, which, [](const Table::Row& row) { return row.target->status(StatusKind::table); });
}
std::string showkeys_text(const Volume& volume, Which which) {
    return lines(volume, which, [](const Table::Row& row) { return row.target->table_with_keys(); });
}
std::string status_text(const Volume& volume, Which which) {
    return lines(volume, which, [](const Table::Row& row) { return row.target->status(StatusKind::info); });
}
std::string measure_text(const Volume& volume) { return lines(volume, Which::live, measure_of); }

std::string info_text(const Volume& volume) {
    std::shared_ptr<Table> live = volume.live(), inactive = volume.inactive();
    const char* tables = live ? inactive ? "LIVE & INACTIVE" : "LIVE" : inactive ? "INACTIVE" : "None";
    std::string text = fmt::format("Name:              {}\n", volume.name());
    text += fmt::format("State:             {}{}{}\n", volume.suspended() ? "SUSPENDED" : "ACTIVE",
                        volume.readonly() ? " (READ-ONLY)" : "",
                        volume.deferred_remove() ? " (DEFERRED REMOVE)" : "");
    text += fmt::format("Read Ahead:        {}\n", kReadAhead);
    text += fmt::format("Tables present:    {}\n", tables);
    text += fmt::format("Open count:        {}\n", volume.open_count());
    text += fmt::format("Event number:      {}\n", volume.event_number());
    text += fmt::format("Major, minor:      0, {}\n", volume.minor());
    text += fmt::format("Number of targets: {}\n", live ? live->rows().size() : 0);
    std::string uuid = volume.uuid();
    if (!uuid.empty()) text += fmt::format("UUID: {}\n", uuid);
    return text + "\n";
}

std::string state_text(const Volume& volume) {
    if (!volume.live()) return "empty\n";
    return volume.suspended() ? "suspended\n" : "active\n";
}

std::string deps_text(const Volume& volume, Which which) {
    std::shared_ptr<Table> table = which == Which::live ? volume.live() : volume.inactive();
    if (!table) return {};
    std::string text;
    // The kernel lists the newest first.
    for (auto device = table->devices().rbegin(); device != table->devices().rend(); ++device) {
        std::optional<DeviceNumber> number = (*device)->number();
        text += number ? fmt::format("{}:{} ", number->major, number->minor) : "- ";
        text += (*device)->name() + "\n";
    }
    return text;
}

std::string stats_text(const Volume& volume) {
    Counters::Totals totals = volume.counted();
    std::string header, numbers;
    auto column = [&](const char* title, uint64_t number) {
        header += fmt::format("{}{}", header.empty() ? "" : " ", title);
        numbers += fmt::format("{}{}", numbers.empty() ? "" : " ", number);
    };
    auto of = [](const std::array<uint64_t, Counters::kOps>& all, Op op) {
        return all[static_cast<unsigned>(op)];
    };
    column("reads", of(totals.requests, Op::read));
    column("sectors_read", of(totals.sectors, Op::read));
    column("read_errors", of(totals.errors, Op::read));
    column("writes", of(totals.requests, Op::write));
    column("sectors_written", of(totals.sectors, Op::write));
    column("write_errors", of(totals.errors, Op::write));
    column("discards", of(totals.requests, Op::discard));
    column("sectors_discarded", of(totals.sectors, Op::discard));
    column("flushes", of(totals.requests, Op::flush));
    column("write_zeroes", of(totals.requests, Op::write_zeroes));
    column("sectors_zeroed", of(totals.sectors, Op::write_zeroes));
    return header + "\n" + numbers + "\n";
}

std::string inflight_text(const Volume& volume) {
    Counters::Totals totals = volume.counted();
    return fmt::format("{} {} {}\n", totals.in_flight(Op::read), totals.in_flight(Op::write),
                       volume.parked());
}

std::string limits_text(const Volume& volume) {
    Limits limits = volume.limits();
    return fmt::format(
        "logical_block_size {}\nphysical_block_size {}\nminimum_io_size {}\noptimal_io_size {}\n"
        "discard_granularity {}\nwrite_zeroes {}\nwrite_cache {}\nfua {}\n",
        limits.logical_block, limits.physical_block, limits.io_min, limits.io_opt, limits.discard_granularity,
        limits.write_zeroes ? 1 : 0, limits.write_cache ? 1 : 0, limits.fua ? 1 : 0);
}

}  // namespace dmfs
