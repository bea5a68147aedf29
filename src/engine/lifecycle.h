// Lifecycle: what a target does beside mapping, as its table is loaded, goes live, is suspended and
// goes. Most targets do nothing of it. The Table calls, for each of its targets that has a Lifecycle:
//
//     load       prepare          reads its devices; may refuse the table
//     resume     preresume        may refuse; then preresume_undo, of all that were asked
//                resume           requests may come from now on
//     suspend    presuspend       own work is told to stop; the gate is closed already
//                  ...            nobody is inside any more
//                quiet            own work has stopped
//                  ...            all is flushed
//                postsuspend      or, where one of these steps was killed: presuspend_undo
//     replace    close            of a suspended table: what is still owed to the devices
//
// A table that never was live is only destroyed. What only keeps requests waiting for a time is a
// Holder, which the target registers with its TargetSetup: its requests are let go with presuspend, and
// held again with presuspend_undo and resume.

#pragma once

#include <cstdint>
#include <optional>

#include "base/refused.h"
#include "base/units.h"
#include "engine/task.h"

namespace dmfs {

class Cancel;

// All functions from any thread.
class Holder {
  public:
    // All who wait go on; until hold_again() nobody waits.
    virtual void let_go() = 0;
    virtual void hold_again() = 0;

  protected:
    ~Holder() = default;
};

class Lifecycle {
  public:
    // What needs to read its devices, where a constructor cannot wait. Changes nothing on them,
    // since the table may never go live. TargetSetup::word_place() says where a refusal points.
    virtual Task<Outcome> prepare(Cancel*) { return Task<Outcome>::ready({}); }

    // EINTR when cancelled.
    virtual Task<Outcome> preresume(Cancel*) { return Task<Outcome>::ready({}); }
    virtual void preresume_undo() {}
    virtual void resume() {}

    virtual void presuspend() {}
    virtual void presuspend_undo() {}
    virtual Task<Status> quiet(Cancel*) { return Task<Status>::ready(kOk); }
    virtual void postsuspend() {}

    // Nobody is inside, and nobody will be. A destructor cannot wait.
    virtual Task<Status> close() { return Task<Status>::ready(kOk); }

    // The mount ends: from then on nothing is to be held but what would lose something if it were
    // let go. Whoever waits is killed soon. From another thread, and more than once.
    virtual void end_waits() { presuspend(); }
    // While a suspend without a flush waits for requests, again and again: those that have waited
    // for so long for a device that does not answer go on without it. The row's own devices are
    // asked by their Device::give_up().
    virtual void give_up(int64_t /*longer_than_ns*/) {}

    // What it does by itself until it is done, such as a merge.
    struct OwnWork {
        Sector left = 0;
        bool failed = false;  // it stopped, until the next resume
    };
    virtual std::optional<OwnWork> own_work() const { return std::nullopt; }

  protected:
    ~Lifecycle() = default;
};

}  // namespace dmfs
