// Snapshots for people: what each request makes of the tables, and that a request that is refused
// leaves everything as it was.

#include "dm/snapshots.h"

#include <atomic>
#include <thread>

#include "catch.h"
#include "dm/device_mapper.h"
#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

struct World {
    Running executor;
    DeviceMapper dm{*executor, "", {}};

    std::shared_ptr<Volume> volume(const std::string& name, const std::string& table) {
        std::shared_ptr<Volume> volume = dm.create(name);
        if (Outcome outcome = run(*executor, volume->replace(dm.build(*volume, table, "/"), nullptr));
            !outcome)
            throw outcome.why();
        return volume;
    }
    std::shared_ptr<Volume> find(const std::string& name) { return dm.volumes().by_name(name); }
    Outcome ask(const std::string& name, const std::string& words) {
        return run(*executor, dm.set_state(find(name), words + "\n", "/", nullptr));
    }
    // Every volume's table, in the order of their names.
    std::string tables() {
        std::string text;
        for (const auto& volume : dm.volumes().volumes())
            text += volume->name() + ": " + table_text(*volume, Which::live);
        return text;
    }
    std::string status(const std::string& name) { return status_text(*find(name), Which::live); }

    void write(const std::string& name, Sector sector, Sector count, uint64_t tag) {
        Memory memory(bytes_of(count));
        for (Sector s = 0; s < count; s++) stamp(memory.data() + bytes_of(s), tag, sector + s);
        CHECK(run(*executor, find(name)->io(bio_of(Op::write, sector, count, &memory))));
    }
    uint64_t tag(const std::string& name, Sector sector) {
        Memory memory(kSectorBytes);
        if (!run(*executor, find(name)->io(bio_of(Op::read, sector, 1, &memory)))) return UINT64_MAX;
        uint64_t tag = 0;
        memcpy(&tag, memory.data(), sizeof tag);
        return tag;
    }
    void no_suspended() {
        for (const auto& volume : dm.volumes().volumes()) CHECK_FALSE(volume->suspended());
    }
};

const std::string kDisk = "0 2048 linear ram:1M:a 0\n";

}  // namespace

TEST_CASE("snapshot puts a volume below, drop takes it away again") {
    World world;
    world.volume("disk", kDisk);
    world.write("disk", 0, 16, 1);
    REQUIRE(world.ask("disk", "snapshot one ram:2M:c"));
    CHECK(world.tables() ==
          "disk: 0 2048 snapshot-origin disk-real\n"
          "disk-real: 0 2048 linear ram:1M:a 0\n"
          "one: 0 2048 snapshot disk-real ram:2M:c PO 8\n");
    REQUIRE(world.ask("disk", "snapshot two ram:2M:d N 16"));
    CHECK(world.status("two") == "0 2048 snapshot 0/4096 0\n");
    world.write("disk", 0, 8, 2);
    world.write("two", 8, 8, 3);
    CHECK((world.tag("one", 0) == 1 && world.tag("one", 8) == 1));
    CHECK((world.tag("two", 0) == 1 && world.tag("two", 8) == 3));
    world.no_suspended();
    REQUIRE(world.ask("one", "drop"));
    CHECK(world.find("disk-real"));
    REQUIRE(world.ask("two", "drop"));
    CHECK(world.tables() == "disk: " + kDisk);
    CHECK((world.tag("disk", 0) == 2 && world.tag("disk", 8) == 1));
    world.no_suspended();
}

TEST_CASE("a table that is put below keeps its state, and tells its new volume of events") {
    World world;
    std::shared_ptr<Volume> disk = world.volume("disk", "0 2048 chaos ram:1M:a 0 1 bad:error,sectors=8+1\n");
    std::string answer;
    CHECK(run(*world.executor, world.dm.message(disk, "0 add worse:error,sectors=16+1", &answer, nullptr)));
    CHECK(world.tag("disk", 8) == UINT64_MAX);
    uint32_t events = disk->event_number();
    REQUIRE(world.ask("disk", "snapshot one ram:2M:c"));
    CHECK(world.tag("disk", 16) == UINT64_MAX);
    CHECK(disk->event_number() == events);
    CHECK(world.find("disk-real")->event_number() == 1);
    REQUIRE(world.ask("one", "drop"));
    CHECK(world.tag("disk", 16) == UINT64_MAX);
    CHECK(disk->event_number() == events + 1);
}

