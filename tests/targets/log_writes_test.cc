// log-writes: what the log has, and in which order; what replaying it gives.

#include <random>

#include "engine/support.h"
#include "formats/write_log.h"

using namespace dmfs;
using namespace dmfs::test;
using write_log::Record;

namespace {

// A volume's table over the devices d and log, and what both have.
struct World {
    Running executor;
    FakeSource source{*executor};
    FakeDevice& d;
    FakeDevice& log;
    std::shared_ptr<Table> table;

    explicit World(Sector log_sectors = 4096, uint32_t block = 512)
        : d(source.add("d", 64, 1)), log(source.add("log", log_sectors)) {
        d.own_limits().logical_block = block;
        table = source.table("0 64 log-writes d log");
    }
    Target& target() { return *table->rows()[0].target; }
    std::string status() { return target().status(StatusKind::info); }

    Status io(Op op, Sector sector, Sector count, uint64_t tag = 0, bool fua = false) {
        Memory memory(bytes_of(std::max<Sector>(count, 1)));
        for (Sector s = 0; s < count; s++) stamp(memory.data() + bytes_of(s), tag, sector + s);
        Bio bio = bio_of(op, sector, count, &memory);
        bio.fua = fua;
        return run(*executor, table->io(bio));
    }
    void mark(const std::string& text) {
        std::vector<Word> words(2);
        words[0].text = "mark";
        words[1].text = text;
        target().message(words);
        CHECK(run(*executor, target().settled()) == kOk);
    }
    void close() { CHECK(run(*executor, table->close()) == kOk); }

    std::vector<Record> records() {
        std::vector<Record> all;
        write_log::Super super = write_log::decode_super({log.at(0), kSectorBytes});
        write_log::Walk walk(super, bytes_of(log.size()));
        while (walk.more()) all.push_back(walk.take({log.at(0) + walk.at(), super.sectorsize}));
        return all;
    }
    // "write 8+8, flush, mark x": the log in words.
    std::string told() {
        std::string text;
        for (const Record& record : records()) {
            text += (text.empty() ? "" : ", ") + write_log::words_of(record.entry.flags);
            if (record.entry.sectors != 0)
                text +=
                    " " + std::to_string(record.entry.sector) + "+" + std::to_string(record.entry.sectors);
            if (!record.entry.mark.empty()) text += " " + record.entry.mark;
        }
        return text;
    }
};

// What a disk has after the first `entries` of a log.
void repeat(World& world, const Record& record, std::vector<std::byte>& disk) {
    size_t at = bytes_of(record.entry.sector);
    if ((record.entry.flags & write_log::kDiscard) != 0)
        memset(disk.data() + at, 0, bytes_of(record.entry.sectors));
    memcpy(disk.data() + at, world.log.at(0) + record.data_at, record.data_bytes);
}

}  // namespace

TEST_CASE("log-writes logs a write when a flush came, and a FUA write and a mark at once") {
    World world;
    CHECK(world.io(Op::write, 8, 4, 2) == kOk);
    CHECK(world.status() == "0 0");
    CHECK(world.log.seen().empty());
    CHECK(world.io(Op::write, 0, 1, 3, true) == kOk);
    CHECK(world.told() == "write fua 0+1");
    CHECK(world.io(Op::flush, 0, 0) == kOk);
    CHECK(world.io(Op::discard, 16, 8) == kOk);
    world.mark("here");
    CHECK(world.told() == "write fua 0+1, write 8+4, flush, mark here");
    CHECK(world.io(Op::write_zeroes, 32, 2) == kOk);
    world.close();
    CHECK(world.told() ==
          "write fua 0+1, write 8+4, flush, mark here, discard 16+8, write 32+2, mark dm-log-writes-end");
    CHECK(world.d.count(Op::write_zeroes) == 1);
    const Record zeros = world.records()[5];
    CHECK(all_zero(world.log.at(0) + zeros.data_at, zeros.data_bytes));
    CHECK(stamped(world.log.at(0) + world.records()[1].data_at, 2, 8));
}

