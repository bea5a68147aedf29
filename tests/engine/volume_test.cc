#include "engine/volume.h"

#include <random>
#include <thread>

#include "base/log.h"
#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

struct Observed final : NamespaceObserver {
    std::atomic<int> events{0}, swaps{0}, removals{0};
    void event_raised(Volume&) override { events++; }
    void table_swapped(Volume&) override { swaps++; }
    void removed(Volume&) override { removals++; }
};

struct World {
    Running executor;
    std::unique_ptr<Namespace> space = std::make_unique<Namespace>(*executor);
    FakeSource source{*executor, space.get()};
    Observed observed;

    World() {
        space->observe(&observed);
        log_to_stderr(false);
    }
    ~World() {
        log_to_stderr(true);
        // What still runs may stand on volumes.
        soon([&] { return executor->running() == 0; });
        space.reset();
    }

    std::shared_ptr<Volume> volume(const std::string& name, const std::string& text = {}) {
        auto volume = space->create(name);
        if (!text.empty()) REQUIRE(run(*executor, volume->replace(source.table(text), nullptr)));
        return volume;
    }
    Outcome replace(const std::shared_ptr<Volume>& volume, const std::string& text,
                    Cancel* cancel = nullptr) {
        return run(*executor, volume->replace(source.table(text), cancel));
    }
    Outcome suspend(const std::shared_ptr<Volume>& volume, bool noflush = false) {
        return run(*executor, volume->suspend(noflush, nullptr));
    }
    Outcome resume(const std::shared_ptr<Volume>& volume) {
        return run(*executor, volume->resume(false, nullptr));
    }
    // The tag of the volume's sector, or -1: which device it is on.
    int tag(const std::shared_ptr<Volume>& volume, Sector at, Sector place) {
        Memory memory(kSectorBytes);
        if (!run(*executor, volume->io(bio_of(Op::read, at, 1, &memory)))) return -1;
        for (int t = 1; t < 9; t++)
            if (stamped(memory.data(), static_cast<uint64_t>(t), place)) return t;
        return 0;
    }
    Pending<Status> read(const std::shared_ptr<Volume>& volume, Memory& memory, Cancel* cancel = nullptr) {
        return begin(*executor, volume->io(bio_of(Op::read, 0, sectors_in(memory.bytes()), &memory, cancel)));
    }
};

int error_of(const Outcome& outcome) { return !outcome ? outcome.why().error() : 0; }

}  // namespace

TEST_CASE("a volume without a table is empty and fails requests") {
    World world;
    auto volume = world.volume("v");
    CHECK(volume->size() == 0);
    CHECK_FALSE(volume->suspended());
    CHECK_FALSE(volume->live());
    Memory memory(kSectorBytes);
    CHECK(world.read(volume, memory).get() == Status(EIO));
}

TEST_CASE("a loaded table comes to life with a resume") {
    World world;
    world.source.add("a", 100, 1);
    auto volume = world.volume("v");
    CHECK(load(*volume, world.source.table("0 16 linear a 10")));
    CHECK(volume->inactive());
    CHECK(volume->size() == 0);
    CHECK(world.resume(volume));
    CHECK_FALSE(volume->inactive());
    CHECK(volume->live());
    CHECK(volume->size() == 16);
    CHECK_FALSE(volume->suspended());
    CHECK(world.tag(volume, 3, 13) == 1);
    CHECK(world.observed.swaps == 1);
}

TEST_CASE("a cleared table does not come to life") {
    World world;
    world.source.add("a", 100, 1);
    world.source.add("b", 100, 2);
    auto volume = world.volume("v", "0 16 linear a 0");
    CHECK(load(*volume, world.source.table("0 16 linear b 0")));
    volume->clear();
    CHECK_FALSE(volume->inactive());
    CHECK(world.resume(volume));
    CHECK(world.tag(volume, 0, 0) == 1);
}

