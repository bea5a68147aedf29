#include "fs/cache_drops.h"

#include <system_error>
#include <thread>

#include "base/log.h"

namespace dmfs::fs {

Task<Status> CacheDrops::drop(uint64_t volume, Cancel* cancel) {
    std::shared_ptr<Counts> counts;
    uint64_t mine = 0;
    {
        std::lock_guard guard(mutex_);
        std::shared_ptr<Counts>& entry = at_work_[volume];
        bool begins = !entry;
        if (begins) entry = std::make_shared<Counts>();
        counts = entry;
        mine = ++counts->asked;
        if (begins && !begin(volume, counts)) co_return Status(EAGAIN);
    }
    auto is_done = [this, counts, mine] {
        std::lock_guard guard(mutex_);
        return counts->done >= mine;
    };
    Task<Status> waiting = waiting_.until(is_done, cancel);
    Status status = co_await waiting;
    co_return status;
}

// Under the mutex.
bool CacheDrops::begin(uint64_t volume, std::shared_ptr<Counts> counts) {
    try {
        std::thread([this, volume, counts] { work(volume, counts); }).detach();
        return true;
    } catch (const std::system_error& error) {
        log_line(Severity::error, std::string("mapped pages of a volume stay cached: ") + error.what());
        at_work_.erase(volume);
        return false;
    }
}

void CacheDrops::work(uint64_t volume, const std::shared_ptr<Counts>& counts) {
    std::unique_lock lock(mutex_);
    while (counts->done < counts->asked) {
        uint64_t asked = counts->asked;
        lock.unlock();
        call_(volume);
        lock.lock();
        counts->done = asked;
        lock.unlock();
        waiting_.wake_all();
        lock.lock();
    }
    at_work_.erase(volume);
    idle_.notify_all();
}

CacheDrops::~CacheDrops() {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return at_work_.empty(); });
}

bool CacheDrops::stop(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    return idle_.wait_for(lock, patience, [this] { return at_work_.empty(); });
}

}  // namespace dmfs::fs
