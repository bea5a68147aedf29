#include "parts/sector_ranges.h"

#include <random>
#include <set>

#include "catch.h"

using namespace dmfs;

TEST_CASE("ranges that touch become one") {
    SectorRanges ranges;
    ranges.add(10, 20);
    ranges.add(30, 40);
    CHECK(ranges.size() == 2);
    SectorRanges::Ranges::iterator joined = ranges.add(20, 30);
    CHECK(joined->first == 10);
    CHECK(joined->second == 40);
    CHECK(ranges.size() == 1);
    CHECK(ranges.overlap(39, 50));
    CHECK_FALSE(ranges.overlap(40, 50));
    CHECK_FALSE(ranges.overlap(0, 10));
}

TEST_CASE("the smaller gap beside a range is closed") {
    SectorRanges ranges;
    ranges.add(0, 10);
    ranges.add(12, 20);
    SectorRanges::Ranges::iterator last = ranges.add(30, 40);
    ranges.close_gap_beside(last);
    CHECK(ranges.size() == 2);
    CHECK(ranges.overlap(25, 26));
    CHECK_FALSE(ranges.overlap(10, 12));
}

TEST_CASE("ranges know the sectors that were added, and no others") {
    constexpr unsigned kSeed = 1, kRounds = 2000, kSectors = 200;
    std::mt19937 random(kSeed);
    SectorRanges ranges;
    std::set<Sector> added;
    for (unsigned round = 0; round < kRounds; round++) {
        if (round % 40 == 0) {
            ranges.clear();
            added.clear();
        }
        const Sector from = random() % kSectors, end = from + 1 + random() % 6;
        ranges.add(from, end);
        for (Sector at = from; at < end; at++) added.insert(at);
        const Sector start = random() % kSectors, until = start + 1 + random() % 9;
        const auto first = added.lower_bound(start);
        REQUIRE(ranges.overlap(start, until) == (first != added.end() && *first < until));
    }
    size_t runs = 0;
    for (Sector at : added) runs += !added.contains(at - 1);
    CHECK(ranges.size() == runs);
}
