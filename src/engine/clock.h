// Clock: one thread that calls each timer when its time has come.
//
//     armed    earliest ... latest        the thread sleeps until the first is due
//
// A timer's `fire` runs on that thread and must not wait.

#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

namespace dmfs {

// Disarmed before it is destroyed, unless it has fired.
struct Timer {
    explicit Timer(std::function<void()> what) : fire(std::move(what)) {}
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    const std::function<void()> fire;
    int64_t deadline_ns = 0;
    bool armed = false;  // under the mutex of whoever keeps it
};

class Clock {
  public:
    Clock() : thread_([this] { run(); }) {}
    Clock(const Clock&) = delete;
    Clock& operator=(const Clock&) = delete;
    ~Clock();

    // Monotonic nanoseconds.
    static int64_t now_ns();

    // Calls timer.fire once, at deadline_ns or soon after. Armed again, it is moved.
    void arm(Timer& timer, int64_t deadline_ns);
    // Afterwards it will not be called, nor is it being called (but by the caller itself).
    void disarm(Timer& timer);

  private:
    void run();

    std::mutex mutex_;
    std::condition_variable changed_;
    std::set<std::pair<int64_t, Timer*>> armed_;
    const Timer* firing_ = nullptr;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace dmfs
