// Snapshots in trouble: tables that come and go while copies are made, devices that shrink, merges
// that fail. Each of these was a bug once.

#include <algorithm>
#include <optional>

#include "targets/snapshot_world.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

using World = SnapshotWorld;

// `snap` is suspended, and being resumed: it waits for its turn, behind another snapshot on c2, which
// waits for a write to the origin that hangs.
struct ResumeUnderWay {
    ResumeUnderWay(World& world, Volume& base, Volume& snap) : world(world) {
        CHECK(world.suspend(snap));
        world.origin.hold(Op::write);
        writing.emplace(begin(*world.executor, base.io(bio_of(Op::write, 32, 8, &data))));
        REQUIRE(soon([&] { return world.origin.held() == 1; }));
        making.emplace(
            begin(*world.executor, third->replace(world.table(*third, "64 snapshot o c2 P 8"), nullptr)));
        a_moment();
        resuming.emplace(begin(*world.executor, snap.resume(false, nullptr)));
        a_moment();
        CHECK_FALSE(resuming->done());
    }
    void let_go() {
        world.origin.let_go();
        CHECK(writing->get());
        CHECK(making->get());
    }

    World& world;
    Memory data = World::stamped_memory(32, 8, 2);
    std::shared_ptr<Volume> third = world.space.create("third");
    std::optional<Pending<Status>> writing;
    std::optional<Pending<Outcome>> making, resuming;
};

}  // namespace

TEST_CASE("a durable write to part of a large chunk is durable when it answers") {
    World world;
    world.source.add("big", 2048, 1);
    FakeDevice& c = world.source.add("bigcow", 8192, 0);
    World::empty(c);
    auto snap = world.volume("snap", "2048 snapshot big bigcow P 1024");
    c.forget();
    Memory memory = World::stamped_memory(10, 8, 2);
    Bio bio = bio_of(Op::write, 10, 8, &memory);
    bio.fua = true;
    CHECK(run(*world.executor, snap->io(bio)));
    for (auto& s : c.seen())
        UNSCOPED_INFO(name_of(s.op) << " " << s.sector << "+" << s.count << (s.fua ? " FUA" : ""));
    auto seen = c.seen();
    // the last thing on the COW device: the new data; FUA, or a flush behind it
    bool durable = seen.back().op == Op::flush || (seen.back().op == Op::write && seen.back().fua);
    CHECK(durable);
}

TEST_CASE("what a snapshot shows does not change by a write that was under way when it went live") {
    World world;
    FakeDevice& c2 = world.source.add("c2", 256);
    World::empty(c2);
    world.source.add("o2", 64, 1);
    auto base = world.volume("base", "64 snapshot-origin o");
    auto snap = world.space.create("snap");
    c2.hold(Op::write);  // the second row's store takes a while
    auto making =
        begin(*world.executor,
              snap->replace(world.source.table("0 32 snapshot o c P 8\n32 32 snapshot o2 c2 P 8"), nullptr));
    REQUIRE(soon([&] { return c2.held() == 1; }));
    world.origin.hold(Op::write);
    Memory data = World::stamped_memory(0, 8, 2);
    auto writing = begin(*world.executor, base->io(bio_of(Op::write, 0, 8, &data)));
    bool inflight = false;
    for (int i = 0; i < 20 && !inflight; i++) {
        a_moment();
        inflight = world.origin.held() == 1;
    }
    c2.let_go();
    a_moment();
    if (!making.done()) world.origin.let_go();  // it waited for the write: well
    CHECK(making.get());
    auto before = world.tags(*snap, 0, 8);
    world.origin.let_go();
    CHECK(writing.get());
    auto after = world.tags(*snap, 0, 8);
    CHECK(before == after);
}

TEST_CASE("a write beyond the end of an origin that has become smaller fails") {
    World world;
    world.source.add("big", 1024, 1);
    FakeDevice& c = world.source.add("bigcow", 4096, 0);
    World::empty(c);
    SECTION("smaller while the snapshot is suspended") {
        auto lower = world.volume("lower", "1024 linear big 0");
        auto snap = world.volume("snap", "1024 snapshot lower bigcow P 256");
        CHECK(world.suspend(*snap));
        CHECK(world.replace(*lower, "16 linear big 0"));
        Outcome r = world.resume(*snap);
        if (r) CHECK(world.write(*snap, 1000, 10, 2) == Status(EIO));
    }
    SECTION("without a size when it was loaded") {
        auto lower = world.space.create("lower");
        CHECK(load(*lower, world.table(*lower, "1024 linear big 0")));
        auto snap = world.space.create("snap");
        CHECK(load(*snap, world.table(*snap, "1024 snapshot lower bigcow P 256")));
        CHECK(world.resume(*snap));
        CHECK(world.write(*snap, 1000, 10, 2) == Status(EIO));
        CHECK(world.resume(*lower));
    }
}

