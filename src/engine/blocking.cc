#include "engine/blocking.h"

#include <csignal>
#include <cstdlib>
#include <system_error>
#include <thread>

#include "base/wipe.h"
#include "engine/buffer.h"
#include "engine/executor.h"

namespace dmfs {

namespace {

constexpr std::chrono::seconds kIdle{10};

thread_local const Blocking* inside = nullptr;

}  // namespace

Blocking::~Blocking() {
    std::unique_lock lock(mutex_);
    stop_ = true;
    entering_.notify_all();
    ended_.wait(lock, [this] { return threads_ == 0; });
}

size_t Blocking::busy() const {
    std::lock_guard guard(mutex_);
    return threads_ - idle_ + waiting_.size();
}

bool Blocking::is_inside() { return inside != nullptr; }

bool Blocking::Enter::await_ready() const noexcept { return blocking_.most_ == 0 || inside == &blocking_; }

bool Blocking::Enter::await_suspend(std::coroutine_handle<> self) {
    Memory::settle_borrowed();
    wipe_stack();  // a table's text may have passed here, and a new thread begins with these registers
    Blocking& blocking = blocking_;  // this is gone as soon as a thread takes the coroutine
    std::lock_guard guard(blocking.mutex_);
    if (blocking.waiting_.size() < blocking.idle_)
        blocking.entering_.notify_one();
    else if (blocking.threads_ < blocking.most_ && !blocking.add_thread() && blocking.threads_ == 0)
        return false;
    blocking.waiting_.push_back(self);
    return true;
}

// Under the mutex. False: the system gives none, as where a container's number of tasks is limited.
bool Blocking::add_thread() {
    try {
        std::thread([this] { work(); }).detach();
    } catch (const std::system_error&) {
        return false;
    }
    threads_++;
    return true;
}

void Blocking::work() {
    sigset_t all;  // signals are for the threads that serve
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    this_is_executor_thread();
    inside = this;
    std::unique_lock lock(mutex_);
    while (true) {
        if (waiting_.empty()) {
            idle_++;
            bool called = entering_.wait_for(lock, kIdle, [this] { return stop_ || !waiting_.empty(); });
            idle_--;
            if (!called || waiting_.empty()) break;
        }
        std::coroutine_handle<> coroutine = waiting_.front();
        waiting_.pop_front();
        lock.unlock();
        coroutine.resume();
        wipe_stack();
        lock.lock();
    }
    threads_--;
    ended_.notify_all();
}

}  // namespace dmfs
