#include "engine/table.h"

#include <algorithm>
#include <random>

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

// The refusal of a text, or error 0.
Refused refusal(FakeSource& source, const std::string& text) {
    try {
        source.table(text);
    } catch (const Refused& refused) {
        return refused;
    }
    return Refused(0, "it was taken");
}

std::string word_at(const Place& place) { return place.source.substr(place.column, place.length); }

}  // namespace

TEST_CASE("a table is the sum of its rows") {
    Running executor;
    FakeSource source(*executor);
    source.add("a", 100);
    auto table = source.table("0 8 linear a 0\n8 16 zero\n24 4 linear a 50\n");
    CHECK(table->size() == 28);
    REQUIRE(table->rows().size() == 3);
    CHECK(table->row_at(0).type == "linear");
    CHECK(table->row_at(7).start == 0);
    CHECK(table->row_at(8).type == "zero");
    CHECK(table->row_at(23).start == 8);
    CHECK(table->row_at(24).start == 24);
    CHECK(table->row_at(27).start == 24);
    CHECK(table->devices().size() == 1);
    CHECK(table->writable());
}

TEST_CASE("every sector of a hundred rows is found") {
    Running executor;
    FakeSource source(*executor);
    FakeDevice& a = source.add("a", 800, 1);
    static_cast<void>(a);
    std::string text;
    for (int i = 0; i < 100; i++)
        text += std::to_string(i * 8) + " 8 linear a " + std::to_string(792 - i * 8) + "\n";
    auto table = source.table(text);
    for (Sector s = 0; s < 800; s++) {
        Memory memory(kSectorBytes);
        REQUIRE(run(*executor, table->io(bio_of(Op::read, s, 1, &memory))) == kOk);
        REQUIRE(stamped(memory.data(), 1, 792 - s / 8 * 8 + s % 8));
    }
}

TEST_CASE("a request is cut at the ends of rows, and its memory with it") {
    Running executor;
    FakeSource source(*executor);
    FakeDevice& a = source.add("a", 100, 1);
    FakeDevice& b = source.add("b", 100, 2);
    auto table = source.table("0 8 linear a 20\n8 8 zero\n16 8 linear b 30\n");
    Memory memory(bytes_of(16));
    memset(memory.data(), 0xff, memory.bytes());
    REQUIRE(run(*executor, table->io(bio_of(Op::read, 4, 16, &memory))) == kOk);
    for (Sector s = 0; s < 4; s++) CHECK(stamped(memory.data() + bytes_of(s), 1, 24 + s));
    CHECK(all_zero(memory.data() + bytes_of(4), bytes_of(8)));
    for (Sector s = 12; s < 16; s++) CHECK(stamped(memory.data() + bytes_of(s), 2, 30 + s - 12));
    CHECK(a.seen() == std::vector<FakeDevice::Seen>{{Op::read, 24, 4, false}});
    CHECK(b.seen() == std::vector<FakeDevice::Seen>{{Op::read, 30, 4, false}});
}

TEST_CASE("reads and writes are cut at chunks, discards only at rows") {
    Running executor;
    FakeSource source(*executor);
    FakeDevice& a = source.add("a", 100, 1);
    FakeDevice& b = source.add("b", 100, 2);
    auto table = source.table("0 24 striped 2 4 a 0 b 0\n24 8 linear a 50\n");
    Memory memory(bytes_of(10));
    Bio bio = bio_of(Op::write, 2, 10, &memory);
    bio.fua = true;
    CHECK(run(*executor, table->io(bio)) == kOk);
    CHECK(a.seen() == std::vector<FakeDevice::Seen>{{Op::write, 2, 2, true}, {Op::write, 4, 4, true}});
    CHECK(b.seen() == std::vector<FakeDevice::Seen>{{Op::write, 0, 4, true}});
    a.forget();
    b.forget();
    CHECK(run(*executor, table->io(bio_of(Op::discard, 0, 32))) == kOk);
    CHECK(a.seen() ==
          std::vector<FakeDevice::Seen>{{Op::discard, 0, 12, false}, {Op::discard, 50, 8, false}});
    CHECK(b.seen() == std::vector<FakeDevice::Seen>{{Op::discard, 0, 12, false}});
}

