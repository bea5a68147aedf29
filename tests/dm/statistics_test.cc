// Regions, areas and their counters. (The messages' words and texts are compared with
// the kernel's by scenarios; here are the times, and what runs at once.)

#include "dm/statistics.h"

#include <thread>

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

struct Counted {
    explicit Counted(Executor& executor) : source(executor) {
        source.add("a", 1000);
        table = source.table("0 128 linear a 0");
    }
    WatchedRequest request(Op op, Sector sector, Sector count, int64_t began_ns) {
        return {bio_of(op, sector, count), *table, 1, began_ns, 0, {}};
    }

    FakeSource source;
    std::shared_ptr<Table> table;
};

constexpr int64_t kLater = 3600'000'000'000;  // behind any region's making

}  // namespace

TEST_CASE("time under way, queued time and latencies are what they were") {
    Running executor;
    Counted counted(*executor);
    Statistics statistics(*executor);
    statistics.create({.start = 0, .end = 128, .step = 64, .precise = true, .boundaries = {100, 200}});
    int64_t t = executor->now_ns() + kLater;
    WatchedRequest one = counted.request(Op::read, 0, 8, t), two = counted.request(Op::read, 60, 8, t + 50);
    statistics.begun(one);
    statistics.begun(two);
    one.ended_ns = t + 150;
    two.ended_ns = t + 250;
    statistics.ended(one);
    statistics.ended(two);
    // Area 0: one under way for 150, the other for 200, in 250; area 1: 200. (The clock
    // of the print is before both, so it adds nothing.)
    CHECK(statistics.print(0, 0, 10, false) ==
          "0+64 2 0 12 350 0 0 0 0 0 250 350 250 0 0:1:1\n64+64 1 0 4 200 0 0 0 0 0 200 200 200 0 0:0:1\n");
}

TEST_CASE("a look that comes late counts no time twice") {
    Running executor;
    Counted counted(*executor);
    Statistics statistics(*executor);
    statistics.create({.start = 0, .end = 128, .step = 128, .precise = true});
    int64_t t = executor->now_ns() + kLater;
    WatchedRequest one = counted.request(Op::read, 0, 8, t);
    statistics.begun(one);
    statistics.print(0, 0, 1, false);  // an hour before the request began
    one.ended_ns = t + 150;
    statistics.ended(one);
    CHECK(statistics.print(0, 0, 1, false) == "0+128 1 0 8 150 0 0 0 0 0 150 150 150 0\n");
}

TEST_CASE("a request that begins where the last of its direction ended is merged") {
    Running executor;
    Counted counted(*executor);
    Statistics statistics(*executor);
    statistics.create({.start = 0, .end = 128, .step = 128});
    int64_t t = executor->now_ns() + kLater;
    auto done = [&](Op op, Sector sector, Sector count) {
        WatchedRequest request = counted.request(op, sector, count, t);
        statistics.begun(request);
        request.ended_ns = t;
        statistics.ended(request);
    };
    done(Op::read, 0, 8);
    done(Op::read, 8, 8);    // merged
    done(Op::write, 16, 8);  // another direction
    done(Op::write, 24, 8);  // merged
    done(Op::read, 32, 8);
    done(Op::discard, 40, 8);  // counts as a write
    done(Op::flush, 0, 0);     // counts nowhere
    CHECK(statistics.print(0, 0, 1, false) == "0+128 3 1 24 0 3 1 24 0 0 0 0 0 0\n");
}

TEST_CASE("what was under way before a region was made is not its own") {
    Running executor;
    Counted counted(*executor);
    Statistics statistics(*executor);
    WatchedRequest early = counted.request(Op::read, 0, 8, executor->now_ns() - 1000);
    statistics.create({.start = 0, .end = 128, .step = 128});
    early.ended_ns = executor->now_ns();
    statistics.ended(early);
    CHECK(statistics.print(0, 0, 1, false) == "0+128 0 0 0 0 0 0 0 0 0 0 0 0 0\n");
}

