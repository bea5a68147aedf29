// flakey: up as linear, down as its features say; the clock is the test's.

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

// An executor whose clock stands until the test moves it.
class ClockedExecutor final : public Executor {
  public:
    void submit(Operation& operation) override { real_->submit(operation); }
    void post(std::coroutine_handle<> coroutine) override { real_->post(coroutine); }
    void arm(Timer& timer, int64_t deadline_ns) override { real_->arm(timer, deadline_ns); }
    void disarm(Timer& timer) override { real_->disarm(timer); }
    int64_t now_ns() const override { return now_ns_.load(); }
    std::string name() const override { return "clocked"; }

    void set_ms(int64_t ms) { now_ns_ = kBegin + ms * 1'000'000; }

  private:
    static constexpr int64_t kBegin = 1'000'000'000'000;
    std::unique_ptr<Executor> real_ = make_pool_executor(2);
    std::atomic<int64_t> now_ns_{kBegin};
};

struct Flaky {
    ClockedExecutor executor;
    FakeSource source{executor};
    FakeDevice& a = source.add("a", 4096, 1);
    Memory memory{bytes_of(8)};
    std::shared_ptr<Table> table;

    // From sector 10 of a, down for ever unless the words say otherwise.
    explicit Flaky(const std::string& features, const std::string& intervals = "0 60")
        : table(source.table("0 4000 flakey a 10 " + intervals + " " + features)) {}

    Status ask(const Bio& bio) const {
        Task<Status> task = table->io(bio);
        if (task.is_ready()) return std::move(task).value();
        return run(const_cast<ClockedExecutor&>(executor), std::move(task));
    }
    Status ask(Op op, Sector sector = 0, Sector count = 1) {
        return ask(bio_of(op, sector, count, op == Op::read || op == Op::write ? &memory : nullptr));
    }
    void fill(int value) { memset(memory.data(), value, memory.bytes()); }
    // The bytes of a run that are not `usual`: "BYTE=VALUE ...".
    static std::string others(const std::byte* data, size_t bytes, int usual) {
        std::string text;
        for (size_t i = 0; i < bytes; i++)
            if (data[i] != std::byte(usual))
                text += std::to_string(i + 1) + "=" + std::to_string(static_cast<int>(data[i])) + " ";
        return text;
    }
    std::string words() const { return table->rows()[0].target->status(StatusKind::table); }
};

constexpr Op kAll[] = {Op::read, Op::write, Op::flush, Op::discard, Op::write_zeroes};

}  // namespace

TEST_CASE("flakey is up for whole seconds, then down, and so on, from when the table was made") {
    Flaky f("", "3 2");
    for (int64_t ms = 0; ms < 20'000; ms += 500) {
        f.executor.set_ms(ms);
        bool down = ms / 1000 % 5 >= 3;
        for (Op op : kAll) CHECK(f.ask(op, 4, op == Op::flush ? 0 : 1) == (down ? Status(EIO) : kOk));
    }
    f.executor.set_ms(3999);
    auto later = f.source.table("0 16 flakey a 0 3 2");
    CHECK(f.ask(Op::read) == Status(EIO));
    Task<Status> fresh = later->io(bio_of(Op::read, 0, 1, &f.memory));
    CHECK(std::move(fresh).value() == kOk);
}

TEST_CASE("flakey that is always up is linear, and costs no coroutine") {
    Flaky f("", "60 0");
    f.executor.set_ms(100'000'000);
    for (Op op : kAll) {
        Task<Status> task =
            f.table->io(bio_of(op, op == Op::flush ? 0 : 3, op == Op::flush ? 0 : 2, &f.memory));
        REQUIRE(task.is_ready());
        CHECK(std::move(task).value() == kOk);
    }
    CHECK(f.a.seen() == std::vector<FakeDevice::Seen>{{Op::read, 13, 2, false},
                                                      {Op::write, 13, 2, false},
                                                      {Op::flush, 0, 0, false},
                                                      {Op::discard, 13, 2, false},
                                                      {Op::write_zeroes, 13, 2, false}});
    CHECK(f.table->rows()[0].target->flushing() == Flushing::devices);
}