TEST_CASE("a piece that fails fails the request, and the other pieces are done all the same") {
    Running executor;
    FakeSource source(*executor);
    FakeDevice& a = source.add("a", 100, 1);
    FakeDevice& b = source.add("b", 100, 2);
    auto table = source.table("0 8 linear a 0\n8 8 linear b 0\n16 8 linear a 8\n");
    a.hold();
    b.fail(Op::read, ENOSPC);
    Memory memory(bytes_of(24));
    Pending<Status> reading = begin(*executor, table->io(bio_of(Op::read, 0, 24, &memory)));
    a_moment();
    CHECK_FALSE(reading.done());
    CHECK(a.held() == 2);  // they wait side by side
    a.let_go();
    CHECK(reading.get() == Status(ENOSPC));
    CHECK(stamped(memory.data() + bytes_of(16), 1, 8));
}

TEST_CASE("a request beyond the end gets EIO and reaches nobody") {
    Running executor;
    FakeSource source(*executor);
    FakeDevice& a = source.add("a", 100, 1);
    auto table = source.table("0 16 linear a 0\n");
    Memory memory(bytes_of(16));
    CHECK(run(*executor, table->io(bio_of(Op::read, 1, 16, &memory))) == Status(EIO));
    CHECK(run(*executor, table->io(bio_of(Op::write, 16, 1, &memory))) == Status(EIO));
    CHECK(run(*executor, table->io(bio_of(Op::discard, UINT64_MAX, 2))) == Status(EIO));
    CHECK(a.seen().empty());
}

TEST_CASE("a flush reaches every device once") {
    Running executor;
    FakeSource source(*executor);
    FakeDevice& a = source.add("a", 100);
    FakeDevice& b = source.add("b", 100);
    FakeDevice& c = source.add("c", 100);
    auto table = source.table(
        "0 8 linear a 0\n8 8 striped 2 4 b 0 a 20\n16 8 linear a 8\n24 8 zero\n32 8 error c 0\n");
    CHECK(run(*executor, table->io(Bio::flush())) == kOk);
    CHECK(a.count(Op::flush) == 1);
    CHECK(b.count(Op::flush) == 1);
    CHECK(c.count(Op::flush) == 0);
    b.fail(Op::flush, EIO);
    CHECK(run(*executor, table->io(Bio::flush())) == Status(EIO));
    CHECK(a.count(Op::flush) == 2);
    CHECK(run(*executor, source.table("0 8 zero")->io(Bio::flush())) == kOk);
}

TEST_CASE("numbers of a row are read as dmsetup reads them") {
    Running executor;
    FakeSource source(*executor);
    source.add("a", 2048);
    auto taken = [&](const std::string& text) { return refusal(source, text).error() == 0; };
    CHECK(taken("0 8 linear a 08"));
    CHECK(taken("00 010 linear a 0"));
    CHECK(source.table("00 010 linear a 0")->size() == 10);
    CHECK(taken("+0 +8 linear a 0"));
    CHECK(taken("-0 8 zero"));
    CHECK(taken("0 8zero"));
    CHECK(taken("0+8linear a 0"));
    CHECK(taken("0 8 zero # x"));
    for (const char* text : {"0 8 linear a 0x10", "0 8 linear a +16", "0 8 linear a -8", "0 8 linear a 8x",
                             "0 8 linear a 8.5", "0 8 linear a ''", "0x0 8 linear a 0", "0 0x8 linear a 0",
                             "0 -8 linear a 0", "-8 8 linear a 0", "zero 8 linear a 0", "0 8k linear a 0",
                             "+ 8 zero", "0 + zero", "0 8 zero#x", "0 8 #zero", "0 # 8 zero", "0 8", "0"}) {
        INFO(text);
        CHECK(refusal(source, text).error() == EINVAL);
    }
}

