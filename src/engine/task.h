// Task<T>: the answer to a request, now or later.
//
//     Task<Status> Linear::io(Bio bio) {          // not a coroutine: hands on the
//         bio.sector += start_;                   // other's task, costs no frame
//         return device_->io(bio);
//     }
//     Task<Status> Mirror::write(Bio bio) {       // a coroutine: waits
//         Status status = co_await log_.mark(bio);
//         ...
//         co_return status;
//     }
//
// A Task is either an answer that is there already (Task::ready, or what a
// function returned that had nothing to wait for) or a coroutine. A coroutine
// starts when it is awaited or start() is called; it is awaited exactly once.
//
// Rules that g++ 12 and coroutines force:
//  1. No symmetric transfer: it grows the stack without -O2 and under sanitizers.
//     The awaiter resumes the child, and goes on without suspending if the child
//     is done; an atomic exchange decides, since the child may finish elsewhere.
//  2. In a co_await expression write only names, constructor calls and Bio{...}:
//     g++ 12 destroys some temporaries there twice.
//  3. Task functions take values and are members or free functions, never lambdas
//     with captures. A started task is never destroyed before it is done.
//  4. After an await nothing is known that no lock protects: look again.

#pragma once

#include <atomic>
#include <cassert>
#include <coroutine>
#include <cstdlib>
#include <utility>
#include <vector>

#include "base/status.h"

namespace dmfs {

template <class T>
class [[nodiscard]] Task {
  public:
    struct promise_type;
    using Handle = std::coroutine_handle<promise_type>;

    static Task ready(T value) { return Task(std::move(value)); }

    Task(Task&& other) noexcept
        : handle_(std::exchange(other.handle_, nullptr)), value_(std::move(other.value_)) {}
    Task& operator=(Task&&) = delete;
    ~Task() {
        if (!handle_) return;
        assert(handle_.promise().state.load(std::memory_order_relaxed) != State::started);
        handle_.destroy();
    }

    // True if the answer is there: value() may be taken instead of awaiting.
    bool is_ready() const { return !handle_; }
    T value() && {
        assert(is_ready());
        return std::move(value_);
    }

    // Runs a coroutine up to its first wait, before anyone awaits it.
    void start() {
        if (!handle_ || handle_.promise().state.load(std::memory_order_relaxed) != State::fresh) return;
        handle_.promise().state.store(State::started, std::memory_order_relaxed);
        handle_.resume();
    }

    // True if the answer is there, or a started coroutine has ended.
    bool is_done() const {
        return !handle_ || handle_.promise().state.load(std::memory_order_acquire) == State::done;
    }

    auto operator co_await() && noexcept { return Awaiter{*this}; }
    auto operator co_await() & noexcept { return Awaiter{*this}; }

  private:
    enum class State { fresh, started, awaited, done };

    explicit Task(T value) : value_(std::move(value)) {}
    explicit Task(Handle handle) : handle_(handle) {}

    struct Awaiter {
        Task& task;

        bool await_ready() const noexcept { return !task.handle_; }
        // Not inlined: after the exchange the awaiting frame, with this awaiter in
        // it, may be running on another thread or gone.
        [[gnu::noinline]] bool await_suspend(std::coroutine_handle<> parent) {
            promise_type& child = task.handle_.promise();
            child.parent = parent;
            task.start();
            return child.state.exchange(State::awaited, std::memory_order_acq_rel) != State::done;
        }
        T await_resume() {
            return task.handle_ ? std::move(task.handle_.promise().value) : std::move(task.value_);
        }
    };

    struct Final {
        bool await_ready() const noexcept { return false; }
        [[gnu::noinline]] void await_suspend(Handle self) noexcept {
            // From the exchange on, whoever awaits owns the frame; and only from then on
            // it is known who that is: a started task may end before it is awaited.
            if (self.promise().state.exchange(State::done, std::memory_order_acq_rel) == State::awaited) {
                std::coroutine_handle<> parent = self.promise().parent;
                parent.resume();
            }
        }
        void await_resume() noexcept {}
    };

  public:
    struct promise_type {
        std::atomic<State> state{State::fresh};
        std::coroutine_handle<> parent;
        T value{};

        Task get_return_object() { return Task(Handle::from_promise(*this)); }
        std::suspend_always initial_suspend() noexcept { return {}; }
        Final final_suspend() noexcept { return {}; }
        void return_value(T result) { value = std::move(result); }
        // Below the parsers nothing throws; memory that is gone ends the daemon.
        [[noreturn]] void unhandled_exception() noexcept { std::abort(); }
    };

  private:
    Handle handle_ = nullptr;
    T value_{};
};

// Waits for every branch, even when one fails; the first error in their order.
// An EINTR says nothing of a device, so an error goes before it.
inline Task<Status> all(std::vector<Task<Status>> tasks) {
    for (Task<Status>& task : tasks) task.start();
    Status result;
    for (Task<Status>& task : tasks) {
        Status status = co_await task;
        result = result.error() == EINTR && !status ? status : result.and_then(status);
    }
    co_return result;
}

}  // namespace dmfs