TEST_CASE("down, each feature fails or loses what it says, and the rest passes") {
    struct Case {
        const char* features;
        Status read, write;
        bool vanish;
    };
    const Status fails(EIO);
    for (const Case& each :
         {Case{"", fails, fails, false}, Case{"0", fails, fails, false},
          Case{"2 random_read_corrupt 0", fails, fails, false}, Case{"1 error_reads", fails, kOk, false},
          Case{"1 ERROR_Writes", kOk, fails, false}, Case{"1 drop_writes", kOk, kOk, true},
          Case{"2 error_reads drop_writes", fails, kOk, true},
          Case{"5 corrupt_bio_byte 1 r 0 0", kOk, kOk, false}}) {
        CAPTURE(each.features);
        Flaky f(each.features);
        for (Op op : kAll) {
            f.a.forget();
            Status wanted = op == Op::read ? each.read : each.write;
            CHECK(f.ask(op, op == Op::flush ? 0 : 5, op == Op::flush ? 0 : 1) == wanted);
            bool passes = wanted && !(each.vanish && op != Op::read);
            CHECK(f.a.seen().size() == (passes ? 1 : 0));
        }
    }
}

TEST_CASE("down, a read is answered with one byte replaced, the device keeps its own") {
    Flaky f("5 corrupt_bio_byte 513 r 222 0");
    memset(f.a.at(10), 7, bytes_of(16));
    f.fill(0);
    CHECK(f.ask(Op::read, 0, 2) == kOk);
    CHECK(Flaky::others(f.memory.data(), bytes_of(2), 7) == "513=222 ");
    CHECK(f.ask(Op::read, 1, 1) == kOk);  // too short
    CHECK(Flaky::others(f.memory.data(), bytes_of(1), 7) == "");
    CHECK(Flaky::others(f.a.at(10), bytes_of(16), 7) == "");
    CHECK(f.ask(Op::write, 0, 4) == kOk);
    CHECK(memcmp(f.a.at(10), f.memory.data(), bytes_of(4)) == 0);
}

TEST_CASE("down, a read that has to wait is corrupted when it is there, a failed one is left alone") {
    Flaky f("5 corrupt_bio_byte 1 r 222 0");
    memset(f.a.at(10), 7, bytes_of(1));
    f.a.hold();
    Pending<Status> reading = begin(f.executor, f.table->io(bio_of(Op::read, 0, 1, &f.memory)));
    REQUIRE(soon([&] { return f.a.held() == 1; }));
    f.a.let_go();
    CHECK(reading.get() == kOk);
    CHECK(f.memory.data()[0] == std::byte{222});
    f.a.fail(Op::read, ENOSPC);
    f.fill(1);
    CHECK(f.ask(Op::read) == Status(ENOSPC));
    CHECK(f.memory.data()[0] == std::byte{1});
    while (f.executor.running() > 0) std::this_thread::yield();
}

TEST_CASE("down, a write is corrupted on its way, not in the caller's memory") {
    Flaky f("5 corrupt_bio_byte 32 W 1 0");
    f.fill(9);
    Bio write = bio_of(Op::write, 2, 3, &f.memory);
    write.offset = kSectorBytes;
    CHECK(f.ask(write) == kOk);
    CHECK(Flaky::others(f.a.at(12), bytes_of(3), 9) == "32=1 ");
    CHECK(Flaky::others(f.memory.data(), f.memory.bytes(), 9) == "");
    f.fill(0);
    CHECK(f.ask(Op::read, 2, 3) == kOk);
    CHECK(Flaky::others(f.memory.data(), bytes_of(3), 9) == "32=1 ");
    // Zeros come as writes, in pieces of 1 MiB.
    CHECK(f.ask(Op::write_zeroes, 0, 3000) == kOk);
    CHECK(Flaky::others(f.a.at(10), bytes_of(3000), 0) == "32=1 1048608=1 ");
    CHECK(f.a.count(Op::write_zeroes) == 0);
    // And without end, so that who is killed must be able to go.
    f.a.forget();
    Killed killed;
    Bio zeroing = bio_of(Op::write_zeroes, 0, 3000);
    zeroing.cancel = &killed;
    CHECK(f.ask(zeroing) == Status(EINTR));
    CHECK(f.a.seen().empty());
    CHECK(f.ask(Op::discard, 0, 8) == kOk);
    CHECK(all_zero(f.a.at(10), bytes_of(8)));
}