TEST_CASE("log-writes keeps the order of completion, and a flush takes what was done when it came") {
    World world;
    world.d.hold();
    Memory one(bytes_of(1)), two(bytes_of(1));
    stamp(one.data(), 1, 1);
    stamp(two.data(), 2, 2);
    auto first = begin(*world.executor, world.table->io(bio_of(Op::write, 1, 1, &one)));
    auto flush = begin(*world.executor, world.table->io(Bio::flush()));
    REQUIRE(soon([&] { return world.d.held() == 2; }));
    world.d.let_go();
    CHECK(first.get() == kOk);
    CHECK(flush.get() == kOk);
    world.mark("m");
    CHECK(world.told() == "flush, mark m");
    CHECK(world.io(Op::flush, 0, 0) == kOk);
    world.mark("n");
    CHECK(world.told() == "flush, mark m, write 1+1, flush, mark n");
}

TEST_CASE("log-writes answers a flush when the log has it") {
    World world;
    CHECK(world.io(Op::write, 8, 1, 2) == kOk);
    world.log.hold();
    auto flush = begin(*world.executor, world.table->io(Bio::flush()));
    REQUIRE(soon([&] { return world.log.held() == 1; }));
    CHECK_FALSE(flush.done());
    CHECK(world.io(Op::write, 9, 1, 2) == kOk);  // a write does not wait for the log
    world.log.let_go();
    CHECK(flush.get() == kOk);
    CHECK(world.status() == "2 3");
}

TEST_CASE("log-writes counts in blocks of the device") {
    World world(4096, 4096);
    CHECK(world.status() == "0 7");
    CHECK(world.io(Op::write, 16, 8, 2) == kOk);
    world.close();
    CHECK(world.told() == "write 2+1, mark dm-log-writes-end");
    CHECK(write_log::decode_super({world.log.at(0), 512}).sectorsize == 4096);
    CHECK(stamped(world.log.at(16), 2, 16));
    CHECK(world.status() == "2 31");
}

TEST_CASE("a log that is full ends, and the data are served") {
    World world(8);
    CHECK(world.io(Op::write, 0, 4, 2) == kOk);
    CHECK(world.io(Op::flush, 0, 0) == kOk);
    CHECK(world.status() == "2 6");
    world.mark("no room");  // the last sector is never used
    CHECK(world.status() == "2 7 logging_disabled");
    CHECK(world.io(Op::write, 8, 4, 3) == kOk);
    CHECK(world.io(Op::flush, 0, 0) == kOk);
    world.close();
    CHECK(world.status() == "2 7 logging_disabled");
    CHECK(stamped(world.d.at(8), 3, 8));
}

TEST_CASE("a log that fails ends, and the data are served") {
    World world;
    world.log.fail(Op::write, EIO);
    CHECK(world.io(Op::write, 0, 4, 2) == kOk);
    CHECK(world.io(Op::flush, 0, 0) == kOk);
    CHECK(world.status().ends_with(" logging_disabled"));
    CHECK(world.io(Op::write, 4, 4, 2, true) == kOk);
    CHECK(stamped(world.d.at(4), 2, 4));
}

