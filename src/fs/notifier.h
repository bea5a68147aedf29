// Notifier: tells the kernel what it has not asked for: that a volume's cached
// pages are stale, that a poll may have come true. From a thread of its own,
// because such a call waits for requests that may be waiting for the caller.

#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace dmfs::fs {

class Notifier {
  public:
    Notifier() : thread_([this] { run(); }) {}
    Notifier(const Notifier&) = delete;
    Notifier& operator=(const Notifier&) = delete;
    // Does what is left, then ends.
    ~Notifier() {
        {
            std::lock_guard guard(mutex_);
            stop_ = true;
        }
        changed_.notify_one();
        thread_.join();
    }

    void post(std::function<void()> notice) {
        std::lock_guard guard(mutex_);
        notices_.push_back(std::move(notice));
        changed_.notify_one();
    }

  private:
    void run() {
        std::unique_lock lock(mutex_);
        while (true) {
            changed_.wait(lock, [&] { return stop_ || !notices_.empty(); });
            if (notices_.empty()) return;
            std::function<void()> notice = std::move(notices_.front());
            notices_.pop_front();
            lock.unlock();
            notice();
            lock.lock();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> notices_;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace dmfs::fs