TEST_CASE("a table written to a volume is live at once, and leaves none inactive") {
    World world;
    world.source.add("a", 100, 1);
    world.source.add("b", 100, 2);
    auto volume = world.volume("v", "0 16 linear a 0");
    CHECK(load(*volume, world.source.table("0 16 linear a 8")));
    CHECK(world.replace(volume, "0 32 linear b 0"));
    CHECK(volume->size() == 32);
    CHECK(world.tag(volume, 20, 20) == 2);
    CHECK_FALSE(volume->inactive());
}

TEST_CASE("a written table resumes a suspended volume") {
    World world;
    world.source.add("a", 100, 1);
    auto volume = world.volume("v", "0 16 linear a 0");
    CHECK(world.suspend(volume));
    CHECK(world.replace(volume, "0 16 linear a 16"));
    CHECK_FALSE(volume->suspended());
    CHECK(world.tag(volume, 0, 16) == 1);
}

TEST_CASE("requests wait while a volume is suspended, and meet the table it resumes with") {
    World world;
    world.source.add("a", 100, 1);
    world.source.add("b", 100, 2);
    auto volume = world.volume("v", "0 16 linear a 0");
    CHECK(world.suspend(volume));
    CHECK(volume->suspended());
    Memory memory(bytes_of(2));
    Pending<Status> parked = world.read(volume, memory);
    CHECK(volume->parked() == 1);
    a_moment();
    CHECK_FALSE(parked.done());
    CHECK(volume->counted().in_flight(Op::read) == 0);
    CHECK(load(*volume, world.source.table("0 16 linear b 8")));
    CHECK(world.resume(volume));
    CHECK(parked.get() == kOk);
    CHECK(stamped(memory.data(), 2, 8));
    CHECK(volume->parked() == 0);
}

TEST_CASE("a request that is parked can be cancelled") {
    World world;
    FakeDevice& a = world.source.add("a", 100, 1);
    auto volume = world.volume("v", "0 16 linear a 0");
    CHECK(world.suspend(volume));
    a.forget();
    Cancel cancel;
    Memory memory(kSectorBytes);
    Pending<Status> parked = world.read(volume, memory, &cancel);
    cancel.request();
    CHECK(parked.get() == Status(EINTR));
    CHECK(volume->parked() == 0);
    CHECK(world.resume(volume));
    CHECK(a.seen().empty());
}

TEST_CASE("parked requests are turned away with EIO when the mount goes") {
    World world;
    world.source.add("a", 100, 1);
    auto volume = world.volume("v", "0 16 linear a 0");
    CHECK(world.suspend(volume));
    Memory memory(kSectorBytes);
    Pending<Status> parked = world.read(volume, memory);
    volume->end_waits();
    CHECK(parked.get() == Status(EIO));
    CHECK(world.resume(volume));
}

TEST_CASE("a suspend waits for requests inside, then flushes") {
    World world;
    FakeDevice& a = world.source.add("a", 100, 1);
    auto volume = world.volume("v", "0 16 linear a 0");
    a.hold();
    a.forget();
    Memory memory(kSectorBytes);
    Pending<Status> inside = world.read(volume, memory);
    Pending<Outcome> suspending = begin(*world.executor, volume->suspend(false, nullptr));
    a_moment();
    CHECK_FALSE(suspending.done());
    CHECK_FALSE(volume->suspended());
    CHECK(a.count(Op::flush) == 0);
    a.let_go();
    CHECK(inside.get() == kOk);
    CHECK(suspending.get());
    CHECK(volume->suspended());
    CHECK(a.count(Op::flush) == 1);
    CHECK(world.resume(volume));
}

TEST_CASE("a suspend without flush flushes nothing, but waits all the same") {
    World world;
    FakeDevice& a = world.source.add("a", 100, 1);
    auto volume = world.volume("v", "0 16 linear a 0");
    a.hold();
    a.forget();
    Memory memory(kSectorBytes);
    Pending<Status> inside = world.read(volume, memory);
    Pending<Outcome> suspending = begin(*world.executor, volume->suspend(true, nullptr));
    a_moment();
    CHECK_FALSE(suspending.done());
    a.let_go();
    CHECK(suspending.get());
    CHECK(a.count(Op::flush) == 0);
    CHECK(inside.get() == kOk);
    CHECK(world.resume(volume));
}

