#include "engine/locks.h"

#include <algorithm>
#include <random>
#include <thread>

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

Task<Status> locked_add(Lock* lock, Executor* executor, int* sum, int rounds) {
    for (int i = 0; i < rounds; i++) {
        Task<Status> acquired = lock->acquire();
        Status status = co_await acquired;
        if (!status) co_return status;
        int before = *sum;  // a lost update if somebody else is here
        Task<Status> pause = sleep_until(*executor, 0);
        status = co_await pause;
        *sum = before + 1;
        lock->release();
        if (!status) co_return status;
    }
    co_return kOk;
}

struct Owners {
    std::atomic<int> of[64]{};
    std::atomic<bool> shared{false};
};

Task<Status> own_ranges(RangeLock* lock, Executor* executor, Owners* owners, unsigned seed, int rounds) {
    std::mt19937 random(seed);
    for (int i = 0; i < rounds; i++) {
        uint64_t from = random() % 63, end = from + 1 + random() % (64 - from - 1 + 1);
        end = std::min<uint64_t>(end, 64);
        Task<Status> acquired = lock->acquire(from, end);
        Status status = co_await acquired;
        if (!status) co_return status;
        for (uint64_t at = from; at < end; at++)
            if (owners->of[at]++ != 0) owners->shared = true;
        Task<Status> pause = sleep_until(*executor, 0);
        status = co_await pause;
        for (uint64_t at = from; at < end; at++) owners->of[at]--;
        lock->release(from, end);
    }
    co_return kOk;
}

}  // namespace

TEST_CASE("a free lock is taken without waiting") {
    Running executor;
    Lock lock(*executor);
    Task<Status> acquired = lock.acquire();
    REQUIRE(acquired.is_ready());
    Lock::Guard guard(lock);
    Task<Status> second = lock.acquire();
    CHECK_FALSE(second.is_ready());  // never started: it does not queue up
}

TEST_CASE("a lock is handed on in the order they came") {
    Running executor;
    Lock lock(*executor);
    REQUIRE(run(*executor, lock.acquire()) == kOk);
    std::vector<Pending<Status>> waiting;
    for (int i = 0; i < 4; i++) waiting.push_back(begin(*executor, lock.acquire()));
    for (size_t i = 0; i < 4; i++) {
        a_moment();
        for (size_t j = i; j < 4; j++) CHECK_FALSE(waiting[j].done());
        lock.release();
        CHECK(waiting[i].get() == kOk);
        CHECK_FALSE(lock.acquire().is_ready());
    }
    lock.release();
    CHECK(lock.acquire().is_ready());
    lock.release();
}

TEST_CASE("who is cancelled while it waits for a lock does not get it") {
    Running executor;
    Lock lock(*executor);
    REQUIRE(run(*executor, lock.acquire()) == kOk);
    Cancel cancel;
    Pending<Status> cancelled = begin(*executor, lock.acquire(&cancel));
    Pending<Status> behind = begin(*executor, lock.acquire());
    cancel.request();
    CHECK(cancelled.get() == Status(EINTR));
    lock.release();
    CHECK(behind.get() == kOk);
    lock.release();
    CHECK(lock.acquire().is_ready());
    lock.release();
}

TEST_CASE("one at a time holds a lock, whatever the threads") {
    Running executor;
    Lock lock(*executor);
    int sum = 0;
    std::vector<Pending<Status>> adding;
    for (int i = 0; i < 6; i++) adding.push_back(begin(*executor, locked_add(&lock, &*executor, &sum, 200)));
    for (Pending<Status>& each : adding) CHECK(each.get() == kOk);
    CHECK(sum == 1200);
}

TEST_CASE("cancels that meet releases lose no lock") {
    Running executor;
    Lock lock(*executor);
    for (int round = 0; round < 1500; round++) {
        REQUIRE(run(*executor, lock.acquire()) == kOk);
        Cancel cancel;
        Pending<Status> waiting = begin(*executor, lock.acquire(&cancel));
        std::thread canceller([&] { cancel.request(); });
        lock.release();
        if (waiting.get() == kOk) lock.release();
        canceller.join();
        Task<Status> again = lock.acquire();
        REQUIRE(again.is_ready());
        lock.release();
    }
}

