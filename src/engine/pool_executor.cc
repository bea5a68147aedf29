// The thread-pool executor, for hosts and containers that forbid io_uring:
// threads that take operations from one queue and block in them. Coroutines that are
// merely posted have a thread of their own, so that they never stand behind a disk.

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/executor.h"

namespace dmfs {

namespace {

class PoolExecutor final : public Executor {
  public:
    explicit PoolExecutor(unsigned threads) {
        for (unsigned i = 0; i < threads; i++) threads_.emplace_back([this] { run_operations(); });
        threads_.emplace_back([this] { run_posted(); });
    }
    PoolExecutor(const PoolExecutor&) = delete;
    PoolExecutor& operator=(const PoolExecutor&) = delete;

    ~PoolExecutor() override {
        {
            std::lock_guard guard(mutex_);
            stop_ = true;
        }
        work_.notify_all();
        posting_.notify_all();
        for (std::thread& thread : threads_) thread.join();
    }

    void submit(Operation& operation) override {
        std::lock_guard guard(mutex_);
        operations_.push_back(&operation);
        work_.notify_one();
    }

    void post(std::coroutine_handle<> coroutine) override {
        std::lock_guard guard(mutex_);
        posted_.push_back(coroutine);
        if (posted_.size() == 1) posting_.notify_one();
    }

    void arm(Timer& timer, int64_t deadline_ns) override { clock_.arm(timer, deadline_ns); }
    void disarm(Timer& timer) override { clock_.disarm(timer); }

    std::string name() const override { return "threads"; }
    bool is_small() const override { return true; }

  private:
    void run_operations() {
        this_is_executor_thread();
        std::unique_lock lock(mutex_);
        while (true) {
            work_.wait(lock, [&] { return stop_ || !operations_.empty(); });
            if (operations_.empty()) return;
            Operation* operation = operations_.front();
            operations_.pop_front();
            lock.unlock();
            operation->end(do_blocking(*operation));
            lock.lock();
        }
    }

    // All that are there at once: one look at the mutex for many.
    void run_posted() {
        this_is_executor_thread();
        std::vector<std::coroutine_handle<>> resumed;
        while (true) {
            {
                std::unique_lock lock(mutex_);
                posting_.wait(lock, [&] { return stop_ || !posted_.empty(); });
                if (posted_.empty()) return;
                resumed.swap(posted_);
            }
            for (std::coroutine_handle<> coroutine : resumed) coroutine.resume();
            resumed.clear();
        }
    }

    std::mutex mutex_;
    std::condition_variable work_, posting_;
    bool stop_ = false;
    std::deque<Operation*> operations_;
    std::vector<std::coroutine_handle<>> posted_;
    std::vector<std::thread> threads_;
    Clock clock_;
};

}  // namespace

std::unique_ptr<Executor> make_pool_executor(unsigned threads) {
    return std::make_unique<PoolExecutor>(threads);
}

}  // namespace dmfs