TEST_CASE("a suspend may be repeated, and so may a resume") {
    World world;
    world.source.add("a", 100, 1);
    auto volume = world.volume("v", "0 16 linear a 0");
    CHECK(world.suspend(volume));
    CHECK(world.suspend(volume));
    CHECK(world.resume(volume));
    CHECK(world.resume(volume));
    CHECK(world.tag(volume, 0, 0) == 1);
}

TEST_CASE("a suspend that waits for a request can be cancelled, and requests go on") {
    World world;
    FakeDevice& a = world.source.add("a", 100, 1);
    auto volume = world.volume("v", "0 16 linear a 0");
    a.hold();
    Memory memory(kSectorBytes), other(kSectorBytes);
    Pending<Status> inside = world.read(volume, memory);
    Cancel cancel;
    Pending<Outcome> suspending = begin(*world.executor, volume->suspend(false, &cancel));
    Pending<Status> parked = world.read(volume, other);
    CHECK(volume->parked() == 1);
    cancel.request();
    CHECK(error_of(suspending.get()) == EINTR);
    CHECK_FALSE(volume->suspended());
    a.let_go();
    CHECK(inside.get() == kOk);
    CHECK(parked.get() == kOk);
}

TEST_CASE("a suspend that waits in its flush can be cancelled") {
    World world;
    world.source.add("a", 100, 1);
    auto below = world.volume("below", "0 16 linear a 0");
    auto volume = world.volume("v", "0 16 linear below 0");
    CHECK(world.suspend(below));
    Cancel cancel;
    Pending<Outcome> suspending = begin(*world.executor, volume->suspend(false, &cancel));
    REQUIRE(soon([&] { return below->parked() == 1; }));
    cancel.request();
    CHECK(error_of(suspending.get()) == EINTR);
    CHECK_FALSE(volume->suspended());
    CHECK(world.resume(below));
    CHECK(world.tag(volume, 1, 1) == 1);
    CHECK(run(*world.executor, volume->io(Bio::flush())) == kOk);
}

TEST_CASE("a flush that failed in a suspend is told to the next flush, once") {
    World world;
    FakeDevice& a = world.source.add("a", 100, 1);
    auto volume = world.volume("v", "0 16 linear a 0");
    a.fail(Op::flush, EIO);
    CHECK(world.suspend(volume));
    a.fail(Op::flush, 0);
    CHECK(world.resume(volume));
    CHECK(run(*world.executor, volume->io(Bio::flush())) == Status(EIO));
    CHECK(run(*world.executor, volume->io(Bio::flush())) == kOk);
}

TEST_CASE("a flush that was killed leaves what the next one is to be told, and adds what it heard itself") {
    World world;
    FakeDevice& a = world.source.add("a", 100, 1);
    FakeDevice& b = world.source.add("b", 100, 1);
    auto volume = world.volume("v", "0 8 linear a 0\n8 8 linear b 0");
    a.fail(Op::flush, EIO);
    CHECK(world.suspend(volume));
    a.fail(Op::flush, 0);
    CHECK(world.resume(volume));
    auto flush = [&](Cancel* cancel = nullptr) {
        return run(*world.executor, volume->io(Bio::flush(cancel)));
    };
    Killed killed;
    a.hold(Op::flush);
    CHECK(flush(&killed) == Status(EINTR));
    a.let_go();
    CHECK(flush() == Status(EIO));
    CHECK(flush() == kOk);

    Killed another;  // the other leg has failed by then
    a.hold(Op::flush);
    b.fail(Op::flush, ENOSPC);
    static_cast<void>(flush(&another));
    a.let_go();
    b.fail(Op::flush, 0);
    CHECK(flush() == Status(ENOSPC));
    CHECK(flush() == kOk);
}

