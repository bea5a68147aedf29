#include <random>

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

struct Paths {
    Running executor;
    FakeSource source{*executor};
    std::vector<FakeDevice*> devices;
    Sector region, length;
    std::shared_ptr<Table> table;

    Paths(size_t count, Sector region_sectors, Sector length_) : region(region_sectors), length(length_) {
        std::string text = "0 " + std::to_string(length) + " switch " + std::to_string(count) + " " +
                           std::to_string(region) + " 0";
        for (size_t i = 0; i < count; i++) {
            std::string name = "p" + std::to_string(i);
            devices.push_back(&source.add(name, start(i) + length, i));
            text += " " + name + " " + std::to_string(start(i));
        }
        table = source.table(text);
    }
    static Sector start(size_t path) { return path % 7; }
    Status io(Bio bio) { return run(*executor, table->io(bio)); }
    Target& target() const { return *table->rows()[0].target; }
    std::string send(const std::string& text) const { return target().message(split_words(text)); }

    // The path of each region, as a read tells it.
    std::vector<size_t> paths() {
        std::vector<size_t> found;
        Memory memory(kSectorBytes);
        for (Sector at = 0; at < length; at += region) {
            REQUIRE(io(bio_of(Op::read, at, 1, &memory)) == kOk);
            uint64_t tag = 0;
            memcpy(&tag, memory.data(), sizeof tag);
            REQUIRE(stamped(memory.data(), tag, at + start(tag)));
            found.push_back(tag);
        }
        return found;
    }
};

std::vector<size_t> in_turn(size_t regions, size_t paths) {
    std::vector<size_t> wanted;
    for (size_t i = 0; i < regions; i++) wanted.push_back(i % paths);
    return wanted;
}

}  // namespace

TEST_CASE("regions go to the paths in turn at first, for any number of paths") {
    for (size_t count : {1, 2, 3, 4, 5, 9, 17, 33}) {
        INFO(count << " paths");
        Paths paths(count, 3, 3 * 150 - 1);
        CHECK(paths.paths() == in_turn(150, count));
    }
}

TEST_CASE("regions go where messages send them, for any number of paths") {
    std::mt19937 random(1);
    for (size_t count : {1, 2, 3, 5, 9, 17, 33}) {
        INFO(count << " paths");
        Paths paths(count, 2, 300);
        std::vector<size_t> wanted = in_turn(150, count);
        for (int round = 0; round < 50; round++) {
            char text[100];
            size_t region = random() % 140, first = random() % count, second = random() % count;
            size_t times = random() % 9;
            snprintf(text, sizeof text, "set_region_mappings %zx:%zx :%zX R2,%zx", region, first, second,
                     times);
            wanted[region] = first;
            wanted[region + 1] = second;
            for (size_t i = 0; i < times; i++) wanted[region + 2 + i] = wanted[region + i];
            CHECK(paths.send(text) == "");
        }
        CHECK(paths.paths() == wanted);
    }
}

TEST_CASE("words of set_region_mappings mean what they mean to the kernel") {
    Paths paths(3, 1, 8);
    auto now = [&] {
        std::string text;
        for (size_t path : paths.paths()) text += std::to_string(path);
        return text;
    };
    CHECK(now() == "01201201");
    paths.send("set_region_mappings :2");  // the region behind region 0
    CHECK(now() == "02201201");
    paths.send("SET_REGION_MAPPINGS R1,3");  // region 0 again
    CHECK(now() == "00001201");
    paths.send("set_region_mappings 0:1 r1,7");
    CHECK(now() == "11111111");
    paths.send("set_region_mappings 2:0 :2 R2,0 R2,4");
    CHECK(now() == "11020202");
    paths.send("set_region_mappings");
    paths.send("set_region_mappings 00000000000000000000007:0");
    CHECK(now() == "11020200");
}

