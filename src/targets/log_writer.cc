#include "targets/log_writer.h"

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "engine/errand.h"
#include "formats/write_log.h"

namespace dmfs {

namespace {

constexpr Sector kZeroEntry = 2048;       // sectors: the kernel writes zeros 1 MiB at a time
constexpr uint64_t kZeroPiece = 1 << 18;  // bytes of zeros written at a time

Bio write_bio(Sector sector, Sector count, Memory* memory) {
    Bio bio;
    bio.op = Op::write;
    bio.sector = sector;
    bio.count = count;
    bio.memory = memory;
    return bio;
}

}  // namespace

LogWriter::LogWriter(Executor& executor, Device& log, uint32_t block, bool enabled)
    : executor_(executor),
      log_(log),
      block_(block),
      block_sectors_(sectors_in(block)),
      order_(executor),
      header_(block),
      next_(block_sectors_),
      end_(log.size()),
      enabled_(enabled) {}

void LogWriter::append(Entries entries) {
    std::lock_guard guard(mutex_);
    if (enabled_) waiting_.splice(waiting_.end(), entries);
}

Task<Status> LogWriter::write(Cancel* cancel) {
    return until_killed(executor_, write_all(shared_from_this()), cancel);
}

// `self`: whoever asked may be gone, and the table with them, as soon as the turn is over.
Task<Status> LogWriter::write_all(std::shared_ptr<LogWriter> self) {
    Task<Status> turn = order_.acquire();
    Status status = co_await turn;
    if (!status) co_return status;
    Lock::Guard guard(self->order_);
    Entries entries;
    {
        std::lock_guard state_guard(mutex_);
        entries.swap(waiting_);
    }
    for (; !entries.empty(); entries.pop_front()) {
        cut_zeros(entries);
        Entry& entry = entries.front();
        std::optional<Sector> at = take_room(entry);
        if (!at) break;
        Task<Status> recording = write_record(&entry, *at);
        status = co_await recording;
        if (status && (entry.flags & (write_log::kFua | write_log::kMark)) != 0) {
            Task<Status> committing = write_super();
            status = co_await committing;
        }
        if (!status) give_up(std::string("writing it failed: ") + strerror(status.error()));
    }
    co_return kOk;
}

// The kernel's zeros come in pieces, and each has an entry of its own.
void LogWriter::cut_zeros(Entries& entries) {
    Entry& whole = entries.front();
    bool zeros = !whole.data && (whole.flags & write_log::kDiscard) == 0;
    if (!zeros || whole.count <= kZeroEntry) return;
    Entry piece{.flags = whole.flags, .sector = whole.sector, .count = kZeroEntry, .data = {}, .mark = {}};
    whole.sector += kZeroEntry;
    whole.count -= kZeroEntry;
    entries.push_front(std::move(piece));
}

// As the kernel: the room counts as taken also where it does not suffice, and the last
// sector of the device is never used.
std::optional<Sector> LogWriter::take_room(const Entry& entry) {
    std::unique_lock guard(mutex_);
    if (!enabled_) return {};
    Sector at = next_;
    next_ += block_sectors_ + ((entry.flags & write_log::kDiscard) != 0 ? 0 : entry.count);
    if (next_ >= end_) end_ = log_.size();  // a file may have been made longer meanwhile
    if (next_ < end_) {
        entries_++;
        return at;
    }
    guard.unlock();
    give_up("it is full: sector " + std::to_string(next_) + " of " + std::to_string(end_));
    return {};
}

Task<Status> LogWriter::write_record(Entry* entry, Sector at) {
    write_log::encode(
        {entry->sector / block_sectors_, entry->count / block_sectors_, entry->flags, entry->mark}, block_,
        header_.data());
    Task<Status> writing = write_block(at);
    Status status = co_await writing;
    at += block_sectors_;
    if (!status || entry->count == 0 || (entry->flags & write_log::kDiscard) != 0) co_return status;
    if (entry->data) {
        Task<Status> copying = log_.io(write_bio(at, entry->count, &*entry->data));
        status = co_await copying;
        co_return status;
    }
    Memory zeros(std::min<uint64_t>(bytes_of(entry->count), kZeroPiece));
    memset(zeros.data(), 0, zeros.bytes());
    for (Sector done = 0; done < entry->count && status;) {
        Sector piece = std::min(entry->count - done, sectors_in(zeros.bytes()));
        Task<Status> zeroing = log_.io(write_bio(at + done, piece, &zeros));
        status = co_await zeroing;
        done += piece;
    }
    co_return status;
}

Task<Status> LogWriter::write_super() {
    write_log::encode(write_log::Super{state().entries, block_}, header_.data());
    return write_block(0);
}

Task<Status> LogWriter::write_block(Sector at) { return log_.io(write_bio(at, block_sectors_, &header_)); }

void LogWriter::give_up(const std::string& why) {
    Entries dropped;
    {
        std::lock_guard guard(mutex_);
        if (!std::exchange(enabled_, false)) return;
        dropped.swap(waiting_);
    }
    log_line(Severity::error, "log-writes: the log " + log_.name() + " ends here: " + why +
                                  "; the data are served without it");
}

bool LogWriter::enabled() const {
    std::lock_guard guard(mutex_);
    return enabled_;
}

LogWriter::State LogWriter::state() const {
    std::lock_guard guard(mutex_);
    return {entries_, next_ - 1, enabled_};
}

}  // namespace dmfs
