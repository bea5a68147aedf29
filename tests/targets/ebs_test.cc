#include <random>

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

struct Emulated {
    Running executor;
    FakeSource source{*executor};
    FakeDevice& device;
    Sector start;
    std::shared_ptr<Table> table;

    Emulated(Sector underlying, Sector start_, Sector length, Sector emulated = 1)
        : device(source.add("a", 512, 1)), start(start_) {
        device.own_limits().logical_block = static_cast<uint32_t>(bytes_of(underlying));
        table = source.table("0 " + std::to_string(length) + " ebs a " + std::to_string(start) + " " +
                             std::to_string(emulated));
    }
    Status io(Bio bio) { return run(*executor, table->io(bio)); }
    Target& target() const { return *table->rows()[0].target; }
    // Whether the device was asked for nothing but whole blocks.
    bool whole_blocks(Sector underlying) const {
        for (const FakeDevice::Seen& seen : device.seen())
            if (seen.sector % underlying != 0 || seen.count % underlying != 0) return false;
        return true;
    }
};

using Seen = std::vector<FakeDevice::Seen>;

}  // namespace

TEST_CASE("parts of blocks read and write as a plain array does, in whole blocks below") {
    const unsigned seed = 4;
    std::mt19937 random(seed);
    for (Sector underlying : {1, 2, 8, 32}) {
        Sector start = underlying * 3, length = 300;
        INFO("seed " << seed << ", blocks of " << underlying << " sectors");
        Emulated ebs(underlying, start, length);
        std::vector<std::byte> array(ebs.device.at(0), ebs.device.at(512));
        Memory memory(bytes_of(length));
        for (int i = 0; i < 2000; i++) {
            Sector at = random() % length, count = 1 + random() % std::min<Sector>(length - at, 70);
            std::byte* place = array.data() + bytes_of(start + at);
            Bio bio = bio_of(Op::read, at, count, &memory);
            bio.fua = random() % 4 == 0;
            switch (random() % 4) {
                case 0:
                    REQUIRE(ebs.io(bio) == kOk);
                    REQUIRE(memcmp(memory.data(), place, bytes_of(count)) == 0);
                    break;
                case 1:
                    bio.op = Op::write;
                    for (Sector s = 0; s < count; s++)
                        stamp(memory.data() + bytes_of(s), 100 + static_cast<uint64_t>(i), at + s);
                    REQUIRE(ebs.io(bio) == kOk);
                    memcpy(place, memory.data(), bytes_of(count));
                    break;
                case 2:
                    bio.op = Op::write_zeroes;
                    REQUIRE(ebs.io(bio) == kOk);
                    memset(place, 0, bytes_of(count));
                    break;
                case 3: {
                    bio.op = Op::discard;
                    REQUIRE(ebs.io(bio) == kOk);
                    for (Sector block = 0; block < 512; block += underlying)
                        if (block >= start + at && block + underlying <= start + at + count)
                            memset(array.data() + bytes_of(block), 0, bytes_of(underlying));
                }
            }
        }
        REQUIRE(memcmp(array.data(), ebs.device.at(0), array.size()) == 0);
        REQUIRE(ebs.whole_blocks(underlying));
    }
}

TEST_CASE("a write of a part reads what is cut, once, and writes the blocks at once") {
    Emulated ebs(8, 16, 64);
    Memory memory(bytes_of(32));
    auto asked = [&](Op op, Sector at, Sector count, bool fua = false) {
        ebs.device.forget();
        Bio bio = bio_of(op, at, count, &memory);
        bio.fua = fua;
        CHECK(ebs.io(bio) == kOk);
        return ebs.device.seen();
    };
    CHECK(asked(Op::write, 3, 2) == Seen{{Op::read, 16, 8, false}, {Op::write, 16, 8, false}});
    CHECK(asked(Op::write, 3, 5) == Seen{{Op::read, 16, 8, false}, {Op::write, 16, 8, false}});
    CHECK(asked(Op::write, 0, 7, true) == Seen{{Op::read, 16, 8, false}, {Op::write, 16, 8, true}});
    CHECK(asked(Op::write, 6, 12) ==
          Seen{{Op::read, 16, 8, false}, {Op::read, 32, 8, false}, {Op::write, 16, 24, false}});
    CHECK(asked(Op::write, 8, 9) == Seen{{Op::read, 32, 8, false}, {Op::write, 24, 16, false}});
    CHECK(asked(Op::write, 8, 16, true) == Seen{{Op::write, 24, 16, true}});
    CHECK(asked(Op::read, 6, 12) == Seen{{Op::read, 16, 24, false}});
    CHECK(asked(Op::read, 8, 8) == Seen{{Op::read, 24, 8, false}});
    CHECK(asked(Op::discard, 6, 12) == Seen{{Op::discard, 24, 8, false}});
    CHECK(asked(Op::discard, 1, 6).empty());
    CHECK(asked(Op::discard, 7, 2).empty());
    CHECK(asked(Op::write_zeroes, 8, 8) == Seen{{Op::write_zeroes, 24, 8, false}});
    CHECK(asked(Op::write_zeroes, 6, 11) == Seen{{Op::read, 16, 8, false},
                                                 {Op::write, 16, 8, false},
                                                 {Op::read, 32, 8, false},
                                                 {Op::write, 32, 8, false},
                                                 {Op::write_zeroes, 24, 8, false}});
    CHECK(asked(Op::flush, 0, 0) == Seen{{Op::flush, 0, 0, false}});
}