TEST_CASE("what stands before a word that is refused stays done") {
    Paths paths(3, 1, 4);
    auto refused = [&](const std::string& text) {
        try {
            paths.send(text);
        } catch (const Refused& refusal) {
            CHECK(refusal.error() == EINVAL);
            return text.substr(refusal.place().column, refusal.place().length);
        }
        return std::string("taken");
    };
    CHECK(refused("set_region_mappings 0:2 1:3 2:0") == "1:3");
    CHECK(paths.paths() == std::vector<size_t>{2, 1, 2, 0});
    for (const char* word : {"0",
                             "0:",
                             ":",
                             "x:0",
                             "0:x",
                             "4:0",
                             "0:0x1",
                             "0x1:1",
                             "0:1:2",
                             "-1:0",
                             "R",
                             "R1",
                             "R1,",
                             "R,1",
                             "R1,1,",
                             "R0,1",
                             "R2,1",
                             "R1,4",
                             "R1,ffffffffffffffff",
                             "ffffffffffffffff:0",
                             "0:ffffffffffffffff",
                             "10000000000000000:0",
                             "0:100000000"}) {
        INFO(word);
        CHECK(refused(std::string("set_region_mappings ") + word) == word);
    }
    CHECK(refused("set_region_mappings 3:0 :0") == ":0");
    CHECK(refused("hello 0:0") == "hello");
    CHECK(paths.paths() == std::vector<size_t>{2, 1, 2, 0});
}

TEST_CASE("regions are sent elsewhere under requests, and each goes to one path or the other") {
    Paths paths(5, 1, 64);
    paths.send("set_region_mappings 0:1 R1,3f");
    std::atomic<bool> stop{false};
    std::thread sender([&] {
        for (int i = 0; !stop; i++)
            paths.send(i % 2 == 0 ? "set_region_mappings 0:4 R1,3f" : "set_region_mappings 0:1 R1,3f");
    });
    Memory memory(kSectorBytes);
    for (int i = 0; i < 20000; i++) {
        Sector at = static_cast<Sector>(i) % 64;
        REQUIRE(paths.io(bio_of(Op::read, at, 1, &memory)) == kOk);
        REQUIRE((stamped(memory.data(), 1, at + 1) || stamped(memory.data(), 4, at + 4)));
    }
    stop = true;
    sender.join();
}

TEST_CASE("a discard goes down the path of its first sector, zeros to each region's path") {
    Paths paths(3, 8, 64);
    for (FakeDevice* device : paths.devices) device->forget();
    CHECK(paths.io(bio_of(Op::discard, 12, 30)) == kOk);
    CHECK(paths.devices[0]->seen().empty());
    CHECK(paths.devices[1]->seen() == std::vector<FakeDevice::Seen>{{Op::discard, 13, 30, false}});
    CHECK(paths.devices[2]->seen().empty());
    for (FakeDevice* device : paths.devices) device->forget();
    CHECK(paths.io(bio_of(Op::write_zeroes, 12, 16)) == kOk);
    CHECK(paths.devices[0]->seen() == std::vector<FakeDevice::Seen>{{Op::write_zeroes, 24, 4, false}});
    CHECK(paths.devices[1]->seen() == std::vector<FakeDevice::Seen>{{Op::write_zeroes, 13, 4, false}});
    CHECK(paths.devices[2]->seen() == std::vector<FakeDevice::Seen>{{Op::write_zeroes, 18, 8, false}});
    for (FakeDevice* device : paths.devices) device->forget();
    CHECK(paths.io(Bio::flush()) == kOk);
    for (FakeDevice* device : paths.devices) CHECK(device->seen().empty());
}

TEST_CASE("switch prints its table, and no mapping anywhere") {
    Paths paths(2, 8, 64);
    CHECK(paths.target().status(StatusKind::table) == "2 8 0 p0 0 p1 1");
    CHECK(paths.target().status(StatusKind::info) == "");
    CHECK(paths.target().status(StatusKind::measure) == "");
}

