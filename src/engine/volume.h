// Volume: a device made of a table, and the way its table is exchanged.
//
//              load                resume
//     text  --------->  inactive  -------->  live        suspend: the gate closes,
//                           |                            requests wait outside
//                         clear
//
// A request passes the gate, the live table maps it, it leaves the gate. A table is
// exchanged only while the gate is closed and nobody is inside, so a request meets
// one table and a table is never destroyed under a request. Requests are in volume.cc, the control
// operations in volume_control.cc and volume_insert.cc.
//
// What the names are and who stands on whom is the Namespace's; its mutex guards the
// members marked so.

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/refused.h"
#include "engine/counters.h"
#include "engine/device.h"
#include "engine/gate.h"
#include "engine/locks.h"
#include "engine/table.h"
#include "engine/watcher.h"

namespace dmfs {

class Namespace;
class Undo;

class Volume final : public Device, public std::enable_shared_from_this<Volume> {
  public:
    struct Geometry {
        unsigned cylinders = 0, heads = 0, sectors = 0;
        Sector start = 0;
    };

    // Made by Namespace::create().
    Volume(Namespace& space, uint64_t id, uint32_t minor);
    ~Volume() override;

    // Device. While suspended, io() waits; EINTR when cancelled meanwhile. Without
    // a live table: EIO. To change a read-only volume: EPERM. Not aligned to the
    // logical block of the table it met, or meant for another generation: ERESTART.
    Task<Status> io(Bio bio) override;
    Sector size() const override { return size_.load(std::memory_order_acquire); }
    Limits limits() const override;
    Extent extent(Sector at, Look& look) override;
    Sector allocated(Sector start, Sector length, Look& look) override;
    void ask_room(Sector start, Sector count, Room& room) override;
    std::string name() const override;
    std::optional<DeviceNumber> number() const override { return DeviceNumber{0, minor_}; }

    // The control operations. One at a time for a volume; EINTR when cancelled, and
    // then nothing has changed.

    // Makes a checked table the inactive one; refused where it stands on this volume, or
    // where its targets refuse it (Target::prepare).
    Task<Outcome> load(std::shared_ptr<Table> table, Cancel* cancel = nullptr);
    void clear();
    // Waits for all requests inside, then flushes unless `noflush`.
    Task<Outcome> suspend(bool noflush, Cancel* cancel);
    // Brings the inactive table to life if there is one; lets requests in. Where the new table
    // is refused the old one goes on, also on a volume that was suspended, and the new one is
    // inactive again, if that is not what the old one cannot go on with.
    Task<Outcome> resume(bool noflush, Cancel* cancel);
    // load + suspend + resume, and back to the old table if any of them is refused. What
    // was inactive is dropped if it succeeds.
    Task<Outcome> replace(std::shared_ptr<Table> table, Cancel* cancel);
    // Puts `below`, a new volume without a table, under this one, while no request is inside:
    // the live table becomes below's, with all its state, and what `above` builds takes its
    // place. Then `meanwhile` runs, before requests are let in. All of it, or nothing.
    struct Insertion {
        std::shared_ptr<Volume> below;
        std::function<std::shared_ptr<Table>()> above;  // may throw Refused
        std::function<Task<Outcome>()> meanwhile;
    };
    Task<Outcome> insert(Insertion insertion, Cancel* cancel);
    // Takes the volume out of the namespace, when nobody is inside any more, and closes its table.
    // EBUSY while it is open, or, `deferred`, at the last close. ENXIO: somebody else removed it.
    // From the moment on in which requests are waited for nobody can open it.
    struct Removal {
        bool deferred = false;
        bool only_if_deferred = false;  // the last close: unless that was called off meanwhile
    };
    Task<Outcome> remove(Removal how, Cancel* cancel);
    // The way back: the live table, which is to stand on `below` alone, sector by sector, makes
    // way for below's, and `below` is removed. Refused with EBUSY while others use it.
    Task<Outcome> collapse(std::shared_ptr<Volume> below, Cancel* cancel);

    // A message for the target at `sector`.
    Task<Outcome> message(Sector sector, std::vector<Word> words, std::string* answer, Cancel* cancel);
    Outcome set_geometry(Geometry geometry);

    // What is so now. Each may have changed when the caller looks at it.
    uint64_t id() const { return id_; }
    uint32_t minor() const { return minor_; }
    std::string uuid() const;
    bool suspended() const { return suspended_.load(std::memory_order_acquire); }
    bool readonly() const { return readonly_.load(std::memory_order_acquire); }
    bool deferred_remove() const;
    unsigned open_count() const;
    uint32_t event_number() const { return events_.load(std::memory_order_acquire); }
    std::shared_ptr<Table> live() const;
    std::shared_ptr<Table> inactive() const;
    Counters::Totals counted() const { return counters_.totals(); }
    uint64_t parked() const { return gate_.outside(); }
    // Counts the tables it has had; never 0.
    uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
    // limits().logical_block, without a mutex: what requests have to be aligned to.
    uint32_t logical_block() const { return logical_block_.load(std::memory_order_acquire); }

