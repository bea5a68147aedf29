#include "cli/top_rates.h"

#include "catch.h"

using namespace dmfs;
using namespace dmfs::cli;

namespace {

constexpr const char* kTitles =
    "reads sectors_read read_errors writes sectors_written write_errors discards sectors_discarded flushes "
    "write_zeroes sectors_zeroed\n";

Sample sample(int64_t seconds, const std::string& name, VolumeCounters counters) {
    Sample one;
    one.at_ns = seconds * 1'000'000'000;
    one.volumes[name] = counters;
    return one;
}

}  // namespace

TEST_CASE("counters are found by their headings") {
    VolumeCounters found = parse_counters(std::string(kTitles) + "1 2 3 4 5 6 7 8 9 10 11\n", "12 13 14\n");
    CHECK(found.reads == 1);
    CHECK(found.sectors_read == 2);
    CHECK(found.writes == 4);
    CHECK(found.sectors_written == 5);
    CHECK(found.errors == 9);
    CHECK(found.others == 7 + 9 + 10);
    CHECK(found.reads_in_flight == 12);
    CHECK(found.writes_in_flight == 13);
    CHECK(found.parked == 14);
    CHECK(parse_counters("", "").reads == 0);
}

TEST_CASE("rates are what was counted, by the time between") {
    VolumeCounters before, after;
    before.reads = 100, after.reads = 300;
    before.sectors_read = 800, after.sectors_read = 2400;
    after.writes = 7;
    after.reads_in_flight = 2, after.writes_in_flight = 1, after.parked = 4;
    std::vector<Rates> rates = rates_between(sample(10, "v", before), sample(12, "v", after));
    REQUIRE(rates.size() == 1);
    CHECK(rates[0].reads == Approx(100));
    CHECK(rates[0].bytes_read == Approx(1600 * 512 / 2));
    CHECK(rates[0].writes == Approx(3.5));
    CHECK(rates[0].in_flight == 3);
    CHECK(rates[0].parked == 4);
    CHECK_FALSE(rates[0].latency);
    CHECK_FALSE(rates[0].utilisation);
}

TEST_CASE("a volume that was made anew, or is new, has no rate below 0") {
    VolumeCounters before, after;
    before.reads = 1000, after.reads = 10;
    CHECK(rates_between(sample(1, "v", before), sample(2, "v", after))[0].reads == Approx(10));
    CHECK(rates_between(sample(1, "other", before), sample(2, "v", before))[0].reads == 0);
    CHECK(rates_between(sample(1, "v", before), sample(1, "v", before))[0].reads == 0);  // no time between
}

TEST_CASE("latency and utilisation come from dm's statistics") {
    // As the kernel prints it with precise timestamps.
    std::optional<RegionCounters> first =
        parse_region("0+8192 10 0 80 1000000 5 0 40 500000 0 1200000 1500000 9 9\n");
    std::optional<RegionCounters> second =
        parse_region("0+8192 20 0 160 6000000 5 0 40 500000 1 501200000 6500000 9 9\n");
    REQUIRE((first && second));
    CHECK(first->requests == 15);
    CHECK(first->waited_ns == 1500000);
    VolumeCounters before, after;
    before.region = first, after.region = second;
    Rates rates = rates_between(sample(1, "v", before), sample(2, "v", after))[0];
    REQUIRE(rates.latency);
    CHECK(*rates.latency == Approx(0.0005));  // 5 ms for 10 requests
    CHECK(*rates.utilisation == Approx(0.5));
    // Nothing was asked: there is no mean.
    CHECK_FALSE(rates_between(sample(1, "v", after), sample(2, "v", after))[0].latency);
    CHECK_FALSE(parse_region(""));
    CHECK_FALSE(parse_region("0+8192 1 2 3\n"));
}

TEST_CASE("regions are found in a list") {
    std::vector<ListedRegion> regions =
        parse_regions("0: 0+8192 8192 dmfs-top 12.345 precise_timestamps\n7: 8+8 8 - -\nnonsense\n");
    REQUIRE(regions.size() == 2);
    CHECK(regions[0].id == 0);
    CHECK(regions[0].program == "dmfs-top");
    CHECK(regions[0].aux == "12.345");
    CHECK(regions[1].id == 7);
}

TEST_CASE("the busiest come first, the unknown last") {
    std::vector<Rates> rates(3);
    rates[0].name = "a", rates[0].reads = 1;
    rates[1].name = "b", rates[1].writes = 5, rates[1].latency = 0.5;
    rates[2].name = "c", rates[2].reads = 3, rates[2].latency = 0.7;
    sort_rates(rates, SortKey::busy);
    CHECK(rates[0].name == "b");
    sort_rates(rates, SortKey::latency);
    CHECK(rates[0].name == "c");
    CHECK(rates[2].name == "a");
    sort_rates(rates, SortKey::name);
    CHECK(rates[0].name == "a");
    CHECK(parse_sort_key("write-mb") == SortKey::write_bytes);
    CHECK_THROWS_AS(parse_sort_key("colour"), Refused);
    SortKey key = SortKey::busy;
    for (int i = 0; i < 10; i++) key = next_of(key);
    CHECK(key == SortKey::busy);
}

TEST_CASE("lines fit their heading and the terminal") {
    Rates rates;
    rates.name = "a volume of a name that is much longer than the room there is for it";
    rates.reads = 123456, rates.writes = 0.5, rates.bytes_read = 9.99e9, rates.latency = 0.00012,
    rates.utilisation = 1;
    size_t width = name_width_of({rates}, 80, false);
    std::string line = rates_line(rates, width, false);
    CHECK(line.size() - 2 == 80);  // the ellipsis is one character of three bytes
    CHECK(rates_heading(width).size() == 80);
    CHECK(line.find("123k") != std::string::npos);
    CHECK(line.find("120us") != std::string::npos);
    CHECK(line.find("100%") != std::string::npos);
    // In plain lines a name is one word.
    rates.name = "two words\n";
    CHECK(rates_line(rates, 10, true).starts_with("two\\ words\\\\x0a "));
}
