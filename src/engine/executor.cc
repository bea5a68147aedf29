#include "engine/executor.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/refused.h"
#include "engine/backings.h"
#include "engine/buffer.h"
#include "engine/flights.h"

namespace dmfs {

namespace {

thread_local bool on_executor_thread = false;
thread_local bool no_turns = false;  // there, and within NoInlineTurns

}  // namespace

void this_is_executor_thread() { on_executor_thread = no_turns = true; }
bool is_executor_thread() { return on_executor_thread; }

NoInlineTurns::NoInlineTurns() : before_(std::exchange(no_turns, true)) {}
NoInlineTurns::~NoInlineTurns() { no_turns = before_; }

// A coroutine that owns itself: its frame goes when it is done.
struct Spawned {
    struct promise_type {
        Spawned get_return_object() { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() {}
        [[noreturn]] void unhandled_exception() noexcept { std::abort(); }
    };

    static Spawned run(Executor* executor, Task<Status> task) {
        {
            Task<Status> whole =
                std::move(task);  // gone, with all it was given, before it is counted as done
            Status ignored = co_await whole;
            static_cast<void>(ignored);
        }
        executor->running_.fetch_sub(1, std::memory_order_release);
    }
};

void Executor::spawn(Task<Status> task) {
    running_.fetch_add(1, std::memory_order_relaxed);
    task.start();
    if (task.is_done()) {  // most requests: nothing to wait for, so no frame for the wait
        { Task<Status> ended = std::move(task); }
        running_.fetch_sub(1, std::memory_order_release);
        return;
    }
    Spawned::run(this, std::move(task));
}

Executor::Executor() : backings_(std::make_unique<Backings>(*this)) {}
Executor::~Executor() = default;

InlineTurn::InlineTurn(Executor& executor, const InlineCall& call) : call_(call) {
    if (no_turns) return;
    if (executor.inline_turns_.fetch_sub(1, std::memory_order_relaxed) <= 0) {
        executor.inline_turns_.fetch_add(1, std::memory_order_relaxed);
        return;
    }
    taken_ = &executor;
    slot_ = &executor.backings().slot();
    slot_->call.store(&call_, std::memory_order_relaxed);
    slot_->state.store(slot_->state.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

InlineTurn::~InlineTurn() {
    if (taken_ == nullptr) return;
    uint64_t before = slot_->state.load(std::memory_order_relaxed);
    while (true) {
        if ((before & InlineSlot::kHeld) != 0) {
            std::this_thread::yield();
            before = slot_->state.load(std::memory_order_acquire);
        } else if (slot_->state.compare_exchange_weak(before, (before & ~InlineSlot::kLent) + 1,
                                                      std::memory_order_acq_rel)) {
            break;
        }
    }
    if ((before & InlineSlot::kLent) != 0)
        taken_->backings().came_back(call_);
    else
        taken_->inline_turns_.fetch_add(1, std::memory_order_relaxed);
}

void Wait::await_suspend(std::coroutine_handle<> self) {
    Memory::settle_borrowed();
    operation_.waiter = self;
    executor_.submit(operation_);
}

namespace {

// A coroutine that waits for the clock; lives in its frame.
struct Sleep {
    Sleep(Executor& clock, int64_t deadline_ns)
        : executor(clock), until_ns(deadline_ns), timer([this] { executor.post(sleeper); }) {}

    bool await_ready() const noexcept { return false; }
    [[gnu::noinline]] void await_suspend(std::coroutine_handle<> self) {
        Memory::settle_borrowed();
        sleeper = self;
        executor.arm(timer, until_ns);
    }
    void await_resume() const noexcept {}

    Executor& executor;
    const int64_t until_ns;
    std::coroutine_handle<> sleeper;
    Timer timer;
};

}  // namespace

Task<Status> sleep_until(Executor& executor, int64_t deadline_ns) {
    Sleep sleep(executor, deadline_ns);
    co_await sleep;
    co_return kOk;
}

int64_t do_blocking(const Operation& operation) {
    while (true) {
        ssize_t done = 0;
        iovec data{operation.data, operation.bytes};
        auto offset = static_cast<off_t>(operation.offset);
        switch (operation.kind) {
            case Operation::Kind::read:
                done = pread(operation.fd, operation.data, operation.bytes, offset);
                break;
            case Operation::Kind::write:
                done = operation.dsync ? pwritev2(operation.fd, &data, 1, offset, RWF_DSYNC)
                                       : pwrite(operation.fd, operation.data, operation.bytes, offset);
                break;
            case Operation::Kind::sync:
                done = fdatasync(operation.fd);
                break;
            case Operation::Kind::fallocate:
                done = fallocate(operation.fd, operation.mode, offset, static_cast<off_t>(operation.bytes));
                break;
        }
        if (done >= 0) return done;
        if (errno != EINTR) return -errno;
    }
}

std::unique_ptr<Executor> make_executor(const std::string& wanted) {
    constexpr unsigned kPoolThreads = 8;
    if (wanted == "threads") return make_pool_executor(kPoolThreads);
    if (wanted != "auto" && wanted != "io_uring")
        throw Refused(EINVAL, "no executor '" + wanted + "'", "one of auto, io_uring, threads");
    std::string why_not;
    std::unique_ptr<Executor> executor = make_uring_executor(why_not);
    if (executor) return executor;
    if (wanted == "io_uring")
        throw Refused(ENOSYS, "io_uring can't be had here: " + why_not,
                      "-o executor=threads works everywhere");
    log_line(Severity::info, "io_uring can't be had here (" + why_not + "): using threads");
    return make_pool_executor(kPoolThreads);
}

}  // namespace dmfs
