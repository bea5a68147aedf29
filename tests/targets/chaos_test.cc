// chaos: each fault, each condition, what becomes of rules while requests run.

#include <algorithm>
#include <array>
#include <bit>
#include <set>
#include <thread>

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

// A row of chaos on sectors [10, 74) of a device whose every sector is stamped.
struct Row {
    Running executor;
    FakeSource source{*executor};
    FakeDevice& device = source.add("a", 100, 1);
    std::atomic<unsigned> events{0};
    std::shared_ptr<Table> table;

    explicit Row(const std::string& rules, const std::string& seed = "7") {
        table = source.table("0 64 chaos a 10 " + seed + " " + rules, [this] { events++; });
    }

    Target& target() { return *table->rows()[0].target; }
    std::string tell(const std::string& words) { return target().message(split_words(words)); }
    std::string info() { return target().status(StatusKind::info); }
    std::string words() { return target().status(StatusKind::table); }
    // The log without the times.
    std::string log() {
        std::string text = tell("log"), out;
        for (size_t at = 0; at < text.size(); at = text.find('\n', at) + 1)
            out += text.substr(text.find(' ', at) + 1, text.find('\n', at) - text.find(' ', at));
        return out;
    }

    Status ask(Op op, Sector sector, Sector count = 1) {
        Memory memory(bytes_of(count));
        return run(*executor, table->io(bio_of(op, sector, count, &memory)));
    }
    Status write(Sector sector, Sector count, uint64_t tag) {
        Memory memory(bytes_of(count));
        for (Sector s = 0; s < count; s++) stamp(memory.data() + bytes_of(s), tag, sector + s);
        return run(*executor, table->io(bio_of(Op::write, sector, count, &memory)));
    }
    // What the row's sectors hold, a tag for each: 1 is as it was.
    std::string tags(Sector sector, Sector count) {
        std::string text;
        for (Sector s = sector; s < sector + count; s++)
            for (uint64_t tag = 1; tag < 10; tag++)
                if (stamped(device.at(10 + s), tag, tag == 1 ? 10 + s : s)) text += std::to_string(tag);
        return text;
    }
    // The tag that a read of one sector gives; 0: none.
    uint64_t read(Sector sector) {
        Memory memory(kSectorBytes);
        Status status = run(*executor, table->io(bio_of(Op::read, sector, 1, &memory)));
        if (!status) return 100 + static_cast<uint64_t>(status.error());
        for (uint64_t tag = 1; tag < 10; tag++)
            if (stamped(memory.data(), tag, tag == 1 ? 10 + sector : sector)) return tag;
        return 0;
    }
    // For 40 reads in turn: x where it failed.
    std::string failures() {
        std::string text;
        for (Sector s = 0; s < 40; s++) text += ask(Op::read, s).good() ? '.' : 'x';
        return text;
    }
};

unsigned bits_that_differ(const std::byte* a, const std::byte* b, size_t bytes) {
    unsigned count = 0;
    for (size_t i = 0; i < bytes; i++)
        count += static_cast<unsigned>(std::popcount(std::to_integer<unsigned>(a[i] ^ b[i])));
    return count;
}

constexpr const char* kRefused = "a refusal was expected";

std::string refusal(const std::function<void()>& act) {
    try {
        act();
    } catch (const Refused& refused) {
        return refused.detail();
    }
    return kRefused;
}

}  // namespace

TEST_CASE("chaos without rules hands everything on as linear does") {
    Row row("");
    Memory memory(bytes_of(4));
    Bio write = bio_of(Op::write, 3, 4, &memory);
    write.fua = true;
    for (const Bio& bio : {bio_of(Op::read, 0, 4, &memory), write, Bio::flush(), bio_of(Op::discard, 1, 15),
                           bio_of(Op::write_zeroes, 0, 16)})
        CHECK(run(*row.executor, row.table->io(bio)) == kOk);
    CHECK(row.device.seen() == std::vector<FakeDevice::Seen>{{Op::read, 10, 4, false},
                                                             {Op::write, 13, 4, true},
                                                             {Op::flush, 0, 0, false},
                                                             {Op::discard, 11, 15, false},
                                                             {Op::write_zeroes, 10, 16, false}});
    CHECK(row.info() == "0 0");
    CHECK(row.words() == "a 10 7");
    CHECK(row.target().status(StatusKind::measure) == "device_name=a,start=10,seed=7,rules=0;");
}