TEST_CASE("a snapshot that is refused leaves everything as it was") {
    World world;
    world.volume("disk", kDisk);
    world.volume("taken", kDisk);
    world.volume("kept-real", kDisk);
    world.volume("kept", kDisk);
    const std::string before = world.tables();
    CHECK(world.ask("disk", "snapshot one /nowhere/cow").why().error() == ENOENT);
    CHECK(world.ask("disk", "snapshot taken ram:2M:c").why().error() == EBUSY);
    CHECK(world.ask("disk", "snapshot one ram:2M:c X").why().error() == EINVAL);
    CHECK(world.ask("disk", "snapshot one ram:2M:c P 3").why().error() == EINVAL);
    CHECK(world.ask("disk", "snapshot one ram:4K:c").why().error() == EIO);  // no room for an area
    CHECK(world.ask("kept", "snapshot one ram:2M:c").why().error() == EBUSY);
    CHECK(world.ask("disk", "snapshot one").why().error() == EINVAL);
    CHECK(load(*world.find("disk"), world.dm.build(*world.find("disk"), "0 8 zero\n", "/")));
    CHECK(world.ask("disk", "snapshot one ram:2M:c").why().error() == EBUSY);
    world.find("disk")->clear();
    CHECK(world.tables() == before);
    world.no_suspended();
    world.write("disk", 0, 8, 4);
    CHECK(world.tag("disk", 0) == 4);
}

TEST_CASE("a snapshot of a suspended volume leaves it suspended") {
    World world;
    std::shared_ptr<Volume> disk = world.volume("disk", kDisk);
    CHECK(run(*world.executor, disk->suspend(false, nullptr)));
    REQUIRE(world.ask("disk", "snapshot one ram:2M:c"));
    CHECK(disk->suspended());
    CHECK(world.tag("one", 0) == 0);
    CHECK(run(*world.executor, disk->resume(false, nullptr)));
    world.write("disk", 0, 8, 2);
    CHECK(world.tag("one", 0) == 0);
}

TEST_CASE("merge rolls a volume back while it is in use, merged makes it what it was") {
    World world;
    world.volume("disk", kDisk);
    world.write("disk", 0, 64, 1);
    REQUIRE(world.ask("disk", "snapshot one ram:2M:c"));
    REQUIRE(world.ask("disk", "snapshot two ram:2M:d"));
    world.write("disk", 0, 32, 2);
    world.write("one", 8, 8, 3);
    {
        std::shared_ptr<Volume> held = world.dm.volumes().open(world.find("one"));
        CHECK(world.ask("one", "merge").why().error() == EBUSY);
    }
    CHECK(world.ask("disk", "merge").why().error() == EINVAL);
    REQUIRE(world.ask("one", "merge"));
    CHECK_FALSE(world.find("one"));
    CHECK((world.tag("disk", 0) == 1 && world.tag("disk", 8) == 3 && world.tag("disk", 40) == 1));
    REQUIRE(soon([&] { return world.status("disk") == "0 2048 snapshot-merge 16/4096 16\n"; }));
    REQUIRE(world.ask("disk", "merged"));
    // The other snapshot needs the origin still.
    CHECK(world.tables() ==
          "disk: 0 2048 snapshot-origin disk-real\n"
          "disk-real: 0 2048 linear ram:1M:a 0\n"
          "two: 0 2048 snapshot disk-real ram:2M:d PO 8\n");
    CHECK((world.tag("two", 0) == 1 && world.tag("two", 8) == 1));
    REQUIRE(world.ask("two", "merge"));
    REQUIRE(soon([&] { return world.ask("disk", "merged").good(); }));
    CHECK(world.tables() == "disk: " + kDisk);
    CHECK((world.tag("disk", 0) == 1 && world.tag("disk", 8) == 1));
    CHECK(world.ask("disk", "merged").why().error() == EINVAL);
    world.no_suspended();
}

