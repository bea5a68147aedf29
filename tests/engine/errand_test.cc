#include "engine/errand.h"

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
    Pending<Status> held = begin(*executor, until_killed(*executor, device.io(flush_bio()), nullptr));
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
    Pending<Status> work = begin(*executor, until_killed(*executor, device.io(flush_bio()), &cancel));
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
    Pending<Status> work = begin(*executor, until_killed(*executor, device.io(flush_bio()), &meanwhile));
    Pending<Status> other = begin(*executor, until_killed(*executor, device.io(flush_bio()), &before));
    CHECK(other.get() == Status(EINTR));
    CHECK_FALSE(work.done());
    meanwhile.request();
    CHECK(work.get() == Status(EINTR));
    CHECK(executor->running() == 2);
    device.let_go();
    CHECK(soon([&] { return executor->running() == 0; }));
}