TEST_CASE("a table of chaos prints its rules, also those that came by message") {
    Row row("dead:error,p=0.50,once slow:slow:1.50");
    CHECK(row.words() == "a 10 7 dead:error:EIO,p=0.5,once slow:slow:1.5");
    row.tell("add new:lost,sectors=5");
    row.tell("remove dead");
    CHECK(row.words() == "a 10 7 slow:slow:1.5 new:lost,sectors=5+1");
    CHECK(row.source.table("0 64 chaos " + row.words())->rows()[0].target->status(StatusKind::table) ==
          row.words());
    row.tell("clear");
    CHECK(row.words() == "a 10 7");
}

TEST_CASE("a table of chaos that is refused points into the rule") {
    Row row("");
    auto refused = [&](const std::string& words) {
        return refusal([&] { row.source.table("0 64 chaos " + words); });
    };
    std::string misspelt = refused("a 10 7 ok:lost dead:eror:EIO");
    std::string line = misspelt.substr(misspelt.find('\n') + 1);
    std::string marks = line.substr(line.find('\n') + 1);
    CHECK(line.substr(marks.find('^'), 4) == "eror");
    CHECK(marks.find("^~~~ one of error") != std::string::npos);
    CHECK(refused("a 10 7 x:lost x:torn").find("there is a rule 'x' already") != std::string::npos);
    CHECK(refused("a 10 -1").find("seed") != std::string::npos);
    CHECK(refused("a 10").find("2 arguments, not at least 3") != std::string::npos);
    CHECK(refused("a 40 1").find("ends at sector 100") != std::string::npos);
    CHECK(refusal([&] { row.tell("add x:error:EFOO"); }) ==
          "message:1: 'EFOO' is no error of a device\n  x:error:EFOO\n          ^~~~ one of EIO, ENOSPC, "
          "ETIMEDOUT, EREMOTEIO, EILSEQ, ENODATA, EBADE, ENOLINK, ENODEV, ENOMEM, EBUSY, ETIME, EINVAL, "
          "EOPNOTSUPP");
    CHECK(refusal([&] { row.tell("destroy"); }).find("add RULE, remove NAME, list") != std::string::npos);
    CHECK(refusal([&] { row.tell("add"); }).find("add RULE") != std::string::npos);
    CHECK(refusal([&] { row.tell("list all"); }).find("1 words behind list") != std::string::npos);
    CHECK(refusal([&] { row.tell("remove x"); }).find("no rule 'x'") != std::string::npos);
    CHECK(refusal([&] { row.tell("reset -1"); }).find("no seed") != std::string::npos);
    std::string many;
    for (int i = 0; i < 65; i++) many += " r" + std::to_string(i) + ":lost,p=0";
    CHECK(refused("a 10 1" + many).find("there are 64 rules already") != std::string::npos);
}

TEST_CASE("an error is the one that was asked for, on the requests it is for") {
    Row row("gone:error:ENODATA,on=read,sectors=8+4 full:error:ENOSPC,on=write+zeroes bad:error,on=flush");
    CHECK(row.ask(Op::read, 0, 8) == kOk);
    CHECK(row.ask(Op::read, 7, 2) == Status(ENODATA));
    CHECK(row.ask(Op::read, 11, 5) == Status(ENODATA));
    CHECK(row.ask(Op::read, 12, 4) == kOk);
    CHECK(row.ask(Op::write, 0) == Status(ENOSPC));
    CHECK(row.ask(Op::write_zeroes, 0) == Status(ENOSPC));
    CHECK(row.ask(Op::discard, 0) == kOk);
    CHECK(run(*row.executor, row.table->io(Bio::flush())) == Status(EIO));
    CHECK(row.device.count(Op::write) == 0);
    CHECK(row.device.count(Op::flush) == 0);
    CHECK(row.info() == "3 5 gone:2 full:2 bad:1");
    CHECK(row.events == 5);
    CHECK(row.log() ==
          "gone error read 7+2 seed=7 n=1 ENODATA\ngone error read 11+5 seed=7 n=2 ENODATA\n"
          "full error write 0+1 seed=7 n=1 ENOSPC\nfull error zeroes 0+1 seed=7 n=2 ENOSPC\n"
          "bad error flush 0+0 seed=7 n=1 EIO\n");
}

