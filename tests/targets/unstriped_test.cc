#include <random>

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

// The naive model: the sectors of the device that belong to one leg, in their order.
std::vector<Sector> leg_of(Sector stripes, Sector chunk, Sector index, Sector start, Sector length) {
    std::vector<Sector> places;
    for (Sector row = 0; places.size() < length; row++)
        for (Sector s = 0; s < chunk; s++) places.push_back(start + (row * stripes + index) * chunk + s);
    return places;
}

struct Leg {
    Running executor;
    FakeSource source{*executor};
    FakeDevice* device;
    std::vector<Sector> places;
    std::shared_ptr<Table> table;

    Leg(Sector stripes, Sector chunk, Sector index, Sector start, Sector chunks)
        : places(leg_of(stripes, chunk, index, start, chunk * chunks)) {
        device = &source.add("a", std::max(places.back() + 3, start + chunk * chunks), 1);
        table = source.table("0 " + std::to_string(places.size()) + " unstriped " + std::to_string(stripes) +
                             " " + std::to_string(chunk) + " " + std::to_string(index) + " a " +
                             std::to_string(start));
    }
    Status io(Bio bio) { return run(*executor, table->io(bio)); }
    Target& target() const { return *table->rows()[0].target; }
};

}  // namespace

TEST_CASE("unstriped finds the chunks of one leg, and no other sector") {
    std::mt19937 random(1);
    for (Sector stripes : {1, 2, 3, 5})
        for (Sector chunk : {1, 7, 8, 24}) {
            Sector index = random() % (stripes + 1), start = random() % 20;
            INFO(stripes << " stripes, chunk " << chunk << ", index " << index << ", start " << start);
            Leg leg(stripes, chunk, index, start, 5);
            Sector length = leg.places.size();
            Memory memory(bytes_of(length));
            REQUIRE(leg.io(bio_of(Op::read, 0, length, &memory)) == kOk);
            for (Sector s = 0; s < length; s++)
                REQUIRE(stamped(memory.data() + bytes_of(s), 1, leg.places[s]));
            for (int i = 0; i < 20; i++) {
                Op op = i % 2 == 0 ? Op::write : Op::write_zeroes;
                Sector at = random() % length, count = 1 + random() % (length - at);
                std::vector<std::byte> wanted(leg.device->at(0),
                                              leg.device->at(0) + bytes_of(leg.device->size()));
                for (Sector s = 0; s < count; s++) {
                    std::byte* sector = memory.data() + bytes_of(s);
                    stamp(sector, 2 + static_cast<uint64_t>(i), s);
                    if (op == Op::write_zeroes) memset(sector, 0, kSectorBytes);
                    memcpy(wanted.data() + bytes_of(leg.places[at + s]), sector, kSectorBytes);
                }
                REQUIRE(leg.io(bio_of(op, at, count, &memory)) == kOk);
                REQUIRE(memcmp(wanted.data(), leg.device->at(0), wanted.size()) == 0);
            }
        }
}

TEST_CASE("unstriped undoes striped") {
    Running executor;
    Namespace space(*executor);
    FakeSource source(*executor, &space);
    for (size_t i = 0; i < 3; i++) source.add("leg" + std::to_string(i), 64, i);
    std::shared_ptr<Volume> set = space.create("set");
    CHECK(load(*set, source.table("0 96 striped 3 8 leg0 0 leg1 3 leg2 0")));
    CHECK(run(*executor, set->resume(false, nullptr)));
    for (size_t i = 0; i < 3; i++) {
        auto table = source.table("0 32 unstriped 3 8 " + std::to_string(i) + " set 0");
        Memory memory(bytes_of(32));
        CHECK(run(*executor, table->io(bio_of(Op::read, 0, 32, &memory))) == kOk);
        for (Sector s = 0; s < 32; s++) CHECK(stamped(memory.data() + bytes_of(s), i, i == 1 ? s + 3 : s));
    }
}

TEST_CASE("unstriped passes no flush on, and refuses discards") {
    Leg leg(2, 8, 0, 0, 4);
    CHECK(leg.io(Bio::flush()) == kOk);
    CHECK(leg.io(bio_of(Op::discard, 0, 16)) == Status(EOPNOTSUPP));
    CHECK(leg.device->seen().empty());
    CHECK_FALSE(leg.table->limits().discard());
    CHECK_FALSE(leg.table->limits().write_zeroes);
}