    Executor& executor() const;

    // When what is read from this volume last changed, as far as requests to it, to those below it,
    // or its control operations did it: CLOCK_REALTIME_COARSE, in nanoseconds. Looks at this many
    // volumes at most.
    static constexpr size_t kMostLookedAt = 1000;
    int64_t changed_ns() const;

    // From the next request on.
    void watch(std::shared_ptr<Watcher> watcher);
    void unwatch(const Watcher& watcher);
    std::shared_ptr<const Watchers> watchers() const;

    // Mode of the tables that are built from now on (dmsetup --readonly).
    void set_load_readonly(bool readonly) { load_readonly_ = readonly; }
    bool load_readonly() const { return load_readonly_; }

    void raise_event();
    // The mount goes away: parked requests end with EIO, and what the live table holds
    // goes on. Again and again, until nobody is there any more.
    void end_waits();

  private:
    friend class Namespace;

    Task<Status> io_when_open(Bio bio);
    Task<Status> io_inside(Bio bio);
    Status refusal(const Table* table, const Bio& bio) const;
    Task<Status> io_watched(Table* table, Bio bio);
    Task<Status> leave_later(Task<Status> task, Bio bio);
    Status leave(const Bio& bio, Status status);
    void note_change();
    Status flushed(const Bio& bio, Status status);

    // Ends the time in which a table is incoming.
    struct Arrival {
        Volume& volume;
        ~Arrival() { end(); }
        void end();
    };
    struct Exchange {
        Arrival arrival;
        std::shared_ptr<Table> fresh, old;
    };

    Task<Outcome> suspend_locked(bool noflush, Cancel* cancel);
    Task<Outcome> resume_fresh(bool noflush, Exchange* exchange, Undo* undo, Cancel* cancel);
    Task<Outcome> resume_same(Cancel* cancel);
    Task<Outcome> replace_steps(Exchange* exchange, Undo* undo, Cancel* cancel);
    Outcome swap_locked(Exchange* exchange);
    Task<Outcome> swap_back(Exchange* exchange);
    Task<Outcome> let_in_without(Exchange* exchange);
    Task<Outcome> let_in_and_load(Exchange* exchange);
    Outcome still_loaded(Outcome refused, const Exchange& exchange) const;
    Task<Outcome> let_in_again();
    void set_live(std::shared_ptr<Table> table, std::shared_ptr<Table>* old);
    Task<Status> end_table();
    bool removed() const;
    Outcome announce(std::shared_ptr<Table> table, std::shared_ptr<Table>* superseded);
    Outcome unfit(const Table& table) const;
    void show(const Table& table);
    void adopt(std::shared_ptr<Table> table);
    std::shared_ptr<Table> give_away();
    Outcome may_insert(const Volume& below) const;
    Task<Outcome> insert_steps(Insertion* insertion, Undo* undo, Cancel* cancel);
    Task<Outcome> take_back(std::shared_ptr<Volume> below, std::shared_ptr<Table> moved);
    Task<Outcome> close_above();
    Task<Outcome> collapse_steps(std::shared_ptr<Volume> below, std::shared_ptr<Table>* old, Undo* undo,
                                 Cancel* cancel);
    Outcome take_from(Volume& below, std::shared_ptr<Table>* old);
    Task<Outcome> may_go_on(Cancel* cancel);
    Outcome make_inactive(std::shared_ptr<Table> table);
    void let_in();
    static Task<Status> go_on(std::shared_ptr<Volume> self, std::shared_ptr<Table> old, Lock::Guard control);
    static Outcome old_still_closing();
    Outcome control_interrupted(Status status) const;

    Namespace& space_;
    const uint64_t id_;
    const uint32_t minor_;

    Gate gate_;
    // The live table, for those inside the gate; written under the Namespace's mutex.
    std::atomic<Table*> table_{nullptr};
    std::atomic<Sector> size_{0};
    std::atomic<uint32_t> logical_block_{512};
    std::atomic<uint64_t> generation_{1};
    Counters counters_;
    std::atomic<int64_t> changed_ns_{0};  // of its own

    std::atomic<bool> watched_{false};
    mutable std::mutex watchers_mutex_;
    std::shared_ptr<const Watchers> watchers_ = std::make_shared<Watchers>();

    Lock control_;
    std::atomic<bool> suspended_{false};
    std::atomic<bool> readonly_{false};
    std::atomic<bool> load_readonly_{false};
    std::atomic<uint32_t> events_{0};
    // A flush that failed within a suspend: the next flush reports it.
    std::atomic<int> flush_error_{0};

    // Guarded by the Namespace's mutex.
    std::string name_;
    std::string uuid_;
    std::shared_ptr<Table> live_;
    std::shared_ptr<Table> inactive_;
    std::shared_ptr<Table> incoming_;  // neither any more nor yet: waits to be swapped in
    unsigned open_count_ = 0;
    bool had_table_ = false;
    bool remove_when_closed_ = false;
    bool doomed_ = false;  // a removal waits for those inside
    bool removed_ = false;
};

}  // namespace dmfs