TEST_CASE("log-writes logs a write that failed or was killed, and not one that was never begun") {
    World world;
    world.d.fail(Op::write, EIO);
    CHECK(world.io(Op::write, 0, 1, 2) == Status(EIO));
    world.d.fail(Op::write, EINTR);
    CHECK(world.io(Op::write, 1, 1, 2) == Status(EINTR));
    CHECK(world.io(Op::write, 3, 1, 2, true) == Status(EINTR));  // of which nobody knows that it is durable
    CHECK(world.status() == "0 0");
    Cancel killed;
    killed.request();
    Memory memory(kSectorBytes);
    CHECK(run(*world.executor, world.table->io(bio_of(Op::write, 4, 1, &memory, &killed))) == Status(EINTR));
    world.d.fail(Op::discard, EOPNOTSUPP);
    CHECK(world.io(Op::discard, 2, 1) == Status(EOPNOTSUPP));
    world.d.fail(Op::flush, EINTR);
    CHECK(world.io(Op::flush, 0, 0) == Status(EINTR));
    CHECK(world.status() == "0 0");
    world.d.fail(Op::flush, EIO);
    CHECK(world.io(Op::flush, 0, 0) == Status(EIO));
    world.mark("m");
    CHECK(world.told() == "write 0+1, write 1+1, write 3+1, flush, mark m");
}

TEST_CASE("log-writes does not subtract the row's start") {
    Running executor;
    FakeSource source(*executor);
    FakeDevice& d = source.add("d", 64, 1);
    source.add("log", 64);
    auto table = source.table("0 8 zero\n8 16 log-writes d log");
    Memory memory(bytes_of(1));
    CHECK(run(*executor, table->io(bio_of(Op::write, 10, 1, &memory))) == kOk);
    CHECK(d.seen().back() == FakeDevice::Seen{Op::write, 10, 1, false});
    CHECK_THROWS_AS(source.table("0 56 zero\n56 16 log-writes d log"), Refused);
}

TEST_CASE("log-writes refuses what is no message and what is no log") {
    World world;
    std::vector<Word> words(1);
    words[0].text = "mark";
    CHECK_THROWS_AS(world.target().message(words), Refused);
    words.resize(2);
    words[0].text = "marks";
    CHECK_THROWS_AS(world.target().message(words), Refused);
    CHECK_THROWS_AS(world.source.table("0 64 log-writes d"), Refused);
    world.log.own_limits().logical_block = 4096;
    CHECK_THROWS_AS(world.source.table("0 64 log-writes d log"), Refused);
}

TEST_CASE("a table that is replaced or removed ends its log; one that never was live does not") {
    Running executor;
    Namespace space(*executor);
    FakeSource source(*executor, &space);
    source.add("d", 64, 1);
    FakeDevice& log = source.add("log", 64);
    std::shared_ptr<Volume> volume = space.create("v");
    CHECK(run(*executor, volume->replace(source.table("0 64 log-writes d log"), nullptr)));
    CHECK(load(*volume, source.table("0 64 log-writes d log")));
    volume->clear();
    CHECK(log.count(Op::write) == 0);
    CHECK(run(*executor, volume->replace(source.table("0 64 linear d 0"), nullptr)));
    CHECK(write_log::decode_super({log.at(0), 512}).entries == 2);  // the flush of the suspend, and the end
    CHECK(run(*executor, volume->replace(source.table("0 64 log-writes d log"), nullptr)));
    log.forget();
    CHECK(remove(*volume, false));
    REQUIRE(soon([&] { return log.count(Op::write) == 2; }));
}

TEST_CASE("who waits for the log can be killed, and the log gets it all the same") {
    World world;
    world.log.hold();
    Cancel flush_killed, write_killed;
    Pending<Status> flush = begin(*world.executor, world.table->io(Bio::flush(&flush_killed)));
    Memory memory(bytes_of(1));
    Bio durable = bio_of(Op::write, 3, 1, &memory, &write_killed);
    durable.fua = true;
    Pending<Status> write = begin(*world.executor, world.table->io(durable));
    a_moment();
    CHECK_FALSE(flush.done());
    CHECK_FALSE(write.done());
    flush_killed.request();
    write_killed.request();
    CHECK(flush.get() == Status(EINTR));
    CHECK(write.get() == Status(EINTR));
    world.log.let_go();
    world.close();
    CHECK(world.told() == "flush, write fua 3+1, mark dm-log-writes-end");
}