TEST_CASE("no write is undone by another of the same block") {
    Emulated ebs(8, 0, 8);
    for (Sector s = 0; s < 8; s++) stamp(ebs.device.at(s), 0, s);
    // Eight writers of a sector each, and one of the whole block in between.
    for (int round = 0; round < 20; round++) {
        uint64_t tag = 10 + static_cast<uint64_t>(round);
        std::vector<Memory> memories;
        for (Sector s = 0; s < 8; s++) {
            memories.emplace_back(kSectorBytes);
            stamp(memories.back().data(), tag, s);
        }
        ebs.device.hold();
        std::vector<Pending<Status>> writes;
        for (Sector s = 0; s < 8; s++)
            writes.push_back(begin(*ebs.executor, ebs.table->io(bio_of(Op::write, s, 1, &memories[s]))));
        CHECK(soon([&] { return ebs.device.held() == 1; }));
        a_moment();
        CHECK(ebs.device.held() == 1);  // one is at the block, the others wait for it
        ebs.device.let_go();
        for (Pending<Status>& write : writes) CHECK(write.get() == kOk);
        for (Sector s = 0; s < 8; s++) CHECK(stamped(ebs.device.at(s), tag, s));
    }
    Memory part(kSectorBytes), whole(bytes_of(8));
    stamp(part.data(), 1, 3);
    for (Sector s = 0; s < 8; s++) stamp(whole.data() + bytes_of(s), 2, s);
    ebs.device.hold();
    Pending<Status> first = begin(*ebs.executor, ebs.table->io(bio_of(Op::write, 3, 1, &part)));
    CHECK(soon([&] { return ebs.device.held() == 1; }));
    Pending<Status> second = begin(*ebs.executor, ebs.table->io(bio_of(Op::write, 0, 8, &whole)));
    a_moment();
    CHECK(ebs.device.held() == 1);
    ebs.device.let_go();
    CHECK(first.get() == kOk);
    CHECK(second.get() == kOk);
    for (Sector s = 0; s < 8; s++) CHECK(stamped(ebs.device.at(s), 2, s));
}

TEST_CASE("writes of other blocks do not wait for one another, and one that waits can be cancelled") {
    Emulated ebs(8, 0, 64);
    Memory memory(bytes_of(8));
    ebs.device.hold();
    Pending<Status> first = begin(*ebs.executor, ebs.table->io(bio_of(Op::write, 3, 1, &memory)));
    Pending<Status> other = begin(*ebs.executor, ebs.table->io(bio_of(Op::write, 11, 1, &memory)));
    CHECK(soon([&] { return ebs.device.held() == 2; }));
    Cancel cancel;
    Pending<Status> waiting = begin(*ebs.executor, ebs.table->io(bio_of(Op::write, 5, 1, &memory, &cancel)));
    a_moment();
    cancel.request();
    CHECK(waiting.get() == Status(EINTR));
    ebs.device.let_go();
    CHECK(first.get() == kOk);
    CHECK(other.get() == kOk);
    CHECK(ebs.io(bio_of(Op::write, 5, 1, &memory)) == kOk);
}

TEST_CASE("an error of the read or of the write is the answer, and the block is free again") {
    Emulated ebs(8, 0, 64);
    Memory memory(bytes_of(8));
    ebs.device.fail(Op::read, EIO);
    ebs.device.forget();
    CHECK(ebs.io(bio_of(Op::write, 3, 1, &memory)) == Status(EIO));
    CHECK(ebs.device.count(Op::write) == 0);
    CHECK(ebs.io(bio_of(Op::read, 3, 1, &memory)) == Status(EIO));
    ebs.device.fail(Op::read, 0);
    ebs.device.fail(Op::write, ENOSPC);
    CHECK(ebs.io(bio_of(Op::write, 3, 1, &memory)) == Status(ENOSPC));
    CHECK(ebs.io(bio_of(Op::write_zeroes, 3, 8)) == Status(ENOSPC));
    ebs.device.fail(Op::write, 0);
    ebs.device.fail(Op::discard, EOPNOTSUPP);
    CHECK(ebs.io(bio_of(Op::discard, 0, 8)) == Status(EOPNOTSUPP));
    CHECK(ebs.io(bio_of(Op::write, 3, 1, &memory)) == kOk);
}

