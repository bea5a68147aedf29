// Interruptions: requests that a signal has interrupted, and that go on all the same.
//
// FUSE tells of the first signal only. Whoever waits may be killed after it, so their threads are
// looked at again and again, by one thread, as long as there are such requests.

#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

namespace dmfs::fs {

class Interruptions {
  public:
    // Asks whether the wait of who was added ends now; if so it is told once, and asked no more.
    using Look = std::function<bool()>;

    explicit Interruptions(std::chrono::milliseconds period) : period_(period), thread_([this] { run(); }) {}
    Interruptions(const Interruptions&) = delete;
    Interruptions& operator=(const Interruptions&) = delete;
    ~Interruptions();

    // Thread-safe. `ended_wait` says whether it has ended `who`'s wait; it takes no locks of
    // those who call here.
    void add(const void* who, Look ended_wait);
    // Afterwards it is not called any more, nor being called.
    void remove(const void* who);

  private:
    void run();

    const std::chrono::milliseconds period_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<const void*, Look> waiting_;
    bool stop_ = false;
    std::thread thread_;
};

inline Interruptions::~Interruptions() {
    {
        std::lock_guard guard(mutex_);
        stop_ = true;
    }
    changed_.notify_one();
    thread_.join();
}

inline void Interruptions::add(const void* who, Look ended_wait) {
    std::lock_guard guard(mutex_);
    waiting_.emplace(who, std::move(ended_wait));
    changed_.notify_one();
}

inline void Interruptions::remove(const void* who) {
    std::lock_guard guard(mutex_);
    waiting_.erase(who);
}

inline void Interruptions::run() {
    std::unique_lock lock(mutex_);
    while (!stop_) {
        changed_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
        changed_.wait_for(lock, period_, [this] { return stop_; });
        if (!stop_) std::erase_if(waiting_, [](const auto& each) { return each.second(); });
    }
}

}  // namespace dmfs::fs
