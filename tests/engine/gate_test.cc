#include "engine/gate.h"

#include <thread>

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

TEST_CASE("an open gate lets in and counts") {
    Running executor;
    Gate gate(*executor);
    CHECK(gate.enter());
    CHECK(gate.enter());
    CHECK(gate.inside() == 2);
    CHECK_FALSE(gate.closed());
    gate.leave();
    gate.leave();
    CHECK(gate.inside() == 0);
}

TEST_CASE("a closed gate lets nobody in, and those inside out") {
    Running executor;
    Gate gate(*executor);
    CHECK(gate.enter());
    gate.close();
    CHECK_FALSE(gate.enter());
    CHECK(gate.inside() == 1);
    Pending<Status> drained = begin(*executor, gate.drain(nullptr));
    a_moment();
    CHECK_FALSE(drained.done());
    gate.leave();
    CHECK(drained.get() == kOk);
    gate.open();
    CHECK(gate.enter());
    gate.leave();
}

TEST_CASE("an empty closed gate is drained at once") {
    Running executor;
    Gate gate(*executor);
    gate.close();
    CHECK(run(*executor, gate.drain(nullptr)) == kOk);
}

TEST_CASE("who waits outside goes in when the gate opens") {
    Running executor;
    Gate gate(*executor);
    gate.close();
    Pending<Status> outside = begin(*executor, gate.enter_or_wait(nullptr));
    CHECK(gate.outside() == 1);
    gate.open();
    CHECK(outside.get() == kOk);
    CHECK(gate.inside() == 1);
    CHECK(gate.outside() == 0);
    gate.leave();
}

TEST_CASE("who is cancelled outside is not inside") {
    Running executor;
    Gate gate(*executor);
    gate.close();
    Cancel cancel;
    Pending<Status> outside = begin(*executor, gate.enter_or_wait(&cancel));
    cancel.request();
    CHECK(outside.get() == Status(EINTR));
    CHECK(gate.inside() == 0);
    CHECK(gate.outside() == 0);
}

TEST_CASE("a drain can be cancelled") {
    Running executor;
    Gate gate(*executor);
    CHECK(gate.enter());
    gate.close();
    Cancel cancel;
    Pending<Status> drained = begin(*executor, gate.drain(&cancel));
    cancel.request();
    CHECK(drained.get() == Status(EINTR));
    CHECK(gate.inside() == 1);
    gate.open();
    gate.leave();
}

TEST_CASE("those who are turned away do not get in") {
    Running executor;
    Gate gate(*executor);
    gate.close();
    Pending<Status> outside = begin(*executor, gate.enter_or_wait(nullptr));
    gate.turn_away(Status(EIO));
    CHECK(outside.get() == Status(EIO));
    CHECK(gate.inside() == 0);
}

TEST_CASE("nobody is inside a gate that was closed and drained") {
    Running executor;
    Gate gate(*executor);
    std::atomic<bool> stop{false};
    std::atomic<int> inside{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; i++)
        threads.emplace_back([&] {
            while (!stop) {
                if (!gate.enter()) {
                    if (run(*executor, gate.enter_or_wait(nullptr)) != kOk) break;
                }
                inside++;
                inside--;
                gate.leave();
            }
        });
    bool alone = true;
    for (int round = 0; round < 500; round++) {
        gate.close();
        alone = alone && run(*executor, gate.drain(nullptr)) == kOk;
        for (int look = 0; look < 20; look++) alone = alone && inside == 0 && gate.inside() == 0;
        gate.open();
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    CHECK(alone);
    CHECK(gate.inside() == 0);
}
