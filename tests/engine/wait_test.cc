#include "engine/wait.h"

#include <thread>

#include "engine/buffer.h"
#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

// Which coroutine went on when.
struct Diary {
    std::mutex mutex;
    std::vector<int> order;
    void note(int who) {
        std::lock_guard guard(mutex);
        order.push_back(who);
    }
    std::vector<int> read() {
        std::lock_guard guard(mutex);
        return order;
    }
};

Task<Status> wait_once(WaitQueue* queue, Cancel* cancel, Diary* diary, int who) {
    std::function<bool()> must_wait = [] { return true; };
    Status status = co_await queue->wait(must_wait, cancel);
    if (diary != nullptr) diary->note(who);
    co_return status;
}

Task<Status> wait_for(WaitQueue* queue, std::atomic<bool>* open, Cancel* cancel) {
    std::function<bool()> must_wait = [open] { return !open->load(); };
    Status status = co_await queue->wait(must_wait, cancel);
    co_return status;
}

class Listening final : public Cancel {
  public:
    std::atomic<int> asked{0};

  protected:
    void about_to_wait() override { asked++; }
};

}  // namespace

TEST_CASE("a coroutine does not wait where there is nothing to wait for") {
    Running executor;
    WaitQueue queue(*executor);
    std::atomic<bool> open{true};
    CHECK(run(*executor, wait_for(&queue, &open, nullptr)) == kOk);
    CHECK(queue.size() == 0);
}

TEST_CASE("coroutines are woken one by one in the order they came") {
    Running executor(make_pool_executor(1));
    WaitQueue queue(*executor);
    Diary diary;
    std::vector<Pending<Status>> waiting;
    for (int i = 0; i < 3; i++) waiting.push_back(begin(*executor, wait_once(&queue, nullptr, &diary, i)));
    CHECK(queue.size() == 3);
    for (int i = 0; i < 3; i++) {
        CHECK(queue.wake_one() == 1);
        CHECK(waiting[static_cast<size_t>(i)].get() == kOk);
    }
    CHECK(queue.wake_one() == 0);
    CHECK(diary.read() == std::vector<int>{0, 1, 2});
}

TEST_CASE("all that wait are told the same") {
    Running executor;
    WaitQueue queue(*executor);
    Pending<Status> a = begin(*executor, wait_once(&queue, nullptr, nullptr, 0));
    Pending<Status> b = begin(*executor, wait_once(&queue, nullptr, nullptr, 1));
    CHECK(queue.wake_all(Status(EIO)) == 2);
    CHECK(a.get() == Status(EIO));
    CHECK(b.get() == Status(EIO));
}

TEST_CASE("who is cancelled while it waits gets EINTR, and the others stay in their order") {
    Running executor(make_pool_executor(1));
    WaitQueue queue(*executor);
    for (int victim = 0; victim < 3; victim++) {
        Diary diary;
        Cancel cancels[3];
        std::vector<Pending<Status>> waiting;
        for (int i = 0; i < 3; i++)
            waiting.push_back(begin(*executor, wait_once(&queue, &cancels[i], &diary, i)));
        cancels[victim].request();
        CHECK(waiting[static_cast<size_t>(victim)].get() == Status(EINTR));
        CHECK(queue.size() == 2);
        std::vector<int> order{victim};
        for (int i = 0; i < 3; i++) {
            if (i == victim) continue;
            queue.wake_one();
            CHECK(waiting[static_cast<size_t>(i)].get() == kOk);
            order.push_back(i);
        }
        CHECK(diary.read() == order);
    }
}

TEST_CASE("who was cancelled before does not begin to wait") {
    Running executor;
    WaitQueue queue(*executor);
    Cancel cancel;
    cancel.request();
    CHECK(run(*executor, wait_once(&queue, &cancel, nullptr, 0)) == Status(EINTR));
    CHECK(queue.size() == 0);
}

TEST_CASE("a request that went several ways is cancelled in all of them") {
    Running executor;
    WaitQueue one(*executor), two(*executor);
    Cancel cancel;
    Pending<Status> a = begin(*executor, wait_once(&one, &cancel, nullptr, 0));
    Pending<Status> b = begin(*executor, wait_once(&two, &cancel, nullptr, 1));
    Pending<Status> c = begin(*executor, wait_once(&two, nullptr, nullptr, 2));
    cancel.request();
    cancel.request();
    CHECK(a.get() == Status(EINTR));
    CHECK(b.get() == Status(EINTR));
    CHECK_FALSE(c.done());
    two.wake_all();
    CHECK(c.get() == kOk);
}

TEST_CASE("a cancel is told before somebody begins to wait") {
    Running executor;
    WaitQueue queue(*executor);
    Listening cancel;
    Pending<Status> waiting = begin(*executor, wait_once(&queue, &cancel, nullptr, 0));
    CHECK(cancel.asked == 1);
    queue.wake_all();
    CHECK(waiting.get() == kOk);
}

TEST_CASE("a borrowed payload is copied before its request waits") {
    Running executor;
    WaitQueue queue(*executor);
    char receive_buffer[] = "payload";
    Memory memory = Memory::borrow(receive_buffer, sizeof receive_buffer);
    Pending<Status> waiting = begin(*executor, wait_once(&queue, nullptr, nullptr, 0));
    memset(receive_buffer, 'x', sizeof receive_buffer);
    CHECK(strcmp(reinterpret_cast<char*>(memory.data()), "payload") == 0);
    queue.wake_all();
    CHECK(waiting.get() == kOk);
}

TEST_CASE("no wake is missed between the look and the wait") {
    Running executor;
    WaitQueue queue(*executor);
    for (int round = 0; round < 3000; round++) {
        std::atomic<bool> open{false};
        std::thread opener([&] { queue.wake_all(kOk, [&] { open = true; }); });
        Pending<Status> waiting = begin(*executor, wait_for(&queue, &open, nullptr));
        CHECK(waiting.get() == kOk);
        opener.join();
    }
}

TEST_CASE("wakers and cancellers may meet: each coroutine ends once") {
    Running executor;
    WaitQueue queue(*executor);
    for (int round = 0; round < 1500; round++) {
        constexpr size_t kWaiters = 4;
        Cancel cancels[kWaiters];
        std::atomic<bool> open{false};
        std::vector<Pending<Status>> waiting;
        std::thread opener([&] { queue.wake_all(kOk, [&] { open = true; }); });
        std::thread canceller([&] {
            for (Cancel& cancel : cancels) cancel.request();
        });
        for (Cancel& cancel : cancels) waiting.push_back(begin(*executor, wait_for(&queue, &open, &cancel)));
        for (Pending<Status>& each : waiting) {
            Status status = each.get();
            CHECK((status == kOk || status == Status(EINTR)));
        }
        opener.join();
        canceller.join();
        CHECK(queue.size() == 0);
    }
}