TEST_CASE("a table ends below 2^63 bytes") {
    Running executor;
    FakeSource source(*executor);
    source.add("a", 2048);
    for (const char* text : {"0 18446744073709551615 zero", "0 18446744073709551616 zero",
                             "0 8 zero\n8 18446744073709551612 zero", "0 18014398509481985 zero",
                             "0 36028797018963968 zero", "0 8 linear a 18446744073709551615",
                             "0 8 linear a 18446744073709551608", "0 9007199254740993 linear a 0",
                             "0 8 linear a 18446744073709551616", "0 8 linear a 18446744073709551624"}) {
        INFO(text);
        CHECK(refusal(source, text).error() == EINVAL);
    }
    auto big = source.table("0 18014398509481983 zero");
    CHECK(big->size() == 18014398509481983);
    Memory memory(bytes_of(8));
    CHECK(run(*executor, big->io(bio_of(Op::read, 18014398509481975, 8, &memory))) == kOk);
}

TEST_CASE("comments, blank lines, tabs and a last line without newline are taken") {
    Running executor;
    FakeSource source(*executor);
    source.add("a", 2048);
    auto table = source.table(
        "# a comment\n   # another\n\n0\t8\tlinear\ta\t0\n  8   8   linear   a    64   \n16 8 zero # why "
        "not");
    CHECK(table->size() == 24);
    CHECK(table->rows()[1].target->status(StatusKind::table) == "a 64");
    CHECK(table->rows()[2].target->status(StatusKind::table) == "");
    CHECK(source.table("0 8 linear" + std::string(3000, ' ') + "a 24")->size() == 8);
}

TEST_CASE("a backslash quotes what follows, as the kernel has it, and comments too") {
    Running executor;
    FakeSource source(*executor);
    source.add("a b", 100);
    source.add("#1", 100);
    source.add("c\\d", 100);
    CHECK(source.table("0 8 linear a\\ b \\0")->rows()[0].target->status(StatusKind::table) == "a\\ b 0");
    CHECK(source.table("0 8 linear a\\ b 1\\6")->rows()[0].target->status(StatusKind::table) == "a\\ b 16");
    CHECK(source.table("0 8 linear \\#1 0")->rows()[0].target->status(StatusKind::table) == "\\#1 0");
    CHECK(source.table("0 8 linear c\\\\d 0")->rows()[0].target->status(StatusKind::table) == "c\\\\d 0");
    CHECK(refusal(source, "0 8 linear\\ a 0").error() == EINVAL);
    CHECK(refusal(source, "0 8 linear a\\ b 0\\ ").error() == EINVAL);
    CHECK(refusal(source, "0 8 linear a\\ b \\ 0").error() == EINVAL);
    CHECK(refusal(source, "0 8 linear \"a\" 0").error() == ENOENT);
    CHECK(refusal(source, "0 8 zero \\# not a comment").error() == EINVAL);
}

TEST_CASE("what a table prints can be fed back") {
    Running executor;
    FakeSource source(*executor);
    for (const char* name : {"a b", "#1", "c\\d", "tab\there", "\\", "x#y"}) source.add(name, 100);
    for (const char* name : {"a b", "#1", "c\\d", "tab\there", "\\", "x#y"}) {
        auto table = source.table("0 8 linear " + quote_word(name) + " 5");
        std::string printed = table->rows()[0].target->status(StatusKind::table);
        auto again = source.table("0 8 linear " + printed);
        CHECK(again->devices()[0]->name() == name);
        CHECK(again->rows()[0].target->status(StatusKind::table) == printed);
    }
}

