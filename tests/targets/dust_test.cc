#include "base/log.h"
#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

// Blocks of 8 sectors, on a device of 32 such blocks.
struct Dusty {
    Running executor;
    FakeSource source{*executor};
    FakeDevice& device = source.add("a", 256, 1);
    std::shared_ptr<Table> table;
    Memory memory{bytes_of(256)};

    explicit Dusty(const std::string& text = "0 256 dust a 0 4096") : table(source.table(text)) {
        log_to_stderr(false);
    }
    ~Dusty() { log_to_stderr(true); }
    Status io(Op op, Sector at, Sector count) {
        return run(*executor, table->io(bio_of(op, at, count, &memory)));
    }
    Target& target() const { return *table->rows().back().target; }
    std::string send(const std::string& text) const { return target().message(split_words(text)); }
    // The errno, and the words that are underlined.
    std::string refusal(const std::string& text) const {
        try {
            return "taken: " + send(text);
        } catch (const Refused& refused) {
            CHECK(refused.error() == EINVAL);
            return text.substr(refused.place().column, refused.place().length);
        }
    }
};

constexpr Status kEio{EIO};

}  // namespace

TEST_CASE("a bad block fails reads once that is enabled, and no other block does") {
    Dusty dust;
    dust.send("addbadblock 7");
    CHECK(dust.io(Op::read, 56, 8) == kOk);
    dust.send("enable");
    CHECK(dust.io(Op::read, 56, 8) == kEio);
    CHECK(dust.io(Op::read, 63, 1) == kEio);
    CHECK(dust.io(Op::read, 48, 8) == kOk);
    CHECK(dust.io(Op::read, 64, 8) == kOk);
    CHECK(dust.io(Op::read, 0, 256) == kEio);
    dust.send("disable");
    CHECK(dust.io(Op::read, 0, 256) == kOk);
}

TEST_CASE("a write makes a bad block good, after as many failures as it was added with") {
    Dusty dust;
    dust.send("enable");
    dust.send("addbadblock 3 2");
    dust.device.forget();
    CHECK(dust.io(Op::write, 25, 1) == kEio);
    CHECK(dust.io(Op::read, 24, 8) == kEio);
    CHECK(dust.io(Op::write, 24, 8) == kEio);
    CHECK(dust.device.seen().empty());
    CHECK(dust.io(Op::write, 25, 1) == kOk);
    CHECK(dust.io(Op::read, 24, 8) == kOk);
    CHECK(dust.send("countbadblocks") == "countbadblocks: 0 badblock(s) found");
}

TEST_CASE("writes repair nothing while dust is disabled") {
    Dusty dust;
    dust.send("addbadblock 3 1");
    CHECK(dust.io(Op::write, 24, 8) == kOk);
    dust.send("enable");
    CHECK(dust.io(Op::read, 24, 8) == kEio);
    CHECK(dust.io(Op::write, 24, 8) == kEio);
}

TEST_CASE("a discard is a write of the block in which it begins, zeros are writes of each") {
    Dusty dust;
    dust.send("enable");
    for (const char* block : {"2 1", "3", "4 1", "5"}) dust.send(std::string("addbadblock ") + block);
    dust.device.forget();
    CHECK(dust.io(Op::discard, 16, 24) == kEio);
    CHECK(dust.device.seen().empty());
    CHECK(dust.io(Op::discard, 16, 24) == kOk);
    CHECK(dust.device.seen() == std::vector<FakeDevice::Seen>{{Op::discard, 16, 24, false}});
    CHECK(dust.send("listbadblocks") == "3\n4\n5\n");
    CHECK(dust.io(Op::write_zeroes, 20, 28) == kEio);  // block 4 fails, and the others are tried
    CHECK(dust.send("listbadblocks") == "4\n");
    CHECK(dust.io(Op::write_zeroes, 32, 8) == kOk);
    dust.device.forget();
    CHECK(dust.io(Op::write_zeroes, 0, 256) == kOk);  // nothing is bad: it goes down as it is
    CHECK(dust.device.seen() == std::vector<FakeDevice::Seen>{{Op::write_zeroes, 0, 256, false}});
}

