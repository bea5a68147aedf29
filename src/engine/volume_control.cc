// The control operations of a volume: suspend, resume, the exchange of tables, removal, messages.
// One at a time, under `control_`; each is done whole, or taken back (Undo).

#include <cassert>
#include <cstring>

#include "base/log.h"
#include "engine/backings.h"
#include "engine/errand.h"
#include "engine/namespace.h"
#include "engine/undo.h"

namespace dmfs {

// Loading.

Task<Outcome> Volume::load(std::shared_ptr<Table> table, Cancel* cancel) {
    Task<Outcome> preparing = table->prepare(cancel);
    Outcome outcome = co_await preparing;
    if (outcome) outcome = make_inactive(std::move(table));
    co_return outcome;
}

Outcome Volume::make_inactive(std::shared_ptr<Table> table) {
    std::shared_ptr<Table> old;  // destroyed after the guard
    std::lock_guard guard(space_.mutex_);
    Outcome outcome = unfit(*table);
    if (!outcome) return outcome;
    old = std::exchange(inactive_, std::move(table));
    had_table_ = true;
    return {};
}

// Makes `table` the incoming one; *superseded becomes what is inactive now.
Outcome Volume::announce(std::shared_ptr<Table> table, std::shared_ptr<Table>* superseded) {
    std::lock_guard guard(space_.mutex_);
    Outcome outcome = unfit(*table);
    if (!outcome) return outcome;
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
                       "a volume can't be its own device; ./" + name_ + " would be a file");
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

// Suspend, and its end.

namespace {

// While a suspend that sends no flush waits for requests: those that have waited for a device
// that does not answer get EIO.
class LettingGo {
  public:
    LettingGo(Executor& executor, std::shared_ptr<Table> table)
        : executor_(executor), table_(std::move(table)), timer_([this] { look(); }) {
        if (table_) look();
    }
    LettingGo(const LettingGo&) = delete;
    LettingGo& operator=(const LettingGo&) = delete;
    ~LettingGo() {
        executor_.disarm(timer_);  // waits for a look ...
        executor_.disarm(timer_);  // ... that has armed it again
    }

  private:
    static constexpr int64_t kPatienceNs = 5'000'000'000, kBetweenLooksNs = 100'000'000;

    void look() {
        table_->give_up(kPatienceNs);
        executor_.arm(timer_, executor_.now_ns() + kBetweenLooksNs);
    }

    Executor& executor_;
    const std::shared_ptr<Table> table_;
    Timer timer_;
};

}  // namespace

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
    if (removed()) co_return Refused(ENXIO, "the volume was removed");
    Task<Outcome> suspending = suspend_locked(noflush, cancel);
    Outcome outcome = co_await suspending;
    co_return outcome;
}