TEST_CASE("rows follow one another from 0, and each has a length") {
    Running executor;
    FakeSource source(*executor);
    source.add("a", 2048);
    for (const char* text : {"0 512 linear a 0\n520 512 linear a 512",
                             "0 512 linear a 0\n504 512 linear a 512",
                             "512 512 linear a 512\n0 512 linear a 0",
                             "8 512 linear a 0",
                             "0 0 linear a 0",
                             "0 8 linear a 0\n8 0 linear a 0",
                             "0 8 nonsense a 0",
                             "0 8 Linear a 0",
                             "0 8 abcdefghijklmnopqrstuvwxyz a 0",
                             "0 8 linear a 0\n8 8 linear a",
                             "0 8 linear",
                             "0 8 linear a",
                             "0 8 linear a 0 0",
                             "0 8 zero x",
                             "0 8",
                             "0",
                             "linear 0 8 a 0",
                             "",
                             "# only a comment\n\n",
                             "\n"}) {
        INFO(text);
        CHECK(refusal(source, text).error() == EINVAL);
    }
    CHECK(refusal(source, std::string("0 8 zero\0", 9)).error() == EINVAL);
}

TEST_CASE("a refusal points at the word that is meant") {
    Running executor;
    FakeSource source(*executor);
    source.add("a", 2048);
    struct Case {
        const char* text;
        size_t line;
        const char* word;
        int error;
    };
    for (const Case& each : std::vector<Case>{{"0 8 zero\n9 8 zero", 2, "9", EINVAL},
                                              {"0 8 zero\n\n# so\n  8 x zero", 4, "x", EINVAL},
                                              {"0 8 lunear a 0", 1, "lunear", EINVAL},
                                              {"0 8 linear missing 0", 1, "missing", ENOENT},
                                              {"0 8 linear a 2041", 1, "2041", EINVAL},
                                              {"0 8 linear a y", 1, "y", EINVAL},
                                              {"0 8 linear a 0 more", 1, "more", EINVAL},
                                              {"0 0 zero", 1, "0", EINVAL},
                                              {"0 24 striped 2 5 a 0 a 100", 1, "5", EINVAL},
                                              {"0 25 striped 2 4 a 0 a 100", 1, "2", EINVAL},
                                              {"0 24 striped 2 4 a 0 b 100", 1, "b", ENOENT},
                                              {"0 24 striped 2 4 a 0 a 2040", 1, "2040", EINVAL}}) {
        INFO(each.text);
        Refused refused = refusal(source, each.text);
        CHECK(refused.error() == each.error);
        CHECK(refused.place().file == "table");
        CHECK(refused.place().line == each.line);
        CHECK(word_at(refused.place()) == each.word);
    }
    CHECK(refusal(source, "0 0 zero").place().column == 2);
}

TEST_CASE("a row has to lie on its device, to the sector") {
    Running executor;
    FakeSource source(*executor);
    source.add("a", 100);
    source.add("empty", 0);
    CHECK(source.table("0 100 linear a 0")->size() == 100);
    CHECK(source.table("0 1 linear a 99")->size() == 1);
    CHECK(refusal(source, "0 101 linear a 0").error() == EINVAL);
    CHECK(refusal(source, "0 1 linear a 100").error() == EINVAL);
    CHECK(refusal(source, "0 2 linear a 99").error() == EINVAL);
    CHECK(refusal(source, "0 1 linear empty 0").error() == EINVAL);
    source.add("unready", 0).set_number({7, 0});  // a block device that has no size yet is not checked
    CHECK(source.table("0 101 linear unready 7")->size() == 101);
}

TEST_CASE("a device that shrank after the table was built is told") {
    Running executor;
    FakeSource source(*executor);
    FakeDevice& a = source.add("a", 100);
    auto table = source.table("0 8 zero\n8 50 linear a 50");
    CHECK(table->areas_problem().empty());
    a.set_size(99);
    CHECK_FALSE(table->areas_problem().empty());
}

TEST_CASE("rows may not cut the blocks of a device") {
    Running executor;
    FakeSource source(*executor);
    source.add("a", 100).own_limits().logical_block = 4096;
    CHECK(source.table("0 16 linear a 8")->limits().logical_block == 4096);
    CHECK(refusal(source, "0 16 linear a 4").error() == EINVAL);
    CHECK(refusal(source, "0 12 linear a 8").error() == EINVAL);
    CHECK(refusal(source, "0 4 zero\n4 8 linear a 8").error() == EINVAL);
    CHECK(source.table("0 8 zero\n8 8 linear a 8")->size() == 16);
}

