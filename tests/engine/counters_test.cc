#include "engine/counters.h"

#include <thread>
#include <vector>

#include "catch.h"

using namespace dmfs;

TEST_CASE("requests of all threads are counted together") {
    Counters counters;
    std::vector<std::thread> threads;
    for (int t = 0; t < 6; t++)
        threads.emplace_back([&] {
            for (int i = 0; i < 1000; i++) {
                Bio bio;
                bio.op = i % 2 == 0 ? Op::read : Op::write;
                bio.count = 3;
                counters.begin(bio.op);
                counters.end(bio, i % 10 == 0 ? Status(EIO) : kOk);
            }
            counters.begin(Op::discard);
        });
    for (std::thread& thread : threads) thread.join();
    Counters::Totals totals = counters.totals();
    CHECK(totals.requests[0] == 3000);
    CHECK(totals.requests[1] == 3000);
    CHECK(totals.errors[0] == 600);
    CHECK(totals.errors[1] == 0);
    CHECK(totals.sectors[0] == 2400 * 3);
    CHECK(totals.in_flight(Op::read) == 0);
    CHECK(totals.in_flight(Op::discard) == 6);
}
