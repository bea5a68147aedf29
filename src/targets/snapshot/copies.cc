// How a Cow copies, and writes down what it has copied.

#include <algorithm>
#include <cassert>
#include <cstring>

#include "base/log.h"
#include "targets/snapshot/cow.h"

namespace dmfs::snapshot {

namespace {

constexpr uint64_t kPieceBytes = 1 << 20;  // copied at a time
// Commits that one thread does before another gets a turn: the requests that led it there
// wait for their answers.
constexpr int kInARow = 8;
// See gather().
constexpr int64_t kSlowCommitNs = 50'000, kMostPatienceNs = 5'000'000;
constexpr unsigned kMostMisses = 6;

std::string why_no_room(Status status) {
    if (no_room(status)) return "its file system is full";
    if (status.error() == ETIMEDOUT) return "its file system does not answer";
    return std::string("it gets no room from its file system: ") + strerror(status.error());
}

}  // namespace

// What is under way; under the mutex.

std::shared_ptr<Cow::Copy> Cow::copy_of(Chunk chunk) const {
    auto behind = copies_.upper_bound(chunk);
    if (behind == copies_.begin()) return nullptr;
    const std::shared_ptr<Copy>& copy = std::prev(behind)->second;
    return chunk < copy->old_first + copy->to.count ? copy : nullptr;
}

// The end of the chunks from `first` on, which has neither, that have neither an exception
// nor a copy; at most `end`.
Chunk Cow::uncopied(Chunk first, Chunk end) const {
    auto next = copies_.upper_bound(first);
    if (next != copies_.end()) end = std::min(end, next->first);
    if (exceptions_.empty()) return end;
    Chunk chunk = first + 1;
    for (const Chunk jump = first + kByOne; chunk < end && !exceptions_.find(chunk); chunk++)
        if (chunk == jump) return next_kept(chunk, end);
    return chunk;
}

// Takes new chunks for as many of [first, first + most) as it can; nullptr: it is full, or there is
// no room yet for what the store needs.
std::shared_ptr<Cow::Copy> Cow::begin_copy(Chunk first, Chunk most) {
    ChunkRun run = store_->allocate(most, room_->end());
    room_->go_on(store_->next());
    if (run.count == 0) return nullptr;
    auto copy = std::make_shared<Copy>(executor_, first, run);
    copies_.emplace(first, copy);
    order_.push_back(copy);
    return copy;
}

// Before the origin changes.

bool Cow::preserved(Sector from, Sector end) const {
    std::lock_guard guard(mutex_);
    if (role_ != Role::snapshot || known_invalid_) return true;
    from = std::max(from, shown_.from);
    end = std::min(end, shown_.end);
    if (from >= end) return true;
    if (!valid_) return false;
    for (Chunk chunk = chunk_of(from); chunk < chunk_behind(end); chunk++) {
        std::optional<Chunk> kept = exceptions_.find(chunk);
        if (!kept || *kept >= durable_end_) return false;
    }
    return !readings_.overlap(chunk_of(from), chunk_behind(end));
}

Task<Status> Cow::preserve(Sector from, Sector end, Cancel* cancel) {
    Chunk first = 0, behind = 0;
    {
        std::lock_guard guard(mutex_);
        from = std::max(from, shown_.from);
        end = std::min(end, shown_.end);
        if (role_ != Role::snapshot || known_invalid_ || from >= end) co_return kOk;
        first = chunk_of(from);
        behind = chunk_behind(end);
    }
    for (bool again = true; again;) {
        again = false;
        Copies copies;
        Task<Status> beginning = begin_preserving(first, behind, cancel, &copies);
        Status status = co_await beginning;
        if (status.error() == EINTR) co_return status;
        for (const std::shared_ptr<Copy>& copy : copies) {
            Task<Status> copying = wait_for(copy, cancel);
            status = co_await copying;
            if (status.error() == EINTR) co_return status;
            // A write to the snapshot had begun it, and was refused.
            again = again || no_room(status);
        }
    }
    Task<Status> making_durable = make_durable(first, behind, cancel);
    Status status = co_await making_durable;
    if (!status) co_return status;
    Task<Status> waiting = wait_for_readers(first, behind, cancel);
    status = co_await waiting;
    co_return status;
}

// Each of [chunk, behind) has its exception then, or one of *copies. Fails only with EINTR.
Task<Status> Cow::begin_preserving(Chunk chunk, Chunk behind, Cancel* cancel, Copies* copies) {
    while (true) {
        Copies mine;
        bool full = false;
        Sector needs = 0;
        {
            std::lock_guard guard(mutex_);
            if (role_ != Role::snapshot || known_invalid_) co_return kOk;
            full = !valid_;
            while (chunk < behind && !full && needs == 0) {
                std::shared_ptr<Copy> copy = copy_of(chunk);
                if (!copy && exceptions_.find(chunk)) {
                    chunk++;
                    continue;
                }
                if (!copy) {
                    copy = begin_copy(chunk, uncopied(chunk, behind) - chunk);
                    if (copy) mine.push_back(copy);
                }
                if (copy) {
                    copy->durable = copy->needed = true;
                    copies->push_back(copy);
                    chunk = copy->old_first + copy->to.count;
                } else {
                    needs = store_->needs();
                    full = needs == 0;
                }
            }
        }
        for (const std::shared_ptr<Copy>& copy : mine) executor_.spawn(copy_old(shared_from_this(), copy));
        if (!full && needs == 0) co_return kOk;
        Status status(ENOSPC);
        if (!full) {
            Task<Status> waiting = room_->wait(needs, Headroom::Who::origin, cancel);
            status = co_await waiting;
        }
        if (status) continue;
        if (status.error() == EINTR) co_return status;
        Task<Status> losing = invalidate(full ? "it is full" : why_no_room(status), cancel);
        status = co_await losing;
        co_return status;
    }
}

// The exceptions of these chunks, of which some may wait for a flush. Fails only with EINTR.
Task<Status> Cow::make_durable(Chunk first, Chunk end, Cancel* cancel) {
    bool loose = false;
    {
        std::lock_guard guard(mutex_);
        auto look_at = [&](Chunk chunk, Chunk kept) {
            if (chunk >= first && chunk < end && kept >= durable_end_) loose = true;
        };
        if (!all_durable() && end - first > exceptions_.size())
            exceptions_.each([&](const Entry& entry) { look_at(entry.old_chunk, entry.new_chunk); });
        else
            for (Chunk chunk = first; chunk < end && !all_durable() && !loose; chunk++)
                if (std::optional<Chunk> kept = exceptions_.find(chunk)) look_at(chunk, *kept);
    }
    if (!loose) co_return kOk;
    Task<Status> flushing =
        flush_own(Bio::flush(cancel));  // what the snapshot's flush has to tell is for who asks
    Status status = co_await flushing;
    co_return status.error() == EINTR ? status : kOk;  // else the snapshot is invalid now
}

Task<Status> Cow::wait_for_readers(Chunk first, Chunk end, Cancel* cancel) {
    auto nobody_reads = [this, first, end] {
        std::lock_guard guard(mutex_);
        const bool read = readings_.overlap(first, end);
        readers_awaited_ = readers_awaited_ || read;
        return !read;
    };
    return readers_gone_.until(nobody_reads, cancel);
}

// The work of a copy.

Task<Status> Cow::transfer(Op op, Device* device, Sector sector, Sector count, Memory* memory,
                           size_t offset) {
    Bio bio;
    bio.op = op;
    bio.sector = sector;
    bio.count = count;
    bio.memory = memory;
    bio.offset = offset;
    return device->io(bio);
}

Task<Status> Cow::copy_old(std::shared_ptr<Cow> self, std::shared_ptr<Copy> copy) {
    const Sector length = self->length_of(copy->old_first, copy->to.count);
    Memory memory(std::min(kPieceBytes, bytes_of(length)));
    Status status = length > 0 ? kOk : Status(EIO);
    for (Sector done = 0; done < length && status;) {
        Sector count = std::min(length - done, sectors_in(memory.bytes()));
        Task<Status> reading = self->transfer(Op::read, self->origin_.get(),
                                              self->sector_of(copy->old_first) + done, count, &memory, 0);
        status = co_await reading;
        if (!status) break;
        Task<Status> writing = self->transfer(Op::write, self->device_.get(),
                                              self->sector_of(copy->to.first) + done, count, &memory, 0);
        status = co_await writing;
        done += count;
    }
    self->copied(copy, status);
    co_return status;
}

// The old data around the new, and then all of it at once.
Task<Status> Cow::copy_around(std::shared_ptr<Cow> self, std::shared_ptr<Copy> copy) {
    const Sector start = self->sector_of(copy->old_first), length = sectors_in(copy->assembled->bytes());
    const std::pair<Sector, Sector> gaps[] = {{0, copy->new_from}, {copy->new_end, length}};
    Status status;
    for (auto [from, end] : gaps) {
        if (from >= end || !status) continue;
        Task<Status> reading = self->transfer(Op::read, self->origin_.get(), start + from, end - from,
                                              &*copy->assembled, bytes_of(from));
        status = co_await reading;
    }
    if (status) {
        Task<Status> writing = self->transfer(Op::write, self->device_.get(), self->sector_of(copy->to.first),
                                              length, &*copy->assembled, 0);
        status = co_await writing;
    }
    copy->assembled.reset();
    self->copied(copy, status);
    co_return status;
}

void Cow::copied(const std::shared_ptr<Copy>& copy, Status status) {
    if (!status)
        log_line(Severity::error, "snapshot: chunk " + std::to_string(copy->old_first) + " of " +
                                      origin_->name() + " can't be copied: " + strerror(status.error()));
    std::unique_lock lock(mutex_);
    copy->at = status ? Copy::At::copied : Copy::At::failed;
    copy->error = status;
    ready_++;
    if (committing_ || order_.front()->at == Copy::At::copying || ready_ < awaited_) return;
    if (std::exchange(awaited_, 0) > 0) misses_ = 0;
    committing_ = true;
    lock.unlock();
    executor_.spawn(commit_copies(shared_from_this()));
}

// The commit.

// Whoever comes first commits for all that are done by then, and then for those that were
// done meanwhile.
Task<Status> Cow::commit_copies(std::shared_ptr<Cow> self) {
    for (int commits = 1;; commits++) {
        bool durable = false;
        Copies refused;
        Copies copies = self->take_copied(&durable, &refused);
        if (!refused.empty()) self->settle(refused, durable, Status(ENOSPC));
        if (copies.empty()) co_return kOk;
        const int64_t began = self->executor_.now_ns();
        std::vector<Entry> entries;
        Status status;
        for (const std::shared_ptr<Copy>& copy : copies) {
            if (copy->at == Copy::At::failed) status = Status(EIO);
            for (Chunk i = 0; i < copy->to.count; i++)
                entries.push_back({copy->old_first + i, copy->to.first + i});
        }
        if (status && self->state() != State::invalid) {
            Task<Status> preparing = self->store_->prepare(entries.size());
            status = co_await preparing;
            if (no_room(status) && !self->any_needed(copies)) {
                self->settle(copies, durable, status);
                continue;
            }
            if (status) {
                Task<Status> committing = self->store_->commit(entries, durable);
                status = co_await committing;
                // The store counts these chunks, whatever is written of them: they are not free again.
                if (no_room(status)) status = Status(EIO);
            }
            if (!status)
                log_line(Severity::error, "snapshot: exceptions can't be written to " +
                                              self->device_->name() + ": " + strerror(status.error()));
        } else {
            status = Status(EIO);
        }
        // A merge has nothing to lose: what was to be kept is in the origin.
        if (!status && !self->is_merging()) {
            Task<Status> losing = self->invalidate("a chunk could not be kept", nullptr);
            Status lost = co_await losing;
            static_cast<void>(lost);
        }
        const int64_t took = self->executor_.now_ns() - began;
        const size_t back = self->ready() + copies.size();
        self->settle(copies, durable, status);
        if (self->gather(back, took)) co_return kOk;
        if (commits % kInARow == 0) {
            Task<Status> pause = sleep_until(self->executor_, 0);
            Status slept = co_await pause;
            static_cast<void>(slept);
        }
    }
}

// Those at the head of the order that need nothing more than the commit. *refused: those that found
// no room, and that no write to the origin needs.
Cow::Copies Cow::take_copied(bool* durable, Copies* refused) {
    std::lock_guard guard(mutex_);
    *durable = role_ != Role::snapshot;
    Copies copies;
    while (!order_.empty() && order_.front()->at != Copy::At::copying) {
        std::shared_ptr<Copy> copy = std::move(order_.front());
        order_.pop_front();
        const bool lost = copy->at == Copy::At::failed && no_room(copy->error) && !copy->needed;
        *durable = *durable || (copy->durable && !lost);
        (lost ? *refused : copies).push_back(std::move(copy));
        ready_--;
    }
    committing_ = !copies.empty();
    return copies;
}

// Those whose copies were committed just now are likely to be back at once with their next ones.
// The next commit waits for them, at most as long as this one took (as jbd2 does): otherwise two
// groups would take turns, each in commits of half the size. `back`: how many are ready when all of
// them are. True if it is left to copied() or to end_gathering() to begin it.
bool Cow::gather(size_t back, int64_t took_ns) {
    uint64_t which;
    {
        std::lock_guard guard(mutex_);
        if (took_ns < kSlowCommitNs || ready_ >= back || (gathers_not_ > 0 && gathers_not_-- > 0))
            return false;
        committing_ = false;
        awaited_ = back;
        which = ++gatherings_;
    }
    const int64_t deadline = executor_.now_ns() + std::min(took_ns, kMostPatienceNs);
    executor_.spawn(end_gathering(shared_from_this(), which, deadline));
    return true;
}

// Where they do not come back it is tried ever more seldom.
Task<Status> Cow::end_gathering(std::shared_ptr<Cow> self, uint64_t which, int64_t deadline_ns) {
    Task<Status> pause = sleep_until(self->executor_, deadline_ns);
    Status status = co_await pause;
    {
        std::lock_guard guard(self->mutex_);
        if (which != self->gatherings_ || self->awaited_ == 0) co_return status;
        const bool most = self->ready_ * 4 >= self->awaited_ * 3;
        self->misses_ = most ? 0 : std::min(self->misses_ + 1, kMostMisses);
        self->gathers_not_ = (1u << self->misses_) - 1;
        self->awaited_ = 0;
        if (self->order_.empty() || self->order_.front()->at == Copy::At::copying) co_return status;
        self->committing_ = true;
    }
    Task<Status> committing = commit_copies(self);
    status = co_await committing;
    co_return status;
}

// Whether the snapshot is lost without one of them.
bool Cow::any_needed(const Copies& copies) const {
    std::lock_guard guard(mutex_);
    return std::ranges::any_of(copies, [](const std::shared_ptr<Copy>& copy) { return copy->needed; });
}

// They are exceptions from now on, and whoever waited for them goes on, here: one after the other, since
// what one of them does next may hang, and those after him stay where they can be killed.
void Cow::settle(const Copies& copies, bool durable, Status status) {
    bool last = false;
    {
        std::lock_guard guard(mutex_);
        if (!valid_) status = Status(EIO);
        if (status && store_->can_merge()) {
            durable_end_ = durable ? kAllDurable : copies.front()->to.first;
            loose_commits_ += durable ? 0 : 1;
        }
        if (no_room(status))  // the newest first
            for (size_t i = copies.size(); i-- > 0;) store_->give_back(copies[i]->to);
        for (const std::shared_ptr<Copy>& copy : copies) {
            for (Chunk i = 0; i < copy->to.count && status; i++)
                exceptions_.insert({copy->old_first + i, copy->to.first + i});
            copies_.erase(copy->old_first);
        }
        last = copies_.empty();
    }
    for (const std::shared_ptr<Copy>& copy : copies)
        copy->waiting.locked([&] {
            copy->done = true;
            copy->status = status;
        });
    for (const std::shared_ptr<Copy>& copy : copies)
        while (std::coroutine_handle<> waited = copy->waiting.take_first()) waited.resume();
    if (last) idle_.wake_all();
}

Task<Status> Cow::wait_for(std::shared_ptr<Copy> copy, Cancel* cancel) {
    bool done = copy->waiting.locked([&] { return copy->done; });
    return done ? Task<Status>::ready(copy->status) : wait_until_done(std::move(copy), cancel);
}

Task<Status> Cow::wait_until_done(std::shared_ptr<Copy> copy, Cancel* cancel) {
    std::function<bool()> must_wait = [&copy] { return !copy->done; };
    Waiter waiter = copy->waiting.wait(must_wait, cancel);
    Status interrupted = co_await waiter;
    co_return copy->waiting.locked([&] { return copy->done ? copy->status : interrupted; });
}

Task<Status> Cow::idle(Cancel* cancel) {
    return idle_.until([this] { return !busy(); }, cancel);
}

// The end of a snapshot.

// Answers when it is written down: EIO, or EINTR.
Task<Status> Cow::invalidate(std::string why, Cancel* cancel) {
    bool first = false;
    {
        std::lock_guard guard(mutex_);
        first = std::exchange(valid_, false);
    }
    if (first) {
        log_line(Severity::error,
                 "snapshot: the one on " + device_->name() + " is invalid from now on: " + why);
        executor_.spawn(write_down_invalid(shared_from_this()));
    }
    auto is_known = [this] {
        std::lock_guard guard(mutex_);
        return known_invalid_;
    };
    Task<Status> waiting = invalidated_.until(is_known, cancel);
    Status status = co_await waiting;
    co_return status ? Status(EIO) : status;
}

Task<Status> Cow::write_down_invalid(std::shared_ptr<Cow> self) {
    Task<Status> writing = self->store_->invalidate();
    Status status = co_await writing;
    if (!status)
        log_line(Severity::error, "snapshot: that can't be written to " + self->device_->name() + ": " +
                                      strerror(status.error()));
    std::function<void()> raise_event;
    {
        std::lock_guard guard(self->mutex_);
        self->known_invalid_ = true;
        self->exceptions_.clear();
        raise_event = self->raise_event_;
    }
    if (raise_event) raise_event();
    self->invalidated_.wake_all();
    self->idle_.wake_all();
    co_return status;
}

}  // namespace dmfs::snapshot