TEST_CASE("ranges that overlap wait for one another, others do not") {
    Running executor;
    RangeLock lock(*executor);
    CHECK(lock.acquire(10, 20).is_ready());
    CHECK(lock.acquire(20, 30).is_ready());
    CHECK(lock.acquire(0, 10).is_ready());
    Pending<Status> over_both = begin(*executor, lock.acquire(19, 21));
    CHECK_FALSE(over_both.done());
    CHECK(lock.acquire(40, 41).is_ready());  // who waits keeps nobody else from theirs
    lock.release(10, 20);
    a_moment();
    CHECK_FALSE(over_both.done());
    lock.release(20, 30);
    CHECK(over_both.get() == kOk);
    CHECK_FALSE(lock.acquire(20, 25).is_ready());
    lock.release(19, 21);
    CHECK(lock.acquire(20, 25).is_ready());
    lock.release(20, 25);
    lock.release(0, 10);
    lock.release(40, 41);
}

TEST_CASE("who is cancelled while it waits for a range does not hold it") {
    Running executor;
    RangeLock lock(*executor);
    CHECK(lock.acquire(0, 8).is_ready());
    Cancel cancel;
    Pending<Status> waiting = begin(*executor, lock.acquire(4, 12, &cancel));
    cancel.request();
    CHECK(waiting.get() == Status(EINTR));
    CHECK(lock.acquire(8, 12).is_ready());
    lock.release(8, 12);
    lock.release(0, 8);
}

TEST_CASE("ranges that overlap are served in the order they came, and one that is cancelled steps aside") {
    Running executor;
    RangeLock lock(*executor);
    CHECK(lock.acquire(0, 10).is_ready());
    Cancel cancel;
    Pending<Status> cancelled = begin(*executor, lock.acquire(5, 30, &cancel));
    a_moment();
    Pending<Status> behind = begin(*executor, lock.acquire(20, 40));
    a_moment();
    CHECK_FALSE(behind.done());  // nobody has it, but one came before
    Pending<Status> last = begin(*executor, lock.acquire(0, 1));
    cancel.request();
    CHECK(cancelled.get() == Status(EINTR));
    CHECK(behind.get() == kOk);
    CHECK_FALSE(last.done());
    lock.release(0, 10);
    CHECK(last.get() == kOk);
    lock.release(0, 1);
    lock.release(20, 40);
}

TEST_CASE("no two hold an overlapping range, whatever the threads") {
    Running executor;
    RangeLock lock(*executor);
    Owners owners;
    std::vector<Pending<Status>> owning;
    for (unsigned i = 0; i < 6; i++)
        owning.push_back(begin(*executor, own_ranges(&lock, &*executor, &owners, i, 150)));
    for (Pending<Status>& each : owning) CHECK(each.get() == kOk);
    CHECK_FALSE(owners.shared);
}

TEST_CASE("a guard gives a range back") {
    Running executor;
    RangeLock lock(*executor);
    REQUIRE(lock.acquire(0, 10).is_ready());
    { RangeLock::Guard guard(lock, 0, 10); }
    CHECK(lock.acquire(5, 15).is_ready());
    lock.release(5, 15);
}

TEST_CASE("who gives up its turn keeps nobody behind it waiting") {
    Running executor;
    Stock stock(*executor, 100);
    CHECK(run(*executor, stock.take(60)) == kOk);
    Cancel cancel;
    Pending<Status> large = begin(*executor, stock.take(100, &cancel));
    a_moment();
    Pending<Status> small = begin(*executor, stock.take(10));
    a_moment();
    CHECK_FALSE(small.done());
    cancel.request();
    CHECK(large.get() == Status(EINTR));
    CHECK(small.get() == kOk);
}

TEST_CASE("a stock gives out what there is, and whoever wants more waits") {
    Running executor;
    Stock stock(*executor, 100);
    CHECK(run(*executor, stock.take(60)) == kOk);
    CHECK(run(*executor, stock.take(40)) == kOk);
    Cancel cancel;
    Pending<Status> large = begin(*executor, stock.take(50));
    Pending<Status> small = begin(*executor, stock.take(1));
    Pending<Status> cancelled = begin(*executor, stock.take(1, &cancel));
    a_moment();
    CHECK_FALSE(large.done());
    CHECK_FALSE(small.done());
    cancel.request();
    CHECK(cancelled.get() == Status(EINTR));
    stock.give_back(40);  // enough for the small one, but the other came first
    a_moment();
    CHECK_FALSE(small.done());
    stock.give_back(60);
    CHECK(large.get() == kOk);
    CHECK(small.get() == kOk);
    stock.give_back(51);
    // More than there is at all is all of it.
    CHECK(run(*executor, stock.take(1000)) == kOk);
    CHECK_FALSE(begin(*executor, stock.take(1, &cancel)).get().good());
    stock.give_back(1000);
    { Stock::Guard guard((static_cast<void>(run(*executor, stock.take(100))), stock), 100); }
    CHECK(run(*executor, stock.take(100)) == kOk);
}
