// BlockCounts: how much room volumes take below (st_blocks), as far as is known. To know it, files
// below are asked, and one of them may never answer: so it is asked on a thread of its own, when
// the volume has changed or a second is over, once at a time for a volume, and whoever wants to know
// waits for a moment only.

#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>

#include "fs/volume_file.h"

namespace dmfs::fs {

class BlockCounts {
  public:
    explicit BlockCounts(Executor& executor) : executor_(executor), changed_(executor) {}

    // In sectors; of a volume that has not answered yet, all of it.
    uint64_t known(Volume& volume);
    // Asks again if the answer is old, and waits 50 ms at most.
    Task<Status> renew(std::shared_ptr<VolumeFile> file);
    void forget(uint64_t id);

  private:
    using Moment = std::chrono::steady_clock::time_point;
    struct Count {
        std::atomic<bool> asking{false};
        // Under the mutex.
        uint64_t blocks = 0;
        Moment asked{};           // never, at first
        int64_t asked_at_ns = 0;  // on the clock of Volume::changed_ns()
        bool known = false;
    };

    static Task<Status> ask(BlockCounts* self, std::shared_ptr<VolumeFile> file,
                            std::shared_ptr<Count> count);
    Task<Status> wait(std::shared_ptr<Count> count, std::chrono::nanoseconds most);

    Executor& executor_;
    WaitQueue changed_;
    std::mutex mutex_;
    std::map<uint64_t, std::shared_ptr<Count>> counts_;
    size_t asking_ = 0;
};

}  // namespace dmfs::fs