TEST_CASE("a snapshot without an origin's volume merges in its own place") {
    World world;
    world.volume("over", "0 2048 snapshot ram:1M:a ram:2M:c P 8\n");
    world.write("over", 0, 8, 5);
    std::shared_ptr<Volume> held = world.dm.volumes().open(world.find("over"));
    REQUIRE(world.ask("over", "merge"));
    REQUIRE(soon([&] { return world.ask("over", "merged").good(); }));
    CHECK(world.tables() == "over: 0 2048 linear ram:1M:a 0\n");
    CHECK(world.tag("over", 0) == 5);
}

TEST_CASE("a table that waits for the next resume is in the way of all of it") {
    World world;
    world.volume("disk", kDisk);
    REQUIRE(world.ask("disk", "snapshot one ram:2M:c"));
    const std::string before = world.tables();
    for (const char* name : {"disk", "one"}) {
        Volume& volume = *world.find(name);
        REQUIRE(load(volume, world.dm.build(volume, "0 8 zero\n", "/")));
        for (const char* request : {"snapshot two ram:2M:d", "fork copy", "merge"})
            if (std::string(name) == "one" || std::string(request) != "merge")
                CHECK(world.ask(name, request).why().error() == EBUSY);
        if (std::string(name) == "disk") CHECK(world.ask("one", "merge").why().error() == EBUSY);
        volume.clear();
        CHECK(world.tables() == before);
    }
    world.no_suspended();
}

TEST_CASE("a merge that can't go well is refused, and the snapshot stays") {
    World world;
    int error = 0;
    SECTION("into a read-only volume") {
        std::shared_ptr<Volume> disk = world.dm.create("disk");
        disk->set_load_readonly(true);
        REQUIRE(run(*world.executor, disk->replace(world.dm.build(*disk, kDisk, "/"), nullptr)));
        REQUIRE(world.ask("disk", "snapshot one ram:2M:c"));
        error = EROFS;
    }
    SECTION("into a suspended volume") {
        world.volume("disk", kDisk);
        REQUIRE(world.ask("disk", "snapshot one ram:2M:c"));
        REQUIRE(world.ask("disk", "suspend"));
        error = EBUSY;
    }
    SECTION("of a snapshot that is invalid") {
        world.volume("disk", kDisk);
        REQUIRE(world.ask("disk", "snapshot one ram:16K:c"));
        world.write("disk", 0, 64, 1);
        REQUIRE(world.status("one") == "0 2048 snapshot Invalid\n");
        error = EIO;
    }
    const std::string before = world.tables();
    CHECK(world.ask("one", "merge").why().error() == error);
    CHECK(world.tables() == before);
}

TEST_CASE("a snapshot that is full merges like any other") {
    World world;
    world.volume("disk", kDisk);
    world.write("disk", 0, 64, 1);
    REQUIRE(world.ask("disk", "snapshot one ram:16K:c"));
    world.write("disk", 0, 16, 2);
    Memory memory(kSectorBytes);
    CHECK(run(*world.executor, world.find("one")->io(bio_of(Op::write, 40, 1, &memory))) == Status(EIO));
    REQUIRE(world.status("one") == "0 2048 snapshot Overflow\n");
    REQUIRE(world.ask("one", "merge"));
    REQUIRE(soon([&] { return world.ask("disk", "merged").good(); }));
    CHECK(world.tables() == "disk: " + kDisk);
    CHECK((world.tag("disk", 0) == 1 && world.tag("disk", 40) == 1));
}

