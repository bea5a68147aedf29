// linear, zero and error: one place each.

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

TEST_CASE("linear hands every operation on to its place of the device") {
    Running executor;
    FakeSource source(*executor);
    FakeDevice& a = source.add("a", 100, 1);
    auto table = source.table("0 16 linear a 10");
    Memory memory(bytes_of(4));
    Bio write = bio_of(Op::write, 3, 4, &memory);
    write.fua = true;
    for (const Bio& bio : {bio_of(Op::read, 0, 4, &memory), write, Bio::flush(), bio_of(Op::discard, 1, 15),
                           bio_of(Op::write_zeroes, 0, 16)})
        CHECK(run(*executor, table->io(bio)) == kOk);
    CHECK(a.seen() == std::vector<FakeDevice::Seen>{{Op::read, 10, 4, false},
                                                    {Op::write, 13, 4, true},
                                                    {Op::flush, 0, 0, false},
                                                    {Op::discard, 11, 15, false},
                                                    {Op::write_zeroes, 10, 16, false}});
}

TEST_CASE("linear passes the errors of its device on") {
    Running executor;
    FakeSource source(*executor);
    FakeDevice& a = source.add("a", 100, 1);
    auto table = source.table("0 16 linear a 10");
    a.fail(Op::discard, EOPNOTSUPP);
    a.fail(Op::read, ENOSPC);
    Memory memory(kSectorBytes);
    CHECK(run(*executor, table->io(bio_of(Op::discard, 0, 1))) == Status(EOPNOTSUPP));
    CHECK(run(*executor, table->io(bio_of(Op::read, 0, 1, &memory))) == Status(ENOSPC));
}

TEST_CASE("linear prints its device and start, and nothing as status") {
    Running executor;
    FakeSource source(*executor);
    source.add("a b", 100);
    auto table = source.table("0 16 linear a\\ b 010");
    Target& target = *table->rows()[0].target;
    CHECK(target.status(StatusKind::table) == "a\\ b 10");
    CHECK(target.status(StatusKind::info) == "");
    CHECK(target.status(StatusKind::measure) == "device_name=a\\ b,start=10;");
}

TEST_CASE("zero reads as zeros and swallows the rest") {
    Running executor;
    FakeSource source(*executor);
    auto table = source.table("0 16 zero");
    Memory memory(bytes_of(16));
    memset(memory.data(), 0xff, memory.bytes());
    CHECK(run(*executor, table->io(bio_of(Op::write, 0, 16, &memory))) == kOk);
    Bio bio = bio_of(Op::read, 3, 2, &memory);
    bio.offset = bytes_of(4);
    CHECK(run(*executor, table->io(bio)) == kOk);
    CHECK(memory.data()[bytes_of(4) - 1] == std::byte{0xff});
    CHECK(all_zero(memory.data() + bytes_of(4), bytes_of(2)));
    CHECK(memory.data()[bytes_of(6)] == std::byte{0xff});
    for (Op op : {Op::flush, Op::discard, Op::write_zeroes})
        CHECK(run(*executor, table->io(bio_of(op, 0, 16))) == kOk);
    CHECK_FALSE(extent_of(*table, 5).data);
    CHECK(extent_of(*table, 5).end == 16);
}

TEST_CASE("error fails everything but a flush") {
    Running executor;
    FakeSource source(*executor);
    FakeDevice& a = source.add("a", 100);
    for (const char* text : {"0 16 error", "0 16 error some words here", "0 16 error a 4"}) {
        auto table = source.table(text);
        Memory memory(kSectorBytes);
        for (Op op : {Op::read, Op::write, Op::discard, Op::write_zeroes})
            CHECK(run(*executor, table->io(bio_of(op, 0, 1, &memory))) == Status(EIO));
        CHECK(run(*executor, table->io(Bio::flush())) == kOk);
        CHECK(extent_of(*table, 0).data);
        CHECK(table->rows()[0].target->status(StatusKind::table) == "");
    }
    CHECK(a.seen().empty());
    CHECK(source.table("0 16 error a 4")->devices().size() == 1);
    CHECK_THROWS_AS(source.table("0 16 error a 85"), Refused);
    CHECK_THROWS_AS(source.table("0 16 error b 0"), Refused);
}

TEST_CASE("every target has a name, a version and a maker, once") {
    const TargetRegistry& registry = target_registry();
    for (const TargetType& type : registry.types) {
        CHECK(registry.find(type.name) == &type);
        CHECK(type.make != nullptr);
        CHECK(type.name.size() < 16);
    }
    CHECK(registry.find("nonsense") == nullptr);
    CHECK(registry.find("") == nullptr);
}

TEST_CASE("linear, error and zero explain where a request goes, and linear the way back") {
    Running executor;
    FakeSource source(*executor);
    FakeDevice& a = source.add("a", 100);
    auto table = source.table("0 16 linear a 10\n16 16 zero\n32 16 error");
    auto steps = [&](size_t row, Op op, Sector at, Sector count) {
        std::string text;
        table->rows()[row].target->explain(op, at, count, [&](const Step& step) {
            text += (step.device != nullptr ? step.device->name() : "-") + " " + std::to_string(step.start) +
                    "+" + std::to_string(step.count) + " " + step.note + ";";
        });
        return text;
    };
    CHECK(steps(0, Op::read, 3, 4) == "a 13+4 ;");
    CHECK(steps(0, Op::flush, 0, 0) == "a 0+0 ;");
    CHECK(steps(1, Op::read, 3, 4) == "- 0+4 zeros;");
    CHECK(steps(1, Op::write, 3, 4) == "- 0+4 kept nowhere;");
    CHECK(steps(2, Op::write, 3, 4) == "- 0+4 fails with EIO;");
    std::string runs;
    table->rows()[0].target->reverse(a, 20, 100, [&](const Run& run) {
        runs +=
            std::to_string(run.at) + "+" + std::to_string(run.count) + "@" + std::to_string(run.start) + ";";
    });
    CHECK(runs == "10+6@20;");
}
