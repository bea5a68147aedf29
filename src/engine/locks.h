// Order locks: they say in which order coroutines may go on. They protect an
// order of I/O, not data in memory, and may be held across any wait.
//
//     Status status = co_await lock.acquire(cancel);
//     if (!status) co_return status;          // EINTR: cancelled, not held
//     Lock::Guard guard(lock);
//
// Each takes its fast path without a coroutine: acquire() is ready if nobody is in
// the way.

#pragma once

#include <utility>
#include <vector>

#include "engine/wait.h"

namespace dmfs {

// One at a time, in the order they came.
class Lock {
  public:
    explicit Lock(Executor& executor) : waiting_(executor) {}

    Task<Status> acquire(Cancel* cancel = nullptr);
    void release();

    class Guard {
      public:
        explicit Guard(Lock& lock) : lock_(&lock) {}
        Guard(Guard&& other) noexcept : lock_(std::exchange(other.lock_, nullptr)) {}
        Guard& operator=(Guard&&) = delete;
        ~Guard() {
            if (lock_ != nullptr) lock_->release();
        }

      private:
        Lock* lock_;
    };

  private:
    bool try_take();
    Task<Status> wait(Cancel* cancel);

    WaitQueue waiting_;
    bool held_ = false;  // under the queue's mutex
};

// Ranges [from, end) of which no two that overlap are held at a time: first come, first
// served. Who waits keeps back those that came later and overlap it, and nobody else.
class RangeLock {
  public:
    explicit RangeLock(Executor& executor) : waiting_(executor) {}

    Task<Status> acquire(uint64_t from, uint64_t end, Cancel* cancel = nullptr);
    void release(uint64_t from, uint64_t end);

    // Gives back what was acquired.
    class Guard {
      public:
        Guard(RangeLock& lock, uint64_t from, uint64_t end) : lock_(lock), from_(from), end_(end) {}
        Guard(const Guard&) = delete;
        Guard& operator=(const Guard&) = delete;
        ~Guard() { lock_.release(from_, end_); }

      private:
        RangeLock& lock_;
        const uint64_t from_, end_;
    };

  private:
    struct Range {
        uint64_t from, end;
        uint64_t number;  // in the order they came
    };

    Task<Status> wait(Range range, Cancel* cancel);
    bool is_first(const Range& range) const;
    void remove(std::vector<Range>::iterator range);

    WaitQueue waiting_;
    // Under the queue's mutex.
    std::vector<Range> ranges_;  // held or waited for, in the order they came
    uint64_t numbers_ = 0;
};

// A stock of bytes, out of which requests take what they need for a while: first come, first
// served, so that a large one is not kept waiting by small ones. One that needs more than there
// is at all gets all of it.
class Stock {
  public:
    Stock(Executor& executor, size_t bytes) : waiting_(executor), size_(bytes), left_(bytes) {}

    Task<Status> take(size_t bytes, Cancel* cancel = nullptr);
    void give_back(size_t bytes);

    // Gives back what was taken.
    class Guard {
      public:
        Guard(Stock& stock, size_t bytes) : stock_(stock), bytes_(bytes) {}
        Guard(const Guard&) = delete;
        Guard& operator=(const Guard&) = delete;
        ~Guard() { stock_.give_back(bytes_); }

      private:
        Stock& stock_;
        const size_t bytes_;
    };

  private:
    Task<Status> wait(size_t bytes, Cancel* cancel);

    WaitQueue waiting_;
    const size_t size_;
    // Under the queue's mutex.
    size_t left_;
    std::vector<uint64_t> turns_;  // numbers of those who wait, in the order they came
    uint64_t numbers_ = 0;
};

}  // namespace dmfs