TEST_CASE("a merge that failed is ended like any other when it was tried again") {
    World world;
    world.volume("raw", kDisk);
    world.volume("disk", "0 2048 linear raw 0\n");
    REQUIRE(world.ask("disk", "snapshot one ram:2M:c"));
    world.write("one", 0, 16, 2);
    std::shared_ptr<Volume> raw = world.find("raw");
    REQUIRE(run(*world.executor,
                raw->replace(world.dm.build(*raw, "0 8 error\n8 2040 linear ram:1M:a 8\n", "/"), nullptr)));
    REQUIRE(world.ask("one", "merge"));
    REQUIRE(soon([&] { return world.status("disk") == "0 2048 snapshot-merge Merge failed\n"; }));
    CHECK(world.ask("disk", "merged").why().error() == EIO);
    REQUIRE(run(*world.executor, raw->replace(world.dm.build(*raw, kDisk, "/"), nullptr)));
    REQUIRE(world.ask("disk", "suspend noflush"));
    CHECK(world.ask("disk", "merged").why().error() == EBUSY);
    REQUIRE(world.ask("disk", "resume"));
    REQUIRE(soon([&] { return world.ask("disk", "merged").good(); }));
    CHECK((world.tag("disk", 0) == 2 && world.tag("disk", 8) == 2));
}

TEST_CASE("drop refuses what others are snapshots of, before it removes anything") {
    World world;
    world.volume("low", kDisk);
    world.volume("fast", "0 2048 linear ram:1M:b 0\n");
    world.volume("top", "0 2048 linear low 0\n2048 1024 linear fast 0\n");
    const std::string plain = world.tables();
    REQUIRE(world.ask("low", "snapshot one ram:2M:c"));
    REQUIRE(world.ask("one", "snapshot two ram:2M:d"));
    CHECK(world.ask("one", "drop").why().error() == EBUSY);
    REQUIRE(world.ask("two", "drop"));
    REQUIRE(world.ask("one", "drop"));
    CHECK(world.tables() == plain);

    REQUIRE(world.ask("top", "fork copy"));
    REQUIRE(world.ask("copy", "fork again"));
    const std::string forked = world.tables();
    CHECK(world.ask("copy", "drop").why().error() == EBUSY);
    CHECK(world.tables() == forked);
    REQUIRE(world.ask("again", "drop"));
    REQUIRE(world.ask("copy", "drop"));
    CHECK(world.tables() == plain);
}

TEST_CASE("fork copies a stack, and neither sees what the other does") {
    World world;
    world.volume("low", kDisk);
    world.volume("fast", "0 2048 striped 2 8 ram:512K:l 0 ram:512K:r 0\n");
    world.volume("top", "0 2048 linear low 0\n2048 1024 linear fast 0\n3072 8 zero\n");
    world.write("top", 0, 3072, 1);
    const std::string before = world.tables();
    REQUIRE(world.ask("top", "fork copy"));
    CHECK(world.tables() ==
          "copy: 0 2048 linear copy-low 0\n2048 1024 linear copy-fast 0\n3072 8 zero \n"
          "copy-fast: 0 2048 snapshot fast-real ram:1048576:copy-fast N 8\n"
          "copy-low: 0 2048 snapshot low-real ram:1048576:copy-low N 8\n"
          "fast: 0 2048 snapshot-origin fast-real\n"
          "fast-real: 0 2048 striped 2 8 ram:512K:l 0 ram:512K:r 0\n"
          "low: 0 2048 snapshot-origin low-real\n"
          "low-real: 0 2048 linear ram:1M:a 0\n"
          "top: 0 2048 linear low 0\n2048 1024 linear fast 0\n3072 8 zero \n");
    world.write("copy", 2040, 16, 2);
    world.write("top", 8, 8, 3);
    CHECK((world.tag("top", 2040) == 1 && world.tag("top", 2050) == 1 && world.tag("top", 8) == 3));
    CHECK((world.tag("copy", 2040) == 2 && world.tag("copy", 2050) == 2 && world.tag("copy", 8) == 1));
    // A copy of the copy: its lower volumes are snapshots, whose tables name memory.
    REQUIRE(world.ask("copy", "fork again"));
    CHECK((world.tag("again", 2040) == 2 && world.tag("again", 8) == 1));
    REQUIRE(world.ask("again", "drop"));
    REQUIRE(world.ask("copy", "drop"));
    CHECK(world.tables() == before);
    CHECK(world.tag("top", 8) == 3);
    world.no_suspended();
}

