// Headroom: what a COW file has of its file system, taken ahead of its use, and who waits for more.
//
//     |  in use      |  taken ahead       |  holes                  |
//                   next                 end                     its size
//
// A step (Space::ahead) is taken when less than half of one is left, in the background: no write
// waits for it but the first. Where the file system has less, smaller steps are tried. Where it
// has nothing, whoever needs more waits, and it is tried again every second or so; some time
// (Space::wait_ns) after it ran out nobody waits any more, until there is room again. So
// a write is refused before anything is done for it, and nothing that was written is lost. A step
// that fails for another reason, as where a disk does not answer, is tried again likewise.
//
// All functions from any thread.

#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>

#include "engine/device.h"
#include "engine/sleepers.h"

namespace dmfs::snapshot {

// Whether an error says that the file system is full.
constexpr bool no_room(Status status) { return status.error() == ENOSPC || status.error() == EDQUOT; }

class Headroom : public std::enable_shared_from_this<Headroom> {
  public:
    // For whom a wait is: each has its own end of waiting.
    enum class Who : uint64_t { snapshot, origin };

    Headroom(Executor& executor, std::shared_ptr<Device> device);

    // The sectors before `next` are in use, and so have their room. Chunks are taken after it.
    void begin(Sector next, Sector chunk_sectors);
    // Sectors before it have room.
    Sector end() const { return end_.load(std::memory_order_acquire); }
    // What is taken next lies at `next`: takes more in time.
    void go_on(Sector next);

    // Answers when end() >= `needed`. ENOSPC: there is no room, and waiting is over, or another error
    // of the last step; ETIMEDOUT: it was given up; EINTR when cancelled.
    Task<Status> wait(Sector needed, Who who, Cancel* cancel);
    // Those who wait now are answered: at once where there is no room, and where a step is being
    // taken when that has ended. The snapshot's writers who come later do not wait either, until
    // hold_again(): one may be on its way here. (An origin may have other volumes, whose writers go on to
    // wait.)
    void let_go(Who who);
    void hold_again() { turns_away_ = false; }
    // The origin's do not wait any more for a step that has been under way for so long. (For the
    // snapshot's its own volume has the device give it up.)
    void give_up(int64_t longer_than_ns);
    // Whether somebody needed room that is not there.
    bool is_short() const;

  private:
    static Task<Status> take(std::shared_ptr<Headroom> self);
    Sector next_step() const;
    bool took(Sector count, Status status);
    // Under the mutex.
    bool may_try() const { return !taking_ && executor_.now_ns() >= next_try_ns_; }
    void begin_taking() {
        taking_ = true;
        taking_since_ns_ = executor_.now_ns();
    }
    int64_t patience_ends();

    Executor& executor_;
    const std::shared_ptr<Device> device_;
    const Space space_;
    std::atomic<Sector> end_;
    std::array<std::atomic<uint64_t>, 2> let_go_{};  // how often, by Who
    std::atomic<uint64_t> given_up_{0};              // how often
    std::atomic<bool> turns_away_{false};            // the snapshot's, who come now

    mutable std::mutex mutex_;  // guards what follows; held for moments
    Sector step_, least_ = 0;   // in sectors: the next one, the smallest
    bool taking_ = false;
    int64_t taking_since_ns_ = 0;
    Status refused_ = Status(ENOSPC);  // why the last step was not taken
    bool too_small_ = false;           // the file system, whatever is deleted there
    int64_t next_try_ns_ = 0;          // not before
    int64_t short_since_ = 0;          // when somebody first found no room; 0: nobody has

    WaitQueue taken_;
    Sleepers sleepers_;
};

}  // namespace dmfs::snapshot
