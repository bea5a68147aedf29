// The exceptions in memory against a plain map, and how much memory they take.

#include "targets/snapshot/exceptions.h"

#include <map>
#include <random>

#include "catch.h"

using namespace dmfs::snapshot;

namespace {

void compare(const Exceptions& exceptions, const std::map<Chunk, Chunk>& model, Chunk most) {
    REQUIRE(exceptions.size() == model.size());
    for (Chunk chunk = 0; chunk <= most; chunk++) {
        auto found = model.find(chunk);
        std::optional<Chunk> mine = exceptions.find(chunk);
        REQUIRE(mine.has_value() == (found != model.end()));
        if (mine) REQUIRE(*mine == found->second);
    }
    std::map<Chunk, Chunk> all;
    exceptions.each([&](const Entry& entry) { all[entry.old_chunk] = entry.new_chunk; });
    REQUIRE(all == model);
}

}  // namespace

TEST_CASE("exceptions are found as in a map, while they come and go") {
    uint64_t seed = std::random_device()();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    for (Chunk most : {7u, 300u, 5000u}) {
        Exceptions exceptions;
        std::map<Chunk, Chunk> model;
        CHECK(exceptions.empty());
        for (int step = 0; step < 20000; step++) {
            Chunk chunk = random() % (most + 1);
            // More come than go, then more go than come.
            bool insert = random() % 100 < (step < 10000 ? 70 : 30);
            if (insert)
                REQUIRE(exceptions.insert({chunk, random() % 1000}) == model.emplace(chunk, 0).second);
            else
                REQUIRE(exceptions.erase(chunk) == (model.erase(chunk) == 1));
            if (insert) model[chunk] = *exceptions.find(chunk);
            if (step % 4000 == 0) compare(exceptions, model, most);
        }
        compare(exceptions, model, most);
        exceptions.clear();
        CHECK(exceptions.empty());
        CHECK_FALSE(exceptions.find(1));
    }
}

TEST_CASE("an exception takes less than 24 bytes of memory, however many there are") {
    uint64_t seed = std::random_device()();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    for (int kind = 0; kind < 3; kind++) {  // one after another, dense, anywhere
        Exceptions exceptions;
        double worst = 0;
        for (Chunk i = 0; i < 400000; i++) {
            Chunk chunk = kind == 0 ? i : kind == 1 ? random() % 600000 : random() >> 10;
            exceptions.insert({chunk, i + 2});
            if (exceptions.size() >= 20000)
                worst = std::max(
                    worst, static_cast<double>(exceptions.bytes()) / static_cast<double>(exceptions.size()));
        }
        CHECK(worst < 24);
    }
    Exceptions reserved;
    reserved.reserve(1000000);
    for (Chunk i = 0; i < 1000000; i++) reserved.insert({random() >> 10, i + 2});
    CHECK(static_cast<double>(reserved.bytes()) / static_cast<double>(reserved.size()) < 24);
}