TEST_CASE("ebs has the blocks that it was told, and prints them as it was told") {
    Running executor;
    FakeSource source(*executor);
    FakeDevice& a = source.add("a", 512);
    a.own_limits().logical_block = a.own_limits().physical_block = 4096;
    auto limits = [&](const char* words) {
        Limits limits = source.table(std::string("0 64 ebs a ") + words)->limits();
        return std::to_string(limits.logical_block) + " " + std::to_string(limits.physical_block) + " " +
               std::to_string(limits.io_min);
    };
    auto printed = [&](const char* words) {
        return source.table(std::string("0 64 ebs a ") + words)->rows()[0].target->status(StatusKind::table);
    };
    CHECK(limits("0 1") == "512 4096 4096");
    CHECK(limits("16 2 16") == "1024 8192 8192");
    CHECK(limits("0 8 1") == "4096 4096 4096");
    CHECK(printed("08 1") == "a 8 1");
    CHECK(printed("8 1 8") == "a 8 1 8");
    CHECK(source.table("0 64 ebs a 0 1")->rows()[0].target->status(StatusKind::info) == "");
}

TEST_CASE("a row of ebs need not fill the last block of its device") {
    Emulated ebs(8, 496, 15);
    Memory memory(kSectorBytes);
    stamp(memory.data(), 9, 9);
    CHECK(ebs.io(bio_of(Op::write, 14, 1, &memory)) == kOk);
    CHECK(stamped(ebs.device.at(510), 9, 9));
    CHECK(stamped(ebs.device.at(511), 1, 511));
    CHECK(ebs.table->areas_problem() == "");
    ebs.device.set_size(504);
    CHECK(ebs.table->areas_problem() != "");
}

TEST_CASE("ebs refuses what does not add up") {
    Running executor;
    FakeSource source(*executor);
    source.add("a", 4096);
    source.add("large", 4096).own_limits().logical_block = 4096;
    auto error_of = [&](const std::string& words) {
        try {
            source.table("0 32 ebs " + words);
        } catch (const Refused& refused) {
            CHECK(refused.reason().starts_with("ebs: "));
            return refused.error();
        }
        return 0;
    };
    for (const char* words :
         {"", "a 0", "a 0 1 8 8", "a 0 0", "a 0 3", "a 0 16", "a 0 x", "a 0 1 0", "a 0 1 12", "a 0 1 x",
          "a 0 1 65536", "a x 1", "a 4 1 8", "a 4 8 4", "a 4065 1", "large 4 1", "large 4072 1"}) {
        INFO(words);
        CHECK(error_of(words) == EINVAL);
    }
    CHECK(error_of("b 0 1") == ENOENT);
    CHECK(error_of("a 0 1 32768") == 0);
    CHECK(error_of("large 4064 1") == 0);
    CHECK_THROWS_AS(source.table("0 12 ebs a 0 8"), Refused);
}

TEST_CASE("a partial write is explained as read, then write") {
    Emulated ebs(8, 16, 64);
    auto steps = [&](Op op, Sector at, Sector count) {
        std::string text;
        ebs.target().explain(op, at, count, [&](const Step& step) {
            constexpr const char* kOps[] = {"read", "write", "flush", "discard", "zero"};
            text += kOps[static_cast<size_t>(step.op)] + std::string(" ") + std::to_string(step.at) + "+" +
                    std::to_string(step.count) + "@" +
                    (step.device == nullptr ? "-" : std::to_string(step.start)) + ";";
        });
        return text;
    };
    CHECK(steps(Op::write, 3, 2) == "read 0+8@16;write 0+8@16;");
    CHECK(steps(Op::write, 3, 20) == "read 0+8@16;read 16+8@32;write 0+24@16;");
    CHECK(steps(Op::write, 8, 8) == "write 8+8@24;");
    CHECK(steps(Op::read, 3, 2) == "read 0+8@16;");
    CHECK(steps(Op::write_zeroes, 6, 11) ==
          "read 0+8@16;write 0+8@16;read 16+8@32;write 16+8@32;zero 8+8@24;");
    CHECK(steps(Op::discard, 6, 12) == "discard 8+8@24;");
    CHECK(steps(Op::discard, 6, 4) == "discard 6+4@-;");
    CHECK(steps(Op::flush, 0, 0) == "flush 0+0@0;");
    // What is explained is what happens.
    std::mt19937 random(5);
    Memory memory(bytes_of(64));
    for (int round = 0; round < 200; round++) {
        Op op = std::array{Op::read, Op::write, Op::discard, Op::write_zeroes}[random() % 4];
        Sector at = random() % 64, count = 1 + random() % (64 - at);
        Seen explained;
        ebs.target().explain(op, at, count, [&](const Step& step) {
            if (step.device != nullptr) explained.push_back({step.op, step.start, step.count, false});
        });
        ebs.device.forget();
        REQUIRE(ebs.io(bio_of(op, at, count, &memory)) == kOk);
        REQUIRE(ebs.device.seen() == explained);
    }
}