TEST_CASE("a torn write leaves its first part, whether it fails or not") {
    for (bool acknowledged : {false, true}) {
        Row row(acknowledged ? "t:torn:ok" : "t:torn");
        std::set<std::string> lengths;
        for (int i = 0; i < 30; i++) {
            CHECK(row.write(0, 8, 2) == (acknowledged ? kOk : Status(EIO)));
            std::string tags = row.tags(0, 8);
            size_t written = std::min(tags.find('1'), tags.size());
            CHECK(tags == std::string(written, '2') + std::string(8 - written, '1'));
            CHECK(written > 0);
            CHECK(written < 8);
            CHECK(row.log().find("n=" + std::to_string(i + 1) + " written=" + std::to_string(written)) !=
                  std::string::npos);
            lengths.insert(tags);
            for (Sector s = 10; s < 18; s++) stamp(row.device.at(s), 1, s);
        }
        CHECK(lengths.size() > 3);
        // A single sector is written whole or not at all.
        CHECK(row.write(20, 1, 2) == (acknowledged ? kOk : Status(EIO)));
        CHECK(row.tags(20, 1) == "1");
    }
}

TEST_CASE("a write is torn between the blocks of the device") {
    Row row("");
    FakeDevice& disk = row.source.add("block4k", 128, 1);
    disk.own_limits().logical_block = 4096;
    auto table = row.source.table("0 64 chaos block4k 0 3 t:torn");
    Memory memory(bytes_of(24));
    for (int i = 0; i < 10; i++)
        CHECK(run(*row.executor, table->io(bio_of(Op::write, 8, 24, &memory))) == Status(EIO));
    for (const FakeDevice::Seen& seen : disk.seen()) CHECK((seen.count == 8 || seen.count == 16));
}

TEST_CASE("a lost write is answered and not written; so is a flush, if asked for") {
    Row row("l:lost,sectors=4+4 f:lost,on=flush");
    CHECK(row.write(0, 4, 2) == kOk);
    CHECK(row.write(4, 4, 2) == kOk);
    CHECK(row.tags(0, 8) == "22221111");
    CHECK(run(*row.executor, row.table->io(Bio::flush())) == kOk);
    CHECK(row.device.count(Op::flush) == 0);
}

TEST_CASE("a misdirected write lands elsewhere in the row, and stays within it") {
    Row row("m:misdirect:16");
    CHECK(row.write(0, 2, 2) == kOk);
    CHECK(row.device.seen().back() == FakeDevice::Seen{Op::write, 26, 2, false});
    CHECK(row.tags(0, 2) == "11");
    CHECK(stamped(row.device.at(26), 2, 0));
    CHECK(row.write(60, 4, 2) == kOk);  // there is no room behind it
    CHECK(row.device.seen().back() == FakeDevice::Seen{Op::write, 54, 4, false});
    CHECK(row.log() == "m misdirect write 0+2 seed=7 n=1 to=16\nm misdirect write 60+4 seed=7 n=2 to=44\n");
    CHECK(row.write(4, 56, 2) == kOk);  // nor in front of it: it stays where it is
    CHECK(row.tags(4, 2) == "22");
    CHECK(row.info() == "1 2 m:2");
    Row reads("m:misdirect:3,on=read");
    Memory memory(kSectorBytes);
    CHECK(run(*reads.executor, reads.table->io(bio_of(Op::read, 0, 1, &memory))) == kOk);
    CHECK(stamped(memory.data(), 1, 13));
}