TEST_CASE("a swap that waits for a request can be cancelled, and then nothing has changed") {
    World world;
    FakeDevice& a = world.source.add("a", 100, 1);
    world.source.add("b", 100, 2);
    world.source.add("c", 100, 3);
    auto volume = world.volume("v", "0 16 linear a 0");
    auto loaded = world.source.table("0 16 linear c 0");
    CHECK(load(*volume, loaded));
    a.hold();
    Memory memory(kSectorBytes);
    Pending<Status> inside = world.read(volume, memory);
    Cancel cancel;
    Pending<Outcome> replacing =
        begin(*world.executor, volume->replace(world.source.table("0 16 linear b 0"), &cancel));
    a_moment();
    CHECK_FALSE(replacing.done());
    cancel.request();
    CHECK(error_of(replacing.get()) == EINTR);
    a.let_go();
    CHECK(inside.get() == kOk);
    CHECK(world.tag(volume, 0, 0) == 1);
    CHECK(volume->inactive() == loaded);
}

TEST_CASE("a swap that waits for another request of control can be cancelled, and then nothing has changed") {
    World world;
    FakeDevice& a = world.source.add("a", 100, 1);
    world.source.add("b", 100, 2);
    auto volume = world.volume("v", "0 16 linear a 0");
    a.hold();
    Memory memory(kSectorBytes);
    Pending<Status> inside = world.read(volume, memory);
    Pending<Outcome> suspending = begin(*world.executor, volume->suspend(false, nullptr));
    Cancel cancel;
    Pending<Outcome> replacing =
        begin(*world.executor, volume->replace(world.source.table("0 16 linear b 0"), &cancel));
    cancel.request();
    CHECK(error_of(replacing.get()) == EINTR);
    CHECK_FALSE(volume->inactive());
    a.let_go();
    CHECK(suspending.get());
    CHECK(inside.get() == kOk);
    CHECK(world.resume(volume));
    CHECK(world.tag(volume, 0, 0) == 1);
}

TEST_CASE("a resume that is cancelled keeps the loaded table") {
    World world;
    FakeDevice& a = world.source.add("a", 100, 1);
    world.source.add("b", 100, 2);
    auto volume = world.volume("v", "0 16 linear a 0");
    auto loaded = world.source.table("0 16 linear b 0");
    CHECK(load(*volume, loaded));
    a.hold();
    Memory memory(kSectorBytes);
    Pending<Status> inside = world.read(volume, memory);
    Cancel cancel;
    Pending<Outcome> resuming = begin(*world.executor, volume->resume(false, &cancel));
    cancel.request();
    CHECK(error_of(resuming.get()) == EINTR);
    CHECK(volume->inactive() == loaded);
    a.let_go();
    CHECK(inside.get() == kOk);
    CHECK(world.resume(volume));
    CHECK(world.tag(volume, 0, 0) == 2);
}

TEST_CASE("a swap that fails keeps the old table") {
    World world;
    world.source.add("a", 100, 1);
    FakeDevice& b = world.source.add("b", 100, 2);
    auto volume = world.volume("v", "0 16 linear a 0");
    auto fresh = world.source.table("0 100 linear b 0");
    b.set_size(50);
    CHECK(error_of(run(*world.executor, volume->replace(fresh, nullptr))) == EINVAL);
    CHECK_FALSE(volume->suspended());
    CHECK(volume->size() == 16);
    CHECK(world.tag(volume, 0, 0) == 1);
    CHECK_FALSE(volume->inactive());

    CHECK(load(*volume, fresh));
    CHECK(error_of(world.resume(volume)) == EINVAL);
    CHECK(volume->size() == 16);
    volume->clear();  // it is loaded still
    CHECK(world.resume(volume));
    CHECK(world.tag(volume, 0, 0) == 1);
}

TEST_CASE("a first table that fails leaves a volume that takes another") {
    World world;
    world.source.add("a", 100, 1);
    FakeDevice& b = world.source.add("b", 100, 2);
    auto volume = world.volume("v");
    auto fresh = world.source.table("0 100 linear b 0");
    b.set_size(50);
    CHECK(error_of(run(*world.executor, volume->replace(fresh, nullptr))) == EINVAL);
    Memory memory(kSectorBytes);
    CHECK(world.read(volume, memory).get() == Status(EIO));
    CHECK(world.replace(volume, "0 16 linear a 0"));
    CHECK(world.tag(volume, 0, 0) == 1);
}

