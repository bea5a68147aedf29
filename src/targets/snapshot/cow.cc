#include "targets/snapshot/cow.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "base/log.h"

namespace dmfs::snapshot {

namespace {

// A write to part of a chunk becomes one write of the whole chunk, put together in memory, up
// to this size; in a larger one the old data are copied first.
constexpr uint64_t kAssembledBytes = 256 << 10;
constexpr size_t kSideBySide = 32;  // requests for one discard

Bio moved(Bio bio, Sector sector) {
    bio.sector = sector;
    return bio;
}

// The first `count` sectors of *rest, which is less by them afterwards.
Bio take(Bio* rest, Sector count) {
    Bio part = rest->part(0, std::min(count, rest->count));
    *rest = rest->part(part.count, rest->count - part.count);
    return part;
}

}  // namespace

Cow::Cow(Executor& executor, std::shared_ptr<Device> origin, std::shared_ptr<Device> device,
         std::unique_ptr<Store> store)
    : executor_(executor),
      origin_(std::move(origin)),
      device_(std::move(device)),
      store_(std::move(store)),
      room_(std::make_shared<Headroom>(executor, device_)),
      origin_sectors_(origin_->size()),
      readers_gone_(executor),
      writers_gone_(executor),
      idle_(executor),
      invalidated_(executor),
      merged_(executor) {}

Task<Outcome> Cow::read_store(Cancel* cancel) {
    std::vector<Entry> entries;
    Task<Outcome> reading = store_->read(&entries, cancel);
    Outcome outcome = co_await reading;
    if (!outcome) co_return outcome;
    std::lock_guard guard(mutex_);
    valid_ = store_->valid();
    known_invalid_ = !valid_;
    room_->begin(store_->next(), chunk_sectors());
    exceptions_.reserve(entries.size());
    if (!entries.empty()) durable_end_ = 0;
    for (const Entry& entry : entries)
        if (!exceptions_.insert(entry))
            co_return Refused(EINVAL,
                              "chunk " + std::to_string(entry.old_chunk) + " stands twice in the store on " +
                                  device_->name(),
                              "the store is damaged");
    co_return Outcome();
}

void Cow::belongs_to(Shown shown, bool overflow_is_seen_to, std::function<void()> raise_event) {
    origin_sectors_ = origin_->size();  // it may have grown
    std::lock_guard guard(mutex_);
    shown_ = shown;
    overflow_is_seen_to_ = overflow_is_seen_to;
    raise_event_ = std::move(raise_event);
}

void Cow::become(Role role) {
    std::lock_guard guard(mutex_);
    role_ = role;
}

// Looking.

Cow::State Cow::state() const {
    std::lock_guard guard(mutex_);
    return !valid_ ? State::invalid : overflowed_ ? State::overflowed : State::good;
}

Store::Usage Cow::usage() const {
    std::lock_guard guard(mutex_);
    return store_->usage();
}

Cow::Shown Cow::shown() const {
    std::lock_guard guard(mutex_);
    return shown_;
}

size_t Cow::exceptions() const {
    std::lock_guard guard(mutex_);
    return exceptions_.size();
}

Sector Cow::length_of(Chunk first, Chunk count) const {
    Sector from = sector_of(first), end = std::min(sector_of(first + count), origin_sectors_.load());
    return end > from ? end - from : 0;
}

Cow::Piece Cow::piece_at(Sector at, Sector most) const {
    std::lock_guard guard(mutex_);
    return piece_locked(at, most);
}

Cow::Piece Cow::piece_locked(Sector at, Sector most) const {
    if (exceptions_.empty()) return {most, {}};
    const Chunk first = chunk_of(at);
    const std::optional<Chunk> kept = exceptions_.find(first);
    const Chunk end = chunk_behind(at + most);
    const Chunk jump = first + std::max(kByOne, exceptions_.size() / kByOneShare);
    Chunk next = first + 1;
    size_t searched = 1;
    for (; next < end; next++, searched++) {
        if (!kept && next == jump) {
            next = next_kept(next, end);
            searched += exceptions_.size();
            break;
        }
        std::optional<Chunk> other = exceptions_.find(next);
        if (kept ? other != *kept + (next - first) : other.has_value()) break;
    }
    Piece piece{std::min(most, sector_of(next) - at), {}, searched};
    if (kept) piece.on_cow = sector_of(*kept) + (at - sector_of(first));
    return piece;
}

// The first chunk of [from, end) that has an exception, or `end`.
Chunk Cow::next_kept(Chunk from, Chunk end) const {
    exceptions_.each([&](const Entry& entry) {
        if (entry.old_chunk >= from && entry.old_chunk < end) end = entry.old_chunk;
    });
    return end;
}

void Cow::ask_room_to_keep(Sector from, Sector end, Room& room) const {
    {
        std::lock_guard guard(mutex_);
        if (role_ != Role::snapshot || !valid_) return;
        from = std::max(from, shown_.from);
        end = std::min(end, shown_.end);
    }
    if (from < end) ask_room_to_write(from, end, room);
}

void Cow::ask_room_to_write(Sector from, Sector end, Room& room) const {
    const Chunk behind = chunk_behind(end), first = room.first_new(this, chunk_of(from), behind);
    Chunk chunks = behind - first, free = 0;
    {
        std::lock_guard guard(mutex_);
        if (chunks > exceptions_.size())
            exceptions_.each(
                [&](const Entry& entry) { chunks -= entry.old_chunk >= first && entry.old_chunk < behind; });
        else
            for (Chunk chunk = first; chunk < behind; chunk++) chunks -= exceptions_.find(chunk).has_value();
        const Store::Usage usage = store_->usage();
        free = (usage.total - std::min(usage.total, usage.allocated)) / chunk_sectors();
    }
    // Some of these are for areas to come, each of which has as many entries as it has room for.
    if (store_->can_merge())
        free -= std::min(free, free * exception_store::kEntryBytes / bytes_of(chunk_sectors()) + 1);
    room.take(this, device_->name(), chunks, free);
}

// Reads of the snapshot.

Task<Status> Cow::read(Bio bio) {
    std::unique_lock lock(mutex_);
    if (!valid_) return Task<Status>::ready(Status(EIO));
    Piece piece = piece_locked(bio.sector, bio.count);
    if (piece.count < bio.count) {
        lock.unlock();
        return read_pieces(bio);
    }
    if (piece.on_cow) {
        lock.unlock();
        return device_->io(moved(bio, *piece.on_cow));
    }
    Readings::Ticket ticket = readings_.add(chunk_of(bio.sector), chunk_behind(bio.end()));
    lock.unlock();
    Task<Status> reading = origin_->io(bio);
    if (reading.is_ready()) return Task<Status>::ready(ended_reading(ticket, std::move(reading).value()));
    return end_reading(std::move(reading), ticket);
}

Task<Status> Cow::read_pieces(Bio bio) {
    std::vector<Task<Status>> readings;
    bio.one_of_many = true;
    for (Bio rest = bio; rest.count > 0;)
        readings.push_back(read(take(&rest, piece_at(rest.sector, rest.count).count)));
    Task<Status> joined = all(std::move(readings));
    Status status = co_await joined;
    co_return status;
}

Task<Status> Cow::end_reading(Task<Status> reading, Readings::Ticket ticket) {
    Status status = co_await reading;
    co_return ended_reading(ticket, status);
}

// Once a snapshot is invalid nobody knows whether this is what the origin held.
Status Cow::ended_reading(Readings::Ticket ticket, Status status) {
    std::unique_lock lock(mutex_);
    readings_.remove(ticket);
    bool awaited = std::exchange(readers_awaited_, false);
    bool valid = valid_;
    lock.unlock();
    if (awaited) readers_gone_.wake_all();
    return valid ? status : Status(EIO);
}

// Writes to the snapshot.

Task<Status> Cow::write(Bio bio) {
    std::unique_lock lock(mutex_);
    if (!writable()) return Task<Status>::ready(Status(EIO));
    Piece piece = piece_locked(bio.sector, bio.count);
    if (piece.on_cow && piece.count == bio.count)
        return write_kept(std::move(lock), moved(bio, *piece.on_cow));
    lock.unlock();
    return write_pieces(bio);
}

// To chunks that have their exceptions.
Task<Status> Cow::write_kept(std::unique_lock<std::mutex> lock, Bio bio) {
    const bool durable = !bio.fua || all_durable();
    lock.unlock();
    return durable ? device_->io(bio) : write_durably(bio);
}

Task<Status> Cow::write_durably(Bio bio) {
    bio.fua = false;
    Task<Status> writing = device_->io(bio);
    Status status = co_await writing;
    if (!status) co_return status;
    Task<Status> flushing = flush(Bio::flush(bio.cancel));
    status = co_await flushing;
    co_return status;
}

Task<Status> Cow::flush(Bio bio) {
    std::unique_lock lock(mutex_);
    // The kernel's is good; but what was written is lost.
    if (!valid_) return Task<Status>::ready(Status(EIO));
    const bool loose = origin_is_loose_;
    lock.unlock();
    return loose ? flush_with_origin(bio) : flush_own(bio);
}

void Cow::origin_was_not_flushed(Status error) {
    std::lock_guard guard(mutex_);
    origin_is_loose_ = true;
    origin_error_ = error;
}

Task<Status> Cow::flush_with_origin(Bio bio) {
    Task<Status> flushing = origin_->io(bio);
    Status status = co_await flushing;
    if (status.error() == EINTR) co_return status;
    {
        std::lock_guard guard(mutex_);
        origin_is_loose_ = !status;
        status = std::exchange(origin_error_, kOk).and_then(status);
    }
    Task<Status> flushing_own = flush_own(bio);
    Status own = co_await flushing_own;
    co_return status.and_then(own);
}

Task<Status> Cow::flush_own(Bio bio) {
    std::unique_lock lock(mutex_);
    const uint64_t commits = loose_commits_;
    const bool loose = !all_durable();
    lock.unlock();
    return loose ? flush_loose(bio, commits) : device_->io(bio);
}

// Where it fails exceptions may be lost that are known here, and later ones with them.
Task<Status> Cow::flush_loose(Bio bio, uint64_t commits) {
    Task<Status> flushing = device_->io(bio);
    Status status = co_await flushing;
    bool lost = false;
    {
        std::lock_guard guard(mutex_);
        if (status && commits == loose_commits_) durable_end_ = kAllDurable;
        lost = !status && status.error() != EINTR && role_ == Role::snapshot;
    }
    if (!lost) co_return status;
    Task<Status> losing = invalidate("exceptions can't be made durable", bio.cancel);
    Status invalid = co_await losing;
    co_return status.error() == EINTR ? invalid : status;
}

Task<Status> Cow::write_pieces(Bio bio) {
    Bio rest = bio;
    Task<Status> first = write_piece(&rest);
    if (rest.count == 0) {
        Status status = co_await first;
        co_return status;
    }
    std::vector<Task<Status>> writings;
    writings.push_back(std::move(first));
    rest.one_of_many = true;
    while (rest.count > 0) writings.push_back(write_piece(&rest));
    Task<Status> joined = all(std::move(writings));
    Status status = co_await joined;
    co_return status;
}

// As much from the beginning of *rest as has the same to be done with.
Task<Status> Cow::write_piece(Bio* rest) {
    std::unique_lock lock(mutex_);
    if (!writable()) {
        rest->count = 0;
        return Task<Status>::ready(Status(EIO));
    }
    const Piece piece = piece_locked(rest->sector, rest->count);
    if (piece.on_cow) return write_kept(std::move(lock), moved(take(rest, piece.count), *piece.on_cow));
    const Chunk chunk = chunk_of(rest->sector);
    if (std::shared_ptr<Copy> copy = copy_of(chunk)) {
        lock.unlock();
        return write_behind(copy, take(rest, sector_of(copy->old_first + copy->to.count) - rest->sector));
    }
    bool whole = rest->sector == sector_of(chunk) && rest->count >= chunk_sectors();
    if (!whole && std::min(rest->end(), sector_of(chunk + 1)) > origin_sectors_) {  // it has become smaller
        rest->count = 0;
        return Task<Status>::ready(Status(EIO));
    }
    Chunk most = whole ? uncopied(chunk, chunk + rest->count / chunk_sectors()) - chunk : 1;
    std::shared_ptr<Copy> copy = begin_copy(chunk, most);
    if (const Sector needs = copy ? 0 : store_->needs(); needs > 0) {
        lock.unlock();
        return write_when_room(take(rest, rest->count), needs);  // all: chunks are taken in their order
    }
    if (!copy) {
        rest->count = 0;
        return refuse_full(std::move(lock), rest->cancel);
    }
    copy->durable = rest->fua;
    lock.unlock();
    return write_first(copy, take(rest, sector_of(chunk + copy->to.count) - rest->sector));
}

Task<Status> Cow::write_first(const std::shared_ptr<Copy>& copy, Bio bio) {
    if (bio.count == sector_of(copy->to.count)) return write_whole(copy, bio);
    const Sector length = length_of(copy->old_first, 1), from = bio.sector - sector_of(copy->old_first);
    if (bytes_of(length) > kAssembledBytes) {
        executor_.spawn(copy_old(shared_from_this(), copy));
        return write_behind(copy, bio);
    }
    copy->assembled.emplace(bytes_of(length));
    copy->new_from = from;
    copy->new_end = from + bio.count;
    memcpy(copy->assembled->data() + bytes_of(from), bio.data(), bio.bytes());
    executor_.spawn(copy_around(shared_from_this(), copy));
    return wait_for(copy, bio.cancel);
}

// Whole chunks need no copy: the new data go where the old would have gone.
Task<Status> Cow::write_whole(std::shared_ptr<Copy> copy, Bio bio) {
    bio.fua = false;  // the commit makes it durable
    Task<Status> writing = device_->io(moved(bio, sector_of(copy->to.first)));
    Status status = co_await writing;
    if (status.error() == EINTR) {  // killed: the chunk keeps what it held
        executor_.spawn(copy_old(shared_from_this(), copy));
        co_return status;
    }
    copied(copy, status);
    Task<Status> committing = wait_for(copy, bio.cancel);
    status = co_await committing;
    co_return status;
}

// A write to chunks that are being copied.
Task<Status> Cow::write_behind(std::shared_ptr<Copy> copy, Bio bio) {
    Task<Status> copying = wait_for(copy, bio.cancel);
    Status status = co_await copying;
    if (!status) co_return status;
    Task<Status> writing = write(bio);
    status = co_await writing;
    co_return status;
}

// For its first chunk there is no room yet.
Task<Status> Cow::write_when_room(Bio bio, Sector needs) {
    Task<Status> waiting = room_->wait(needs, Headroom::Who::snapshot, bio.cancel);
    Status status = co_await waiting;
    if (!status) co_return status;
    Task<Status> writing = write(bio);
    status = co_await writing;
    co_return status;
}

// There is no chunk left for a write to the snapshot.
Task<Status> Cow::refuse_full(std::unique_lock<std::mutex> lock, Cancel* cancel) {
    // There were: the disk was full, not the store.
    if (store_->has_lost_chunks()) return Task<Status>::ready(Status(ENOSPC));
    if (overflow_is_seen_to_) {
        overflowed_ = true;
        lock.unlock();
        log_line(Severity::error, "snapshot: " + device_->name() + " is full: it takes no more writes");
        return Task<Status>::ready(Status(EIO));
    }
    lock.unlock();
    return invalidate("it is full", cancel);
}

Task<Status> Cow::discard(Bio bio) {
    std::vector<std::pair<Sector, Sector>> whole, parts;  // on the COW device: from, count
    {
        std::lock_guard guard(mutex_);
        if (!writable()) co_return Status(EIO);
        auto look_at = [&](const Entry& entry) {
            Sector start = sector_of(entry.old_chunk);
            Sector from = std::max(start, bio.sector), end = std::min(start + chunk_sectors(), bio.end());
            if (from >= end) return;
            (end - from == chunk_sectors() ? whole : parts)
                .emplace_back(sector_of(entry.new_chunk) + (from - start), end - from);
        };
        const Chunk first = chunk_of(bio.sector), end = chunk_behind(bio.end());
        if (end - first > exceptions_.size())
            exceptions_.each(look_at);
        else
            for (Chunk chunk = first; chunk < end; chunk++)
                if (std::optional<Chunk> kept = exceptions_.find(chunk)) look_at({chunk, *kept});
    }
    std::sort(whole.begin(), whole.end());
    std::sort(parts.begin(), parts.end());
    Status result;
    std::vector<Task<Status>> batch;
    auto add = [&](Op op, std::pair<Sector, Sector> range) {
        Bio piece = bio;
        piece.op = op;
        piece.sector = range.first;
        piece.count = range.second;
        batch.push_back(device_->io(piece));
    };
    for (size_t i = 0, j = 0; i < whole.size() || j < parts.size();) {
        batch.clear();
        while (batch.size() < kSideBySide && j < parts.size()) add(Op::discard, parts[j++]);
        while (batch.size() < kSideBySide && i < whole.size()) {
            std::pair<Sector, Sector> range = whole[i++];
            while (i < whole.size() && whole[i].first == range.first + range.second)
                range.second += whole[i++].second;
            add(Op::write_zeroes, range);
        }
        Task<Status> joined = all(std::move(batch));
        Status status = co_await joined;
        result = result.and_then(status);
    }
    co_return result;
}

}  // namespace dmfs::snapshot