TEST_CASE("a fork that is refused in the middle is undone") {
    World world;
    world.volume("low", kDisk);
    world.volume("fast", "0 2048 linear ram:1M:b 0\n");
    world.volume("top", "0 2048 linear low 0\n2048 1024 linear fast 0\n");
    world.volume("copy-fast", "0 8 zero\n");
    const std::string before = world.tables();
    CHECK(world.ask("top", "fork copy").why().error() == EBUSY);
    CHECK(world.tables() == before);
    CHECK(world.ask("top", "fork top").why().error() == EBUSY);
    CHECK(world.tables() == before);
    CHECK(world.ask("top", "fork other /nowhere").why().error() == ENOENT);
    CHECK(world.tables() == before);
    world.no_suspended();
}

TEST_CASE("a copy is dropped whole, whatever its parts became") {
    World world;
    world.volume("fast", kDisk);
    world.volume("slow", "0 2048 linear ram:1M:b 0\n");
    world.volume("top", "0 2048 linear fast 0\n2048 1024 linear slow 0\n");
    const std::string plain = world.tables();
    REQUIRE(world.ask("top", "fork copy"));
    auto fails = [&](const char* name) {
        Volume& volume = *world.find(name);
        REQUIRE(run(*world.executor, volume.replace(world.dm.build(volume, "0 3072 error\n", "/"), nullptr)));
    };
    SECTION("one of them fails") { fails("copy-slow"); }
    SECTION("the top itself fails") { fails("copy"); }
    SECTION("one was removed with its top's table") {
        fails("copy");
        REQUIRE(run(*world.executor, world.dm.remove(world.find("copy-fast"), false, nullptr)));
    }
    REQUIRE(world.ask("copy", "drop"));
    if (world.find("fast-real")) REQUIRE(world.ask("fast", "drop"));
    CHECK(world.tables() == plain);
}

TEST_CASE("an origin whose snapshots were removed becomes what it was when it is dropped") {
    World world;
    world.volume("disk", kDisk);
    const std::string plain = world.tables();
    REQUIRE(world.ask("disk", "snapshot one ram:2M:c"));
    CHECK(world.ask("disk", "drop").why().error() == EBUSY);
    REQUIRE(run(*world.executor, world.dm.remove(world.find("one"), false, nullptr)));
    CHECK(world.tables() != plain);
    REQUIRE(world.ask("disk", "drop"));
    CHECK(world.tables() == plain);
    CHECK(world.ask("disk", "drop").why().error() == EINVAL);
}

TEST_CASE("drop refuses what is neither a snapshot nor a copy") {
    World world;
    world.volume("db-log", kDisk);
    world.volume("db", "0 2048 linear db-log 0\n");
    CHECK(world.ask("db", "drop").why().error() == EINVAL);
    CHECK(world.ask("db-log", "drop").why().error() == EINVAL);
    CHECK(world.find("db-log"));
}

TEST_CASE("writers notice nothing of snapshots that come and go below them") {
    World world;
    world.volume("disk", kDisk);
    std::atomic<bool> stop{false}, wrong{false};
    std::vector<std::thread> writers;
    for (uint64_t w = 0; w < 3; w++)
        writers.emplace_back([&, w] {
            std::shared_ptr<Volume> disk = world.find("disk");
            for (uint64_t n = 0; !stop; n++) {
                Sector sector = w * 512 + n % 60 * 8;
                Memory memory(bytes_of(8)), seen(bytes_of(8));
                for (Sector s = 0; s < 8; s++) stamp(memory.data() + bytes_of(s), n, sector + s);
                if (!run(*world.executor, disk->io(bio_of(Op::write, sector, 8, &memory)))) wrong = true;
                if (!run(*world.executor, disk->io(bio_of(Op::read, sector, 8, &seen)))) wrong = true;
                if (memcmp(memory.data(), seen.data(), bytes_of(8)) != 0) wrong = true;
            }
        });
    for (int i = 0; i < 30; i++) {
        CHECK(world.ask("disk", "snapshot one ram:2M:c" + std::to_string(i)));
        uint64_t before = world.tag("one", 8);
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        CHECK(world.tag("one", 8) == before);
        CHECK(world.ask("one", "drop"));
    }
    stop = true;
    for (std::thread& writer : writers) writer.join();
    CHECK_FALSE(wrong);
    CHECK(world.tables() == "disk: " + kDisk);
}
