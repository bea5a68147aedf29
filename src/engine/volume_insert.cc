// A volume that is put under another in use, and taken away again. The table moves with all its
// state; nothing is built anew of it.
//
//     disk                         disk         what `above` builds
//       table T                      |
//                    insert        disk-real    T
//                  --------->
//                  <---------
//                   collapse

#include <cassert>

#include "engine/namespace.h"

namespace dmfs {

// Makes a table live where there is none: nobody is inside, and requests wait outside or do not
// know of the volume yet.
void Volume::adopt(std::shared_ptr<Table> table) {
    table->belongs_to(weak_from_this());
    show(*table);
    std::lock_guard guard(space_.mutex_);
    had_table_ = true;
    table_.store(table.get(), std::memory_order_release);
    live_ = std::move(table);
}

// Its size stays what it was, for those who ask meanwhile.
std::shared_ptr<Table> Volume::give_away() {
    std::lock_guard guard(space_.mutex_);
    table_.store(nullptr, std::memory_order_release);
    return std::move(live_);
}

// As behind a suspend: what a table does by itself stops.
Task<Status> Volume::quiet_down(Table* table) {
    table->presuspend();
    Task<Status> stopping = table->quiet(nullptr);
    Status status = co_await stopping;
    table->postsuspend();
    co_return status;
}

Task<Outcome> Volume::insert(Insertion insertion, Cancel* cancel) {
    Task<Status> acquired = control_.acquire(cancel);
    Status status = co_await acquired;
    if (!status) co_return control_interrupted(status);
    Lock::Guard guard(control_);
    if (!live()) co_return Refused(ENXIO, "'" + name() + "' has no live table");
    if (inactive())
        co_return Refused(EBUSY, "'" + name() + "' has a table that waits for the next resume",
                          "resume it, or clear that table");
    const bool was_suspended = suspended();
    Task<Outcome> suspending = suspend_locked(false, cancel);
    Outcome outcome = co_await suspending;
    if (outcome) co_return outcome;

    std::shared_ptr<Table> moved = give_away();
    insertion.below->adopt(moved);
    Task<Outcome> inserting = insert_locked(&insertion, moved, cancel);
    outcome = co_await inserting;
    if (outcome) {
        // Back: what stands on it has let go of it, and nobody else knows of it.
        Task<Status> stopping = quiet_down(moved.get());
        status = co_await stopping;
        insertion.below->give_away();
        adopt(moved);
        moved.reset();
        if (was_suspended) co_return outcome;
        Task<Outcome> going_on = may_go_on(nullptr);
        Outcome stays = co_await going_on;
        if (!stays) let_in();
        co_return outcome;
    }
    if (!was_suspended) let_in();
    if (space_.observer_ != nullptr) space_.observer_->table_swapped(*this);
    co_return outcome;
}

// `moved` is live below, and is to go on; then the new table takes its place here.
Task<Outcome> Volume::insert_locked(Insertion* insertion, std::shared_ptr<Table> moved, Cancel* cancel) {
    Task<Outcome> resuming = moved->preresume(cancel);
    Outcome outcome = co_await resuming;
    if (outcome) co_return outcome;
    moved->resume();
    std::shared_ptr<Table> above;
    try {
        above = insertion->above();
    } catch (const Refused& refused) {
        outcome = refused;
    }
    if (outcome) co_return outcome;
    Task<Outcome> preparing = above->prepare(cancel);
    outcome = co_await preparing;
    if (outcome) co_return outcome;
    adopt(above);
    Task<Outcome> beginning = above->preresume(cancel);
    outcome = co_await beginning;
    if (!outcome) {
        Task<Outcome> doing = insertion->meanwhile();
        outcome = co_await doing;
    }
    if (!outcome) co_return outcome;
    std::shared_ptr<Table> gone = give_away();
    above.reset();
    Task<Status> closing = space_.close_table(std::move(gone));
    Status closed = co_await closing;
    static_cast<void>(closed);
    co_return outcome;
}

// Under the mutex at once: nobody can open `below` in between.
Outcome Volume::take_from(Volume& below, std::shared_ptr<Table>* old) {
    std::lock_guard guard(space_.mutex_);
    if (below.removed_ || !below.live_) return Refused(ENXIO, "'" + below.name_ + "' is not there");
    if (below.inactive_)
        return Refused(EBUSY, "'" + below.name_ + "' has a table that waits", "clear it first");
    const std::vector<std::shared_ptr<Device>>& devices = live_->devices();
    if (devices.size() != 1 || devices.front().get() != &below || live_->size() != below.live_->size())
        return Refused(EINVAL, "'" + name_ + "' does not stand on '" + below.name_ + "' alone");
    if (below.open_count_ != 1)
        return Refused(EBUSY, "'" + below.name_ + "' is in use by others than '" + name_ + "'");
    *old = std::move(live_);
    live_ = std::move(below.live_);
    table_.store(live_.get(), std::memory_order_release);
    below.table_.store(nullptr, std::memory_order_release);
    space_.forget(below);
    return {};
}

Task<Outcome> Volume::collapse(std::shared_ptr<Volume> below, Cancel* cancel) {
    Task<Status> acquired = control_.acquire(cancel);
    Status status = co_await acquired;
    if (!status) co_return control_interrupted(status);
    Lock::Guard guard(control_);
    Task<Status> acquired_below = below->control_.acquire(cancel);
    status = co_await acquired_below;
    if (!status) co_return control_interrupted(status);
    Lock::Guard guard_below(below->control_);
    if (!live()) co_return Refused(ENXIO, "'" + name() + "' has no live table");
    const bool was_suspended = suspended();
    Task<Outcome> suspending = suspend_locked(false, cancel);
    Outcome outcome = co_await suspending;
    if (outcome) co_return outcome;
    std::shared_ptr<Table> taken = below->live(), old;
    if (taken) {
        Task<Status> stopping = quiet_down(taken.get());
        status = co_await stopping;
    }
    outcome = take_from(*below, &old);
    if (outcome) {
        if (taken) {
            Task<Outcome> going_on = taken->preresume(nullptr);
            Outcome stays = co_await going_on;
            if (!stays) taken->resume();
        }
        if (!was_suspended) let_in();
        co_return outcome;
    }
    taken->belongs_to(weak_from_this());
    show(*taken);
    Task<Status> closing = space_.close_table(std::move(old));
    status = co_await closing;
    below->raise_event();
    if (space_.observer_ != nullptr) space_.observer_->removed(*below);
    if (!was_suspended) {
        Task<Outcome> going_on = may_go_on(nullptr);
        outcome = co_await going_on;
        if (!outcome) let_in();
    }
    if (space_.observer_ != nullptr) space_.observer_->table_swapped(*this);
    co_return outcome;
}

}  // namespace dmfs
