// log-writes: one device, and in a second one a log of all that was written to it.
//
//     log-writes DEVICE LOGDEVICE
//
//     volume   |------------|         sector s of the volume
//     DEVICE   |------------|         sector s of DEVICE: a row's start is not subtracted
//     LOG      |s|e|data|e|data|..    a super, and entries in order (formats/write_log.h)
//
// The log has what a disk with a cache would have after a crash. Writes and discards are
// kept in memory in the order in which they were done. A flush covers those that were
// there when it came; when it is done they are logged, if no other flush has done it, and
// then the flush. A FUA write is logged when it is done, a mark at once:
//
//     W1 W2 W3 C3 C2 Wflush C1 Cflush    logs    W3 W2 flush, and W1 with the next flush
//
// Changes of the same sectors stand in the log in the order in which the device had them,
// or a replay would give what the device never had. So those that overlap are done one
// after the other, first come, first served; and what is kept of a FUA write's sectors is
// logged before it. (The kernel does neither.)
//
// The flush, the FUA write and the message are answered when the log has them, or when
// who sent them is killed; then the log gets them all the same. What no
// flush came for is logged when the table goes, and then the mark "dm-log-writes-end".
//
// A crash of the daemon loses what is in memory: nothing that a flush was answered for.
// A log that is full, or fails, or would have to keep more than kMostKept, ends; the data
// are served without it.

#include <algorithm>
#include <iterator>
#include <mutex>

#include "engine/holding.h"
#include "engine/locks.h"
#include "formats/write_log.h"
#include "parts/one_device.h"
#include "parts/sector_ranges.h"
#include "targets/log_writer.h"
#include "targets/registry.h"

namespace dmfs {

namespace {

constexpr size_t kMostKept = size_t{1} << 30;  // bytes

// The device was not touched: the request is not for it.
bool not_taken(Status status) {
    int error = status.error();
    return error == ERESTART || error == EPERM || error == EOPNOTSUPP;
}

// Killed: nobody knows how much of it the device has, or will have.
bool was_killed(Status status) { return status.error() == EINTR; }

class LogWrites final : public OneDevice, private Lifecycle {
    using Entry = LogWriter::Entry;
    using Entries = LogWriter::Entries;

  public:
    LogWrites(TargetSetup& setup, Device& device, Device& log)
        : OneDevice(device, setup.length(), setup.row_start()),
          log_(std::make_shared<LogWriter>(setup.executor(), log, device.limits().logical_block,
                                           setup.writable())),
          changes_(setup.executor()) {}

    Task<Status> io(Bio bio) override {
        if (bio.op == Op::flush) return flush(bio);
        if (bio.op == Op::read || !log_->enabled()) return device().io(below(bio));
        bio = below(bio);
        Task<Status> turn = changes_.acquire(bio.sector, bio.end(), bio.cancel);
        if (!turn.is_ready()) return change_later(std::move(turn), bio);
        if (is_cancelled(bio.cancel)) return Task<Status>::ready(killed_here(bio));
        Entries entries = entries_of(bio);
        Task<Status> task = device().io(bio);
        if (!task.is_ready() || bio.fua) return change(std::move(task), std::move(entries), bio);
        Status status = std::move(task).value();
        keep(std::move(entries), status, bio);
        return Task<Status>::ready(status);
    }

    Flushing flushing() const override { return Flushing::itself; }
    void adjust(Limits& limits) const override { limits.io_min = limits.physical_block; }

    std::string status(StatusKind kind) const override {
        if (kind == StatusKind::table)
            return quote_word(device().name()) + " " + quote_word(log_->device().name());
        if (kind == StatusKind::measure) return {};
        auto [entries, last, enabled] = log_->state();
        return std::to_string(entries) + " " + std::to_string(last) + (enabled ? "" : " logging_disabled");
    }

    std::string message(const std::vector<Word>& words) override;
    Task<Status> settled() override { return log_->write(); }