TEST_CASE("a table that is loaded while the one before is being closed gets its exceptions") {
    World world;
    auto base = world.volume("base", "64 snapshot-origin o");
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    CHECK(world.write(*snap, 8, 8, 5));
    world.cow.hold(Op::write);
    Memory data = World::stamped_memory(0, 8, 2);
    auto writing = begin(*world.executor, base->io(bio_of(Op::write, 0, 8, &data)));
    REQUIRE(soon([&] { return world.cow.held() == 1; }));
    auto closing = world.begin_removing(snap);
    a_moment();
    CHECK_FALSE(closing.done());
    auto again = world.space.create("again");
    Outcome loaded = load(*again, world.table(*again, "64 snapshot o c P 8"));
    world.cow.let_go();
    CHECK(closing.get());
    CHECK(writing.get());
    if (!loaded) {  // refused as long as the other is there: well. Then afterwards it works
        INFO(loaded.why().detail());
        CHECK(load(*again, world.table(*again, "64 snapshot o c P 8")));
    }
    CHECK(world.resume(*again));
    CHECK(world.status(*again) != "Invalid");
    CHECK(world.tags(*again, 8, 1) == all_of(5, 1));
    CHECK(world.tags(*again, 0, 1) == all_of(1, 1));
}

TEST_CASE("nobody gets a COW device on which copies are still made") {
    World world;
    auto base = world.volume("base", "64 snapshot-origin o");
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    auto other = world.space.create("other");
    CHECK(load(*other, world.table(*other, "64 snapshot o c P 8")));  // waits
    world.cow.hold(Op::write);
    Memory data = World::stamped_memory(0, 8, 2);
    Cancel cancel;
    auto writing = begin(*world.executor, base->io(bio_of(Op::write, 0, 8, &data, &cancel)));
    REQUIRE(soon([&] { return world.cow.held() == 1; }));
    cancel.request();  // the copy goes on
    CHECK(writing.get() == Status(EINTR));
    auto closing = world.begin_removing(snap);
    a_moment();
    other->clear();
    a_moment();
    // Whether it may be used again now.
    auto again = world.space.create("again");
    auto making = begin(*world.executor, again->replace(world.table(*again, "64 snapshot o c P 8"), nullptr));
    a_moment();
    REQUIRE(making.done());
    CHECK(making.get().why().error() == EBUSY);
    world.cow.let_go();
    CHECK(closing.get());
    // Afterwards it is there for the next, as the copy left it.
    CHECK(soon([&] { return world.replace(*again, "64 snapshot o c P 8").good(); }));
    CHECK(world.write(*again, 40, 8, 7));
    CHECK(world.tags(*again, 40, 8) == all_of(7, 8));
    uint64_t words[4];  // what is on disk
    memcpy(words, world.cow.at(8), sizeof words);
    UNSCOPED_INFO("store: " << words[0] << "->" << words[1] << ", " << words[2] << "->" << words[3]);
    CHECK((words[0] == 5 || words[2] == 5));
}

TEST_CASE("of two origins that ask for one COW device at once only the first gets it") {
    World world;
    world.source.add("p", 64, 1);
    auto one = world.space.create("one"), two = world.space.create("two");
    world.cow.hold();
    Pending<Outcome> first =
        begin(*world.executor, one->replace(world.table(*one, "64 snapshot o c P 8"), nullptr));
    REQUIRE(soon([&] { return world.cow.held() == 1; }));
    Outcome second = world.replace(*two, "64 snapshot p c P 8");
    REQUIRE_FALSE(second);
    CHECK(second.why().error() == EBUSY);
    world.cow.let_go();
    CHECK(first.get());
}