TEST_CASE("flipped bits are as many as were asked for, within the sectors of the rule") {
    Row row("f:flip:5,sectors=2+1 w:flip:3,on=write");
    Memory read(bytes_of(4)), expected(bytes_of(4));
    for (int i = 0; i < 20; i++) {
        CHECK(run(*row.executor, row.table->io(bio_of(Op::read, 0, 4, &read))) == kOk);
        memcpy(expected.data(), row.device.at(10), bytes_of(4));
        CHECK(bits_that_differ(read.data(), expected.data(), bytes_of(4)) == 5);
        CHECK(bits_that_differ(read.data() + bytes_of(2), expected.data() + bytes_of(2), kSectorBytes) == 5);
    }
    for (Sector s = 0; s < 4; s++) CHECK(stamped(row.device.at(10 + s), 1, 10 + s));

    Memory data(bytes_of(2));
    memset(data.data(), 0x55, data.bytes());
    Memory before(bytes_of(2));
    memcpy(before.data(), data.data(), data.bytes());
    CHECK(run(*row.executor, row.table->io(bio_of(Op::write, 20, 2, &data))) == kOk);
    CHECK(memcmp(before.data(), data.data(), data.bytes()) == 0);  // the caller's stay
    CHECK(bits_that_differ(row.device.at(30), data.data(), data.bytes()) == 3);
}

TEST_CASE("latent sectors fail reads until they are written") {
    Row row("bad:latent,sectors=8+4");
    CHECK(row.read(7) == 1);
    CHECK(row.read(8) == 100 + EIO);
    CHECK(row.read(8) == 100 + EIO);
    CHECK(row.ask(Op::read, 0, 64) == Status(EIO));
    CHECK(row.ask(Op::discard, 8, 1) == kOk);
    CHECK(row.read(8) == 100 + EIO);
    CHECK(row.write(6, 4, 2) == kOk);
    CHECK(row.read(8) == 2);
    CHECK(row.read(9) == 2);
    CHECK(row.read(10) == 100 + EIO);
    CHECK(row.ask(Op::write_zeroes, 10, 2) == kOk);
    CHECK(row.ask(Op::read, 0, 64) == kOk);
    CHECK(row.log().ends_with("bad latent read 10+1 seed=7 n=6 EIO\n") == false);
    CHECK(row.log().ends_with(" bad=10\n"));
    row.device.fail(Op::write, EIO);
    row.tell("reset");
    CHECK(row.write(8, 1, 2) == Status(EIO));
    CHECK(row.read(8) == 100 + EIO);  // nothing was written, so nothing was repaired
}

TEST_CASE("which sectors are latent does not depend on who reads what first") {
    Row one("bad:latent,p=0.3"), two("bad:latent,p=0.3");
    std::string forwards, backwards;
    for (Sector s = 0; s < 64; s++) forwards += one.read(s) == 1 ? '.' : 'x';
    for (Sector s = 64; s-- > 0;) backwards += two.read(s) == 1 ? '.' : 'x';
    std::reverse(backwards.begin(), backwards.end());
    CHECK(forwards == backwards);
    CHECK(std::count(forwards.begin(), forwards.end(), 'x') > 8);
    CHECK(std::count(forwards.begin(), forwards.end(), 'x') < 32);
}

TEST_CASE("a stale read gives what was there before the last write") {
    Row row("old:stale,sectors=8+4");
    CHECK(row.read(8) == 1);  // nothing was written: nothing is stale
    CHECK(row.info() == "1 0 old:0");
    CHECK(row.write(6, 4, 2) == kOk);
    CHECK(row.read(7) == 2);  // not one of its sectors
    CHECK(row.read(8) == 1);
    CHECK(row.write(8, 1, 3) == kOk);
    CHECK(row.read(8) == 2);
    CHECK(row.tags(6, 6) == "223211");
    CHECK(row.ask(Op::discard, 8, 1) == kOk);
    CHECK(row.read(8) == 0);  // a discard is not kept
    CHECK(row.read(9) == 1);
    row.tell("remove old");
    CHECK(row.read(9) == 2);
}

TEST_CASE("a stale rule knows what other faults really wrote") {
    Row row("old:stale lost:lost,nth=2 mis:misdirect:16,nth=3");
    CHECK(row.write(0, 1, 2) == kOk);
    CHECK(row.read(0) == 1);
    CHECK(row.write(0, 1, 3) == kOk);  // lost: the last write is still the first
    CHECK(row.read(0) == 1);
    CHECK(row.write(0, 1, 4) == kOk);  // lands in sector 16, whose number it does not carry
    CHECK(row.read(0) == 1);
    CHECK(stamped(row.device.at(26), 4, 0));
    CHECK(row.read(16) == 1);
}