TEST_CASE("a suspended empty volume cannot be resumed without a table") {
    World world;
    world.source.add("a", 100, 1);
    auto volume = world.volume("v");
    CHECK(world.suspend(volume));
    CHECK(error_of(world.resume(volume)) == EINVAL);
    CHECK(load(*volume, world.source.table("0 16 linear a 0")));
    CHECK(world.resume(volume));
    CHECK(world.tag(volume, 0, 0) == 1);
}

TEST_CASE("a volume cannot stand on itself, not through others nor through loaded tables") {
    World world;
    world.source.add("a", 100, 1);
    auto one = world.volume("one", "0 16 linear a 0");
    auto two = world.volume("two", "0 16 linear one 0");
    auto three = world.volume("three", "0 16 linear two 0");
    for (const char* name : {"one", "two", "three"}) {
        std::string text = std::string("0 16 linear ") + name + " 0";
        CHECK(error_of(load(*one, world.source.table(text))) == EINVAL);
        CHECK(error_of(world.replace(one, text)) == EINVAL);
    }
    CHECK(world.tag(three, 5, 5) == 1);

    auto four = world.volume("four", "0 16 linear a 16");
    auto five = world.volume("five", "0 16 linear a 32");
    CHECK(load(*four, world.source.table("0 16 linear five 0")));
    CHECK(error_of(load(*five, world.source.table("0 16 linear four 0"))) == EINVAL);
    four->clear();
    CHECK(load(*five, world.source.table("0 16 linear four 0")));
}

TEST_CASE("two tables that wait to be swapped in cannot make a ring") {
    World world;
    FakeDevice& a = world.source.add("a", 100, 1);
    auto four = world.volume("four", "0 16 linear a 16");
    auto five = world.volume("five", "0 16 linear a 32");
    a.hold();
    Memory memory(kSectorBytes);
    Pending<Status> inside = world.read(four, memory);
    Pending<Outcome> replacing =
        begin(*world.executor, four->replace(world.source.table("0 16 linear five 0"), nullptr));
    a_moment();
    CHECK_FALSE(replacing.done());
    CHECK(error_of(load(*five, world.source.table("0 16 linear four 0"))) == EINVAL);
    a.let_go();
    CHECK(replacing.get());
    CHECK(inside.get() == kOk);
    CHECK(world.tag(four, 0, 32) == 1);

    // The same through a resume.
    auto six = world.volume("six", "0 16 linear a 16");
    auto seven = world.volume("seven", "0 16 linear a 32");
    CHECK(load(*six, world.source.table("0 16 linear seven 0")));
    a.hold();
    inside = world.read(six, memory);
    Pending<Outcome> resuming = begin(*world.executor, six->resume(false, nullptr));
    a_moment();
    CHECK(error_of(load(*seven, world.source.table("0 16 linear six 0"))) == EINVAL);
    a.let_go();
    CHECK(resuming.get());
    CHECK(inside.get() == kOk);
}

TEST_CASE("a removal waits for a suspend that still flushes, and can be killed meanwhile") {
    World world;
    FakeDevice& a = world.source.add("a", 100, 1);
    auto volume = world.volume("v", "0 16 linear a 0");
    a.hold();
    Pending<Outcome> suspending = begin(*world.executor, volume->suspend(false, nullptr));
    REQUIRE(soon([&] { return a.held() == 1; }));
    Cancel cancel;
    Pending<Outcome> killed = begin(*world.executor, volume->remove({}, &cancel));
    Pending<Outcome> removing = begin(*world.executor, volume->remove({}, nullptr));
    a_moment();
    CHECK_FALSE(removing.done());
    cancel.request();
    CHECK(error_of(killed.get()) == EINTR);
    CHECK(world.space->by_name("v") == volume);
    a.let_go();
    CHECK(suspending.get());
    CHECK(removing.get());
    CHECK_FALSE(world.space->by_name("v"));
    CHECK(world.observed.removals == 1);
}