TEST_CASE("a swap whose old table cannot end can be killed, and requests go on when it has ended") {
    Running executor;
    Namespace space(*executor);
    FakeSource source(*executor, &space);
    source.add("d", 64, 1);
    FakeDevice& log = source.add("log", 64);
    std::shared_ptr<Volume> volume = space.create("v");
    CHECK(run(*executor, volume->replace(source.table("0 64 log-writes d log"), nullptr)));
    CHECK(run(*executor, volume->suspend(false, nullptr)));
    log.hold();
    Cancel message_killed, swap_killed;
    std::vector<Word> mark(2);
    mark[0].text = "mark";
    mark[1].text = "here";
    std::string answer;
    Pending<Outcome> message = begin(*executor, volume->message(0, mark, &answer, &message_killed));
    CHECK(soon([&] { return log.held() == 1; }));
    message_killed.request();
    CHECK(message.get().why().error() == EINTR);
    Pending<Outcome> swap = begin(*executor, volume->replace(source.table("0 64 linear d 0"), &swap_killed));
    a_moment();
    CHECK_FALSE(swap.done());
    swap_killed.request();
    CHECK(swap.get().why().error() == EINTR);
    Memory memory(bytes_of(1));
    Pending<Status> read = begin(*executor, volume->io(bio_of(Op::read, 3, 1, &memory)));
    Pending<Outcome> next = begin(*executor, volume->suspend(false, nullptr));
    a_moment();
    CHECK_FALSE(read.done());
    CHECK_FALSE(next.done());
    log.let_go();
    CHECK(read.get() == kOk);
    CHECK(next.get());
    CHECK(stamped(memory.data(), 1, 3));
    CHECK(write_log::decode_super({log.at(0), 512}).entries == 3);
    CHECK(run(*executor, volume->resume(false, nullptr)));
}

TEST_CASE("tables that are live at the end are closed from the top down") {
    Running executor;
    FakeSource devices(*executor);
    FakeDevice& d = devices.add("d", 64, 1);
    FakeDevice& log = devices.add("log", 64);
    {
        Namespace space(*executor);
        FakeSource source(*executor, &space);
        // The log is a volume: its table is still needed when the upper one is closed.
        std::shared_ptr<Volume> lower = space.create("a"), upper = space.create("b");
        CHECK(run(*executor, lower->replace(devices.table("0 64 linear log 0"), nullptr)));
        auto open = [&](const std::string& name) { return space.open(space.by_name(name)); };
        struct Both final : DeviceSource {
            std::function<std::shared_ptr<Device>(const std::string&)> open_volume;
            FakeSource* devices = nullptr;
            std::shared_ptr<Device> open_device(const std::string& word, bool writable,
                                                const std::string& folder) override {
                return word == "a" ? open_volume(word) : devices->open_device(word, writable, folder);
            }
        } both;
        both.open_volume = open;
        both.devices = &devices;
        auto table = Table::build("0 64 log-writes d a",
                                  TableSource{*executor, target_registry(), both, "/", true, [] {}});
        CHECK(run(*executor, upper->replace(std::move(table), nullptr)));
        Memory memory(bytes_of(1));
        CHECK(run(*executor, upper->io(bio_of(Op::write, 5, 1, &memory))) == kOk);
        CHECK(run(*executor, lower->suspend(false, nullptr)));
    }
    CHECK(d.count(Op::write) == 1);
    CHECK(write_log::decode_super({log.at(0), 512}).entries == 2);
}

