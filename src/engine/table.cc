#include "engine/table.h"

#include <algorithm>
#include <cassert>
#include <unordered_set>

namespace dmfs {

// The way of a request.

size_t Table::row_index(Sector sector) const {
    assert(sector < size_);
    if (ends_.size() == 1) return 0;
    return static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), sector) - ends_.begin());
}

Table::Row& Table::row_at(Sector sector) { return rows_[row_index(sector)]; }

// How many sectors from the start of `bio` one target may get at once.
Sector Table::room(const Row& row, const Bio& bio) {
    Sector at = bio.sector - row.start;
    Sector room = row.length - at;
    if (row.chunk != 0 && bio.has_data()) room = std::min(room, row.chunk - at % row.chunk);
    return room;
}

Task<Status> Table::io(Bio bio) {
    if (bio.op == Op::flush) return flush(bio);
    if (bio.count == 0) return Task<Status>::ready(kOk);
    if (bio.end() > size_ || bio.end() < bio.sector) return Task<Status>::ready(Status(EIO));
    Row& row = row_at(bio.sector);
    if (bio.count > room(row, bio)) return split(bio);
    bio.sector -= row.start;
    return row.target->io(bio);
}

Task<Outcome> Table::prepare(Cancel* cancel) {
    if (prepared_) co_return Outcome();
    for (const Living& living : living_) {
        Task<Outcome> preparing = living.lifecycle->prepare(cancel);
        Outcome outcome = co_await preparing;
        if (!outcome) co_return outcome.why().of(rows_[living.row].type);
    }
    settle_limits();  // a target may have learned what it can
    prepared_ = true;
    co_return Outcome();
}

// Pieces run side by side; the request fails as a whole if one of them does. A discard of a whole
// table may have a million: so many at a time, and it can be interrupted.
Task<Status> Table::split(Bio bio) {
    constexpr size_t kSideBySide = 4096;
    Status result;
    bio.one_of_many = true;
    while (bio.count > 0 && result.error() != EINTR) {
        std::vector<Task<Status>> pieces;
        Sector end = bio.sector;
        each_piece(bio, [&](const Row& row, Bio piece) {
            end = piece.end();
            piece.sector -= row.start;
            pieces.push_back(row.target->io(piece));
            return pieces.size() < kSideBySide;
        });
        bio = bio.part(end - bio.sector, bio.end() - end);
        Task<Status> joined = all(std::move(pieces));
        Status status = co_await joined;
        result = result.and_then(status);
        if (bio.count == 0 || bio.cancel == nullptr) continue;
        bio.cancel->about_to_wait();
        if (bio.cancel->requested()) result = Status(EINTR);
    }
    co_return result;
}

Task<Status> Table::flush(Bio bio) {
    if (flushed_targets_.empty() && flushed_devices_.size() <= 1)
        return flushed_devices_.empty() ? Task<Status>::ready(kOk) : flushed_devices_.front()->io(bio);
    if (flushed_devices_.empty() && flushed_targets_.size() == 1) return flushed_targets_.front()->io(bio);
    std::vector<Task<Status>> flushes;
    bio.one_of_many = true;
    for (Device* device : flushed_devices_) flushes.push_back(device->io(bio));
    for (Target* target : flushed_targets_) flushes.push_back(target->io(bio));
    return all(std::move(flushes));
}

Extent Table::extent(Sector at, Look& look) const {
    const Row& row = rows_[row_index(at)];
    if (!look.step()) return {true, row.start + row.length};
    Extent extent = row.target->extent(at - row.start, look);
    extent.end = std::min(row.start + row.length, row.start + extent.end);
    extent.end = std::max(extent.end, at + 1);
    return extent;
}

// Rows that the range touches count whole, then in proportion, but nothing that is there as
// nothing: tar takes a file of no blocks for one hole.
Sector Table::allocated(Sector start, Sector length, Look& look) const {
    Sector taken = 0, mapped = 0;
    for (size_t index = row_index(start); index < rows_.size() && rows_[index].start < start + length;
         index++) {
        const Row& row = rows_[index];
        if (!look.step()) return length;
        Sector of_row = row.target->differs() ? row.length : 0;
        row.target->each_device([&](Device& device, Sector from, Sector count) {
            if (of_row < row.length) of_row += std::min(row.length, device.allocated(from, count, look));
        });
        mapped += row.length;
        taken += std::min(of_row, row.length);
    }
    if (mapped <= length || taken == 0) return taken;
    double share = static_cast<double>(taken) / static_cast<double>(mapped);
    return std::clamp<Sector>(static_cast<Sector>(share * static_cast<double>(length)), 1, length);
}