TEST_CASE("conditions: the nth request, every nth, so many times, once") {
    CHECK(Row("x:error,nth=3").failures() == "..x.....................................");
    CHECK(Row("x:error,every=5,times=3").failures() == "....x....x....x.........................");
    CHECK(Row("x:error,from=38").failures() == ".....................................xxx");
    CHECK(Row("x:error,from=6,every=5,times=1").failures() == ".........x..............................");
    CHECK(Row("x:error,once").failures() == "x.......................................");
    CHECK(Row("x:error,always").failures() == std::string(40, 'x'));
    CHECK(Row("x:error,p=0").failures() == std::string(40, '.'));
    CHECK(Row("x:error,sectors=5+3,nth=2").failures() == "......x.................................");
}

TEST_CASE("a rule is silent until its mark") {
    Row row("x:error,after=go");
    CHECK(row.ask(Op::read, 0) == kOk);
    CHECK(row.tell("list") == "x:error:EIO,after=go looked=0 fired=0 waits for mark go\n");
    CHECK(row.tell("mark gone") == "0 rules waited for it\n");
    CHECK(row.ask(Op::read, 0) == kOk);
    CHECK(row.tell("mark go") == "1 rule waited for it\n");
    CHECK(row.ask(Op::read, 0) == Status(EIO));
    CHECK(row.tell("list") == "x:error:EIO,after=go looked=1 fired=1\n");
    CHECK(row.log() == "mark gone\nmark go\nx error read 0+1 seed=7 n=1 EIO\n");
    row.tell("reset");
    CHECK(row.ask(Op::read, 0) == kOk);
}

TEST_CASE("the same seed gives the same run, another seed another") {
    std::string run = Row("x:error,p=0.3").failures();
    CHECK(std::count(run.begin(), run.end(), 'x') > 3);
    CHECK(std::count(run.begin(), run.end(), 'x') < 25);
    CHECK(Row("x:error,p=0.3").failures() == run);
    CHECK(Row("x:error,p=0.3", "8").failures() != run);
    CHECK(Row("y:error,p=0.3").failures() != run);
    // Other rules do not change what it draws.
    CHECK(Row("a:slow:0.001,p=0.5 b:lost,p=0.5 x:error,p=0.3").failures() == run);
    Row row("x:error,p=0.3");
    CHECK(row.failures() == run);
    CHECK(row.failures() != run);
    row.tell("reset");
    CHECK(row.info() == "1 0 x:0");
    CHECK(row.tell("log") == "");
    CHECK(row.failures() == run);
    row.tell("reset 8");
    CHECK(row.words() == "a 10 8 x:error:EIO,p=0.3");
    CHECK(row.failures() == Row("x:error,p=0.3", "8").failures());
}

TEST_CASE("the log has the first firings and the last, and says how many it left out") {
    Row row("x:error,on=read");
    for (int i = 0; i < 500; i++) CHECK(row.ask(Op::read, 0) == Status(EIO));
    std::string log = row.log();
    CHECK(std::count(log.begin(), log.end(), '\n') == 128 + 1 + 256);
    CHECK(log.find("n=128 EIO\n116 more\nx error read 0+1 seed=7 n=245 EIO\n") != std::string::npos);
    CHECK(log.ends_with("n=500 EIO\n"));
    row.tell("reset");
    CHECK(row.tell("log") == "");
}

TEST_CASE("the first rule that decides does; those behind it have only looked") {
    Row row("a:error:ENODATA,every=2 b:error:EBADE");
    CHECK(row.ask(Op::read, 0) == Status(EBADE));
    CHECK(row.ask(Op::read, 0) == Status(ENODATA));
    CHECK(row.tell("list") == "a:error:ENODATA,every=2 looked=2 fired=1\nb:error:EBADE looked=2 fired=1\n");
}

