// delay: three classes, what is held and counted, who is let go.

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

constexpr const char* kHour = "3600000";

struct Delayed {
    Running executor{make_pool_executor(4)};
    FakeSource source{*executor};
    FakeDevice& a = source.add("a", 100, 1);
    FakeDevice& b = source.add("b", 100, 2);
    FakeDevice& c = source.add("c", 100, 3);
    Memory memory{bytes_of(8)};

    static Target& target(Table& table) { return *table.rows()[0].target; }
    static std::string status(Table& table) { return target(table).status(StatusKind::info); }
};

}  // namespace

TEST_CASE("delay without a delay hands on at once, each class to its device") {
    Delayed d;
    auto table = d.source.table("0 16 delay a 1 0 b 2 0 c 3 0");
    Bio write = bio_of(Op::write, 4, 2, &d.memory);
    write.fua = true;
    for (const Bio& bio : {bio_of(Op::read, 4, 2, &d.memory), write, bio_of(Op::discard, 0, 16),
                           bio_of(Op::write_zeroes, 1, 1), Bio::flush()}) {
        Task<Status> task = table->io(bio);
        REQUIRE(task.is_ready());
        CHECK(std::move(task).value() == kOk);
    }
    CHECK(d.a.seen() == std::vector<FakeDevice::Seen>{{Op::read, 5, 2, false}});
    CHECK(d.b.seen() == std::vector<FakeDevice::Seen>{{Op::write, 6, 2, true},
                                                      {Op::discard, 2, 16, false},
                                                      {Op::write_zeroes, 3, 1, false}});
    CHECK(d.c.seen() == std::vector<FakeDevice::Seen>{{Op::flush, 0, 0, false}});
}

TEST_CASE("delay with one triple serves all classes, with two the flush as a write") {
    Delayed d;
    Memory& memory = d.memory;
    auto one = d.source.table("0 16 delay a 1 0");
    for (const Bio& bio : {bio_of(Op::read, 0, 1, &memory), bio_of(Op::write, 0, 1, &memory), Bio::flush()})
        CHECK(run(*d.executor, one->io(bio)) == kOk);
    CHECK(d.a.seen().size() == 3);
    d.a.forget();
    auto two = d.source.table("0 16 delay a 1 0 b 2 0");
    for (const Bio& bio : {bio_of(Op::read, 0, 1, &memory), bio_of(Op::write, 0, 1, &memory), Bio::flush()})
        CHECK(run(*d.executor, two->io(bio)) == kOk);
    CHECK(d.a.seen() == std::vector<FakeDevice::Seen>{{Op::read, 1, 1, false}});
    CHECK(d.b.seen() == std::vector<FakeDevice::Seen>{{Op::write, 2, 1, false}, {Op::flush, 0, 0, false}});
}

