#include "fs/cache_drops.h"

#include <atomic>
#include <latch>

#include "base/log.h"
#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::fs;
using namespace dmfs::test;

TEST_CASE("a drop that hangs holds its own volume only, and who waits for it can be killed") {
    Running executor;
    std::latch inside(1), end(1);
    std::atomic<int> calls = 0;
    CacheDrops drops(*executor, [&](uint64_t volume) {
        if (volume == 1 && calls++ == 0) {
            inside.count_down();
            end.wait();
        }
    });
    Cancel killed;
    auto hangs = begin(*executor, drops.drop(1, &killed));
    inside.wait();
    CHECK(run(*executor, drops.drop(2, nullptr)) == kOk);
    auto behind = begin(*executor, drops.drop(1, nullptr));
    killed.request();
    CHECK(hangs.get() == Status(EINTR));
    CHECK_FALSE(behind.done());
    end.count_down();
    CHECK(behind.get() == kOk);
    CHECK(calls == 2);  // the first began before it was asked
}

TEST_CASE("a drop for which there is no thread is refused, and the next one is made") {
    Running executor;
    std::atomic<int> calls = 0;
    CacheDrops drops(*executor, [&](uint64_t) { calls++; });
    log_to_stderr(false);
    {
        NoThreads none;
        CHECK(run(*executor, drops.drop(1, nullptr)) == Status(EAGAIN));
    }
    log_to_stderr(true);
    CHECK(run(*executor, drops.drop(1, nullptr)) == kOk);
    CHECK(calls == 1);
}

TEST_CASE("at the end of a mount nobody waits for a drop") {
    Running executor;
    std::latch inside(1), end(1);
    CacheDrops drops(*executor, [&](uint64_t) {
        inside.count_down();
        end.wait();
    });
    auto hangs = begin(*executor, drops.drop(1, nullptr));
    inside.wait();
    while (!hangs.done()) drops.end_waits();
    CHECK(hangs.get() == Status(EIO));
    CHECK_FALSE(drops.stop(std::chrono::milliseconds(1)));
    end.count_down();
    CHECK(drops.stop(std::chrono::seconds(60)));
}
