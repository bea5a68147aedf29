#include "engine/errand.h"

#include <latch>

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

TEST_CASE("work that is done at once, or that nobody can kill, is the work itself") {
    Running executor;
    Cancel cancel;
    Task<Status> done = until_killed(*executor, Task<Status>::ready(Status(EIO)), &cancel);
    REQUIRE(done.is_ready());
    CHECK(std::move(done).value() == Status(EIO));
    FakeDevice device(*executor, "d", 8);
    device.hold();
    Pending<Status> held = begin(*executor, until_killed(*executor, device.io(Bio::flush()), nullptr));
    CHECK(soon([&] { return device.held() == 1; }));
    device.let_go();
    CHECK(held.get() == kOk);
}

TEST_CASE("work answers with its own result when nobody is killed") {
    Running executor;
    Cancel cancel;
    FakeDevice device(*executor, "d", 8);
    device.fail(Op::flush, EIO);
    device.hold();
    Pending<Status> work = begin(*executor, until_killed(*executor, device.io(Bio::flush()), &cancel));
    CHECK(soon([&] { return device.held() == 1; }));
    CHECK_FALSE(work.done());
    device.let_go();
    CHECK(work.get() == Status(EIO));
}

TEST_CASE("who is killed goes at once, and the work goes on to its end") {
    Running executor;
    Cancel before, meanwhile;
    before.request();
    FakeDevice device(*executor, "d", 8);
    device.hold();
    Pending<Status> work = begin(*executor, until_killed(*executor, device.io(Bio::flush()), &meanwhile));
    Pending<Status> other = begin(*executor, until_killed(*executor, device.io(Bio::flush()), &before));
    CHECK(other.get() == Status(EINTR));
    CHECK_FALSE(work.done());
    meanwhile.request();
    CHECK(work.get() == Status(EINTR));
    CHECK(soon([&] { return executor->running() == 2; }));  // who waited ends a moment after the answer
    device.let_go();
    CHECK(soon([&] { return executor->running() == 0; }));
}

TEST_CASE("work for which others wait is done by no thread that has to take their end") {
    Running executor;
    executor->allow_inline(1);
    bool turn = true;
    std::function<Task<Outcome>(Cancel*)> begin = [&](Cancel*) {
        turn = bool(InlineTurn(*executor));
        return Task<Outcome>::ready(Outcome());
    };
    Cancel cancel;
    CHECK(run(*executor, control_errand(*executor, begin, &cancel)));
    CHECK_FALSE(turn);
    CHECK(run(*executor, control_errand(*executor, begin, nullptr)));
    CHECK(turn);
}

TEST_CASE("a call aside runs on another thread, and may refuse") {
    Running executor;
    executor->allow_blocking(2);
    auto where = std::make_shared<std::thread::id>();
    std::function<void()> looks = [where] { *where = std::this_thread::get_id(); };
    CHECK(run(*executor, aside(*executor, looks, nullptr)));
    CHECK(*where != std::thread::id());
    CHECK(*where != std::this_thread::get_id());
    std::function<void()> refuses = [] { throw Refused(ENXIO, "no"); };
    Cancel cancel;
    Outcome outcome = run(*executor, aside(*executor, refuses, &cancel));
    REQUIRE_FALSE(outcome);
    CHECK(outcome.why().error() == ENXIO);
}

TEST_CASE("who waits for a call that hangs can be killed, and what the call has goes when it ends") {
    Running executor;
    executor->allow_blocking(2);
    auto held = std::make_shared<int>(7);
    std::weak_ptr<int> kept = held;
    auto inside = std::make_shared<std::latch>(1), end = std::make_shared<std::latch>(1);
    Cancel cancel;
    std::function<void()> hangs = [inside, end, has = std::move(held)] {
        inside->count_down();
        end->wait();
    };
    Pending<Outcome> waiting(*executor, aside(*executor, std::move(hangs), &cancel));
    inside->wait();
    CHECK_FALSE(waiting.done());
    cancel.request();
    Outcome killed = waiting.get();
    REQUIRE_FALSE(killed);
    CHECK(killed.why().error() == EINTR);
    CHECK_FALSE(kept.expired());
    end->count_down();
    CHECK(soon([&] { return kept.expired(); }));
}