Task<Outcome> Volume::suspend_locked(bool noflush, Cancel* cancel) {
    if (suspended()) co_return Outcome();
    std::shared_ptr<Table> table = live();
    gate_.close();
    if (table) table->presuspend();
    Status drained;
    {
        LettingGo letting_go(executor(), noflush ? table : nullptr);
        Task<Status> draining = gate_.drain(cancel);
        drained = co_await draining;
        if (drained && table) {
            Task<Status> stopping = table->quiet(cancel);
            drained = co_await stopping;
        }
    }
    if (drained && table && !noflush) {
        Task<Status> flushing = table->io(Bio::flush(cancel));
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

// Why requests cannot be let in again.
Task<Outcome> Volume::may_go_on(Cancel* cancel) {
    std::shared_ptr<Table> table = live();
    if (!table) co_return Refused(ENXIO, "there is no table");
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

// A step of Undo: requests go on as before the suspend. Where the table refuses, the volume stays
// suspended with it.
Task<Outcome> Volume::let_in_again() {
    if (table_ != nullptr) {
        Task<Outcome> going_on = may_go_on(nullptr);
        Outcome outcome = co_await going_on;
        if (!outcome)
            co_return Refused(
                outcome.why().error(),
                "'" + name() + "' stays suspended with the table it had: " + outcome.why().reason(),
                "`dmfs resume` when what is in the way is mended");
    }
    let_in();
    co_return Outcome();
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

// The exchange of tables.

void Volume::Arrival::end() {
    std::shared_ptr<Table> gone;  // destroyed after the guard
    std::lock_guard guard(volume.space_.mutex_);
    gone = std::move(volume.incoming_);
}

// The volume is suspended. Afterwards `fresh` is live and `old` was.
Outcome Volume::swap_locked(Exchange* exchange) {
    assert(suspended() && gate_.inside() == 0);
    std::string problem = exchange->fresh->areas_problem();  // a device may have shrunk since the load
    if (!problem.empty()) return Refused(EINVAL, problem, "the old table is still there");
    // Asked when the device was opened, but the live table may have given up writes since then.
    for (const std::shared_ptr<Device>& device : exchange->fresh->devices())
        if (executor().backings().abandoned_writes(device->identity()) > 0)
            return Refused(EBUSY,
                           "writes to " + device->name() +
                               " that nobody waits for any more may still land, on what would be newer",
                           "when it answers again");
    set_live(exchange->fresh, &exchange->old);
    return {};
}

// Steps of Undo.

// What the new table had prepared does not stand in the way of the old one: it goes.
Task<Outcome> Volume::let_in_without(Exchange* exchange) {
    exchange->arrival.end();
    exchange->fresh.reset();
    return let_in_again();
}

// The new table is the inactive one again, unless another was loaded meanwhile, or it is what the
// old one cannot go on with: it may wait for what that has.
Task<Outcome> Volume::let_in_and_load(Exchange* exchange) {
    {
        std::lock_guard guard(space_.mutex_);
        if (!inactive_) inactive_ = exchange->fresh;
    }
    exchange->arrival.end();
    Task<Outcome> going_on = let_in_again();
    Outcome outcome = co_await going_on;
    if (outcome) co_return outcome;
    {
        std::lock_guard guard(space_.mutex_);
        if (inactive_ == exchange->fresh) inactive_ = nullptr;  // not the last to have it
    }
    Task<Outcome> without = let_in_without(exchange);
    outcome = co_await without;
    co_return outcome;
}

Task<Outcome> Volume::swap_back(Exchange* exchange) {
    std::shared_ptr<Table> fresh;
    set_live(std::move(exchange->old), &fresh);
    return Task<Outcome>::ready({});
}

void Volume::set_live(std::shared_ptr<Table> table, std::shared_ptr<Table>* old) {
    const Table* now = table.get();
    {
        std::lock_guard guard(space_.mutex_);
        had_table_ |= table != nullptr;
        table_.store(table.get(), std::memory_order_release);
        *old = std::exchange(live_, std::move(table));
    }
    if (now != nullptr) return show(*now);
    generation_.fetch_add(1, std::memory_order_acq_rel);
    size_.store(0, std::memory_order_release);
}

// What can be seen of a live table without a mutex.
void Volume::show(const Table& table) {
    generation_.fetch_add(1, std::memory_order_acq_rel);
    readonly_.store(!table.writable(), std::memory_order_release);
    size_.store(table.size(), std::memory_order_release);
    logical_block_.store(table.limits().logical_block, std::memory_order_release);
    note_change();
}

Task<Outcome> Volume::resume(bool noflush, Cancel* cancel) {
    Task<Status> acquired = control_.acquire(cancel);
    Status status = co_await acquired;
    if (!status) co_return control_interrupted(status);
    Lock::Guard guard(control_);
    Exchange exchange{Arrival{*this}, nullptr, nullptr};
    {
        std::lock_guard space_guard(space_.mutex_);
        if (removed_) co_return Refused(ENXIO, "the volume was removed");
        exchange.fresh = incoming_ = std::exchange(inactive_, nullptr);
    }
    const bool exchanges = exchange.fresh != nullptr;
    Undo undo;
    Task<Outcome> steps = exchanges     ? resume_fresh(noflush, &exchange, &undo, cancel)
                          : suspended() ? resume_same(cancel)
                                        : Task<Outcome>::ready({});
    Task<Outcome> whole = undo.unless_done(std::move(steps));
    Outcome outcome = co_await whole;
    if (!outcome && exchanges) outcome = still_loaded(std::move(outcome), exchange);
    if (!outcome || !suspended()) co_return outcome;
    exchange.arrival.end();  // under control_, which goes now: later it would end another's
    Task<Status> ending = until_killed(
        space_.executor(), go_on(shared_from_this(), std::move(exchange.old), std::move(guard)), cancel);
    status = co_await ending;
    if (exchanges && space_.observer_ != nullptr) space_.observer_->table_swapped(*this);
    if (status.error() == EINTR) outcome = old_still_closing();
    co_return outcome;
}

Task<Outcome> Volume::resume_same(Cancel* cancel) {
    if (table_ == nullptr) co_return Refused(EINVAL, "there is no table to resume", "load one first");
    Task<Outcome> going_on = may_go_on(cancel);
    Outcome outcome = co_await going_on;
    co_return outcome;
}

// What has become of the tables of a resume that was refused.
Outcome Volume::still_loaded(Outcome outcome, const Exchange& exchange) const {
    std::string remedy = outcome.why().remedy().empty() ? "" : outcome.why().remedy() + "; ";
    if (live()) remedy += "the table before goes on; ";
    remedy += exchange.fresh && inactive() == exchange.fresh
                  ? "the new one is still loaded: resume tries it again"
                  : "load the new one again";
    return Refused(outcome.why().error(), outcome.why().reason(), remedy).at(outcome.why().place());
}

// The inactive table comes to life. Where it is refused, the old one goes on, also on a volume that
// was suspended before: the kernel leaves that with a new table that cannot go on, and no old one.
Task<Outcome> Volume::resume_fresh(bool noflush, Exchange* exchange, Undo* undo, Cancel* cancel) {
    Task<Outcome> suspending = suspend_locked(noflush, cancel);
    Outcome outcome = co_await suspending;
    if (!outcome) {
        // Back to where it was, unless another was loaded meanwhile.
        std::lock_guard space_guard(space_.mutex_);
        if (!inactive_) inactive_ = exchange->fresh;
        co_return outcome;
    }
    undo->add([this, exchange] { return let_in_and_load(exchange); });
    outcome = swap_locked(exchange);
    if (!outcome) co_return outcome;
    undo->add([this, exchange] { return swap_back(exchange); });
    Task<Outcome> going_on = may_go_on(cancel);
    outcome = co_await going_on;
    co_return outcome;
}

Task<Outcome> Volume::replace(std::shared_ptr<Table> table, Cancel* cancel) {
    Task<Outcome> preparing = table->prepare(cancel);
    Outcome outcome = co_await preparing;
    if (!outcome) co_return outcome;
    Task<Status> acquired = control_.acquire(cancel);
    Status status = co_await acquired;
    if (!status) co_return control_interrupted(status);
    Lock::Guard guard(control_);
    std::shared_ptr<Table> superseded;
    outcome = announce(table, &superseded);
    if (!outcome) co_return outcome;
    Exchange exchange{Arrival{*this}, std::move(table), nullptr};
    Undo undo;
    Task<Outcome> whole = undo.unless_done(replace_steps(&exchange, &undo, cancel));
    outcome = co_await whole;
    if (!outcome) co_return outcome;
    exchange.arrival.end();  // under control_, which goes now: later it would end another's
    Task<Status> going_on = until_killed(
        space_.executor(), go_on(shared_from_this(), std::move(exchange.old), std::move(guard)), cancel);
    status = co_await going_on;
    {
        std::lock_guard space_guard(space_.mutex_);
        if (inactive_ == superseded) inactive_ = nullptr;
    }
    if (space_.observer_ != nullptr) space_.observer_->table_swapped(*this);
    if (status.error() == EINTR) outcome = old_still_closing();
    co_return outcome;
}

// As it was before, if any of it is refused: suspended, if it was.
Task<Outcome> Volume::replace_steps(Exchange* exchange, Undo* undo, Cancel* cancel) {
    const bool was_suspended = suspended();
    Task<Outcome> suspending = suspend_locked(false, cancel);
    Outcome outcome = co_await suspending;
    if (!outcome) co_return outcome;
    if (!was_suspended) undo->add([this, exchange] { return let_in_without(exchange); });
    outcome = swap_locked(exchange);
    if (!outcome) co_return outcome;
    undo->add([this, exchange] { return swap_back(exchange); });
    Task<Outcome> beginning = may_go_on(cancel);
    outcome = co_await beginning;
    co_return outcome;
}

// Removal. The kernel forgets the volume first, and cannot be killed where it then waits for those
// inside; here it is forgotten when nobody is.

Task<Outcome> Volume::remove(Removal how, Cancel* cancel) {
    std::shared_ptr<Volume> self = shared_from_this();
    bool put_off = false;
    Outcome outcome = space_.doom(*this, how, &put_off, false);
    if (!outcome || put_off) co_return outcome;
    Task<Status> acquired = control_.acquire(cancel);
    Status status = co_await acquired;
    if (!status) co_return control_interrupted(status);
    Lock::Guard guard(control_);
    outcome = space_.doom(*this, how, &put_off, true);  // again: it may have waited long
    if (!outcome || put_off) co_return outcome;
    Task<Outcome> suspending = suspend_locked(true, cancel);
    outcome = co_await suspending;
    if (!outcome) {
        space_.spare(*this);
        co_return outcome;
    }
    std::shared_ptr<Table> inactive, live;
    {
        std::lock_guard space_guard(space_.mutex_);
        space_.forget(*this);
        inactive = std::move(inactive_);
        live = std::move(live_);
        table_.store(nullptr, std::memory_order_release);
    }
    gate_.open();  // who waits outside finds no table: EIO
    inactive.reset();
    raise_event();
    if (space_.observer_ != nullptr) space_.observer_->removed(*this);
    if (!live) co_return Outcome();
    Task<Status> closing = until_killed(space_.executor(), space_.close_table(std::move(live)), cancel);
    status = co_await closing;
    static_cast<void>(status);  // a target says in the log what it could not do; the volume is gone
    co_return Outcome();
}

// The end of the namespace: as a removal, and whoever looks for the volume still finds it.
Task<Status> Volume::end_table() {
    std::shared_ptr<Volume> self = shared_from_this();
    Task<Status> acquired = control_.acquire();
    Status status = co_await acquired;
    Lock::Guard guard(control_);
    Task<Outcome> suspending = suspend_locked(true, nullptr);
    Outcome outcome = co_await suspending;
    std::shared_ptr<Table> table;
    {
        std::lock_guard space_guard(space_.mutex_);
        table = std::move(live_);
        table_.store(nullptr, std::memory_order_release);
    }
    gate_.open();
    if (!table) co_return status;
    Task<Status> closing = space_.close_table(std::move(table));
    status = co_await closing;
    co_return status;
}

// Messages.

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
    if (!outcome) co_return outcome;
    if (answer->empty()) note_change();  // one that answers asks
    Task<Status> settling = until_killed(space_.executor(), target.settled(), cancel);
    Status settled = co_await settling;
    if (settled.error() == EINTR)
        co_return Refused(EINTR, "the message was taken; interrupted while what it began goes on");
    if (!settled) outcome = Refused(settled.error(), "the message was taken, but what it began failed");
    co_return outcome;
}

}  // namespace dmfs
