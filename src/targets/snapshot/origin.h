// Origin: one device of which there are snapshots, by whichever names it is known, and the
// order in which its changes and the copies for its snapshots come.
//
//     write to the origin    |-- inside ---- copies -- the write --|
//     a new snapshot                 waits until nobody is inside, flushes the origin,
//                                    and is there for whoever comes inside from then on
//
// So a snapshot has all of what was written before it and nothing of what comes after it,
// though nobody suspends the origin, and whatever the sizes of chunks and writes are. (The
// kernel's origin learns the size of the chunks when it is resumed, and misses chunks of
// larger writes until then.)

#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "engine/gate.h"
#include "engine/locks.h"
#include "targets/snapshot/cow.h"

namespace dmfs::snapshot {

class Origin : public std::enable_shared_from_this<Origin> {
  public:
    // The one of that identity, for all that name it.
    static std::shared_ptr<Origin> of(Executor& executor, const Device& device);

    explicit Origin(Executor& executor) : writes_(executor), adding_(executor) {}

    // Changes `device`, which is the origin, after its snapshots but `except` have kept what
    // was there. EINTR when cancelled.
    Task<Status> write(Device& device, Bio bio, const Cow* except = nullptr);

    // A flush of `device`, which is the origin.
    Task<Status> flush(Device& device, Bio bio);

    // From now on `cow` keeps what changes, if it did not do so before. EINTR when cancelled. What
    // was written before is flushed first. That this fails is somebody else's loss, and stops
    // nobody: the next flush of the origin says so, and that of the snapshot.
    Task<Status> add(std::shared_ptr<Cow> cow, Device& device, Cancel* cancel);
    // Writes that are under way may still ask it: see Cow::become().
    void remove(const Cow& cow);
    // Writes that wait until there is room to keep what they change wait no more: where there is
    // none their snapshot is lost. And those whose room is being taken, for so long.
    void let_go();
    void give_up(int64_t longer_than_ns);
    // The snapshots but `except` have kept what is in [from, end). Fails only with EINTR.
    Task<Status> keep(Sector from, Sector end, const Cow* except, Cancel* cancel);

    // What zeroing [from, end) of `device` would take, of all snapshots but `except`.
    void ask_room(Device& device, Sector from, Sector end, Room& room, const Cow* except = nullptr) const {
        const std::shared_ptr<const Cows> cows = this->cows();
        for (const std::shared_ptr<Cow>& cow : *cows)
            if (cow.get() != except) cow->ask_room_to_keep(from, end, room);
        device.ask_room(from, end - from, room);
    }

    // For explaining: what a change of [from, end) would have copied first, and for whom.
    template <class Visit>
    void each_to_copy(Sector from, Sector end, Visit visit) const {
        const std::shared_ptr<const Cows> cows = this->cows();
        for (const std::shared_ptr<Cow>& cow : *cows)
            cow->each_to_copy(from, end, [&](Sector first, Sector behind) { visit(*cow, first, behind); });
    }

  private:
    using Cows = std::vector<std::shared_ptr<Cow>>;

    Task<Status> write_when_open(Device* device, Bio bio, const Cow* except);
    Task<Status> write_inside(Device* device, Bio bio, const Cow* except);
    Task<Status> write_behind_copies(Device* device, Bio bio, const Cow* except);
    Task<Status> leave_later(Task<Status> task);
    void leave();
    Task<Status> flush_device(Device& device, Bio bio);
    std::shared_ptr<const Cows> cows() const;

    Gate writes_;
    Lock adding_;
    std::atomic<uint64_t> writes_done_{0};  // how many ...
    std::atomic<uint64_t> durable_{0};      // ... and of which a flush has seen the end
    std::atomic<int> owed_{0};              // what the next flush has to tell: see add()
    mutable std::mutex mutex_;
    std::shared_ptr<const Cows> cows_ = std::make_shared<Cows>();  // exchanged as a whole
};

}  // namespace dmfs::snapshot
