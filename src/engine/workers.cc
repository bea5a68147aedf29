#include "engine/workers.h"

#include <algorithm>
#include <atomic>

#include "engine/buffer.h"
#include "engine/executor.h"

namespace dmfs {

namespace {

thread_local const Workers* working_for = nullptr;

}  // namespace

// Lives on its caller's stack.
struct Workers::Shared {
    const std::function<void(size_t)>& piece;
    const size_t pieces;
    std::atomic<size_t> next{0};
    size_t helpers = 0;  // workers inside; under the mutex

    void take_pieces() {
        for (size_t mine; (mine = next.fetch_add(1, std::memory_order_relaxed)) < pieces;) piece(mine);
    }
};

Workers::Workers(unsigned threads) {
    threads_.reserve(threads);
    for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

Workers::~Workers() {
    {
        std::lock_guard guard(mutex_);
        stop_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
}

void Workers::share(size_t pieces, const std::function<void(size_t)>& piece) {
    Shared work{piece, pieces};
    bool offered = false;
    if (pieces > 1 && !threads_.empty()) {
        std::lock_guard guard(mutex_);
        if (idle_ > 0) {  // nobody idle: all cores are busy, and sharing would only cost
            shared_.push_back(&work);
            offered = true;
        }
    }
    if (offered) changed_.notify_all();
    work.take_pieces();
    if (!offered) return;
    std::unique_lock lock(mutex_);
    if (auto at = std::ranges::find(shared_, &work); at != shared_.end()) shared_.erase(at);
    changed_.wait(lock, [&] { return work.helpers == 0; });
}

bool Workers::Enter::await_ready() const noexcept {
    return workers_.threads_.empty() || working_for == &workers_;
}

void Workers::Enter::await_suspend(std::coroutine_handle<> self) {
    Memory::settle_borrowed();
    Workers& workers = workers_;  // this is gone as soon as a worker takes the coroutine
    {
        std::lock_guard guard(workers.mutex_);
        workers.entering_.push_back(self);
    }
    workers.changed_.notify_all();
}

void Workers::work() {
    this_is_executor_thread();
    working_for = this;
    std::unique_lock lock(mutex_);
    for (;;) {
        if (!entering_.empty()) {
            std::coroutine_handle<> coroutine = entering_.front();
            entering_.pop_front();
            lock.unlock();
            coroutine.resume();
            lock.lock();
        } else if (!shared_.empty()) {
            Shared& work = *shared_.front();
            ++work.helpers;
            lock.unlock();
            work.take_pieces();
            lock.lock();
            if (auto at = std::ranges::find(shared_, &work); at != shared_.end()) shared_.erase(at);
            if (--work.helpers == 0) changed_.notify_all();
        } else if (stop_) {
            return;
        } else {
            ++idle_;
            changed_.wait(lock);
            --idle_;
        }
    }
}

}  // namespace dmfs