TEST_CASE("a removal waits for those inside; meanwhile nobody opens the volume, and it can be killed") {
    World world;
    FakeDevice& a = world.source.add("a", 100, 1);
    auto volume = world.volume("v", "0 16 linear a 0");
    a.hold();
    Memory memory(kSectorBytes);
    Pending<Status> inside = world.read(volume, memory);
    Cancel cancel;
    Pending<Outcome> killed = begin(*world.executor, volume->remove({}, &cancel));
    a_moment();
    CHECK_FALSE(killed.done());
    CHECK_THROWS_AS(world.space->open(volume), Refused);
    cancel.request();
    CHECK(error_of(killed.get()) == EINTR);
    CHECK_NOTHROW(world.space->open(volume));
    Pending<Outcome> removing = begin(*world.executor, volume->remove({}, nullptr));
    Pending<Status> outside = world.read(volume, memory);
    CHECK(volume->parked() == 1);
    a.let_go();
    CHECK(removing.get());
    CHECK(inside.get() == kOk);
    CHECK(outside.get() == Status(EIO));
    CHECK(world.read(volume, memory).get() == Status(EIO));
    CHECK(a.count(Op::flush) == 0);  // as the kernel, which sends none
    CHECK(error_of(world.resume(volume)) == ENXIO);
    CHECK(error_of(world.suspend(volume)) == ENXIO);
}

TEST_CASE("who waits outside a suspended volume that is removed gets EIO") {
    World world;
    world.source.add("a", 100, 1);
    auto volume = world.volume("v", "0 16 linear a 0");
    CHECK(world.suspend(volume));
    Memory memory(kSectorBytes);
    Pending<Status> outside = world.read(volume, memory);
    CHECK(remove(*volume));
    CHECK(outside.get() == Status(EIO));
}

TEST_CASE("a deferred removal at the last close waits for the volume's suspend, too") {
    World world;
    FakeDevice& a = world.source.add("a", 100, 1);
    auto volume = world.volume("v", "0 16 linear a 0");
    auto open = world.space->open(volume);
    CHECK(remove(*volume, true));
    a.hold();
    Pending<Outcome> suspending = begin(*world.executor, volume->suspend(false, nullptr));
    REQUIRE(soon([&] { return a.held() == 1; }));
    open.reset();
    CHECK(world.space->by_name("v") == volume);
    a.let_go();
    CHECK(suspending.get());
    CHECK(soon([&] { return !world.space->by_name("v"); }));
}

TEST_CASE("a volume may be removed while its table is exchanged") {
    for (int round = 0; round < 200; round++) {
        World world;
        world.source.add("a", 100, 1);
        auto volume = world.volume("v", "0 16 linear a 0");
        std::thread remover([&] { CHECK(error_of(remove(*volume, false)) == 0); });
        int error =
            error_of(run(*world.executor, volume->replace(world.source.table("0 16 linear a 8"), nullptr)));
        remover.join();
        CHECK((error == 0 || error == ENXIO));
        CHECK_FALSE(world.space->by_name("v"));
        Memory memory(kSectorBytes);
        CHECK(world.read(volume, memory).get() == Status(EIO));
    }
}

TEST_CASE("requests of a volume are counted") {
    World world;
    FakeDevice& a = world.source.add("a", 100, 1);
    auto volume = world.volume("v", "0 16 linear a 0");
    Memory memory(bytes_of(4));
    CHECK(world.read(volume, memory).get() == kOk);
    CHECK(run(*world.executor, volume->io(bio_of(Op::write, 0, 2, &memory))) == kOk);
    CHECK(run(*world.executor, volume->io(bio_of(Op::discard, 0, 8))) == kOk);
    a.fail(Op::read, EIO);
    CHECK(world.read(volume, memory).get() == Status(EIO));
    a.hold();
    Pending<Status> inside = world.read(volume, memory);
    Counters::Totals totals = volume->counted();
    auto read = static_cast<size_t>(Op::read), write = static_cast<size_t>(Op::write),
         discard = static_cast<size_t>(Op::discard);
    CHECK(totals.requests[read] == 2);
    CHECK(totals.sectors[read] == 4);
    CHECK(totals.errors[read] == 1);
    CHECK(totals.in_flight(Op::read) == 1);
    CHECK(totals.sectors[write] == 2);
    CHECK(totals.sectors[discard] == 8);
    CHECK(totals.in_flight(Op::write) == 0);
    a.let_go();
    CHECK(inside.get() == Status(EIO));
}

