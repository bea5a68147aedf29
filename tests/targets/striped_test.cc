#include <random>

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

// The naive model: deals the row's chunks out one after the other.
struct Deal {
    struct Place {
        size_t leg;
        Sector sector;
    };
    std::vector<Place> places;

    Deal(size_t legs, Sector chunk, Sector length, const std::vector<Sector>& starts) {
        std::vector<Sector> next = starts;
        size_t leg = 0;
        while (places.size() < length) {
            for (Sector s = 0; s < chunk; s++) places.push_back({leg, next[leg]++});
            leg = (leg + 1) % legs;
        }
    }
};

struct Stripes {
    Running executor;
    FakeSource source{*executor};
    std::vector<FakeDevice*> legs;
    std::vector<Sector> starts;
    Sector chunk, length;
    std::atomic<int> events{0};
    std::shared_ptr<Table> table;

    Stripes(size_t count, Sector chunk_sectors, Sector chunks_each, std::vector<Sector> leg_starts)
        : starts(std::move(leg_starts)), chunk(chunk_sectors), length(count * chunk_sectors * chunks_each) {
        std::string text =
            "0 " + std::to_string(length) + " striped " + std::to_string(count) + " " + std::to_string(chunk);
        for (size_t i = 0; i < count; i++) {
            std::string name = "leg" + std::to_string(i);
            legs.push_back(&source.add(name, starts[i] + chunk * chunks_each + 3, i + 1));
            text += " " + name + " " + std::to_string(starts[i]);
        }
        table = source.table(text, [this] { events++; });
    }
    Status io(Bio bio) { return run(*executor, table->io(bio)); }
    std::string status() const { return table->rows()[0].target->status(StatusKind::info); }
};

}  // namespace

TEST_CASE("stripes of any number and chunk lie where chunks dealt out in turn lie") {
    std::mt19937 random(1);
    for (size_t legs : {1, 2, 3, 5, 8})
        for (Sector chunk : {1, 3, 8, 7, 64}) {
            INFO(legs << " legs, chunk " << chunk);
            std::vector<Sector> starts;
            for (size_t i = 0; i < legs; i++) starts.push_back(random() % 20);
            Stripes stripes(legs, chunk, 4, starts);
            Deal deal(legs, chunk, stripes.length, starts);
            Memory memory(bytes_of(stripes.length));
            REQUIRE(stripes.io(bio_of(Op::read, 0, stripes.length, &memory)) == kOk);
            for (Sector s = 0; s < stripes.length; s++)
                REQUIRE(stamped(memory.data() + bytes_of(s), deal.places[s].leg + 1, deal.places[s].sector));
            for (int i = 0; i < 20; i++) {
                Sector at = random() % stripes.length, count = 1 + random() % (stripes.length - at);
                for (Sector s = 0; s < count; s++)
                    stamp(memory.data() + bytes_of(s), 100, at + s + static_cast<Sector>(i) * 10000);
                REQUIRE(stripes.io(bio_of(Op::write, at, count, &memory)) == kOk);
                for (Sector s = 0; s < count; s++) {
                    auto [leg, sector] = deal.places[at + s];
                    REQUIRE(
                        stamped(stripes.legs[leg]->at(sector), 100, at + s + static_cast<Sector>(i) * 10000));
                }
            }
        }
}

TEST_CASE("a discard of stripes is one request for each leg's share, and exactly its sectors") {
    std::mt19937 random(2);
    for (Op op : {Op::discard, Op::write_zeroes})
        for (size_t legs : {1, 2, 3, 5})
            for (Sector chunk : {1, 3, 8}) {
                std::vector<Sector> starts;
                for (size_t i = 0; i < legs; i++) starts.push_back(i * 2);
                Stripes stripes(legs, chunk, 5, starts);
                Deal deal(legs, chunk, stripes.length, starts);
                for (int i = 0; i < 40; i++) {
                    Sector from = random() % stripes.length,
                           end = from + 1 + random() % (stripes.length - from);
                    for (FakeDevice* leg : stripes.legs) leg->forget();
                    REQUIRE(stripes.io(bio_of(op, from, end - from)) == kOk);
                    for (size_t leg = 0; leg < legs; leg++) {
                        Sector low = UINT64_MAX, high = 0, count = 0;
                        for (Sector s = from; s < end; s++) {
                            if (deal.places[s].leg != leg) continue;
                            low = std::min(low, deal.places[s].sector);
                            high = std::max(high, deal.places[s].sector + 1);
                            count++;
                        }
                        std::vector<FakeDevice::Seen> wanted;
                        if (count > 0) wanted.push_back({op, low, count, false});
                        REQUIRE((count == 0 || high - low == count));
                        REQUIRE(stripes.legs[leg]->seen() == wanted);
                    }
                }
            }
}