TEST_CASE("a flush is a write of the block at the start, less the sectors before the row") {
    Dusty dust("0 64 dust a 8 4096");
    dust.send("enable");
    dust.send("addbadblock 0");
    dust.send("addbadblock 1 1");
    dust.device.forget();
    CHECK(dust.io(Op::flush, 0, 0) == kEio);
    CHECK(dust.device.seen().empty());
    CHECK(dust.io(Op::flush, 0, 0) == kOk);
    CHECK(dust.device.seen() == std::vector<FakeDevice::Seen>{{Op::flush, 0, 0, false}});
    CHECK(dust.send("listbadblocks") == "0\n");

    Dusty later("0 64 zero\n64 64 dust a 72 4096");
    later.send("enable");
    later.send("addbadblock 9");
    later.send("addbadblock 1");
    CHECK(later.io(Op::flush, 0, 0) == kOk);
    CHECK(later.send("listbadblocks") == "9\n");
}

TEST_CASE("blocks are counted on the device, and the first sector of a piece decides") {
    Dusty dust("0 64 dust a 20 4096");  // pieces begin at sectors 20, 28, 36 of the device
    dust.send("enable");
    dust.send("addbadblock 3");              // sectors 24 to 31 of the device
    CHECK(dust.io(Op::read, 0, 8) == kOk);   // from 20, in block 2
    CHECK(dust.io(Op::read, 8, 8) == kEio);  // from 28
    CHECK(dust.io(Op::read, 4, 1) == kEio);  // 24
    CHECK(dust.io(Op::read, 3, 2) == kOk);   // from 23
    CHECK(dust.io(Op::read, 16, 48) == kOk);
}

TEST_CASE("dust's messages answer as the kernel's do") {
    Dusty dust;
    CHECK(dust.send("countbadblocks") == "countbadblocks: 0 badblock(s) found");
    CHECK(dust.send("listbadblocks") == "No blocks in badblocklist");
    CHECK(dust.send("clearbadblocks") == "dust_clear_badblocks: no badblocks found");
    CHECK(dust.send("queryblock 1") == "dust_query_block: block 1 not found in badblocklist");
    CHECK(dust.send("addbadblock 10") == "");
    CHECK(dust.send("ADDBADBLOCK 2 255") == "");
    CHECK(dust.send("addbadblock 32") == "");  // one behind the last is taken
    CHECK(dust.send("queryblock 002") == "dust_query_block: block 2 found in badblocklist");
    CHECK(dust.send("CountBadBlocks") == "countbadblocks: 3 badblock(s) found");
    CHECK(dust.send("listbadblocks") == "2\n10\n32\n");
    CHECK(dust.send("removebadblock 10") == "");
    CHECK(dust.send("clearbadblocks") == "dust_clear_badblocks: badblocks cleared");
    CHECK(dust.send("listbadblocks") == "No blocks in badblocklist");
}

TEST_CASE("dust says how it is set") {
    Dusty dust("0 12 dust a 010 4096");
    CHECK(dust.target().status(StatusKind::info) == "a bypass verbose");
    CHECK(dust.target().status(StatusKind::table) == "a 10 4096");
    CHECK(dust.target().status(StatusKind::measure) == "");
    CHECK(dust.send("enable") == "");
    CHECK(dust.send("quiet") == "");
    CHECK(dust.target().status(StatusKind::info) == "a fail_read_on_bad_block quiet");
    dust.send("quiet");
    dust.send("disable");
    CHECK(dust.target().status(StatusKind::info) == "a bypass verbose");
}