// Random requests, one after the other, against a model: a disk with a cache that writes
// back at a flush, in order, and before a FUA write what it has of the same sectors.
TEST_CASE("replaying a log up to any flush or FUA write gives what the model has there") {
    uint32_t seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    size_t compared_with_device = 0;
    for (int round = 0; round < 20; round++) {
        World world(1 << 16);
        bool with_fua = round % 2 == 0;
        const std::vector<std::byte> before(world.d.at(0), world.d.at(64));
        struct Change {
            Sector sector;
            std::vector<std::byte> data;
        };
        std::vector<Change> cache;
        std::vector<std::byte> durable = before;
        std::vector<std::vector<std::byte>> points, devices;
        auto apply = [&](const Change& change) {
            memcpy(durable.data() + bytes_of(change.sector), change.data.data(), change.data.size());
        };
        for (int step = 0; step < 60; step++) {
            Sector sector = random() % 60, count = 1 + random() % 4;
            Op op = std::vector{Op::flush, Op::discard, Op::write_zeroes, Op::write, Op::write}[random() % 5];
            bool fua = op == Op::write && with_fua && random() % 3 == 0;
            CHECK(world.io(op, sector, op == Op::flush ? 0 : count, random(), fua) == kOk);
            Change change{sector, {world.d.at(sector), world.d.at(sector + count)}};
            if (op == Op::flush) {
                for (const Change& each : cache) apply(each);
                cache.clear();
            } else if (fua) {
                std::vector<bool> below(64);  // what is written before it, and what that covers
                std::fill_n(below.begin() + static_cast<std::ptrdiff_t>(sector), count, true);
                std::vector<Change> first, kept;
                for (; !cache.empty(); cache.pop_back()) {
                    auto from = below.begin() + static_cast<std::ptrdiff_t>(cache.back().sector);
                    auto end = from + static_cast<std::ptrdiff_t>(sectors_in(cache.back().data.size()));
                    bool overlaps = std::find(from, end, true) != end;
                    if (overlaps) std::fill(from, end, true);
                    (overlaps ? first : kept).push_back(cache.back());
                }
                for (; !first.empty(); first.pop_back()) apply(first.back());
                cache.assign(kept.rbegin(), kept.rend());
                apply(change);
            } else {
                cache.push_back(std::move(change));
            }
            if (op != Op::flush && !fua) continue;
            points.push_back(durable);
            devices.emplace_back(world.d.at(0), world.d.at(64));
        }
        world.close();
        std::vector<std::byte> disk = before;
        size_t point = 0;
        for (const Record& record : world.records()) {
            repeat(world, record, disk);
            if ((record.entry.flags & (write_log::kFlush | write_log::kFua)) == 0) continue;
            REQUIRE(point < points.size());
            CHECK(disk == points[point]);
            if (!with_fua) {  // then a flush has all that the device has
                CHECK(disk == devices[point]);
                compared_with_device++;
            }
            point++;
        }
        CHECK(point == points.size());
        CHECK(memcmp(disk.data(), world.d.at(0), disk.size()) == 0);
    }
    CHECK(compared_with_device > 0);
}

TEST_CASE("writes that overlap go to the device of log-writes one after the other, others do not wait") {
    World world;
    world.d.hold(Op::write);
    Memory a(bytes_of(4)), b(bytes_of(4)), c(bytes_of(4));
    stamp(a.data(), 2, 8);
    stamp(b.data(), 3, 8);
    Cancel killed;
    Pending<Status> first = begin(*world.executor, world.table->io(bio_of(Op::write, 8, 4, &a)));
    Pending<Status> second = begin(*world.executor, world.table->io(bio_of(Op::write, 5, 4, &b)));
    REQUIRE(soon([&] { return world.d.held() == 1; }));
    Pending<Status> third = begin(*world.executor, world.table->io(bio_of(Op::write, 5, 1, &c, &killed)));
    Pending<Status> zeros = begin(*world.executor, world.table->io(bio_of(Op::write_zeroes, 10, 4)));
    Pending<Status> apart = begin(*world.executor, world.table->io(bio_of(Op::write, 30, 4, &c)));
    REQUIRE(soon([&] { return world.d.held() == 2; }));
    a_moment();
    CHECK(world.d.count(Op::write) == 2);
    CHECK_FALSE(zeros.done());
    killed.request();
    CHECK(third.get() == Status(EINTR));
    world.d.let_go();
    CHECK(first.get() == kOk);
    CHECK(second.get() == kOk);
    CHECK(zeros.get() == kOk);
    CHECK(apart.get() == kOk);
    CHECK(world.d.count(Op::write) == 3);
}

