// Executor: the engine's only way to wait for a disk or a clock, and so the only
// thing a simulator has to replace.
//
//     Wait wait(executor, operation);
//     int64_t result = co_await wait;
//
// The io_uring executor hands work to the kernel and resumes coroutines on its own
// thread; where io_uring is forbidden a pool of threads does the same with
// blocking calls. Whoever calls in from outside (a FUSE worker) may do short
// blocking calls itself as long as others of its kind stay free to answer:
// InlineTurn hands out those turns.

#pragma once

#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "engine/blocking.h"
#include "engine/clock.h"
#include "engine/task.h"
#include "engine/workers.h"

namespace dmfs {

// One operation for the executor; lives in the frame of the coroutine that waits.
struct Operation {
    enum class Kind : uint8_t { read, write, sync, fallocate };

    Kind kind = Kind::read;
    bool dsync = false;  // write: durable before it answers (RWF_DSYNC)
    int fd = -1;
    int mode = 0;  // fallocate: FALLOC_FL_...
    std::byte* data = nullptr;
    uint64_t bytes = 0;
    uint64_t offset = 0;
    std::coroutine_handle<> waiter;
    void (*done)(Operation&) = nullptr;  // called instead of resuming a waiter
    int64_t result = 0;                  // bytes done, or a negative errno

    // Once; the operation may be gone afterwards.
    void end(int64_t what) {
        result = what;
        if (done != nullptr)
            done(*this);
        else
            waiter.resume();
    }
};

class Backings;
class Cancel;
class Flights;
struct InlineSlot;

class Executor {
  public:
    Executor();
    virtual ~Executor();

    // Does `operation` and ends it, on another thread or later on this
    // one, never within the call. Thread-safe.
    virtual void submit(Operation& operation) = 0;

    // Resumes a coroutine on an executor's thread. Thread-safe.
    virtual void post(std::coroutine_handle<> coroutine) = 0;

    // Monotonic nanoseconds; the simulator's clock is its own.
    virtual int64_t now_ns() const { return Clock::now_ns(); }
    // As Clock's; on that clock.
    virtual void arm(Timer& timer, int64_t deadline_ns) = 0;
    virtual void disarm(Timer& timer) = 0;

    virtual std::string name() const = 0;
    // Whether one backing that hangs could hold all of its threads.
    virtual bool is_small() const { return false; }

    // Runs a task that nobody awaits; counted until it is done.
    void spawn(Task<Status> task);
    size_t running() const { return running_.load(std::memory_order_acquire); }

    // How many callers may block inline at a time (see InlineTurn); 0 at first.
    void allow_inline(int turns) { inline_turns_.store(turns, std::memory_order_relaxed); }

    // The threads that compute for large requests; none at first. Before the first request.
    void employ(unsigned threads) { workers_ = std::make_unique<Workers>(threads); }
    Workers& workers() const { return *workers_; }

    // How many threads there may be for calls that may never return; none at first: they are
    // made where they stand. Before the first request.
    void allow_blocking(size_t threads) { blocking_ = std::make_unique<Blocking>(threads); }
    Blocking& blocking() const { return *blocking_; }

    // The same for operations of what is slow (see Flights); none at first: submit() does them.
    void allow_operating(size_t threads) { operating_ = std::make_unique<Blocking>(threads); }
    Blocking& operating() const { return *operating_; }

    Backings& backings() const { return *backings_; }
    // For a call that does not come back.
    void return_inline_turn() { inline_turns_.fetch_add(1, std::memory_order_relaxed); }

  private:
    friend class InlineTurn;
    friend struct Spawned;
    std::atomic<size_t> running_{0};
    std::atomic<int> inline_turns_{0};
    std::unique_ptr<Backings> backings_;  // after all that follows: their threads use it
    std::unique_ptr<Workers> workers_ = std::make_unique<Workers>(0);
    std::unique_ptr<Blocking> blocking_ = std::make_unique<Blocking>(0);
    std::unique_ptr<Blocking> operating_ = std::make_unique<Blocking>(0);
};

// A call that a thread makes itself.
struct InlineCall {
    const Operation* operation = nullptr;
    Flights* where = nullptr;
    Cancel* whose = nullptr;  // or nobody's
};

// A turn to do one blocking call on the calling thread. Not given on an executor's own thread, nor
// when all turns are taken. A call that is late gives it back.
class InlineTurn {
  public:
    explicit InlineTurn(Executor& executor, const InlineCall& call = {});
    InlineTurn(const InlineTurn&) = delete;
    InlineTurn& operator=(const InlineTurn&) = delete;
    ~InlineTurn();
    explicit operator bool() const { return taken_ != nullptr; }

  private:
    const InlineCall call_;  // on this thread's stack: only when it is late anybody looks at it
    Executor* taken_ = nullptr;
    InlineSlot* slot_ = nullptr;
};

// While one is there the calling thread gets no turn: what it does is work of its own, and whoever
// waits for that could not be told of a call that hangs.
class NoInlineTurns {
  public:
    NoInlineTurns();
    NoInlineTurns(const NoInlineTurns&) = delete;
    NoInlineTurns& operator=(const NoInlineTurns&) = delete;
    ~NoInlineTurns();

  private:
    const bool before_;
};

// Marks the calling thread as an executor's own, for as long as it runs.
void this_is_executor_thread();
// Whether it is one: long work there holds up other requests (see Workers::enter).
bool is_executor_thread();

// co_await Wait(executor, operation): the operation's result.
class Wait {
  public:
    Wait(Executor& executor, Operation& operation) : executor_(executor), operation_(operation) {}
    bool await_ready() const noexcept { return false; }
    [[gnu::noinline]] void await_suspend(std::coroutine_handle<> self);
    int64_t await_resume() const noexcept { return operation_.result; }

  private:
    Executor& executor_;
    Operation& operation_;
};

// Answers once the executor's clock has reached deadline_ns.
Task<Status> sleep_until(Executor& executor, int64_t deadline_ns);

// The io_uring executor, or nullptr with the reason where the kernel forbids it.
std::unique_ptr<Executor> make_uring_executor(std::string& why_not);
std::unique_ptr<Executor> make_pool_executor(unsigned threads);
// The best there is here. `wanted`: "auto", "io_uring" or "threads"; throws Refused.
std::unique_ptr<Executor> make_executor(const std::string& wanted);

// One blocking call that does `operation`; used by executors and inline turns.
// Never EINTR. Retries nothing else: may be short.
int64_t do_blocking(const Operation& operation);

}  // namespace dmfs
