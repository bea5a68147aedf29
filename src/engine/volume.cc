#include "engine/volume.h"

#include <cassert>
#include <cstring>

#include "base/log.h"
#include "engine/errand.h"
#include "engine/namespace.h"

namespace dmfs {

Volume::Volume(Namespace& space, uint64_t id, uint32_t minor)
    : space_(space), id_(id), minor_(minor), gate_(space.executor()), control_(space.executor()) {}

Volume::~Volume() { assert(gate_.inside() == 0); }

Executor& Volume::executor() const { return space_.executor(); }

// The way of a request. Nothing here is a coroutine unless it has to wait.

Task<Status> Volume::io(Bio bio) { return gate_.enter() ? io_inside(bio) : io_when_open(bio); }

Task<Status> Volume::io_when_open(Bio bio) {
    Task<Status> entered = gate_.enter_or_wait(bio.cancel);
    Status status = co_await entered;
    if (!status) co_return status;
    Task<Status> task = io_inside(bio);
    status = co_await task;
    co_return status;
}

Task<Status> Volume::io_inside(Bio bio) {
    counters_.begin(bio.op);
    Table* table = table_.load(std::memory_order_acquire);
    if (Status refused = refusal(table, bio); !refused) return Task<Status>::ready(leave(bio, refused));
    bio.generation = 0;  // a word between the caller and this volume
    Task<Status> task = watched_.load(std::memory_order_relaxed) ? io_watched(table, bio) : table->io(bio);
    if (task.is_ready()) return Task<Status>::ready(leave(bio, std::move(task).value()));
    return leave_later(std::move(task), bio);
}

Task<Status> Volume::io_watched(Table* table, Bio bio) {
    std::shared_ptr<const Watchers> watchers = this->watchers();
    WatchedRequest request{bio, *table, generation(), executor().now_ns(), 0, {}};
    for (const std::shared_ptr<Watcher>& watcher : *watchers) watcher->begun(request);
    Task<Status> task = table->io(bio);
    request.status = co_await task;
    request.ended_ns = executor().now_ns();
    for (const std::shared_ptr<Watcher>& watcher : *watchers) watcher->ended(request);
    co_return request.status;
}

std::shared_ptr<const Watchers> Volume::watchers() const {
    std::lock_guard guard(watchers_mutex_);
    return watchers_;
}

void Volume::watch(std::shared_ptr<Watcher> watcher) {
    std::lock_guard guard(watchers_mutex_);
    auto more = std::make_shared<Watchers>(*watchers_);
    more->push_back(std::move(watcher));
    watchers_ = std::move(more);
    watched_.store(true, std::memory_order_relaxed);
}

void Volume::unwatch(const Watcher& watcher) {
    std::lock_guard guard(watchers_mutex_);
    auto fewer = std::make_shared<Watchers>(*watchers_);
    std::erase_if(*fewer, [&](const auto& each) { return each.get() == &watcher; });
    watchers_ = std::move(fewer);
    watched_.store(!watchers_->empty(), std::memory_order_relaxed);
}

// What no table could serve; inside the gate.
Status Volume::refusal(const Table* table, const Bio& bio) const {
    if (table == nullptr) return Status(EIO);
    bool changes = bio.op != Op::read && bio.op != Op::flush;
    if (changes && !table->writable()) return Status(EPERM);
    if (bio.generation != 0 && bio.generation != generation()) return Status(ERESTART);
    return (bio.sector | bio.count) % sectors_in(table->limits().logical_block) == 0 ? kOk : Status(ERESTART);
}

Task<Status> Volume::leave_later(Task<Status> task, Bio bio) {
    Status status = co_await task;
    co_return leave(bio, status);
}

Status Volume::leave(const Bio& bio, Status status) {
    if (bio.op == Op::flush) status = pending_flush_error(status);
    counters_.end(bio, status);
    gate_.leave();
    return status;
}

Status Volume::pending_flush_error(Status status) {
    if (flush_error_.load(std::memory_order_relaxed) == 0) return status;
    return status.and_then(Status(flush_error_.exchange(0, std::memory_order_acq_rel)));
}

// Suspend, resume, and the exchange of tables.

Task<Outcome> Volume::load(std::shared_ptr<Table> table, Cancel* cancel) {
    Task<Outcome> preparing = table->prepare(cancel);
    Outcome outcome = co_await preparing;
    if (!outcome) outcome = make_inactive(std::move(table));
    co_return outcome;
}

Outcome Volume::make_inactive(std::shared_ptr<Table> table) {
    std::shared_ptr<Table> old;  // destroyed behind the guard
    std::lock_guard guard(space_.mutex_);
    Outcome refused = unfit(*table);
    if (refused) return refused;
    old = std::exchange(inactive_, std::move(table));
    had_table_ = true;
    return {};
}

// Makes `table` the incoming one; *superseded becomes what is inactive now.
Outcome Volume::announce(std::shared_ptr<Table> table, std::shared_ptr<Table>* superseded) {
    std::lock_guard guard(space_.mutex_);
    Outcome refused = unfit(*table);
    if (refused) return refused;
    *superseded = inactive_;
    incoming_ = std::move(table);
    return {};
}

// Why `table` can't be this volume's; under the mutex.
Outcome Volume::unfit(const Table& table) const {
    if (removed_) return Refused(ENXIO, "the volume was removed");
    std::string way = space_.way_to(table, *this);
    if (!way.empty())
        return Refused(EINVAL, "the table stands on '" + name_ + "' itself: " + name_ + " -> " + way,
                       "a volume can't be its own device");
    if (live_ && !live_->may_become(table))
        return Refused(EINVAL, "'" + name_ + "' has a target that stays: " + live_->rows().front().type,
                       "remove the volume, and create it with the other table");
    return {};
}

void Volume::clear() {
    std::shared_ptr<Table> old;
    std::lock_guard guard(space_.mutex_);
    old = std::exchange(inactive_, nullptr);
}

Outcome Volume::old_still_closing() {
    return Refused(EINTR, "the new table is there, but the old one still writes what it owes its devices",
                   "requests go on when it has");
}

Outcome Volume::control_interrupted(Status status) const {
    return Refused(status.error(), "interrupted while requests were still under way");
}

Task<Outcome> Volume::suspend(bool noflush, Cancel* cancel) {
    Task<Status> acquired = control_.acquire(cancel);
    Status status = co_await acquired;
    if (!status) co_return control_interrupted(status);
    Lock::Guard guard(control_);
    Task<Outcome> suspending = suspend_locked(noflush, cancel);
    Outcome outcome = co_await suspending;
    co_return outcome;
}

Task<Outcome> Volume::suspend_locked(bool noflush, Cancel* cancel) {
    if (suspended()) co_return Outcome();
    std::shared_ptr<Table> table = live();  // held: the volume may be removed meanwhile
    gate_.close();
    if (table) table->presuspend();
    Task<Status> draining = gate_.drain(cancel);
    Status drained = co_await draining;
    if (drained && table) {
        Task<Status> stopping = table->quiet(cancel);
        drained = co_await stopping;
    }
    if (drained && table && !noflush) {
        Bio flush;
        flush.op = Op::flush;
        flush.cancel = cancel;
        Task<Status> flushing = table->io(flush);
        Status flushed = co_await flushing;
        if (flushed.error() == EINTR) {
            drained = flushed;
        } else if (!flushed) {
            log_line(Severity::error, "suspend of " + name() + ": flush: " + strerror(flushed.error()));
            flush_error_.store(flushed.error(), std::memory_order_release);
        }
    }
    if (!drained) {
        if (table) table->presuspend_undo();
        gate_.open();
        co_return control_interrupted(drained);
    }
    if (table) table->postsuspend();
    suspended_.store(true, std::memory_order_release);
    co_return Outcome();
}

void Volume::Arrival::end() {
    std::shared_ptr<Table> gone;  // destroyed behind the guard
    std::lock_guard guard(volume.space_.mutex_);
    gone = std::move(volume.incoming_);
}

// The volume is suspended. Afterwards `fresh` is live and *old was.
Outcome Volume::swap_locked(std::shared_ptr<Table> fresh, std::shared_ptr<Table>* old) {
    assert(suspended() && gate_.inside() == 0);
    std::string problem = fresh->areas_problem();  // a device may have shrunk since the load
    if (!problem.empty()) return Refused(EINVAL, problem, "the old table is still there");
    {
        std::lock_guard guard(space_.mutex_);
        if (removed_) return Refused(ENXIO, "the volume was removed");
        *old = std::exchange(live_, fresh);
        had_table_ = true;
        table_.store(fresh.get(), std::memory_order_release);
    }
    show(*fresh);
    return {};
}

// What can be seen of a live table without a mutex.
void Volume::show(const Table& table) {
    generation_.fetch_add(1, std::memory_order_acq_rel);
    readonly_.store(!table.writable(), std::memory_order_release);
    size_.store(table.size(), std::memory_order_release);
    logical_block_.store(table.limits().logical_block, std::memory_order_release);
}

// The live table was the first, and cannot stay.
void Volume::retract() {
    std::shared_ptr<Table> gone;  // destroyed behind the guard
    std::lock_guard guard(space_.mutex_);
    gone = std::move(live_);
    table_.store(nullptr, std::memory_order_release);
    generation_.fetch_add(1, std::memory_order_acq_rel);
    size_.store(0, std::memory_order_release);
}

void Volume::end_waits() {
    gate_.turn_away(Status(EIO));
    if (std::shared_ptr<Table> table = live()) table->presuspend();
}

// Why requests cannot be let in again.
Task<Outcome> Volume::may_go_on(Cancel* cancel) {
    std::shared_ptr<Table> table = live();
    if (!table) co_return Refused(ENXIO, "the volume was removed");
    Task<Outcome> going_on = table->preresume(cancel);
    Outcome outcome = co_await going_on;
    co_return outcome;
}

// The targets first: what waited outside shall meet them as they are from now on.
void Volume::let_in() {
    if (std::shared_ptr<Table> table = live()) table->resume();
    suspended_.store(false, std::memory_order_release);
    gate_.open();
}

// Lets requests in again. `old`, which was live until now, is closed before: its last
// writes come before the first of the new. Goes on when whoever asked is killed; until its
// end no other command gets in.
Task<Status> Volume::go_on(std::shared_ptr<Volume> self, std::shared_ptr<Table> old, Lock::Guard control) {
    Lock::Guard guard(std::move(control));
    if (old) {
        Task<Status> closing = self->space_.close_table(std::move(old));
        Status closed = co_await closing;
        static_cast<void>(closed);  // a target says in the log what it could not do
    }
    self->let_in();
    co_return kOk;
}

Task<Outcome> Volume::resume(bool noflush, Cancel* cancel) {
    Task<Status> acquired = control_.acquire(cancel);
    Status status = co_await acquired;
    if (!status) co_return control_interrupted(status);
    Lock::Guard guard(control_);
    std::shared_ptr<Table> fresh, old;
    {
        std::lock_guard space_guard(space_.mutex_);
        fresh = incoming_ = std::exchange(inactive_, nullptr);
    }
    Arrival arrival{*this};
    if (fresh) {
        Task<Outcome> suspending = suspend_locked(noflush, cancel);
        Outcome outcome = co_await suspending;
        if (outcome) {
            // Back to where it was, unless another was loaded meanwhile.
            std::lock_guard space_guard(space_.mutex_);
            if (!inactive_) inactive_ = std::move(fresh);
            co_return outcome;
        }
        outcome = swap_locked(fresh, &old);
        if (outcome) co_return outcome;
    }
    if (!suspended()) co_return Outcome();
    if (table_ == nullptr) co_return Refused(EINVAL, "there is no table to resume", "load one first");
    Task<Outcome> going_on = may_go_on(cancel);
    Outcome outcome = co_await going_on;
    Task<Status> ending = !outcome ? go_on(shared_from_this(), old, std::move(guard))
                          : old    ? space_.close_table(old)
                                   : Task<Status>::ready(kOk);
    old.reset();
    Task<Status> ended = until_killed(space_.executor(), std::move(ending), cancel);
    status = co_await ended;
    if (fresh && space_.observer_ != nullptr) space_.observer_->table_swapped(*this);
    if (!outcome && status.error() == EINTR) outcome = old_still_closing();
    co_return outcome;
}

Task<Outcome> Volume::replace(std::shared_ptr<Table> table, Cancel* cancel) {
    Task<Outcome> preparing = table->prepare(cancel);
    Outcome refused = co_await preparing;
    if (refused) co_return refused;
    Task<Status> acquired = control_.acquire(cancel);
    Status status = co_await acquired;
    if (!status) co_return control_interrupted(status);
    Lock::Guard guard(control_);
    std::shared_ptr<Table> old, superseded;
    refused = announce(table, &superseded);
    if (refused) co_return refused;
    Arrival arrival{*this};
    bool was_suspended = suspended();
    Task<Outcome> suspending = suspend_locked(false, cancel);
    Outcome outcome = co_await suspending;
    if (outcome) co_return outcome;
    outcome = swap_locked(table, &old);
    if (!outcome) {
        Task<Outcome> beginning = may_go_on(cancel);
        outcome = co_await beginning;
        if (outcome && old) static_cast<void>(swap_locked(old, &table));  // back
        if (outcome && !old) retract();
    }
    if (outcome) {
        arrival.end();
        table.reset();  // what it had prepared does not stand in the way of the old one
        if (was_suspended) co_return outcome;
        Task<Outcome> going_on = table_ == nullptr ? Task<Outcome>::ready({}) : may_go_on(nullptr);
        Outcome stays = co_await going_on;
        if (!stays) let_in();
        co_return outcome;
    }
    Task<Status> going_on =
        until_killed(space_.executor(), go_on(shared_from_this(), std::move(old), std::move(guard)), cancel);
    status = co_await going_on;
    {
        std::lock_guard space_guard(space_.mutex_);
        if (inactive_ == superseded) inactive_ = nullptr;
    }
    if (space_.observer_ != nullptr) space_.observer_->table_swapped(*this);
    if (status.error() == EINTR) outcome = old_still_closing();
    co_return outcome;
}

Task<Outcome> Volume::message(Sector sector, std::vector<Word> words, std::string* answer, Cancel* cancel) {
    Task<Status> acquired = control_.acquire(cancel);
    Status status = co_await acquired;
    if (!status) co_return control_interrupted(status);
    Lock::Guard guard(control_);
    std::shared_ptr<Table> table = live();
    if (!table) co_return Refused(EINVAL, "there is no live table to take messages");
    if (sector >= table->size())
        co_return Refused(EINVAL, "sector " + std::to_string(sector) + " lies beyond the volume",
                          "0 to " + std::to_string(table->size() - 1));
    Outcome outcome;
    Target& target = *table->row_at(sector).target;
    try {
        *answer = target.message(words);
    } catch (const Refused& refused) {
        outcome = refused;
    }
    if (outcome) co_return outcome;
    Task<Status> settling = until_killed(space_.executor(), target.settled(), cancel);
    Status settled = co_await settling;
    if (settled.error() == EINTR)
        co_return Refused(EINTR, "the message was taken; interrupted while what it began goes on");
    if (!settled) outcome = Refused(settled.error(), "the message was taken, but what it began failed");
    co_return outcome;
}

// Checked, and then forgotten: a file has no ioctl that would ask for it.
Outcome Volume::set_geometry(Geometry geometry) {
    if (geometry.cylinders > 65535 || geometry.heads > 255 || geometry.sectors > 255)
        return Refused(EINVAL, "the geometry is out of range",
                       "at most 65535 cylinders, 255 heads, 255 sectors");
    // As the kernel has it: compared with the geometry's own capacity.
    Sector capacity = Sector{geometry.cylinders} * geometry.heads * geometry.sectors;
    if (geometry.start > capacity)
        return Refused(EINVAL, "the start lies beyond cylinders x heads x sectors");
    return {};
}

void TableOwner::raise_event() const {
    std::shared_ptr<Volume> volume;
    {
        std::lock_guard guard(mutex_);
        volume = volume_.lock();
    }
    if (volume) volume->raise_event();
}

void Volume::raise_event() {
    events_.fetch_add(1, std::memory_order_acq_rel);
    if (space_.observer_ != nullptr) space_.observer_->event_raised(*this);
}

// What the Namespace's mutex guards.

std::string Volume::name() const {
    std::lock_guard guard(space_.mutex_);
    return name_;
}

std::string Volume::uuid() const {
    std::lock_guard guard(space_.mutex_);
    return uuid_;
}

bool Volume::deferred_remove() const {
    std::lock_guard guard(space_.mutex_);
    return remove_when_closed_;
}

unsigned Volume::open_count() const {
    std::lock_guard guard(space_.mutex_);
    return open_count_;
}

std::shared_ptr<Table> Volume::live() const {
    std::lock_guard guard(space_.mutex_);
    return live_;
}

std::shared_ptr<Table> Volume::inactive() const {
    std::lock_guard guard(space_.mutex_);
    return inactive_;
}

Limits Volume::limits() const {
    std::shared_ptr<Table> table = live();
    return table ? table->limits() : Limits();
}

Extent Volume::extent(Sector at) {
    std::shared_ptr<Table> table = live();
    if (!table || at >= table->size()) return {true, at + 1};
    return table->extent(at);
}

Sector Volume::allocated(Sector start, Sector length) {
    std::shared_ptr<Table> table = live();
    if (!table || start >= table->size()) return 0;  // a lower volume may have shrunk
    return table->allocated(start, std::min(length, table->size() - start));
}

}  // namespace dmfs