TEST_CASE("bio flags choose requests: writes have bit 0, durable ones bit 17, nothing has another") {
    struct Case {
        const char* features;
        bool plain, fua;
    };
    for (const Case& each :
         {Case{"5 corrupt_bio_byte 1 w 5 0", true, true}, Case{"5 corrupt_bio_byte 1 w 5 1", true, true},
          Case{"5 corrupt_bio_byte 1 w 5 131072", false, true},
          Case{"5 corrupt_bio_byte 1 w 5 131073", false, true},
          Case{"5 corrupt_bio_byte 1 w 5 262144", false, false},
          Case{"5 corrupt_bio_byte 1 w 5 133120", false, false}}) {
        CAPTURE(each.features);
        Flaky f(each.features);
        f.fill(9);
        Bio write = bio_of(Op::write, 0, 1, &f.memory);
        CHECK(f.ask(write) == kOk);
        CHECK(Flaky::others(f.a.at(10), kSectorBytes, 9) == (each.plain ? "1=5 " : ""));
        write.fua = true;
        write.sector = 1;
        CHECK(f.ask(write) == kOk);
        CHECK(Flaky::others(f.a.at(11), kSectorBytes, 9) == (each.fua ? "1=5 " : ""));
        CHECK(f.a.seen().back().fua);
    }
    Flaky f("5 corrupt_bio_byte 1 r 222 1");
    CHECK(f.ask(Op::read, 3) == kOk);
    CHECK(stamped(f.memory.data(), 1, 13));
}

TEST_CASE("random corruption changes at most one byte of a request, as often as it is told") {
    for (Op op : {Op::read, Op::write})
        for (int percent : {0, 50, 100}) {
            Flaky f(std::string(op == Op::read ? "2 random_read_corrupt " : "2 random_write_corrupt ") +
                    std::to_string(percent * 10'000'000) + " # " + std::to_string(percent));
            if (percent == 0)
                f.table = f.source.table("0 4000 flakey a 10 0 60 3 error_reads random_read_corrupt 0");
            int hurt = 0;
            for (int i = 0; i < 400; i++) {
                memset(f.a.at(10), 9, bytes_of(8));
                f.fill(9);
                if (f.ask(op, 0, 8) != kOk) continue;
                std::string others = op == Op::read ? Flaky::others(f.memory.data(), bytes_of(8), 9)
                                                    : Flaky::others(f.a.at(10), bytes_of(8), 9);
                CHECK(std::count(others.begin(), others.end(), '=') <= 1);
                if (!others.empty()) hurt++;
                if (op == Op::write) CHECK(Flaky::others(f.memory.data(), bytes_of(8), 9) == "");
            }
            // One value in 256 is the byte that was there.
            if (percent == 0) CHECK(hurt == 0);
            if (percent == 50) CHECK((hurt > 120 && hurt < 280));
            if (percent == 100) CHECK(hurt > 360);
        }
}

TEST_CASE("flakey prints its features as the kernel does, whatever order they came in") {
    for (auto [features, words] :
         {std::pair{"", "2 error_reads error_writes"},
          {"0", "2 error_reads error_writes"},
          {"0 words behind those announced", "2 error_reads error_writes"},
          {"2 random_read_corrupt 0", "2 error_reads error_writes"},
          {"1 drop_writes", "1 drop_writes"},
          {"2 DROP_WRITES Error_Reads", "2 error_reads drop_writes"},
          {"2 error_writes error_reads", "2 error_reads error_writes"},
          {"5 corrupt_bio_byte 007 R 1 4294967295", "5 corrupt_bio_byte 7 r 1 4294967295"},
          {"11 random_write_corrupt 3 corrupt_bio_byte 1 w 2 3 random_read_corrupt 1000000000 error_reads "
           "error_reads",
           ""},
          {"10 random_write_corrupt 3 corrupt_bio_byte 1 w 2 3 random_read_corrupt 1000000000 error_reads",
           "10 error_reads corrupt_bio_byte 1 w 2 3 random_read_corrupt 1000000000 random_write_corrupt 3"},
          {"10 corrupt_bio_byte 1 w 2 3 corrupt_bio_byte 4 r 5 6", "5 corrupt_bio_byte 4 r 5 6"}}) {
        CAPTURE(features);
        if (*words == '\0') {
            CHECK_THROWS_AS(Flaky(features), Refused);
            continue;
        }
        CHECK(Flaky(features).words() == std::string("a 10 0 60 ") + words);
        CHECK(Flaky(features).table->rows()[0].target->status(StatusKind::info).empty());
    }
}

