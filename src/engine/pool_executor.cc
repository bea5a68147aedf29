// The thread-pool executor, for hosts and containers that forbid io_uring:
// threads that take operations from one queue and block in them. One more thread
// keeps the clock; coroutines that are merely posted have a thread of their own,
// so that they never stand behind a disk.

#include <condition_variable>
#include <ctime>
#include <deque>
#include <mutex>
#include <queue>
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
        threads_.emplace_back([this] { run_clock(); });
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
        clock_.notify_all();
        for (std::thread& thread : threads_) thread.join();
    }

    void submit(Operation& operation) override {
        std::lock_guard guard(mutex_);
        if (operation.kind == Operation::Kind::sleep) {
            sleepers_.push(&operation);
            clock_.notify_one();
        } else {
            operations_.push_back(&operation);
            work_.notify_one();
        }
    }

    void post(std::coroutine_handle<> coroutine) override {
        std::lock_guard guard(mutex_);
        posted_.push_back(coroutine);
        posting_.notify_one();
    }

    int64_t now_ns() const override {
        return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
    }

    std::string name() const override { return "threads"; }

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
            operation->result = do_blocking(*operation);
            operation->waiter.resume();
            lock.lock();
        }
    }

    void run_posted() {
        this_is_executor_thread();
        std::unique_lock lock(mutex_);
        while (true) {
            posting_.wait(lock, [&] { return stop_ || !posted_.empty(); });
            if (posted_.empty()) return;
            std::coroutine_handle<> coroutine = posted_.front();
            posted_.pop_front();
            lock.unlock();
            coroutine.resume();
            lock.lock();
        }
    }

    void run_clock() {
        this_is_executor_thread();
        std::unique_lock lock(mutex_);
        while (!stop_) {
            if (sleepers_.empty()) {
                clock_.wait(lock);
                continue;
            }
            std::chrono::steady_clock::time_point until{
                std::chrono::nanoseconds(sleepers_.top()->deadline_ns)};
            if (std::chrono::steady_clock::now() < until) {
                clock_.wait_until(lock, until);
                continue;
            }
            Operation* operation = sleepers_.top();
            sleepers_.pop();
            lock.unlock();
            operation->result = 0;
            operation->waiter.resume();
            lock.lock();
        }
    }

    struct Later {
        bool operator()(const Operation* a, const Operation* b) const {
            return a->deadline_ns > b->deadline_ns;
        }
    };

    std::mutex mutex_;
    std::condition_variable work_, posting_, clock_;
    bool stop_ = false;
    std::deque<Operation*> operations_;
    std::deque<std::coroutine_handle<>> posted_;
    std::priority_queue<Operation*, std::vector<Operation*>, Later> sleepers_;
    std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<Executor> make_pool_executor(unsigned threads) {
    return std::make_unique<PoolExecutor>(threads);
}

}  // namespace dmfs
