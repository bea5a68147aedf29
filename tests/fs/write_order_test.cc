#include "fs/write_order.h"

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::fs;
using namespace dmfs::test;

using Turn = WriteOrder::Turn;

TEST_CASE("writes of whole blocks do not wait for each other") {
    Running executor;
    WriteOrder order(*executor);
    Turn one, other;
    CHECK(order.take_whole(0, 4096, &one, nullptr).is_ready());
    CHECK(order.take_whole(0, 4096, &other, nullptr).is_ready());
    order.give_back(0, 4096, one);
    order.give_back(0, 4096, other);
}

TEST_CASE("a write of a part waits for those before it, and those behind it wait for their range only") {
    Running executor;
    WriteOrder order(*executor);
    Turn whole, part, near, far;
    REQUIRE(order.take_whole(0, 512, &whole, nullptr).is_ready());
    auto waits = begin(*executor, order.take_part(512, 1024, &part, nullptr));
    a_moment();
    CHECK_FALSE(waits.done());  // it can't know where the write inside the gate is
    order.give_back(0, 512, whole);
    CHECK(waits.get());
    CHECK(run(*executor, order.take_whole(2048, 4096, &far, nullptr)));
    auto overlaps = begin(*executor, order.take_whole(0, 4096, &near, nullptr));
    a_moment();
    CHECK_FALSE(overlaps.done());
    order.give_back(2048, 4096, far);
    order.give_back(512, 1024, part);
    CHECK(overlaps.get());
    order.give_back(0, 4096, near);
    // Nobody writes a part any more: the gate is open again.
    CHECK(order.take_whole(0, 4096, &whole, nullptr).is_ready());
    CHECK(whole == Turn::gate);
    order.give_back(0, 4096, whole);
}

TEST_CASE("a write of a part that is cancelled leaves the gate open") {
    Running executor;
    WriteOrder order(*executor);
    Turn whole, part;
    REQUIRE(order.take_whole(0, 512, &whole, nullptr).is_ready());
    Cancel cancel;
    auto waits = begin(*executor, order.take_part(0, 512, &part, &cancel));
    a_moment();
    cancel.request();
    CHECK(waits.get() == Status(EINTR));
    order.give_back(0, 512, whole);
    REQUIRE(order.take_whole(0, 512, &whole, nullptr).is_ready());
    CHECK(whole == Turn::gate);
    order.give_back(0, 512, whole);
}
