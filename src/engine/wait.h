// Waiting: every place where a coroutine stops for something other than a disk or
// a clock goes through a WaitQueue. A request that waits can be interrupted
// (its process was killed) by the Cancel that its Bio carries.

#pragma once

#include <sys/types.h>

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <functional>
#include <mutex>
#include <vector>

#include "base/status.h"
#include "engine/executor.h"

namespace dmfs {

class WaitQueue;
struct Waiter;

// One for each request that may be interrupted; outlives the request's coroutine.
class Cancel {
  public:
    Cancel() = default;
    Cancel(const Cancel&) = delete;
    Cancel& operator=(const Cancel&) = delete;
    virtual ~Cancel() = default;

    // From any thread, more than once. Coroutines that wait in a WaitQueue are
    // resumed there with EINTR; those that do not wait now will not begin to.
    void request();
    bool requested() const { return requested_.load(std::memory_order_acquire); }
    // The process that waits for the request; 0 if none is known.
    virtual pid_t process() const { return 0; }

    // Time to listen for interruptions: before a coroutine begins to wait, or before long
    // work that asks requested() now and then.
    virtual void about_to_wait() {}
    // A call that is made for it, on the thread that brought it, does not come back: whoever
    // cancels it from now on should have an answer without that call. Only within the call.
    virtual void stuck() {}
    // It has come back: who is cancelled from now on goes on, and is answered, as any other.
    virtual void came_back() {}

  protected:
    // Behind each request().
    virtual void cancelled() {}

  private:
    friend class WaitQueue;
    friend struct Waiter;
    std::mutex mutex_;
    std::atomic<bool> requested_{false};
    std::vector<Waiter*> waiters_;  // several, where a request went several ways
};

// False for nobody's.
inline bool is_cancelled(const Cancel* cancel) { return cancel != nullptr && cancel->requested(); }

// A coroutine that waits; lives in its frame.
struct Waiter {
    WaitQueue& queue;
    Cancel* cancel;
    const std::function<bool()>* must_wait;  // asked under the queue's mutex
    std::coroutine_handle<> coroutine;
    Waiter* next = nullptr;
    Waiter* previous = nullptr;
    bool queued = false;
    Status result;

    bool await_ready() const noexcept { return false; }
    [[gnu::noinline]] bool await_suspend(std::coroutine_handle<> self);
    Status await_resume();
};

// Coroutines in the order they came.
class WaitQueue {
  public:
    explicit WaitQueue(Executor& executor) : executor_(executor) {}
    ~WaitQueue();

    // co_await queue.wait(must_wait, cancel): waits if must_wait() holds, which is
    // asked under the queue's own mutex, so a wake between the caller's look and
    // its wait is not missed. EINTR when cancelled, else what the waker said. The
    // predicate lives in the caller's frame.
    Waiter wait(const std::function<bool()>& must_wait, Cancel* cancel = nullptr) {
        return Waiter{*this, cancel, &must_wait, {}, nullptr, nullptr, false, {}};
    }

    // Answers once ready() holds, which is asked under the queue's own mutex: at once, and after
    // each wake. EINTR when cancelled, or what the waker said.
    template <class Ready>
    Task<Status> until(Ready ready, Cancel* cancel = nullptr) {
        if (locked(ready)) return Task<Status>::ready(kOk);
        return wait_until(std::move(ready), cancel);
    }

    // Wakes the first, or all that wait now; they go on on an executor's thread.
    // `before` runs under the queue's mutex, before anyone is taken from it.
    // Returns how many were woken.
    size_t wake_one(const std::function<void()>& before = {});
    size_t wake_all(Status result = kOk, const std::function<void()>& before = {});

    // Wakes this one if it waits; within locked(). The waiter is alive as long as its
    // coroutine needs the queue's mutex to go on.
    void wake_locked(Waiter& waiter, Status result = kOk);
    // Likewise, but the caller is to resume what is returned, not within locked(). Null if it
    // does not wait.
    std::coroutine_handle<> take_locked(Waiter& waiter, Status result = kOk);
    // The first, whom the caller is to resume: what he does next is worth less than another thread's
    // turn. Null if nobody waits. Those after him can be cancelled meanwhile.
    std::coroutine_handle<> take_first();

    // Runs `act` under the queue's mutex.
    template <class Act>
    auto locked(Act act) const {
        std::lock_guard guard(mutex_);
        return act();
    }

    size_t size() const { return size_.load(std::memory_order_relaxed); }

  private:
    friend class Cancel;
    friend struct Waiter;

    Task<Status> wait_until(std::function<bool()> ready, Cancel* cancel);
    void append(Waiter* waiter);
    void remove(Waiter* waiter);
    size_t wake(size_t most, Status result, const std::function<void()>& before);

    Executor& executor_;
    mutable std::mutex mutex_;
    Waiter* first_ = nullptr;
    Waiter* last_ = nullptr;
    std::atomic<size_t> size_{0};
};

}  // namespace dmfs