TEST_CASE("two rows that share a mask never fire in the same chunk") {
    Running executor;
    FakeSource source(*executor);
    source.add("a", 1024, 1);
    source.add("b", 1024, 1);
    auto a = source.table("0 1024 chaos a 0 1 x:error,p=0.4,mask=mirror/8 y:lost,mask=mirror/8,p=0.2");
    auto b = source.table("0 1024 chaos b 0 2 x:error,p=0.4,mask=mirror/8");
    Memory memory(bytes_of(16));
    std::set<Sector> hurt_a, hurt_b;
    for (int round = 0; round < 4; round++)
        for (Sector s = 0; s + 16 <= 1024; s += 4) {
            if (!run(*executor, a->io(bio_of(Op::read, s, 12, &memory))))
                for (Sector c = s / 8; c <= (s + 11) / 8; c++) hurt_a.insert(c);
            if (!run(*executor, b->io(bio_of(Op::read, s, 12, &memory))))
                for (Sector c = s / 8; c <= (s + 11) / 8; c++) hurt_b.insert(c);
        }
    CHECK(hurt_a.size() > 10);
    CHECK(hurt_b.size() > 10);
    for (Sector chunk : hurt_a) CHECK_FALSE(hurt_b.contains(chunk));
    // When one goes, its chunks are free.
    a.reset();
    auto all = source.table("0 1024 chaos b 0 2 x:error,mask=mirror/8");
    CHECK(run(*executor, all->io(bio_of(Op::read, *hurt_a.begin() * 8, 8, &memory))) == Status(EIO));
    CHECK(refusal([&] { source.table("0 1024 chaos a 0 1 x:error,mask=mirror/16"); }).find("mask=mirror/8") !=
          std::string::npos);
}

TEST_CASE("a chunk that a mask keeps from a rule does not use up its times") {
    Running executor;
    FakeSource source(*executor);
    source.add("a", 64, 1);
    auto a = source.table("0 64 chaos a 0 1 x:error,mask=times/8");
    auto b = source.table("0 64 chaos a 0 1 x:error,mask=times/8,once");
    Memory memory(kSectorBytes);
    auto read = [&](Table& table, Sector at) {
        return run(*executor, table.io(bio_of(Op::read, at, 1, &memory)));
    };
    CHECK(read(*a, 0) == Status(EIO));
    CHECK(read(*b, 0) == kOk);
    CHECK(read(*b, 8) == Status(EIO));
    CHECK(read(*b, 16) == kOk);
}

TEST_CASE("a slow request takes its time and a hanging one until its rule is removed") {
    Row row("s:slow:30,on=write h:hang,on=read k:hang,on=discard");
    int64_t before = row.executor->now_ns();
    CHECK(row.write(0, 1, 2) == kOk);
    CHECK(row.executor->now_ns() - before >= 30'000'000);
    CHECK(row.tags(0, 1) == "2");
    Memory memory(kSectorBytes);
    Pending<Status> read = begin(*row.executor, row.table->io(bio_of(Op::read, 0, 1, &memory)));
    Pending<Status> discard = begin(*row.executor, row.table->io(bio_of(Op::discard, 1, 1)));
    a_moment();
    CHECK_FALSE(read.done());
    CHECK(row.tell("list") ==
          "s:slow:30,on=write looked=1 fired=1 held=0\nh:hang,on=read looked=1 fired=1 held=1\n"
          "k:hang,on=discard looked=1 fired=1 held=1\n");
    row.tell("remove h");
    CHECK(read.get() == kOk);
    CHECK(stamped(memory.data(), 2, 0));
    a_moment();
    CHECK_FALSE(discard.done());  // another rule holds it
    row.tell("clear");
    CHECK(discard.get() == kOk);
}

TEST_CASE("a hanging request whose process is killed ends with EINTR, and is not done") {
    Row row("h:hang");
    Cancel cancel;
    Memory memory(kSectorBytes);
    Pending<Status> write = begin(*row.executor, row.table->io(bio_of(Op::write, 0, 1, &memory, &cancel)));
    a_moment();
    CHECK_FALSE(write.done());
    cancel.request();
    CHECK(write.get() == Status(EINTR));
    CHECK(row.device.seen().empty());
    CHECK(row.tell("list").find("held=0") != std::string::npos);
}