TEST_CASE("flakey refuses what the kernel refuses, and points at the word") {
    Flaky f("");
    auto refusal = [&](const std::string& words) {
        try {
            f.source.table("0 16 flakey " + words);
        } catch (const Refused& refused) {
            return refused.place().source.substr(refused.place().column, refused.place().length);
        }
        return std::string("taken");
    };
    const std::string down = "a 0 0 1 ";
    CHECK(refusal("a x 1 1") == "x");
    CHECK(refusal("a 0 -1 1") == "-1");
    CHECK(refusal("a 0 1 1s") == "1s");
    CHECK(refusal("a 0 0 0") == "0");
    CHECK(refusal("a 0 4294967295 1") == "1");
    CHECK(refusal("a 0 4294967296 1") == "4294967296");
    CHECK(refusal("a 0 4294967295 0") == "taken");
    CHECK(refusal("a 4090 1 1") == "4090");
    CHECK(refusal("nobody 0 1 1") == "nobody");
    CHECK(refusal(down + "x") == "x");
    CHECK(refusal(down + "12 a a a a a a a a a a a a") == "12");
    CHECK(refusal(down + "2 drop_writes") == "2");
    CHECK(refusal(down + "1 nonsense") == "nonsense");
    for (const char* name : {"error_reads", "drop_writes", "error_writes"})
        CHECK(refusal(down + "2 " + name + " " + name) == name);
    CHECK(refusal(down + "2 drop_writes error_writes") == "error_writes");
    CHECK(refusal(down + "2 error_writes drop_writes") == "drop_writes");
    CHECK(refusal(down + "1 corrupt_bio_byte 1 w 1 1") == "corrupt_bio_byte");
    CHECK(refusal(down + "4 corrupt_bio_byte 1 w 1 1") == "corrupt_bio_byte");
    CHECK(refusal(down + "5 corrupt_bio_byte 0 w 1 1") == "0");
    CHECK(refusal(down + "5 corrupt_bio_byte 4294967296 w 1 1") == "4294967296");
    CHECK(refusal(down + "5 corrupt_bio_byte 1 rw 1 1") == "rw");
    CHECK(refusal(down + "5 corrupt_bio_byte 1 w 256 1") == "256");
    CHECK(refusal(down + "5 corrupt_bio_byte 1 w 1 4294967296") == "4294967296");
    CHECK(refusal(down + "6 drop_writes corrupt_bio_byte 1 w 1 1") == "w");
    CHECK(refusal(down + "6 corrupt_bio_byte 1 w 1 1 error_writes") == "w");
    CHECK(refusal(down + "6 drop_writes corrupt_bio_byte 1 r 1 1") == "taken");
    CHECK(refusal(down + "6 error_reads corrupt_bio_byte 1 r 1 1") == "taken");
    CHECK(refusal(down + "3 drop_writes random_write_corrupt 1") == "taken");
    CHECK(refusal(down + "1 random_read_corrupt") == "random_read_corrupt");
    CHECK(refusal(down + "2 random_write_corrupt 1000000001") == "1000000001");
    CHECK(refusal(down + "2 random_write_corrupt x") == "x");
    CHECK_THROWS_AS(f.source.table("0 16 flakey a 0 1"), Refused);
}

TEST_CASE("flakey shows what would become of a request now, and holes only where they read as such") {
    auto steps = [](const Flaky& f, Op op) {
        std::string text;
        f.table->rows()[0].target->explain(op, 3, op == Op::flush ? 0 : 4, [&](const Step& step) {
            text += (step.device != nullptr ? step.device->name() : "-") + " " + std::to_string(step.start) +
                    "+" + std::to_string(step.count) + " " + step.note;
        });
        return text;
    };
    Flaky f("1 drop_writes", "1 1");
    CHECK(steps(f, Op::write) == "a 13+4 up");
    f.executor.set_ms(1000);
    CHECK(steps(f, Op::write) == "- 0+4 down: dropped");
    CHECK(steps(f, Op::flush) == "- 0+0 down: dropped");
    CHECK(steps(f, Op::read) == "a 13+4 down");
    CHECK(steps(Flaky(""), Op::read) == "- 0+4 down: fails with EIO");
    CHECK(steps(Flaky("5 corrupt_bio_byte 1 r 1 0"), Op::read) == "a 13+4 down: may be corrupted");
    // What is a hole while it is up may be read when it is down.
    Flaky errors("", "1 1");
    for (Flaky* each : {&f, &errors})
        for (int ms : {0, 1000}) {
            each->a.set_extents({{false, 4096}});
            each->executor.set_ms(ms);
            CHECK(extent_of(*each->table, 0).data == (each == &errors));
        }
}
