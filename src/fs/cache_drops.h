// CacheDrops: the kernel is told to forget what it has cached of a volume that is mapped.
//
// That call writes the dirty pages to the volume and waits for them, and for pages that are being
// read: as long as the volume is suspended, or its disk does not answer. So each volume has a
// thread of its own for it, while there is something to drop; who waits for it can be killed.

#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "engine/wait.h"

namespace dmfs::fs {

class CacheDrops {
  public:
    // `call` does it for the volume with this id; from several threads.
    CacheDrops(Executor& executor, std::function<void(uint64_t)> call)
        : call_(std::move(call)), waiting_(executor) {}
    CacheDrops(const CacheDrops&) = delete;
    CacheDrops& operator=(const CacheDrops&) = delete;
    // Waits for the threads.
    ~CacheDrops();

    // Afterwards a whole call for `volume` has been made since this began. EINTR: cancelled. EAGAIN: there
    // is no thread for it.
    Task<Status> drop(uint64_t volume, Cancel* cancel);
    // Those who wait get EIO.
    void end_waits() { waiting_.wake_all(Status(EIO)); }
    // Waits for the threads: when the connection is gone no call lasts, unless the kernel still waits
    // for pages to be written. False: one of them is still at work.
    bool stop(std::chrono::milliseconds patience);

  private:
    struct Counts {
        uint64_t asked = 0, done = 0;
    };

    bool begin(uint64_t volume, std::shared_ptr<Counts> counts);
    void work(uint64_t volume, const std::shared_ptr<Counts>& counts);

    const std::function<void(uint64_t)> call_;
    WaitQueue waiting_;
    std::mutex mutex_;  // guards what follows, and the Counts
    std::map<uint64_t, std::shared_ptr<Counts>> at_work_;
    std::condition_variable idle_;
};

}  // namespace dmfs::fs