TEST_CASE("a leg that failed is marked, and only that leg") {
    Stripes stripes(3, 8, 2, {0, 0, 0});
    CHECK(stripes.status() == "3 leg0 leg1 leg2 1 AAA");
    stripes.legs[1]->fail(Op::write, EIO);
    Memory memory(bytes_of(24));
    CHECK(stripes.io(bio_of(Op::write, 0, 8, &memory)) == kOk);
    CHECK(stripes.status() == "3 leg0 leg1 leg2 1 AAA");
    CHECK(stripes.events == 0);
    CHECK(stripes.io(bio_of(Op::write, 0, 24, &memory)) == Status(EIO));
    CHECK(stripes.status() == "3 leg0 leg1 leg2 1 ADA");
    CHECK(stripes.events == 1);
    CHECK(stripes.io(bio_of(Op::read, 0, 24, &memory)) == kOk);  // it is used again
    CHECK(stripes.status() == "3 leg0 leg1 leg2 1 ADA");
}

TEST_CASE("a leg's failures raise fourteen events and no more") {
    Stripes stripes(2, 8, 2, {0, 0});
    Memory memory(kSectorBytes);
    stripes.legs[0]->fail(Op::read, EIO);
    for (int i = 1; i <= 20; i++) {
        CHECK(stripes.io(bio_of(Op::read, 0, 1, &memory)) == Status(EIO));
        CHECK(stripes.events == std::min(i, 14));
    }
    stripes.legs[1]->fail(Op::read, EIO);
    CHECK(stripes.io(bio_of(Op::read, 8, 1, &memory)) == Status(EIO));
    CHECK(stripes.events == 15);
}

TEST_CASE("failures that come later are noted too") {
    Stripes stripes(2, 8, 2, {0, 0});
    Memory memory(bytes_of(16));
    stripes.legs[1]->fail(Op::read, EIO);
    stripes.legs[1]->hold();
    Pending<Status> reading = begin(*stripes.executor, stripes.table->io(bio_of(Op::read, 0, 16, &memory)));
    CHECK(stripes.status() == "2 leg0 leg1 1 AA");
    stripes.legs[1]->let_go();
    CHECK(reading.get() == Status(EIO));
    CHECK(stripes.status() == "2 leg0 leg1 1 AD");
}

TEST_CASE("what a leg cannot do, and what was interrupted, is no failure of the leg") {
    Stripes stripes(2, 8, 2, {0, 0});
    stripes.legs[0]->fail(Op::discard, EOPNOTSUPP);
    CHECK(stripes.io(bio_of(Op::discard, 0, 32)) == Status(EOPNOTSUPP));
    Memory memory(kSectorBytes);
    stripes.legs[0]->fail(Op::read, EINTR);
    CHECK(stripes.io(bio_of(Op::read, 0, 1, &memory)) == Status(EINTR));
    CHECK(stripes.status() == "2 leg0 leg1 1 AA");
    CHECK(stripes.events == 0);
}

TEST_CASE("a failure counts for every leg on that device") {
    Running executor;
    FakeSource source(*executor);
    FakeDevice& a = source.add("a", 64);
    source.add("b", 64);
    auto table = source.table("0 96 striped 3 8 a 0 b 0 a 32");
    Memory memory(bytes_of(8));
    a.fail(Op::read, EIO);
    CHECK(run(*executor, table->io(bio_of(Op::read, 0, 8, &memory))) == Status(EIO));
    CHECK(table->rows()[0].target->status(StatusKind::info) == "3 a b a 1 DAD");
}

TEST_CASE("striped prints its table, and its measure") {
    Stripes stripes(2, 8, 2, {5, 7});
    Target& target = *stripes.table->rows()[0].target;
    CHECK(target.status(StatusKind::table) == "2 8 leg0 5 leg1 7");
    CHECK(target.status(StatusKind::measure) ==
          "stripes=2,chunk_size=8,stripe_0_device_name=leg0,stripe_0_physical_start=5,stripe_0_status=A,"
          "stripe_1_device_name=leg1,stripe_1_physical_start=7,stripe_1_status=A;");
}