TEST_CASE("messages go to the target of their sector") {
    World world;
    world.source.add("a", 100, 1);
    auto volume = world.volume("v");
    std::string answer;
    CHECK(error_of(run(*world.executor, volume->message(0, split_words("hello"), &answer, nullptr))) ==
          EINVAL);
    CHECK(world.replace(volume, "0 16 linear a 0"));
    CHECK(error_of(run(*world.executor, volume->message(0, split_words("hello"), &answer, nullptr))) ==
          EINVAL);
    CHECK(error_of(run(*world.executor, volume->message(16, split_words("hello"), &answer, nullptr))) ==
          EINVAL);
}

TEST_CASE("a volume's geometry is checked as the kernel checks it") {
    World world;
    world.source.add("a", 100, 1);
    auto volume = world.volume("v");
    CHECK(volume->set_geometry({65535, 255, 255, 100}));
    CHECK(error_of(volume->set_geometry({65536, 255, 255, 0})) == EINVAL);
    CHECK(error_of(volume->set_geometry({1, 256, 1, 0})) == EINVAL);
    CHECK(error_of(volume->set_geometry({1, 1, 256, 0})) == EINVAL);
    CHECK(error_of(volume->set_geometry({2, 2, 2, 9})) == EINVAL);
    CHECK(volume->set_geometry({2, 2, 2, 8}));
}

TEST_CASE("under threads every request meets one table, whatever is swapped, suspended and cancelled") {
    World world;
    world.source.add("a", 64, 1);
    world.source.add("b", 64, 2);
    auto below = world.volume("below", "0 64 linear a 0");
    auto volume = world.volume("v", "0 64 linear below 0");
    std::atomic<bool> stop{false}, wrong{false};
    std::atomic<int> reads{0}, interrupted{0};
    std::vector<std::thread> clients;
    for (unsigned t = 0; t < 3; t++)
        clients.emplace_back([&, t] {
            std::mt19937 random(t);
            Memory memory(bytes_of(8));
            while (!stop) {
                Cancel cancel;
                Sector at = random() % 56;
                Pending<Status> reading =
                    begin(*world.executor, volume->io(bio_of(Op::read, at, 8, &memory, &cancel)));
                if (random() % 4 == 0) cancel.request();
                Status status = reading.get();
                if (status == Status(EINTR)) {
                    interrupted++;
                    continue;
                }
                reads++;
                bool a = true, b = true;
                for (Sector s = 0; s < 8; s++) {
                    a = a && stamped(memory.data() + bytes_of(s), 1, at + s);
                    b = b && stamped(memory.data() + bytes_of(s), 2, at + s);
                }
                if (status != kOk || (!a && !b)) wrong = true;
            }
        });
    std::mt19937 random(99);
    for (int round = 0; round < 400; round++) {
        auto& which = random() % 2 == 0 ? below : volume;
        switch (random() % 3) {
            case 0: {
                std::string on = random() % 2 == 0 ? "a" : "b";
                if (which == volume && random() % 2 == 0) on = "below";
                if (!world.replace(which, "0 64 linear " + on + " 0")) wrong = true;
                break;
            }
            case 1:
                if (!world.suspend(which, true)) wrong = true;
                std::this_thread::sleep_for(std::chrono::microseconds(200));
                if (!world.resume(which)) wrong = true;
                break;
            case 2:
                if (!load(*which, world.source.table("0 64 linear b 0"))) wrong = true;
                if (!world.resume(which)) wrong = true;
                break;
        }
    }
    stop = true;
    for (std::thread& client : clients) client.join();
    CHECK_FALSE(wrong);
    CHECK(reads > 0);
    CHECK(volume->parked() == 0);
    CHECK(volume->counted().in_flight(Op::read) == 0);
}
