#include "engine/task.h"

#include <memory>
#include <thread>

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

struct StackDepth {
    uintptr_t lowest = UINTPTR_MAX, highest = 0;
    [[gnu::noinline]] void note() {
        char here;
        auto address = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
        static_cast<void>(here);
        lowest = std::min(lowest, address);
        highest = std::max(highest, address);
    }
};

Task<Status> child_of(StackDepth* depth) {
    depth->note();
    co_return kOk;
}

Task<Status> middle_of(StackDepth* depth) {
    Task<Status> child = child_of(depth);
    Status status = co_await child;
    co_return status;
}

Task<Status> many_awaits(StackDepth* depth, int rounds) {
    for (int i = 0; i < rounds; i++) {
        Task<Status> middle = middle_of(depth);
        Status status = co_await middle;
        if (!status) co_return status;
    }
    co_return kOk;
}

// A thread that resumes what is put into its slot, as quickly as it can.
class Hopper {
  public:
    Hopper() : thread_([this] { serve(); }) {}
    ~Hopper() {
        stop_ = true;
        thread_.join();
    }

    struct Hop {
        Hopper& hopper;
        bool await_ready() const noexcept { return false; }
        [[gnu::noinline]] void await_suspend(std::coroutine_handle<> self) {
            hopper.slot_.store(self.address(), std::memory_order_release);
        }
        void await_resume() const noexcept {}
    };

  private:
    void serve() {
        while (!stop_) {
            void* address = slot_.exchange(nullptr, std::memory_order_acq_rel);
            if (address != nullptr)
                std::coroutine_handle<>::from_address(address).resume();
            else
                std::this_thread::yield();
        }
    }

    std::atomic<void*> slot_{nullptr};
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

Task<Status> hop(Hopper* hopper, int error) {
    Hopper::Hop there{*hopper};
    co_await there;
    co_return Status(error);
}

Task<Status> hop_often(Hopper* hopper, StackDepth* depth, int rounds) {
    for (int i = 0; i < rounds; i++) {
        Task<Status> task = hop(hopper, i % 3);
        Status status = co_await task;
        depth->note();
        if (status.error() != i % 3) co_return Status(EPROTO);
    }
    co_return kOk;
}

// Branches that end on other threads, at about the moment at which they are awaited.
Task<Status> join_often(Hopper* a, Hopper* b, int rounds) {
    for (int i = 0; i < rounds; i++) {
        std::vector<Task<Status>> branches;
        branches.push_back(hop(a, 0));
        branches.push_back(hop(b, i % 2));
        Task<Status> joined = all(std::move(branches));
        Status status = co_await joined;
        if (status.error() != i % 2) co_return Status(EPROTO);
    }
    co_return kOk;
}

// Lives in a frame, counts those that live.
struct Counted {
    explicit Counted(std::atomic<int>* c) : count(c) { ++*count; }
    Counted(const Counted& other) : count(other.count) { ++*count; }
    ~Counted() { --*count; }
    std::atomic<int>* count;
};

Task<Status> holding(Counted) { co_return kOk; }

Task<Status> await_it(Counted counted) {
    Task<Status> task = holding(counted);
    Status status = co_await task;
    co_return status;
}

Task<std::shared_ptr<int>> give(std::shared_ptr<int> value) { co_return value; }

Task<Status> pass_on(std::shared_ptr<int> value, long* uses) {
    Task<std::shared_ptr<int>> task = give(value);
    std::shared_ptr<int> back = co_await task;
    *uses = back.use_count();
    co_return kOk;
}

Task<Status> set_after_wait(WaitQueue* queue, std::atomic<bool>* go, std::atomic<bool>* done, int error) {
    std::function<bool()> must_wait = [go] { return !go->load(); };
    Status status = co_await queue->wait(must_wait);
    if (!status) co_return status;
    *done = true;
    co_return Status(error);
}

}  // namespace

TEST_CASE("a million awaits do not grow the stack") {
    Running executor;
    StackDepth depth;
    REQUIRE(run(*executor, many_awaits(&depth, 1000000)) == kOk);
    CHECK(depth.highest - depth.lowest < 4096);
}

TEST_CASE("awaits that are ended by another thread do not grow its stack") {
    Running executor;
    Hopper hopper;
    StackDepth depth;
    REQUIRE(run(*executor, hop_often(&hopper, &depth, 20000)) == kOk);
    CHECK(depth.highest - depth.lowest < 4096);
}

TEST_CASE("a task may end on another thread at the moment at which it is awaited") {
    Running executor;
    Hopper a, b;
    CHECK(run(*executor, join_often(&a, &b, 50000)) == kOk);
}

TEST_CASE("a ready task is an answer without a coroutine") {
    Task<Status> task = Task<Status>::ready(Status(ENOSPC));
    REQUIRE(task.is_ready());
    CHECK(std::move(task).value() == Status(ENOSPC));
}

TEST_CASE("a task that nobody started leaves nothing behind") {
    std::atomic<int> living{0};
    { Task<Status> task = holding(Counted(&living)); }
    CHECK(living == 0);
}

TEST_CASE("what a task was given is destroyed once") {
    Running executor;
    std::atomic<int> living{0};
    CHECK(run(*executor, await_it(Counted(&living))) == kOk);
    CHECK(soon([&] { return executor->running() == 0; }));
    CHECK(living == 0);
}

TEST_CASE("the answer of a task is moved, not shared") {
    Running executor;
    auto value = std::make_shared<int>(7);
    long uses = 0;
    CHECK(run(*executor, pass_on(value, &uses)) == kOk);
    CHECK(uses == 3);  // here, in pass_on's parameter, and in what came back
    CHECK(soon([&] { return executor->running() == 0; }));
    CHECK(value.use_count() == 1);
}

TEST_CASE("all waits for every branch, though the first has failed") {
    Running executor;
    WaitQueue queue(*executor);
    std::atomic<bool> go{false}, done{false};
    std::vector<Task<Status>> branches;
    branches.push_back(Task<Status>::ready(Status(EIO)));
    branches.push_back(set_after_wait(&queue, &go, &done, ENOSPC));
    Pending<Status> joined = begin(*executor, all(std::move(branches)));
    a_moment();
    CHECK_FALSE(joined.done());
    queue.wake_all(kOk, [&] { go = true; });
    CHECK(joined.get() == Status(EIO));
    CHECK(done);
}

TEST_CASE("all answers with the first error in the order of the branches") {
    Running executor;
    WaitQueue queue(*executor);
    std::atomic<bool> go{false}, done{false};
    std::vector<Task<Status>> branches;
    branches.push_back(Task<Status>::ready(kOk));
    branches.push_back(set_after_wait(&queue, &go, &done, ENOSPC));
    branches.push_back(Task<Status>::ready(Status(EIO)));
    Pending<Status> joined = begin(*executor, all(std::move(branches)));
    queue.wake_all(kOk, [&] { go = true; });
    CHECK(joined.get() == Status(ENOSPC));
}

TEST_CASE("all starts every branch before it waits for one") {
    Running executor;
    WaitQueue queue(*executor);
    std::atomic<bool> go{false}, done{false};
    std::vector<Task<Status>> branches;
    for (int i = 0; i < 3; i++) branches.push_back(set_after_wait(&queue, &go, &done, 0));
    Pending<Status> joined = begin(*executor, all(std::move(branches)));
    CHECK(queue.size() == 3);
    queue.wake_all(kOk, [&] { go = true; });
    CHECK(joined.get() == kOk);
}

TEST_CASE("all of nothing is good") {
    Running executor;
    CHECK(run(*executor, all({})) == kOk);
}
