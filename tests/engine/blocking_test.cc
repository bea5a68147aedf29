#include "engine/blocking.h"

#include <latch>

#include "engine/errand.h"
#include "engine/support.h"

namespace dmfs {

using namespace test;

namespace {

Task<Status> hang(Blocking& blocking, std::latch& inside, std::latch& end) {
    Blocking::Enter enter = blocking.enter();
    co_await enter;
    inside.count_down();
    end.wait();
    co_return kOk;
}

Task<Status> name_threads(Blocking& blocking, std::thread::id* first, std::thread::id* second) {
    Blocking::Enter enter = blocking.enter();
    co_await enter;
    *first = std::this_thread::get_id();
    co_await enter;
    *second = std::this_thread::get_id();
    co_return kOk;
}

}  // namespace

TEST_CASE("calls that hang keep nobody else from theirs, and who waits for one can be killed") {
    Blocking blocking(8);
    std::latch inside(7), end(1);
    Running executor;
    std::vector<std::unique_ptr<Cancel>> cancels;
    std::vector<Pending<Status>> waiting;
    for (int i = 0; i < 7; i++) {
        cancels.push_back(std::make_unique<Cancel>());
        waiting.emplace_back(*executor,
                             until_killed(*executor, hang(blocking, inside, end), cancels.back().get()));
    }
    inside.wait();
    std::thread::id first, second;
    CHECK(run(*executor, name_threads(blocking, &first, &second)) == kOk);
    CHECK(first != std::this_thread::get_id());
    CHECK(first == second);
    CHECK(blocking.busy() >= 7);
    for (auto& cancel : cancels) cancel->request();
    for (const Pending<Status>& each : waiting) CHECK(each.get() == Status(EINTR));
    end.count_down();
}

TEST_CASE("beyond the most threads, who enters waits for one") {
    Blocking blocking(1);
    std::latch inside(1), end(1), other(1), go(0);
    Running executor;
    executor->spawn(hang(blocking, inside, end));
    inside.wait();
    executor->spawn(hang(blocking, other, go));
    CHECK(blocking.busy() == 2);
    CHECK_FALSE(other.try_wait());
    end.count_down();
    other.wait();
}

TEST_CASE("where no thread can be made, who enters waits for one that is there, or stays") {
    Blocking blocking(2);
    std::thread::id first, second;
    Running executor;
    {
        NoThreads none;
        CHECK(run(*executor, name_threads(blocking, &first, &second)) == kOk);
        CHECK(first == std::this_thread::get_id());
    }
    std::latch inside(1), end(1), other(1), go(0);
    executor->spawn(hang(blocking, inside, end));
    inside.wait();
    {
        NoThreads none;
        executor->spawn(hang(blocking, other, go));
    }
    CHECK(blocking.busy() == 2);
    end.count_down();
    other.wait();
}

TEST_CASE("without threads, entering changes nothing") {
    Blocking blocking(0);
    std::thread::id first, second;
    Task<Status> task = name_threads(blocking, &first, &second);
    task.start();
    CHECK(task.is_done());
    CHECK(first == std::this_thread::get_id());
}

}  // namespace dmfs