TEST_CASE("unstriped prints its table and nothing else") {
    Leg leg(2, 8, 2, 5, 4);
    CHECK(leg.target().status(StatusKind::table) == "2 8 2 a 5");
    CHECK(leg.target().status(StatusKind::info) == "");
    CHECK(leg.target().status(StatusKind::measure) == "");
}

TEST_CASE("unstriped refuses what does not add up") {
    Running executor;
    FakeSource source(*executor);
    source.add("a", 4096);
    for (const char* words :
         {"", "2 8 0 a", "2 8 0 a 0 0", "0 8 0 a 0", "x 8 0 a 0", "2 0 0 a 0", "2 x 0 a 0", "2 8 x a 0",
          "2 8 3 a 0", "2 8 -1 a 0", "2 8 0 a x", "2 8 0 a 4065", "2 5 0 a 0", "2 8 0 missing 0",
          "4294967296 8 0 a 0", "2 4294967296 0 a 0", "1 8 4294967296 a 0"}) {
        INFO(words);
        try {
            source.table(std::string("0 32 unstriped ") + words);
            FAIL("taken");
        } catch (const Refused& refused) {
            CHECK(refused.error() == EINVAL);
            CHECK(refused.reason().starts_with("unstriped: "));
            CHECK(refused.place().line == 1);
        }
    }
    CHECK(source.table("0 32 unstriped 2 8 2 a 4064")->size() == 32);
    CHECK(source.table("0 32 unstriped 1 8 99 a 0")->size() == 32);
}

TEST_CASE("chunks of unstriped that lie nowhere fail") {
    Running executor;
    FakeSource source(*executor);
    FakeDevice& a = source.add("a", 4096);
    Memory memory(bytes_of(8));
    // Beyond the device, and beyond 64 bits.
    for (const char* words : {"2 8 0", "1 8 4294967295", "4294967295 4096 4294967294"}) {
        INFO(words);
        auto table = source.table(std::string("0 4096 unstriped ") + words + " a 0");
        for (Op op : {Op::read, Op::write, Op::write_zeroes})
            CHECK(run(*executor, table->io(bio_of(op, 4088, 8, &memory))) == Status(EIO));
        CHECK(a.seen().empty());  // a file would grow
        CHECK(extent_of(*table, 4088).data);
        CHECK(extent_of(*table, 4088).end == 4096);
    }
}

TEST_CASE("extents of unstriped tell of every sector what the device tells") {
    std::mt19937 random(2);
    for (int round = 0; round < 200; round++) {
        Sector stripes = 1 + random() % 4;
        Leg leg(stripes, 1 + random() % 5, random() % (stripes + 1), random() % 4, 1 + random() % 6);
        std::vector<Extent> extents;
        for (Sector at = 0; at < leg.device->size();) {
            at = std::min<Sector>(leg.device->size(), at + 1 + random() % 12);
            extents.push_back({extents.empty() ? random() % 2 == 0 : !extents.back().data, at});
        }
        leg.device->set_extents(extents);
        for (Sector at = 0; at < leg.places.size();) {
            Extent extent = extent_of(*leg.table, at);
            REQUIRE(extent.end > at);
            REQUIRE(extent.end <= leg.places.size());
            for (Sector s = at; s < extent.end; s++)
                REQUIRE(extent_of(*leg.device, leg.places[s]).data == extent.data);
            at = extent.end;
        }
    }
}

TEST_CASE("unstriped explains each chunk, and reverse finds every sector again") {
    Leg leg(3, 10, 1, 5, 4);
    std::string text;
    leg.target().explain(Op::read, 5, 10, [&](const Step& step) {
        text += std::to_string(step.at) + "+" + std::to_string(step.count) + " " + step.device->name() + " " +
                std::to_string(step.start) + " " + step.note + ";";
    });
    CHECK(text ==
          "5+5 a 20 chunk 0, which is chunk 1 of the stripes;10+5 a 45 chunk 1, which is chunk 4 of the "
          "stripes;");
    std::mt19937 random(3);
    for (int round = 0; round < 200; round++) {
        Sector from = random() % 150, count = 1 + random() % 150;
        std::vector<std::pair<Sector, Sector>> wanted, found;
        for (Sector s = 0; s < leg.places.size(); s++)
            if (leg.places[s] >= from && leg.places[s] < from + count) wanted.emplace_back(s, leg.places[s]);
        leg.target().reverse(*leg.device, from, count, [&](const Run& run) {
            for (Sector i = 0; i < run.count; i++) found.emplace_back(run.at + i, run.start + i);
        });
        REQUIRE(found == wanted);
    }
    leg.target().reverse(*leg.device, 0, UINT64_MAX, [](const Run&) {});
}