TEST_CASE("a snapshot that ends while it is removed is invalid to whoever comes next") {
    World world;
    FakeDevice& small = world.source.add("small", 24);  // header, area, one chunk
    World::empty(small);
    auto base = world.volume("base", "64 snapshot-origin o");
    auto snap = world.volume("snap", "64 snapshot o small P 8");
    CHECK(world.write(*base, 0, 8, 2));  // full now
    small.hold(Op::write);
    Memory data = World::stamped_memory(8, 8, 3);
    auto writing = begin(*world.executor, base->io(bio_of(Op::write, 8, 8, &data)));
    REQUIRE(soon([&] { return small.held() == 1; }));  // the header
    auto closing = world.begin_removing(snap);
    a_moment();
    bool early = closing.done();
    auto again = world.space.create("again");
    auto making =
        begin(*world.executor, again->replace(world.table(*again, "64 snapshot o small P 8"), nullptr));
    a_moment();
    small.let_go();
    CHECK(writing.get());
    CHECK(closing.get());
    Outcome made = making.get();
    INFO("closed early: " << early);
    if (!made) return;
    INFO(world.status(*again));
    // Either it knows that it is invalid, or it shows what was there
    auto tags = world.tags(*again, 8, 8);
    CHECK((world.status(*again) == "Invalid" || tags == all_of(1, 8)));
    CHECK(world.tags(*again, 8, 1) != all_of(3, 1));
}

TEST_CASE("the exceptions of a volume that is being resumed go to nobody else") {
    World world;
    FakeDevice& c2 = world.source.add("c2", 256);
    World::empty(c2);
    auto base = world.volume("base", "64 snapshot-origin o");
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    CHECK(world.write(*snap, 8, 8, 5));
    ResumeUnderWay under_way(world, *base, *snap);
    auto other = world.space.create("other");
    Outcome loaded = load(*other, world.table(*other, "64 snapshot o c P 8"));
    CHECK(loaded);
    auto taking = begin(*world.executor, other->resume(false, nullptr));
    a_moment();
    under_way.let_go();
    Outcome resumed = under_way.resuming->get(), taken = taking.get();
    INFO("snap: " << world.status(*snap) << (!resumed ? " refused" : " resumed") << ", other: "
                  << (other->live() ? world.status(*other) : "-") << (!taken ? " refused" : " resumed"));
    // Both can't be: one of them is refused.
    CHECK((!resumed || !taken));
}

TEST_CASE("nor do they go while its requests are under way") {
    World world;
    World::empty(world.source.add("c2", 256));
    FakeDevice& c3 = world.source.add("c3", 256);
    World::empty(c3);
    world.source.add("o2", 64, 1);
    auto base = world.volume("base", "64 snapshot-origin o");
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    ResumeUnderWay under_way(world, *base, *snap);
    auto other = world.space.create("other");
    CHECK(load(*other, world.source.table("0 32 snapshot o c P 8\n32 32 snapshot o2 c3 P 8")));
    c3.hold(Op::write);
    auto taking = begin(*world.executor, other->resume(false, nullptr));
    a_moment();
    under_way.let_go();
    CHECK(under_way.resuming->get());
    // It is refused, since snap goes live.
    REQUIRE(soon([&] { return taking.done(); }));
    CHECK_FALSE(taking.get());
    world.origin.hold(Op::read);
    Memory in(bytes_of(8));
    auto reading = begin(*world.executor, snap->io(bio_of(Op::read, 0, 8, &in)));
    CHECK(world.origin.held() == 1);
    other.reset();
    world.origin.let_go();
    CHECK(reading.get().good());
}

TEST_CASE("whoever loads a table while the COW device hangs can be killed") {
    World world;
    auto snap = world.space.create("snap");
    bool preresume = GENERATE(false, true);
    world.cow.hold(preresume ? Op::write : Op::read);
    Cancel cancel;
    auto making = begin(*world.executor, snap->replace(world.table(*snap, "64 snapshot o c P 8"), &cancel));
    REQUIRE(soon([&] { return world.cow.held() == 1; }));
    cancel.request();
    a_moment();
    CHECK(making.done());
    world.cow.let_go();
    (void)making.get();
}