TEST_CASE("switch refuses what does not add up") {
    Running executor;
    FakeSource source(*executor);
    source.add("a", 4096);
    auto error_of = [&](const std::string& row) {
        try {
            source.table(row);
        } catch (const Refused& refused) {
            CHECK(refused.reason().starts_with("switch: "));
            return refused.error();
        }
        return 0;
    };
    for (const char* words :
         {"", "1", "1 8", "1 8 0", "0 8 0", "x 8 0 a 0", "262142 8 0 a 0", "1 0 0 a 0", "1 4294967296 0 a 0",
          "1 8 1 x a 0", "1 8 1", "2 8 0 a 0", "2 8 0 a 0 a", "1 8 0 a 0 a 0", "1 8 0 a x", "1 8 0 a 4065"}) {
        INFO(words);
        CHECK(error_of(std::string("0 32 switch ") + words) == EINVAL);
    }
    CHECK(error_of("0 32 switch 1 8 0 b 0") == ENOENT);
    CHECK(error_of("0 32 switch 2 4294967295 0 a 0 a 4064") == 0);
}

TEST_CASE("a table of regions that does not fit the memory is refused") {
    Running executor;
    FakeSource source(*executor);
    source.add("a", 16).set_number({7, 0});
    source.add("empty", 0).set_number({7, 1});  // may grow, so its size is not looked at
    try {
        source.table("0 18014398509481983 switch 2 1 0 empty 0 empty 0");
        FAIL("taken");
    } catch (const Refused& refused) {
        CHECK(refused.error() == ENOMEM);
        CHECK(refused.remedy() == "a larger region");
    }
}

TEST_CASE("switch explains each region, and reverse finds the sectors of a path") {
    Paths paths(2, 10, 35);
    paths.send("set_region_mappings 1:0");
    std::string text;
    auto show = [&](const Step& step) {
        text += std::to_string(step.at) + "+" + std::to_string(step.count) + " " +
                (step.device == nullptr ? "-" : step.device->name()) + " " + std::to_string(step.start) +
                " " + step.note + ";";
    };
    paths.target().explain(Op::read, 5, 30, show);
    CHECK(text ==
          "5+5 p0 5 region 0 -> path 0;10+10 p0 10 region 1 -> path 0;20+10 p0 20 region 2 -> path 0;"
          "30+5 p1 31 region 3 -> path 1;");
    text.clear();
    paths.target().explain(Op::discard, 5, 30, show);
    CHECK(text == "5+30 p0 5 region 0 -> path 0;");
    text.clear();
    paths.target().explain(Op::flush, 0, 0, show);
    CHECK(text == "0+0 - 0 goes nowhere;");
    for (FakeDevice* device : paths.devices) {
        std::vector<Sector> found(35, UINT64_MAX);
        paths.target().reverse(*device, 0, 1000, [&](const Run& run) {
            for (Sector i = 0; i < run.count; i++) found[run.at + i] = run.start + i;
        });
        for (Sector at = 0; at < 35; at++)
            paths.target().explain(Op::read, at, 1, [&](const Step& step) {
                CHECK(found[at] == (step.device == device ? step.start : UINT64_MAX));
            });
    }
}

TEST_CASE("an extent of switch ends where its region ends") {
    Paths paths(2, 10, 35);
    paths.devices[0]->set_extents({{false, 4}, {true, 23}, {false, 35}});
    paths.devices[1]->set_extents({{false, 36}});
    auto at = [&](Sector sector) {
        Extent extent = extent_of(*paths.table, sector);
        return std::to_string(extent.data) + " " + std::to_string(extent.end);
    };
    CHECK(at(0) == "0 4");
    CHECK(at(4) == "1 10");
    CHECK(at(10) == "0 20");
    CHECK(at(20) == "1 23");
    CHECK(at(30) == "0 35");
}