TEST_CASE("limits of devices add up to those of the table") {
    Running executor;
    FakeSource source(*executor);
    FakeDevice& a = source.add("a", 4096);
    FakeDevice& b = source.add("b", 4096);
    a.own_limits().physical_block = 4096;
    a.own_limits().io_opt = 3 * 4096;
    b.own_limits().io_opt = 4 * 4096;
    b.own_limits().write_zeroes = false;
    b.own_limits().discard_granularity = 4096;
    Limits limits = source.table("0 8 linear a 0\n8 8 linear b 0")->limits();
    CHECK(limits.physical_block == 4096);
    CHECK(limits.io_opt == 12 * 4096);
    CHECK_FALSE(limits.write_zeroes);
    CHECK(limits.discard_granularity == 4096);
    CHECK(limits.write_cache);
    b.own_limits().discard_granularity = 0;
    CHECK_FALSE(source.table("0 8 linear a 0\n8 8 linear b 0")->limits().discard());
    limits = source.table("0 128 striped 2 64 a 0 a 64")->limits();
    CHECK(limits.io_min == 64 * 512);
    CHECK(limits.io_opt == 128 * 512);
    limits = source.table("0 24 striped 1 12 a 0")->limits();  // no whole physical blocks
    CHECK(limits.physical_block == 4096);
    CHECK(limits.io_min == 4096);
    CHECK(limits.io_opt == 0);
}

TEST_CASE("extents of a table end with its rows") {
    Running executor;
    FakeSource source(*executor);
    FakeDevice& a = source.add("a", 100);
    a.set_extents({{false, 10}, {true, 15}, {false, 100}});
    auto table = source.table("0 20 linear a 5\n20 8 zero\n28 8 error");
    auto check = [&](Sector at, bool data, Sector end) {
        Extent extent = extent_of(*table, at);
        CHECK(extent.data == data);
        CHECK(extent.end == end);
    };
    check(0, false, 5);
    check(4, false, 5);
    check(5, true, 10);
    check(10, false, 20);
    check(20, false, 28);
    check(30, true, 36);
}

TEST_CASE("random tables of linear rows read what a plain list of places says") {
    Running executor;
    unsigned seed = std::random_device()();
    std::mt19937 random(seed);
    INFO("seed " << seed);
    for (int round = 0; round < 50; round++) {
        FakeSource source(*executor);
        source.add("a", 512, 1);
        source.add("b", 512, 2);
        std::vector<std::pair<uint64_t, Sector>> places;  // tag 0: zeros
        std::string text;
        for (unsigned rows = 1 + random() % 12; rows > 0; rows--) {
            Sector length = 1 + random() % 40, start = random() % (512 - length + 1);
            unsigned kind = random() % 3;
            text += std::to_string(places.size()) + " " + std::to_string(length);
            text += kind == 0
                        ? " zero\n"
                        : " linear " + std::string(kind == 1 ? "a " : "b ") + std::to_string(start) + "\n";
            for (Sector s = 0; s < length; s++) places.emplace_back(kind, start + s);
        }
        auto table = source.table(text);
        for (int request = 0; request < 30; request++) {
            Sector at = random() % places.size(), count = 1 + random() % (places.size() - at);
            Memory memory(bytes_of(count));
            REQUIRE(run(*executor, table->io(bio_of(Op::read, at, count, &memory))) == kOk);
            for (Sector s = 0; s < count; s++) {
                auto [tag, place] = places[at + s];
                const std::byte* sector = memory.data() + bytes_of(s);
                REQUIRE((tag == 0 ? all_zero(sector, kSectorBytes) : stamped(sector, tag, place)));
            }
        }
    }
}