TEST_CASE("a suspend lets held requests go, and a resume holds again") {
    Running executor;
    Namespace space(*executor);
    FakeSource source(*executor, &space);
    source.add("a", 64, 1);
    auto volume = space.create("v");
    auto table = source.table("0 64 chaos a 0 1 h:hang s:slow:3600000");
    CHECK(run(*executor, volume->replace(table, nullptr)));
    Memory memory(kSectorBytes);
    Pending<Status> read = begin(*executor, volume->io(bio_of(Op::read, 0, 1, &memory)));
    a_moment();
    CHECK_FALSE(read.done());
    CHECK(run(*executor, volume->suspend(false, nullptr)));
    CHECK(read.get() == kOk);
    CHECK(run(*executor, volume->resume(false, nullptr)));
    Pending<Status> again = begin(*executor, volume->io(bio_of(Op::read, 0, 1, &memory)));
    a_moment();
    CHECK_FALSE(again.done());
    table->rows()[0].target->message(split_words("clear"));
    CHECK(again.get() == kOk);
}

TEST_CASE("rules come and go while many threads ask") {
    Row row("p:error,p=0.01,on=read t:torn,p=0.5,sectors=8+8 old:stale bad:latent,p=0.2,sectors=16+8");
    std::atomic<bool> stop{false};
    std::atomic<unsigned> asked{0}, strange{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++)
        threads.emplace_back([&, t] {
            for (unsigned i = 0; !stop || i < 200; i++, asked++) {
                Op op = std::array{Op::read, Op::write, Op::discard,
                                   Op::flush}[(i + static_cast<unsigned>(t)) % 4];
                Memory memory(bytes_of(4));
                memset(memory.data(), 1, memory.bytes());
                Bio bio = op == Op::flush ? Bio::flush() : bio_of(op, i * 4 % 64, 4, &memory);
                int error = run(*row.executor, row.table->io(bio)).error();
                if (error != 0 && error != EIO) strange++;
            }
        });
    // A hang that is added is removed again, so all go on.
    for (int i = 0; i < 200 || asked < 2000; i++) {
        std::string name = "r" + std::to_string(i);
        row.tell("add " + name + (i % 3 == 0 ? ":hang" : i % 3 == 1 ? ":flip,on=write" : ":slow:0.01"));
        if (i % 50 == 7) row.tell("reset");
        CHECK(row.tell("list").find(name) != std::string::npos);
        static_cast<void>(row.info() + row.words() + row.tell("log"));
        row.tell("remove " + name);
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    CHECK(strange == 0);
    CHECK(row.words() ==
          "a 10 7 p:error:EIO,on=read,p=0.01 t:torn,sectors=8+8,p=0.5 old:stale "
          "bad:latent,sectors=16+8,p=0.2");
}

TEST_CASE("so many threads cannot make a rule fire more often than it may") {
    Row row("x:error,times=50");
    std::atomic<unsigned> failed{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++)
        threads.emplace_back([&] {
            for (int i = 0; i < 100; i++)
                if (!row.ask(Op::read, 0)) failed++;
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(failed == 50);
    CHECK(row.tell("list") == "x:error:EIO,times=50 looked=400 fired=50\n");
}

TEST_CASE("chaos explains which rules may touch a request, and the way back") {
    Row row("dead:error,on=read,sectors=8+8 torn:torn f:lost,on=flush");
    auto step = [&](Op op, Sector at, Sector count) {
        std::string text;
        row.target().explain(op, at, count, [&](const Step& step) {
            text += step.device->name() + " " + std::to_string(step.start) + "+" +
                    std::to_string(step.count) + " " + step.note + ";";
        });
        return text;
    };
    CHECK(step(Op::read, 0, 8) == "a 10+8 ;");
    CHECK(step(Op::read, 0, 9) == "a 10+9 rules: dead;");
    CHECK(step(Op::write, 8, 1) == "a 18+1 rules: torn;");
    CHECK(step(Op::flush, 0, 0) == "a 0+0 rules: f;");
    CHECK(row.tell("list").find("looked=0 fired=0") != std::string::npos);
    std::string runs;
    row.target().reverse(row.device, 0, 100, [&](const Run& run) {
        runs += std::to_string(run.at) + "+" + std::to_string(run.count) + "@" + std::to_string(run.start);
    });
    CHECK(runs == "0+64@10");
}
