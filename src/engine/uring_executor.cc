// The io_uring executor: one ring, a mutex for those who submit, one thread that
// takes the completions and resumes the coroutines. Posted coroutines wait in a list
// of their own; an empty operation says that there are some, so everything that can
// happen arrives in one queue, and a thousand of them cost one system call.

#include <fcntl.h>
#include <liburing.h>
#include <sys/uio.h>

#include <atomic>
#include <cassert>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/executor.h"

namespace dmfs {

namespace {

constexpr unsigned kEntries = 1024;
constexpr unsigned kWorkers = 128;  // for files, of each thread that submits

// user_data: an Operation's address, or one of these, which are none.
constexpr uint64_t kStop = 0;
constexpr uint64_t kPosted = 1;

class UringExecutor final : public Executor {
  public:
    // Throws nothing: ok() says whether the ring is there.
    UringExecutor() : error_(io_uring_queue_init(kEntries, &ring_, 0)) {
        if (error_ != 0) return;
        // One backing that dies may hold Flights::kMost of them.
        unsigned most[2] = {kWorkers, 0};
        io_uring_register_iowq_max_workers(&ring_, most);
        thread_ = std::thread([this] { run(); });
    }
    UringExecutor(const UringExecutor&) = delete;
    UringExecutor& operator=(const UringExecutor&) = delete;

    ~UringExecutor() override {
        if (error_ != 0) return;
        {
            std::lock_guard guard(mutex_);
            push([](io_uring_sqe* entry) { prepare_empty(entry, kStop); });
        }
        thread_.join();
        io_uring_queue_exit(&ring_);
    }

    int error() const { return error_; }

    void submit(Operation& operation) override {
        std::lock_guard guard(mutex_);
        push([&](io_uring_sqe* entry) { prepare(entry, operation); });
    }

    void post(std::coroutine_handle<> coroutine) override {
        std::lock_guard guard(mutex_);
        posted_.push_back(coroutine);
        if (posted_.size() == 1) push([](io_uring_sqe* entry) { prepare_empty(entry, kPosted); });
    }

    void arm(Timer& timer, int64_t deadline_ns) override { clock_.arm(timer, deadline_ns); }
    void disarm(Timer& timer) override { clock_.disarm(timer); }

    std::string name() const override { return "io_uring"; }

  private:
    // Under the mutex.
    template <class Prepare>
    void push(Prepare prepare) {
        io_uring_sqe* entry = io_uring_get_sqe(&ring_);
        while (entry == nullptr) {
            io_uring_submit(&ring_);
            entry = io_uring_get_sqe(&ring_);
        }
        prepare(entry);
        handed_over_.store(true, std::memory_order_release);
        submit_all();
    }

    // EAGAIN passes: the kernel is short of memory. EBUSY passes when completions are
    // taken: the thread that takes them submits then.
    void submit_all() {
        while (true) {
            int result = io_uring_submit(&ring_);
            unsubmitted_ = result == -EBUSY;
            if (result >= 0 || unsubmitted_) return;
            std::this_thread::yield();
        }
    }

    static void prepare_empty(io_uring_sqe* entry, uint64_t data) {
        io_uring_prep_nop(entry);
        io_uring_sqe_set_data64(entry, data);
    }

    static void prepare(io_uring_sqe* entry, Operation& operation) {
        auto bytes = static_cast<unsigned>(operation.bytes);
        switch (operation.kind) {
            case Operation::Kind::read:
                io_uring_prep_read(entry, operation.fd, operation.data, bytes, operation.offset);
                break;
            case Operation::Kind::write:
                io_uring_prep_write(entry, operation.fd, operation.data, bytes, operation.offset);
                if (operation.dsync) entry->rw_flags = RWF_DSYNC;
                break;
            case Operation::Kind::sync:
                io_uring_prep_fsync(entry, operation.fd, IORING_FSYNC_DATASYNC);
                break;
            case Operation::Kind::fallocate:
                io_uring_prep_fallocate(entry, operation.fd, operation.mode,
                                        static_cast<off_t>(operation.offset),
                                        static_cast<off_t>(operation.bytes));
                break;
        }
        io_uring_sqe_set_data64(entry, reinterpret_cast<uint64_t>(&operation));
    }

    void run() {
        this_is_executor_thread();
        while (true) {
            io_uring_cqe* completion = nullptr;
            int error = io_uring_wait_cqe(&ring_, &completion);
            if (error == -EINTR) continue;
            assert(error == 0);
            uint64_t data = completion->user_data;
            static_cast<void>(handed_over_.load(std::memory_order_acquire));
            int result = completion->res;
            io_uring_cqe_seen(&ring_, completion);
            if (data == kStop) return;
            if (data == kPosted) {
                resume_posted();
            } else {
                reinterpret_cast<Operation*>(data)->end(result);
            }
            std::lock_guard guard(mutex_);
            if (unsubmitted_) submit_all();
        }
    }

    void resume_posted() {
        {
            std::lock_guard guard(mutex_);
            resumed_.swap(posted_);
        }
        for (std::coroutine_handle<> coroutine : resumed_) coroutine.resume();
        resumed_.clear();
    }

    io_uring ring_{};
    int error_;
    std::mutex mutex_;
    // What was written before a push is read after its completion. The kernel sees to
    // that order; the language, and the thread sanitizer, know only this one.
    std::atomic<bool> handed_over_{false};
    std::vector<std::coroutine_handle<>> posted_;   // under the mutex
    std::vector<std::coroutine_handle<>> resumed_;  // of the thread
    bool unsubmitted_ = false;                      // under the mutex: entries wait for another submit
    std::thread thread_;
    Clock clock_;
};

}  // namespace

std::unique_ptr<Executor> make_uring_executor(std::string& why_not) {
    auto executor = std::make_unique<UringExecutor>();
    if (executor->error() == 0) return executor;
    why_not = strerror(-executor->error());
    return nullptr;
}

}  // namespace dmfs