TEST_CASE("a delayed request goes on at its time, not before, on every executor") {
    for (const std::string& name : executor_names()) {
        Running executor(make_executor(name));
        FakeSource source(*executor);
        source.add("a", 100);
        auto table = source.table("0 16 delay a 0 30 a 0 60 a 0 0");
        Memory memory(kSectorBytes);
        for (auto [op, ms] : {std::pair{Op::read, 30}, {Op::write, 60}, {Op::discard, 60}}) {
            int64_t begin = executor->now_ns();
            CHECK(run(*executor, table->io(bio_of(op, 0, 1, &memory))) == kOk);
            CHECK(executor->now_ns() - begin >= ms * int64_t{1'000'000});
        }
        int64_t begin = executor->now_ns();
        CHECK(run(*executor, table->io(Bio::flush())) == kOk);
        CHECK(executor->now_ns() - begin < int64_t{10'000'000'000});
    }
}

TEST_CASE("delay counts what it holds by class, and a suspend lets go of it") {
    Delayed d;
    auto table = d.source.table("0 16 delay a 0 3600000 b 0 3600000 c 0 4294967295");
    CHECK(Delayed::status(*table) == "0 0 0");
    std::vector<Pending<Status>> held;
    for (const Bio& bio : {bio_of(Op::read, 0, 1, &d.memory), bio_of(Op::write, 0, 1, &d.memory),
                           bio_of(Op::discard, 0, 1), bio_of(Op::write_zeroes, 0, 1), Bio::flush()})
        held.push_back(begin(*d.executor, table->io(bio)));
    CHECK(Delayed::status(*table) == "1 3 1");
    CHECK(d.a.seen().size() + d.b.seen().size() + d.c.seen().size() == 0);
    table->presuspend();
    for (Pending<Status>& each : held) CHECK(each.get() == kOk);
    CHECK(Delayed::status(*table) == "0 0 0");
    CHECK(d.a.count(Op::read) == 1);
    CHECK(d.b.seen().size() == 3);
    CHECK(d.c.count(Op::flush) == 1);
    // Until it is resumed, or the suspend is called off, nothing is held.
    CHECK(run(*d.executor, table->io(Bio::flush())) == kOk);
    for (bool undo : {true, false}) {
        undo ? table->presuspend_undo() : table->resume();
        Pending<Status> again = begin(*d.executor, table->io(Bio::flush()));
        CHECK(Delayed::status(*table) == "0 0 1");
        table->presuspend();
        CHECK(again.get() == kOk);
    }
}

TEST_CASE("who is killed leaves a delay with EINTR, and nothing is done for it") {
    Delayed d;
    auto table = d.source.table(std::string("0 16 delay a 0 ") + kHour);
    Cancel cancel;
    Pending<Status> killed = begin(*d.executor, table->io(bio_of(Op::write, 0, 1, &d.memory, &cancel)));
    Pending<Status> other = begin(*d.executor, table->io(bio_of(Op::write, 1, 1, &d.memory)));
    cancel.request();
    CHECK(killed.get() == Status(EINTR));
    CHECK_FALSE(other.done());
    CHECK(soon([&] { return Delayed::status(*table) == "0 1 0"; }));
    table->presuspend();
    CHECK(other.get() == kOk);
    CHECK(d.a.seen() == std::vector<FakeDevice::Seen>{{Op::write, 1, 1, false}});
}

TEST_CASE("ten thousand requests are held at once") {
    for (const std::string& name : executor_names()) {
        Running executor(make_executor(name));
        FakeSource source(*executor);
        FakeDevice& a = source.add("a", 100);
        auto table = source.table("0 16 delay a 0 300");
        std::vector<Pending<Status>> held;
        for (int i = 0; i < 10'000; i++)
            held.push_back(begin(*executor, table->io(bio_of(Op::discard, 0, 1))));
        for (Pending<Status>& each : held) CHECK(each.get() == kOk);
        CHECK(a.seen().size() == 10'000);
        CHECK(Delayed::status(*table) == "0 0 0");
    }
}

TEST_CASE("the table of a volume goes while requests are held by it: they go on first") {
    Running executor;
    Namespace space(*executor);
    FakeSource source(*executor, &space);
    FakeDevice& a = source.add("a", 100, 1);
    std::shared_ptr<Volume> v = space.create("v");
    REQUIRE(run(*executor, v->replace(source.table("0 16 delay a 0 3600000"), nullptr)));
    Memory memory(kSectorBytes);
    Pending<Status> held = begin(*executor, v->io(bio_of(Op::read, 0, 1, &memory)));
    REQUIRE(run(*executor, v->replace(source.table("0 16 zero"), nullptr)));
    CHECK(held.get() == kOk);
    CHECK(stamped(memory.data(), 1, 0));
    CHECK(a.count(Op::read) == 1);
}

TEST_CASE("a mount that ends waits for no delay") {
    Running executor;
    Namespace space(*executor);
    FakeSource source(*executor, &space);
    source.add("a", 100, 1);
    std::shared_ptr<Volume> v = space.create("v");
    REQUIRE(run(*executor, v->replace(source.table("0 16 delay a 0 3600000"), nullptr)));
    Memory memory(kSectorBytes);
    Pending<Status> held = begin(*executor, v->io(bio_of(Op::read, 0, 1, &memory)));
    v->end_waits();
    CHECK(held.get() == kOk);
    CHECK(run(*executor, v->io(Bio::flush())) == kOk);
}

TEST_CASE("delay prints as many triples as were given") {
    Delayed d;
    for (const char* words : {"a 1 2", "a 1 2 b 3 4", "a 1 2 b 3 4 c 5 4294967295", "a 1 2 a 1 2"}) {
        auto table = d.source.table(std::string("0 16 delay ") + words);
        CHECK(Delayed::target(*table).status(StatusKind::table) == words);
        CHECK(Delayed::target(*table).status(StatusKind::measure).empty());
    }
    CHECK(Delayed::target(*d.source.table("0 16 delay a 01 002")).status(StatusKind::table) == "a 1 2");
}

TEST_CASE("delay refuses what is no triple, and points at it") {
    Delayed d;
    auto refusal = [&](const std::string& words) {
        try {
            d.source.table("0 16 delay " + words);
        } catch (const Refused& refused) {
            return refused.place().source.substr(refused.place().column, refused.place().length);
        }
        return std::string("taken");
    };
    CHECK(refusal("").empty());
    CHECK(refusal("a 0") == "a");
    CHECK(refusal("a 0 1 b") == "b");
    CHECK(refusal("a 0 1 b 0") == "b");
    CHECK(refusal("a 0 1 b 0 1 c 0") == "c");
    CHECK(refusal("a 0 1 b 0 1 c 0 1 d") == "d");
    CHECK(refusal("a x 1") == "x");
    CHECK(refusal("a 0 -1") == "-1");
    CHECK(refusal("a 0 1ms") == "1ms");
    CHECK(refusal("a 0 4294967296") == "4294967296");
    CHECK(refusal("a 90 1") == "90");
    CHECK(refusal("a 0 1 b 85 1") == "85");
    CHECK(refusal("a 0 1 nobody 0 1") == "nobody");
}

TEST_CASE("delay shows what a request waits for, and the way back of reads and writes") {
    Delayed d;
    auto table = d.source.table("0 16 delay a 10 0 b 20 500 c 0 7");
    auto steps = [&](Op op, Sector at, Sector count) {
        std::string text;
        Delayed::target(*table).explain(op, at, count, [&](const Step& step) {
            text += step.device->name() + " " + std::to_string(step.start) + "+" +
                    std::to_string(step.count) + " " + step.note + ";";
        });
        return text;
    };
    CHECK(steps(Op::read, 3, 4) == "a 13+4 ;");
    CHECK(steps(Op::write, 3, 4) == "b 23+4 after 500 ms;");
    CHECK(steps(Op::flush, 0, 0) == "c 0+0 after 7 ms;");
    auto runs = [&](const FakeDevice& device) {
        std::string text;
        Delayed::target(*table).reverse(device, 0, 22, [&](const Run& run) {
            text += std::to_string(run.at) + "+" + std::to_string(run.count) + "@" +
                    std::to_string(run.start) + ";";
        });
        return text;
    };
    CHECK(runs(d.a) == "0+12@10;");
    CHECK(runs(d.b) == "0+2@20;");
    CHECK(runs(d.c).empty());
    d.a.set_extents({{false, 15}, {true, 100}});
    CHECK_FALSE(extent_of(*table, 0).data);
    CHECK(extent_of(*table, 0).end == 5);
    size_t devices = 0;
    Delayed::target(*d.source.table("0 16 delay a 0 1 a 0 2 a 4 3"))
        .each_device([&](Device&, Sector, Sector) { devices++; });
    CHECK(devices == 2);
}

TEST_CASE("a request that waited at a suspended volume is delayed when the volume is resumed") {
    for (int round = 0; round < 50; round++) {
        Delayed d;
        Namespace space(*d.executor);
        auto volume = space.create("v");
        std::shared_ptr<Table> table = d.source.table(std::string("0 16 delay a 1 ") + kHour);
        REQUIRE(run(*d.executor, volume->replace(table, nullptr)));
        REQUIRE(run(*d.executor, volume->suspend(false, nullptr)));
        Pending<Status> read = begin(*d.executor, volume->io(bio_of(Op::read, 0, 1, &d.memory)));
        REQUIRE(run(*d.executor, volume->resume(false, nullptr)));
        auto until = std::chrono::steady_clock::now() + kPatience;
        while (Delayed::status(*table) != "1 0 0" && !read.done() && std::chrono::steady_clock::now() < until)
            std::this_thread::yield();
        CHECK(!read.done());
        REQUIRE(run(*d.executor, volume->suspend(false, nullptr)));
        CHECK(read.get() == kOk);
        REQUIRE(remove(*volume, false));
    }
}
