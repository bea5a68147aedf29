// A volume that is put under another in use, and taken away again. The table moves with all its
// state; nothing is built anew of it.
//
//     disk                         disk         what `above` builds
//       table T                      |
//                    insert        disk-real    T
//                  --------->
//                  <---------
//                   collapse
//
// Both hold the control locks of both volumes, the upper's first.

#include <cassert>

#include "engine/namespace.h"
#include "engine/undo.h"

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

Outcome Volume::may_insert(const Volume& below) const {
    std::lock_guard guard(space_.mutex_);
    if (removed_ || !live_) return Refused(ENXIO, "'" + name_ + "' has no live table");
    if (inactive_)
        return Refused(EBUSY, "'" + name_ + "' has a table that waits for the next resume",
                       "resume it, or clear that table");
    if (below.removed_) return Refused(ENXIO, "'" + below.name_ + "' was removed meanwhile");
    if (below.live_ || below.inactive_)
        return Refused(EBUSY, "'" + below.name_ + "' was given a table meanwhile", "remove it");
    return {};
}

Task<Outcome> Volume::insert(Insertion insertion, Cancel* cancel) {
    Task<Status> acquired = control_.acquire(cancel);
    Status status = co_await acquired;
    if (!status) co_return control_interrupted(status);
    Lock::Guard guard(control_);
    Task<Status> acquired_below = insertion.below->control_.acquire(cancel);
    status = co_await acquired_below;
    if (!status) co_return control_interrupted(status);
    Lock::Guard guard_below(insertion.below->control_);
    if (Outcome outcome = may_insert(*insertion.below); !outcome) co_return outcome;
    const bool was_suspended = suspended();
    Undo undo;
    Task<Outcome> whole = undo.unless_done(insert_steps(&insertion, &undo, cancel));
    Outcome outcome = co_await whole;
    if (!outcome) co_return outcome;
    if (!was_suspended) let_in();
    if (space_.observer_ != nullptr) space_.observer_->table_swapped(*this);
    co_return outcome;
}

Task<Outcome> Volume::insert_steps(Insertion* insertion, Undo* undo, Cancel* cancel) {
    const bool was_suspended = suspended();
    Task<Outcome> suspending = suspend_locked(false, cancel);
    Outcome outcome = co_await suspending;
    if (!outcome) co_return outcome;
    if (!was_suspended) undo->add([this] { return let_in_again(); });

    std::shared_ptr<Volume> below = insertion->below;
    std::shared_ptr<Table> table = give_away();
    below->adopt(table);
    undo->add([this, below, table] { return take_back(below, table); });
    Task<Outcome> resuming = table->preresume(cancel);
    outcome = co_await resuming;
    if (!outcome) co_return outcome;
    below->let_in();

    try {
        table = insertion->above();
    } catch (const Refused& refused) {
        outcome = refused;
    }
    if (!outcome) co_return outcome;
    Task<Outcome> preparing = table->prepare(cancel);
    outcome = co_await preparing;
    if (!outcome) co_return outcome;
    adopt(table);
    undo->add([this] { return close_above(); });
    Task<Outcome> beginning = table->preresume(cancel);
    table.reset();  // close_above() closes what stands below it
    outcome = co_await beginning;
    if (!outcome) co_return outcome;
    Task<Outcome> doing = insertion->meanwhile();
    outcome = co_await doing;
    co_return outcome;
}

// Steps of Undo.

Task<Outcome> Volume::close_above() {
    Task<Status> closing = space_.close_table(give_away());
    Status closed = co_await closing;
    static_cast<void>(closed);  // a target says in the log what it could not do
    co_return Outcome();
}

// What `below` has is this volume's again. Somebody may have opened `below` meanwhile: what they
// still want of it ends with EIO.
Task<Outcome> Volume::take_back(std::shared_ptr<Volume> below, std::shared_ptr<Table> moved) {
    Task<Outcome> suspending = below->suspend_locked(true, nullptr);
    Outcome outcome = co_await suspending;
    below->give_away();
    below->let_in();
    adopt(std::move(moved));
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
    std::shared_ptr<Table> old;
    Undo undo;
    Task<Outcome> whole = undo.unless_done(collapse_steps(below, &old, &undo, cancel));
    Outcome outcome = co_await whole;
    if (!outcome) co_return outcome;
    std::shared_ptr<Table> taken = live();
    taken->belongs_to(weak_from_this());
    show(*taken);
    Task<Status> closing = space_.close_table(std::move(old));
    status = co_await closing;
    below->gate_.open();  // who waits outside finds no table: EIO
    below->raise_event();
    if (space_.observer_ != nullptr) space_.observer_->removed(*below);
    if (!was_suspended) {
        Task<Outcome> going_on = let_in_again();
        outcome = co_await going_on;
    }
    if (space_.observer_ != nullptr) space_.observer_->table_swapped(*this);
    co_return outcome;
}

Task<Outcome> Volume::collapse_steps(std::shared_ptr<Volume> below, std::shared_ptr<Table>* old, Undo* undo,
                                     Cancel* cancel) {
    for (Volume* each : {this, below.get()}) {
        if (each->suspended()) continue;
        Task<Outcome> suspending = each->suspend_locked(each == below.get(), cancel);
        Outcome outcome = co_await suspending;
        if (!outcome) co_return outcome;
        undo->add([each] { return each->let_in_again(); });
    }
    co_return take_from(*below, old);
}

}  // namespace dmfs