TEST_CASE("dust refuses messages and points at the word") {
    Dusty dust;
    dust.send("addbadblock 5");
    CHECK(dust.refusal("addbadblock") == "addbadblock");
    CHECK(dust.refusal("hello") == "hello");
    CHECK(dust.refusal("hello 1 2") == "hello");
    for (const char* block : {"5", "x", "-1", "5x", "33", "99999999999999999999"}) {
        INFO(block);
        CHECK(dust.refusal(std::string("addbadblock ") + block) == block);
    }
    CHECK(dust.refusal("removebadblock 6") == "6");
    CHECK(dust.refusal("queryblock 33") == "33");
    CHECK(dust.refusal("queryblock 3 4") == "4");
    CHECK(dust.refusal("removebadblock 3 4") == "4");
    for (const char* failures : {"256", "x", "-1"})
        CHECK(dust.refusal(std::string("addbadblock 6 ") + failures) == failures);
    CHECK(dust.refusal("addbadblock 6 1 2") == "2");
    for (const char* verb :
         {"enable", "disable", "quiet", "countbadblocks", "listbadblocks", "clearbadblocks"})
        CHECK(dust.refusal(std::string(verb) + " 1") == "1");
    CHECK(dust.send("listbadblocks") == "5\n");
}

TEST_CASE("dust refuses what does not add up") {
    Running executor;
    FakeSource source(*executor);
    source.add("a", 4096);
    for (const char* words : {"", "a 0", "a 0 512 1", "a 0 0", "a 0 x", "a 0 256", "a 0 1536", "a 0 32768",
                              "a 0 4294967296", "a x 512", "a 4065 512", "missing 0 512"}) {
        INFO(words);
        try {
            source.table(std::string("0 32 dust ") + words);
            FAIL("taken");
        } catch (const Refused& refused) {
            CHECK(refused.error() == EINVAL);
            CHECK(refused.reason().starts_with("dust: "));
            CHECK(refused.place().line == 1);
        }
    }
    CHECK(source.table("0 32 dust a 4064 16384")->size() == 32);
}

TEST_CASE("a bad block explains itself") {
    Dusty dust;
    auto steps = [&](Op op, Sector at, Sector count) {
        std::string text;
        dust.target().explain(op, at, count, [&](const Step& step) {
            text += std::to_string(step.at) + "+" + std::to_string(step.count) + " " +
                    (step.device == nullptr ? "-" : step.device->name()) + " " + std::to_string(step.start) +
                    " " + step.note + ";";
        });
        return text;
    };
    dust.send("addbadblock 7");
    dust.send("addbadblock 9 2");
    CHECK(steps(Op::read, 0, 256) == "0+256 a 0 ;");
    dust.send("enable");
    CHECK(
        steps(Op::read, 60, 30) ==
        "60+4 - 0 bad block 7: fails with EIO;64+8 a 64 ;72+8 - 0 bad block 9: fails with EIO;80+10 a 80 ;");
    CHECK(steps(Op::write, 50, 30) ==
          "50+6 a 50 ;56+8 a 56 bad block 7: made good by this;64+8 a 64 ;"
          "72+8 - 0 bad block 9: fails with EIO, as 2 writes do;");
    CHECK(steps(Op::discard, 50, 30) == "50+30 a 50 ;");
    CHECK(steps(Op::discard, 56, 30) == "56+30 a 56 bad block 7: made good by this;");
    CHECK(steps(Op::flush, 0, 0) == "0+0 a 0 ;");
    dust.send("addbadblock 0 1");
    CHECK(steps(Op::flush, 0, 0) == "0+0 - 0 bad block 0: fails with EIO, as 1 write does;");
    CHECK(dust.send("countbadblocks") ==
          "countbadblocks: 3 badblock(s) found");  // explaining changed nothing
}

TEST_CASE("blocks go bad under requests, and each is repaired by one write") {
    Dusty dust;
    dust.send("quiet");
    dust.send("enable");
    std::atomic<int> repaired{0};
    std::vector<std::thread> writers;
    for (int block = 0; block < 32; block++) dust.send("addbadblock " + std::to_string(block) + " 3");
    for (int i = 0; i < 4; i++)
        writers.emplace_back([&] {
            Memory own(kSectorBytes);
            for (Sector block = 0; block < 32; block++)
                if (run(*dust.executor, dust.table->io(bio_of(Op::write, block * 8, 1, &own))) == kOk)
                    repaired++;
        });
    for (std::thread& writer : writers) writer.join();
    CHECK(repaired == 32);  // of four writes of each block three failed
    CHECK(dust.send("countbadblocks") == "countbadblocks: 0 badblock(s) found");
}
