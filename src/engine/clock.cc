#include "engine/clock.h"

#include <sys/prctl.h>

#include <chrono>

#include "engine/executor.h"

namespace dmfs {

namespace {

constexpr unsigned long kSlackNs = 1000;  // of the thread's sleeps; the kernel's default is 50 us

}  // namespace

Clock::~Clock() {
    {
        std::lock_guard guard(mutex_);
        stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

int64_t Clock::now_ns() {
    return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

void Clock::arm(Timer& timer, int64_t deadline_ns) {
    std::lock_guard guard(mutex_);
    if (timer.armed) armed_.erase({timer.deadline_ns, &timer});
    timer.deadline_ns = deadline_ns;
    timer.armed = true;
    armed_.emplace(deadline_ns, &timer);
    if (armed_.begin()->second == &timer) changed_.notify_all();
}

void Clock::disarm(Timer& timer) {
    std::unique_lock lock(mutex_);
    if (timer.armed) armed_.erase({timer.deadline_ns, &timer});
    timer.armed = false;
    if (std::this_thread::get_id() == thread_.get_id()) return;
    changed_.wait(lock, [&] { return firing_ != &timer; });
}

void Clock::run() {
    this_is_executor_thread();
    prctl(PR_SET_TIMERSLACK, kSlackNs, 0, 0, 0);
    std::unique_lock lock(mutex_);
    while (!stop_) {
        if (armed_.empty()) {
            changed_.wait(lock);
            continue;
        }
        auto [deadline_ns, timer] = *armed_.begin();
        if (now_ns() < deadline_ns) {
            changed_.wait_until(lock,
                                std::chrono::steady_clock::time_point(std::chrono::nanoseconds(deadline_ns)));
            continue;
        }
        armed_.erase(armed_.begin());
        timer->armed = false;
        firing_ = timer;
        // A copy: what it wakes may destroy the timer.
        std::function<void()> fire = timer->fire;
        lock.unlock();
        fire();
        lock.lock();
        firing_ = nullptr;
        changed_.notify_all();
    }
}

}  // namespace dmfs