TEST_CASE("striped refuses what does not add up") {
    Running executor;
    FakeSource source(*executor);
    source.add("a", 4096);
    for (const char* words :
         {"", "2", "2 8", "0 8", "2 0 a 0 a 16", "x 8 a 0 a 16", "2 8 a 0", "2 8 a 0 a", "2 8 a 0 a 16 a",
          "2 8 a 0 a 16 a 32", "2 5 a 0 a 16", "3 8 a 0 a 16 a 32", "2 -8 a 0 a 16", "4294967296 8 a 0",
          "4294967295 8 a 0", "2 4294967296 a 0 a 0", "16 2 a 0", "2 8 a 0 a 4089", "2 32 a 0 a 0"}) {
        INFO(words);
        try {
            source.table(std::string("0 32 striped ") + words);
            FAIL("taken");
        } catch (const Refused& refused) {
            CHECK(refused.error() == EINVAL);
            CHECK(refused.reason().starts_with("striped: "));
        }
    }
    CHECK(source.table("0 32 striped 2 8 a 0 a 16")->size() == 32);
    CHECK(source.table("0 32 striped 2 16 a 0 a 4080")->size() == 32);
}

TEST_CASE("a chunk that does not divide is answered with those that do") {
    Running executor;
    FakeSource source(*executor);
    source.add("a", 4096);
    try {
        source.table("0 6144 striped 2 100 a 0 a 0");
        FAIL("taken");
    } catch (const Refused& refused) {
        CHECK(refused.remedy() == "a divisor of 3072, such as 96 or 128");
    }
}

TEST_CASE("extents of stripes tell of every sector what its leg tells") {
    std::mt19937 random(3);
    for (int round = 0; round < 200; round++) {
        size_t legs = 1 + random() % 4;
        Sector chunk = 1 + random() % 5, chunks = 1 + random() % 6;
        std::vector<Sector> starts;
        for (size_t i = 0; i < legs; i++) starts.push_back(random() % 4);
        Stripes stripes(legs, chunk, chunks, starts);
        Deal deal(legs, chunk, stripes.length, starts);
        for (FakeDevice* leg : stripes.legs) {
            std::vector<Extent> extents;
            for (Sector at = 0; at < leg->size();) {
                at = std::min<Sector>(leg->size(), at + 1 + random() % 12);
                extents.push_back({extents.empty() ? random() % 2 == 0 : !extents.back().data, at});
            }
            leg->set_extents(extents);
        }
        for (Sector at = 0; at < stripes.length;) {
            Extent extent = extent_of(*stripes.table, at);
            REQUIRE(extent.end > at);
            REQUIRE(extent.end <= stripes.length);
            auto data_at = [&](Sector s) {
                return extent_of(*stripes.legs[deal.places[s].leg], deal.places[s].sector).data;
            };
            for (Sector s = at; s < extent.end; s++) REQUIRE(data_at(s) == extent.data);
            if (extent.end < stripes.length) REQUIRE(data_at(extent.end) != extent.data);
            at = extent.end;
        }
    }
}

TEST_CASE("striped explains each chunk, and reverse finds every sector again") {
    Running executor;
    FakeSource source(*executor);
    FakeDevice& a = source.add("a", 1000);
    source.add("b", 1000);
    auto table = source.table("0 90 striped 3 10 a 5 b 7 a 200");
    Target& target = *table->rows()[0].target;
    std::string text;
    target.explain(Op::read, 5, 30, [&](const Step& step) {
        text += step.device->name() + " " + std::to_string(step.start) + "+" + std::to_string(step.count) +
                " " + step.note + ";";
    });
    CHECK(text ==
          "a 10+5 chunk 0, stripe 0;b 7+10 chunk 1, stripe 1;a 200+10 chunk 2, stripe 2;a 15+5 chunk 3, "
          "stripe 0;");
    std::vector<Sector> found(90, 0);
    target.reverse(a, 0, 1000, [&](const Run& run) {
        for (Sector i = 0; i < run.count; i++) found[run.at + i] = run.start + i;
    });
    for (Sector at = 0; at < 90; at++)
        target.explain(Op::read, at, 1,
                       [&](const Step& step) { CHECK(found[at] == (step.device == &a ? step.start : 0)); });
}
