#include "engine/wait.h"

#include <cassert>

#include "engine/buffer.h"

// Lock order: a Cancel's mutex before a WaitQueue's. A waker takes only the
// queue's; the woken coroutine takes itself out of its Cancel in await_resume, and
// there waits for a canceller that still holds it.

namespace dmfs {

void Cancel::request() {
    {
        std::lock_guard guard(mutex_);
        requested_.store(true, std::memory_order_release);
        for (Waiter* waiter : waiters_) {
            WaitQueue& queue = waiter->queue;
            std::lock_guard queue_guard(queue.mutex_);
            if (!waiter->queued) continue;  // a waker has it
            queue.remove(waiter);
            waiter->result = Status(EINTR);
            // It takes itself out of waiters_ once this mutex is free.
            queue.executor_.post(waiter->coroutine);
        }
    }
    cancelled();
}

bool Waiter::await_suspend(std::coroutine_handle<> self) {
    Memory::settle_borrowed();
    coroutine = self;
    std::unique_lock<std::mutex> cancel_guard;
    if (cancel != nullptr) cancel->about_to_wait();
    if (cancel != nullptr) {
        cancel_guard = std::unique_lock(cancel->mutex_);
        if (cancel->requested()) {
            result = Status(EINTR);
            return false;
        }
    }
    std::lock_guard guard(queue.mutex_);
    if (!(*must_wait)()) return false;
    if (cancel != nullptr) cancel->waiters_.push_back(this);
    queue.append(this);
    return true;
}

Status Waiter::await_resume() {
    if (cancel != nullptr) {
        std::lock_guard guard(cancel->mutex_);
        std::erase(cancel->waiters_, this);
    }
    return result;
}

WaitQueue::~WaitQueue() { assert(first_ == nullptr); }

Task<Status> WaitQueue::wait_until(std::function<bool()> ready, Cancel* cancel) {
    bool holds = false;  // it may take something, so it is not asked again
    std::function<bool()> must_wait = [&] { return !(holds = ready()); };
    while (!holds) {
        Status status = co_await wait(must_wait, cancel);
        if (!status) co_return status;
        if (!holds) holds = locked(ready);
    }
    co_return kOk;
}

void WaitQueue::append(Waiter* waiter) {
    waiter->queued = true;
    waiter->previous = last_;
    waiter->next = nullptr;
    (last_ != nullptr ? last_->next : first_) = waiter;
    last_ = waiter;
    size_.fetch_add(1, std::memory_order_relaxed);
}

void WaitQueue::remove(Waiter* waiter) {
    (waiter->previous != nullptr ? waiter->previous->next : first_) = waiter->next;
    (waiter->next != nullptr ? waiter->next->previous : last_) = waiter->previous;
    waiter->queued = false;
    size_.fetch_sub(1, std::memory_order_relaxed);
}

size_t WaitQueue::wake(size_t most, Status result, const std::function<void()>& before) {
    // Posted under the mutex: a canceller that finds a waiter no longer queued
    // may rely on somebody having resumed it.
    std::lock_guard guard(mutex_);
    if (before) before();
    size_t woken = 0;
    for (; first_ != nullptr && woken < most; woken++) wake_locked(*first_, result);
    return woken;
}

void WaitQueue::wake_locked(Waiter& waiter, Status result) {
    if (std::coroutine_handle<> woken = take_locked(waiter, result)) executor_.post(woken);
}

std::coroutine_handle<> WaitQueue::take_locked(Waiter& waiter, Status result) {
    if (!waiter.queued) return nullptr;
    remove(&waiter);
    waiter.result = result;
    return waiter.coroutine;
}

std::coroutine_handle<> WaitQueue::take_first() {
    std::lock_guard guard(mutex_);
    return first_ != nullptr ? take_locked(*first_) : nullptr;
}

size_t WaitQueue::wake_one(const std::function<void()>& before) { return wake(1, kOk, before); }

size_t WaitQueue::wake_all(Status result, const std::function<void()>& before) {
    return wake(static_cast<size_t>(-1), result, before);
}

}  // namespace dmfs