TEST_CASE("a flush that overtakes another logs what both cover, in the order of the device") {
    World world;
    CHECK(world.io(Op::write, 8, 8, 2) == kOk);
    world.d.hold(Op::flush);
    Pending<Status> slow = begin(*world.executor, world.table->io(Bio::flush()));
    REQUIRE(soon([&] { return world.d.held() == 1; }));
    world.d.hold(Op::discard);  // flushes go through from here on
    CHECK(world.io(Op::write, 9, 1, 3) == kOk);
    CHECK(world.io(Op::flush, 0, 0) == kOk);
    CHECK(world.io(Op::write, 8, 1, 4) == kOk);
    CHECK_FALSE(slow.done());
    world.d.let_go();
    CHECK(slow.get() == kOk);
    world.mark("m");
    CHECK(world.told() == "write 8+8, write 9+1, flush, flush, mark m");
    world.close();
    CHECK(world.told() == "write 8+8, write 9+1, flush, flush, mark m, write 8+1, mark dm-log-writes-end");
}

TEST_CASE("what is kept of a FUA write's sectors is logged before it, and nothing else is") {
    World world;
    CHECK(world.io(Op::write, 8, 8, 2) == kOk);
    CHECK(world.io(Op::write, 30, 2, 2) == kOk);
    CHECK(world.io(Op::discard, 15, 5) == kOk);
    CHECK(world.io(Op::write, 19, 1, 3, true) == kOk);
    CHECK(world.told() == "write 8+8, discard 15+5, write fua 19+1");
    CHECK(world.io(Op::flush, 0, 0) == kOk);
    world.mark("m");
    CHECK(world.told() == "write 8+8, discard 15+5, write fua 19+1, write 30+2, flush, mark m");
}

namespace {

Task<Status> change_at_random(World* world, uint32_t seed, int rounds) {
    std::mt19937 random(seed);
    Memory memory(bytes_of(8));
    for (int i = 0; i < rounds; i++) {
        Sector sector = random() % 56, count = 1 + random() % 8;
        Op op = std::vector{Op::flush, Op::discard, Op::write, Op::write, Op::write}[random() % 5];
        for (Sector s = 0; s < count; s++) stamp(memory.data() + bytes_of(s), random(), sector + s);
        Bio bio = bio_of(op, sector, op == Op::flush ? 0 : count, &memory);
        bio.fua = op == Op::write && random() % 4 == 0;
        Task<Status> changing = world->table->io(bio);
        Status status = co_await changing;
        if (!status) co_return status;
    }
    co_return kOk;
}

}  // namespace

TEST_CASE("the log of many writers at once, replayed, gives what the device has") {
    uint32_t seed = std::random_device{}();
    INFO("seed " << seed);
    for (uint32_t round = 0; round < 8; round++) {
        World world(1 << 16);
        std::vector<std::byte> disk(world.d.at(0), world.d.at(64));
        std::vector<Pending<Status>> writers;
        world.d.hold();
        for (uint32_t i = 0; i < 8; i++)
            writers.push_back(begin(*world.executor, change_at_random(&world, seed + 8 * round + i, 100)));
        a_moment();
        world.d.let_go();
        for (int i = 0; i < 20; i++) {  // some of them have to wait for the device
            world.d.hold(i % 3 == 0 ? Op::flush : Op::write);
            std::this_thread::yield();
            world.d.let_go();
        }
        for (Pending<Status>& each : writers) CHECK(each.get() == kOk);
        world.close();
        for (const Record& record : world.records()) repeat(world, record, disk);
        CHECK(memcmp(disk.data(), world.d.at(0), disk.size()) == 0);
    }
}