TEST_CASE("after a merge that failed at the end of an area the store is what it was") {
    World world;
    FakeDevice& big = world.source.add("big", 128, 1);
    auto snap = world.volume("snap", "128 snapshot big c P 1");
    for (Sector s = 0; s < 32; s++) CHECK(world.write(*snap, s, 1, 2));  // fills the first area
    CHECK(world.status(*snap) == "35/256 3");
    big.fail(Op::write, EIO);
    CHECK(world.replace(*snap, "128 snapshot-merge big c P 1"));
    REQUIRE(soon([&] { return world.status(*snap) == "Merge failed"; }));
    big.mend();
    Outcome back = world.replace(*snap, "128 snapshot big c P 1");
    REQUIRE(back);
    CHECK(world.write(*snap, 100, 1, 3));
    CHECK(world.write(*snap, 101, 1, 3));
    CHECK(world.tags(*snap, 0, 32) == all_of(2, 32));
    CHECK(world.tags(*snap, 100, 2) == all_of(3, 2));
    CHECK(world.begin_removing(snap).get());
    auto again = world.volume("again", "128 snapshot big c P 1");
    CHECK(world.tags(*again, 0, 32) == all_of(2, 32));
    CHECK(world.tags(*again, 100, 2) == all_of(3, 2));
}

TEST_CASE("after a merge that could not forget its exceptions are not lost") {
    World world;
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    CHECK(world.write(*snap, 0, 8, 2));
    CHECK(world.write(*snap, 16, 8, 2));
    world.cow.fail_at(Op::write, 8, EIO);  // the area
    CHECK(world.replace(*snap, "64 snapshot-merge o c P 8"));
    REQUIRE(soon([&] { return world.status(*snap) == "Merge failed"; }));
    world.cow.mend();
    Outcome back = world.replace(*snap, "64 snapshot o c P 8");
    REQUIRE(back);
    CHECK(world.write(*snap, 16, 8, 4));
    CHECK(world.write(*snap, 32, 8, 3));
    CHECK(world.begin_removing(snap).get());
    auto again = world.volume("again", "64 snapshot o c P 8");
    CHECK(world.tags(*again, 0, 1) == all_of(2, 1));
    CHECK(world.tags(*again, 16, 1) == all_of(4, 1));
    CHECK(world.tags(*again, 32, 1) == all_of(3, 1));
}

TEST_CASE("a look at a snapshot pays for what was searched") {
    World world;
    auto zero = world.volume("zero", "1099511627776 zero");
    auto snap = world.volume("snap", "1099511627776 snapshot zero c N 8");
    for (Sector at : {Sector{0}, Sector{1} << 20, Sector{1} << 30}) CHECK(world.write(*snap, at, 8, 2));
    constexpr uint64_t kSteps = 1000, kLeast = 100;
    Look look(nullptr, kSteps);
    CHECK(snap->extent(0, look).end == 8);
    uint64_t left = 0;
    CHECK(snap->extent(8, look).end == Sector{1} << 20);  // thousands of chunks, one by one
    while (look.step()) left++;
    CHECK(left <= kSteps - kLeast);
    CHECK(left > 0);
}

TEST_CASE("a resume that a target refuses brings the old table back, and requests go on") {
    World world;
    auto volume = world.volume("v", "64 linear o 0");
    for (bool suspended : {false, true}) {
        world.empty(world.cow);
        CHECK(load(*volume, world.table(*volume, "64 snapshot o c P 8")));
        if (suspended) CHECK(world.suspend(*volume));
        world.cow.fail(Op::write, EIO);
        Outcome outcome = world.resume(*volume);
        REQUIRE_FALSE(outcome);
        CHECK(outcome.why().error() == EIO);
        CHECK(outcome.why().remedy() ==
              "the table before goes on; the new one is still loaded: resume tries it again");
        CHECK(volume->live()->rows().front().type == "linear");
        CHECK(volume->inactive());
        CHECK_FALSE(volume->suspended());
        CHECK(world.tags(*volume, 3, 1) == std::vector<uint64_t>{1});
        world.cow.mend();
        if (!suspended) volume->clear();
    }
    CHECK(world.resume(*volume));  // the one that waits
    CHECK(volume->live()->rows().front().type == "snapshot");
}

TEST_CASE("a first table whose resume is refused leaves a volume without one") {
    World world;
    auto volume = world.space.create("v");
    CHECK(load(*volume, world.table(*volume, "64 snapshot o c P 8")));
    world.cow.fail(Op::write, EIO);
    CHECK_FALSE(world.resume(*volume));
    CHECK_FALSE(volume->live());
    CHECK(volume->inactive());
    CHECK_FALSE(volume->suspended());
    CHECK(volume->size() == 0);
    CHECK(world.tags(*volume, 3, 1) == std::vector<uint64_t>{0});  // EIO, and no wait
}