    Lifecycle* lifecycle() override { return this; }
    void explain(Op op, Sector at, Sector count, const StepVisitor& visit) const override;
    void each_side_device(const DeviceVisitor& visit) const override {
        visit(log_->device(), 0, log_->device().size());
    }

  private:
    Task<Status> close() override {
        Entries entries;
        {
            std::lock_guard guard(mutex_);
            entries.swap(unflushed_);
        }
        entries.push_back(Entry{.flags = write_log::kMark, .data = {}, .mark = write_log::kEndMark});
        log_->append(std::move(entries));
        return log_->write();
    }

    static Entries entries_of(const Bio& bio);
    Task<Status> flush(Bio bio);
    Task<Status> change(Task<Status> task, Entries entries, Bio bio);
    Task<Status> change_later(Task<Status> turn, Bio bio);
    Status killed_here(const Bio& bio);
    void keep(Entries entries, Status status, const Bio& bio);
    Entries take_overlapping(const Bio& bio);
    static size_t weight(const Entry& entry) {
        return sizeof(Entry) + (entry.data ? entry.data->bytes() : 0);
    }

    const std::shared_ptr<LogWriter> log_;
    RangeLock changes_;         // by sectors of the device; until they have their place in the log
    mutable std::mutex mutex_;  // also while unflushed_ is appended to the log
    Entries unflushed_;
    size_t kept_bytes_ = 0;  // of unflushed_
    uint64_t changes_done_ = 0;
};

// What the log will have of a change, data and all: the caller's memory is soon another's.
LogWriter::Entries LogWrites::entries_of(const Bio& bio) {
    Entries entries;
    Entry& entry = entries.emplace_back();
    entry.sector = bio.sector;
    entry.count = bio.count;
    // What need not keep its room is no zeros in the log either.
    if (bio.op == Op::write_zeroes && !bio.unmap) return entries;
    if (bio.op != Op::write) {
        entry.flags = write_log::kDiscard;
        return entries;
    }
    if (bio.fua) entry.flags = write_log::kFua;
    entry.data.emplace(bio.bytes());
    memcpy(entry.data->data(), bio.data(), bio.bytes());
    return entries;
}

// It was killed before the device was asked.
Status LogWrites::killed_here(const Bio& bio) {
    changes_.release(bio.sector, bio.end());
    return Status(EINTR);
}

// A change that failed, or was killed, may have been done in part: it is logged, the former as in the
// kernel. A FUA write is appended to the log, all others wait for a flush, as one that was killed does.
void LogWrites::keep(Entries entries, Status status, const Bio& bio) {
    Entries too_much;
    if (!not_taken(status)) {
        std::lock_guard guard(mutex_);
        if (was_killed(status)) entries.front().flags &= ~uint64_t{write_log::kFua};
        if (bio.fua && !was_killed(status)) {
            Entries before = take_overlapping(bio);
            entries.splice(entries.begin(), before);
            log_->append(std::move(entries));
        } else if (log_->enabled()) {
            entries.front().number = ++changes_done_;
            kept_bytes_ += weight(entries.front());
            unflushed_.splice(unflushed_.end(), entries);
            if (kept_bytes_ > kMostKept) {
                too_much.swap(unflushed_);
                kept_bytes_ = 0;
                // Before anybody's flush is logged, that would lack them.
                log_->give_up("1 GiB was written without a flush");
            }
        }
    }
    changes_.release(bio.sector, bio.end());
}

// What is kept of these sectors, and what lies below that; under the mutex.
LogWrites::Entries LogWrites::take_overlapping(const Bio& bio) {
    SectorRanges ranges;
    ranges.add(bio.sector, bio.end());
    Entries taken;
    for (auto at = unflushed_.end(); at != unflushed_.begin();) {
        auto entry = std::prev(at);
        Sector from = entry->sector, end = entry->sector + entry->count;
        if (!ranges.overlap(from, end)) {
            at = entry;
            continue;
        }
        ranges.add(from, end);
        kept_bytes_ -= weight(*entry);
        taken.splice(taken.begin(), unflushed_, entry);
    }
    return taken;
}

Task<Status> LogWrites::change(Task<Status> task, Entries entries, Bio bio) {
    Status status = co_await task;
    keep(std::move(entries), status, bio);
    if (!bio.fua || was_killed(status) || not_taken(status)) co_return status;
    Task<Status> logging = log_->write(bio.cancel);
    Status logged = co_await logging;
    co_return status.and_then(logged);
}

// Behind others that change the same sectors.
Task<Status> LogWrites::change_later(Task<Status> turn, Bio bio) {
    Status status = co_await turn;
    if (!status) co_return status;
    if (is_cancelled(bio.cancel)) co_return killed_here(bio);
    Entries entries = entries_of(bio);
    Task<Status> changing = change(device().io(bio), std::move(entries), bio);
    status = co_await changing;
    co_return status;
}

// It covers what is kept now. A later flush that is done before this one covers that, too,
// and then has logged it.
Task<Status> LogWrites::flush(Bio bio) {
    uint64_t covered = 0;
    {
        std::lock_guard guard(mutex_);
        covered = changes_done_;
    }
    Task<Status> flushing = device().io(bio);
    Status status = co_await flushing;
    if (was_killed(status) || not_taken(status)) co_return status;
    {
        std::lock_guard guard(mutex_);
        auto end = unflushed_.end();
        while (end != unflushed_.begin() && std::prev(end)->number > covered) end--;
        Entries entries;
        entries.splice(entries.end(), unflushed_, unflushed_.begin(), end);
        for (const Entry& entry : entries) kept_bytes_ -= weight(entry);
        entries.push_back(Entry{.flags = write_log::kFlush, .data = {}, .mark = {}});
        log_->append(std::move(entries));
    }
    Task<Status> logging = log_->write(bio.cancel);
    Status logged = co_await logging;
    co_return status.and_then(logged);
}

std::string LogWrites::message(const std::vector<Word>& words) {
    if (strcasecmp(words[0].text.c_str(), "mark") != 0)
        throw Refused(EINVAL, "unknown message '" + words[0].text + "'", "mark TEXT");
    if (words.size() != 2)
        throw Refused(EINVAL, words.size() == 1 ? "a mark without a text" : "a mark of several words",
                      "mark TEXT, where a backslash quotes a blank");
    Entries entries;
    entries.push_back(Entry{.flags = write_log::kMark, .data = {}, .mark = words[1].text});
    log_->append(std::move(entries));
    return {};
}

void LogWrites::explain(Op op, Sector at, Sector count, const StepVisitor& visit) const {
    OneDevice::explain(op, at, count, visit);
    auto [entries, last, enabled] = log_->state();
    if (op == Op::read || !enabled) return;
    if (op != Op::flush) {
        visit(Step{op, at, count, nullptr, 0, "kept in memory for the log, until a flush"});
        return;
    }
    size_t kept = 0;
    {
        std::lock_guard guard(mutex_);
        kept = unflushed_.size();
    }
    visit(Step{Op::write, 0, 0, &log_->device(), last + 1,
               "logged: " + std::to_string(kept) + (kept == 1 ? " change" : " changes") + " and the flush"});
}

}  // namespace

std::unique_ptr<Target> make_log_writes(TargetSetup& setup) {
    setup.need_at_least(2, "log-writes DEVICE LOGDEVICE");
    Device& device = setup.device(0, setup.row_start(), setup.length(), 0);
    Device& log = setup.device(1, 0, 1, 1);
    if (setup.writable()) hold_store(setup, 1, log);
    uint32_t block = device.limits().logical_block, log_block = log.limits().logical_block;
    if (log_block > block)
        throw setup.refuse(1,
                           "the log's blocks of " + std::to_string(log_block) +
                               " bytes are larger than the " + std::to_string(block) + " of " + device.name(),
                           "a log whose blocks are at most as large");
    return std::make_unique<LogWrites>(setup, device, log);
}

}  // namespace dmfs