TEST_CASE("clearing keeps what is under way") {
    Running executor;
    Counted counted(*executor);
    Statistics statistics(*executor);
    statistics.create({.start = 0, .end = 128, .step = 128, .precise = true});
    int64_t t = executor->now_ns() + kLater;
    WatchedRequest request = counted.request(Op::write, 0, 8, t);
    statistics.begun(request);
    statistics.clear(0);
    CHECK(statistics.print(0, 0, 1, false).starts_with("0+128 0 0 0 0 0 0 0 0 1 "));
    request.ended_ns = t + 10;
    statistics.ended(request);
    CHECK(statistics.print(0, 0, 1, true).starts_with("0+128 0 0 0 0 1 0 8 10 0 "));
    CHECK(statistics.print(0, 0, 1, false).starts_with("0+128 0 0 0 0 0 0 0 0 0 "));
}

TEST_CASE("all statistics together take a limited memory, and give it back") {
    Running executor;
    const uint64_t before = Statistics::bytes_in_use();
    {
        Statistics one(*executor), other(*executor);
        one.create({.start = 0, .end = 1 << 16, .step = 1});
        const uint64_t with_one = Statistics::bytes_in_use();
        CHECK(with_one > before + (1 << 16) * 100);
        other.create({.start = 0, .end = 1 << 16, .step = 1, .boundaries = {1, 2}});
        CHECK(Statistics::bytes_in_use() > with_one + (1 << 16) * 124);
        // 8 million areas with 16 buckets each: more than there is for a mount.
        Statistics::Region large{.start = 0, .end = 8388608, .step = 1};
        for (uint64_t bound = 1; bound < 16; bound++) large.boundaries.push_back(bound);
        const uint64_t with_both = Statistics::bytes_in_use();
        try {
            other.create(large);
            FAIL("taken");
        } catch (const Refused& refused) {
            CHECK(refused.error() == ENOMEM);
        }
        CHECK(Statistics::bytes_in_use() == with_both);
        one.remove(0);
        CHECK(Statistics::bytes_in_use() == with_both - (with_one - before));
    }
    CHECK(Statistics::bytes_in_use() == before);
}

TEST_CASE("a print of too many numbers is refused before anything is cleared, its parts are not") {
    Running executor;
    Counted counted(*executor);
    Statistics statistics(*executor);
    statistics.create({.start = 0, .end = 300000, .step = 1, .precise = true});
    WatchedRequest request = counted.request(Op::read, 5, 1, executor->now_ns() + kLater);
    statistics.begun(request);
    request.ended_ns = request.began_ns;
    statistics.ended(request);
    try {
        statistics.print(0, 0, UINT64_MAX, true);
        FAIL("taken");
    } catch (const Refused& refused) {
        CHECK(refused.error() == EOVERFLOW);
    }
    CHECK(statistics.print(0, 5, 1, false).starts_with("5+1 1 "));
    std::string part = statistics.print(0, 0, 3000, true);
    CHECK(std::count(part.begin(), part.end(), '\n') == 3000);
    CHECK(statistics.print(0, 5, 1, false).starts_with("5+1 0 "));
    statistics.clear(0);
    CHECK(statistics.print(0, 300000, 1, false).empty());
}

TEST_CASE("regions come and go while requests run on many threads, and every one is counted") {
    Running executor;
    Counted counted(*executor);
    Namespace space(*executor);
    auto volume = space.create("v");
    REQUIRE(run(*executor, volume->replace(counted.table, nullptr)));
    auto statistics = std::make_shared<Statistics>(*executor);
    volume->watch(statistics);
    uint64_t kept = statistics->create({.start = 0, .end = 128, .step = 1});
    std::atomic<bool> stop{false};
    std::thread changer([&] {
        while (!stop) {
            uint64_t id = statistics->create({.start = 3, .end = 100, .step = 7, .boundaries = {1, 2}});
            statistics->print(id, 0, 100, true);
            statistics->remove(id);
        }
    });
    std::vector<std::thread> clients;
    for (int i = 0; i < 4; i++)
        clients.emplace_back([&] {
            Memory memory(bytes_of(4));
            for (int n = 0; n < 500; n++)
                if (run(*executor, volume->io(bio_of(Op::read, 10, 4, &memory))) != kOk) abort();
        });
    for (std::thread& client : clients) client.join();
    stop = true;
    changer.join();
    std::string line = statistics->print(kept, 10, 1, false);
    CHECK(line.starts_with("10+1 2000 0 2000 "));
    CHECK(split_words(line)[9].text == "0");
    volume->unwatch(*statistics);
    CHECK(volume->watchers()->empty());
}