void Table::ask_room(Sector start, Sector count, Room& room) const {
    const Sector end = start + count;
    for (size_t index = row_index(start); index < rows_.size() && rows_[index].start < end; index++) {
        const Row& row = rows_[index];
        const Sector from = std::max(start, row.start), until = std::min(end, row.start + row.length);
        row.target->ask_room(from - row.start, until - from, room);
        if (!room.outcome()) return;
    }
}

// dm-ioctl.c's table_load: an immutable target stands alone, or with others of its type.
bool Table::may_become(const Table& table) const {
    const TargetType* type = rows_.front().target_type;
    if (!type->traits.immutable || table.rows_.front().target_type == type) return true;
    return std::any_of(table.rows_.begin(), table.rows_.end(),
                       [](const Row& row) { return row.target_type->traits.wildcard; });
}

// Suspend and resume.

void Table::presuspend() {
    for (Holder* holder : holders_) holder->let_go();
    for (const Living& living : living_) living.lifecycle->presuspend();
}

void Table::presuspend_undo() {
    for (Holder* holder : holders_) holder->hold_again();
    for (const Living& living : living_) living.lifecycle->presuspend_undo();
}

void Table::postsuspend() {
    for (const Living& living : living_) living.lifecycle->postsuspend();
}

Task<Status> Table::quiet(Cancel* cancel) {
    for (const Living& living : living_) {
        Task<Status> stopping = living.lifecycle->quiet(cancel);
        Status status = co_await stopping;
        if (!status) co_return status;
    }
    co_return kOk;
}

Task<Outcome> Table::preresume(Cancel* cancel) {
    for (const Living& living : living_) {
        Task<Outcome> going_on = living.lifecycle->preresume(cancel);
        Outcome outcome = co_await going_on;
        if (outcome) continue;
        for (const Living& asked : living_) {
            asked.lifecycle->preresume_undo();
            if (&asked == &living) break;
        }
        co_return outcome.why().of(rows_[living.row].type);
    }
    co_return Outcome();
}

void Table::resume() {
    for (Holder* holder : holders_) holder->hold_again();
    for (const Living& living : living_) living.lifecycle->resume();
}

Task<Status> Table::close() {
    Status result;
    for (const Living& living : living_) {
        Task<Status> closing = living.lifecycle->close();
        Status status = co_await closing;
        result = result.and_then(status);
    }
    co_return result;
}

void Table::end_waits() {
    for (Holder* holder : holders_) holder->let_go();
    for (const Living& living : living_) living.lifecycle->end_waits();
}

void Table::give_up(int64_t longer_than_ns) {
    for (const std::shared_ptr<Device>& device : devices_) device->give_up(longer_than_ns);
    for (const Living& living : living_) living.lifecycle->give_up(longer_than_ns);
}

std::string Table::areas_problem() const {
    std::string problem;
    for (const Row& row : rows_)
        row.target->each_device([&](Device& device, Sector start, Sector length) {
            if (problem.empty()) problem = area_problem(device, start, length);
        });
    return problem;
}

namespace {

// As blk_stack_limits: sizes that physical blocks do not fit say nothing.
void fit_physical_block(Limits& limits) {
    if (limits.io_min % limits.physical_block != 0) limits.io_min = limits.physical_block;
    if (limits.io_opt % limits.physical_block != 0) limits.io_opt = 0;
}

}  // namespace

void Table::settle_limits() {
    limits_ = Limits::unlimited();
    flushed_devices_.clear();
    flushed_targets_.clear();
    std::unordered_set<Device*> flushed;  // a table may have a million
    for (const Row& row : rows_) {
        Limits below = Limits::unlimited();
        row.target->each_device([&](Device& device, Sector, Sector) { below.stack(device.limits()); });
        row.target->adjust(below);
        limits_.stack(below);
        fit_physical_block(limits_);
        if (row.target->flushing() == Flushing::itself) flushed_targets_.push_back(row.target.get());
        if (row.target->flushing() == Flushing::devices)
            row.target->each_device([&](Device& device, Sector, Sector) {
                if (flushed.insert(&device).second) flushed_devices_.push_back(&device);
            });
    }
}

}  // namespace dmfs
