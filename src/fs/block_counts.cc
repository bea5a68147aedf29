#include "fs/block_counts.h"

#include <algorithm>
#include <ctime>

namespace dmfs::fs {

namespace {

constexpr std::chrono::seconds kFresh{1};
constexpr std::chrono::milliseconds kPatience{50};
constexpr int64_t kTickNs = 10'000'000;  // the clock of changes moves in steps
constexpr size_t kMostAsking = 32;       // of a mount: the rest of the threads is for other calls

int64_t real_ns() {
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

uint64_t BlockCounts::known(Volume& volume) {
    std::lock_guard guard(mutex_);
    auto found = counts_.find(volume.id());
    bool is_known = found != counts_.end() && found->second->known;
    if (!is_known) return volume.size();
    uint64_t blocks = std::min<uint64_t>(found->second->blocks, volume.size());
    // Programs take a file without blocks for empty and read nothing: not on an old word.
    return blocks == 0 && found->second->asking ? std::min<uint64_t>(1, volume.size()) : blocks;
}

void BlockCounts::forget(uint64_t id) {
    std::lock_guard guard(mutex_);
    counts_.erase(id);
}

Task<Status> BlockCounts::renew(std::shared_ptr<VolumeFile> file) {
    Moment now = std::chrono::steady_clock::now();
    const int64_t changed_ns = file->volume().changed_ns();
    std::shared_ptr<Count> count;
    Moment asked;
    bool ask_now = false;
    {
        std::lock_guard guard(mutex_);
        std::shared_ptr<Count>& entry = counts_[file->volume().id()];
        if (!entry) entry = std::make_shared<Count>();
        count = entry;
        bool renews = count->asked == Moment() || now - count->asked >= kFresh ||
                      changed_ns + kTickNs >= count->asked_at_ns;
        if (!count->asking && renews && asking_ < kMostAsking) {
            ask_now = true;
            count->asking = true;
            count->asked = now;
            count->asked_at_ns = real_ns();
            asking_++;
        }
        asked = count->asked;
    }
    if (ask_now) executor_.spawn(ask(this, std::move(file), count));
    if (!count->asking || now - asked >= kPatience) return Task<Status>::ready(kOk);
    return wait(std::move(count), kPatience - (now - asked));
}

Task<Status> BlockCounts::ask(BlockCounts* self, std::shared_ptr<VolumeFile> file,
                              std::shared_ptr<Count> count) {
    Blocking::Enter enter = self->executor_.blocking().enter();
    co_await enter;
    uint64_t blocks = file->blocks();
    {
        std::lock_guard guard(self->mutex_);
        count->blocks = blocks;
        count->known = true;
        count->asking = false;
        self->asking_--;
    }
    self->changed_.wake_all();
    co_return kOk;
}

Task<Status> BlockCounts::wait(std::shared_ptr<Count> count, std::chrono::nanoseconds most) {
    std::atomic<bool> late{false};
    Timer timer([this, &late] {
        late = true;
        changed_.wake_all();
    });
    executor_.arm(timer, executor_.now_ns() + most.count());
    Task<Status> waiting = changed_.until([&count, &late] { return !count->asking || late; });
    Status status = co_await waiting;
    static_cast<void>(status);
    executor_.disarm(timer);
    co_return kOk;
}

}  // namespace dmfs::fs
