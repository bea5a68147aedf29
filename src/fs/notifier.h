// Notifier: tells the kernel what it has not asked for: that a volume's cached
// pages are stale, that a poll may have come true. From a thread of its own,
// because such a call waits for requests that may be waiting for the caller.

#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace dmfs::fs {

class Notifier {
  public:
    // `tick` is called about every `period`; a period of 0: never.
    Notifier(std::function<void()> tick, std::chrono::milliseconds period)
        : tick_(std::move(tick)), period_(period), thread_([this] { run(); }) {}
    Notifier(const Notifier&) = delete;
    Notifier& operator=(const Notifier&) = delete;
    ~Notifier() { stop(); }

    // Does what is left, then ends; what is posted later is dropped.
    void stop() {
        {
            std::lock_guard guard(mutex_);
            stop_ = true;
        }
        changed_.notify_one();
        if (thread_.joinable()) thread_.join();
    }

    void post(std::function<void()> notice) {
        std::lock_guard guard(mutex_);
        if (stop_) return;
        notices_.push_back(std::move(notice));
        changed_.notify_one();
    }

  private:
    void run() {
        std::unique_lock lock(mutex_);
        while (true) {
            auto due = [&] { return stop_ || !notices_.empty(); };
            std::function<void()> notice = tick_;
            if (period_.count() == 0)
                changed_.wait(lock, due);
            else
                changed_.wait_for(lock, period_, due);
            if (!notices_.empty()) {
                notice = std::move(notices_.front());
                notices_.pop_front();
            } else if (stop_) {
                return;
            }
            lock.unlock();
            notice();
            lock.lock();
        }
    }

    const std::function<void()> tick_;
    const std::chrono::milliseconds period_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> notices_;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace dmfs::fs
