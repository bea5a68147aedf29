// snapshot, snapshot-origin and snapshot-merge: the order of their writes, and what becomes of
// requests when devices hang or fail and processes are killed. What they show is compared with
// the kernel (tests/conformance) and in a simulation (tests/sim).

#include <algorithm>

#include "formats/exception_store.h"
#include "targets/snapshot_world.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

using Seen = FakeDevice::Seen;
using World = SnapshotWorld;

size_t position(const std::vector<Seen>& seen, const Seen& wanted) {
    auto found = std::find(seen.begin(), seen.end(), wanted);
    REQUIRE(found != seen.end());
    return static_cast<size_t>(found - seen.begin());
}

}  // namespace

TEST_CASE("a new store gets its header last, when the snapshot goes live") {
    World world;
    std::shared_ptr<Volume> snap = world.space.create("snap");
    CHECK(load(*snap, world.table(*snap, "64 snapshot o c P 8")));
    CHECK(world.cow.count(Op::write) == 0);
    CHECK(world.resume(*snap));
    std::vector<Seen> seen = world.cow.seen();
    size_t header = position(seen, {Op::write, 0, 8, true});
    CHECK(position(seen, {Op::write, 8, 8, false}) < header);
    CHECK(position(seen, {Op::flush, 0, 0, false}) < header);
    CHECK(world.status(*snap) == "16/256 16");
    const uint8_t kernel[] = {0x53, 0x6e, 0x41, 0x70, 1, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0};
    CHECK(memcmp(world.cow.at(0), kernel, sizeof kernel) == 0);
}

TEST_CASE("before the origin changes its old data, a flush and the exception are on the COW device") {
    World world;
    auto base = world.volume("base", "64 snapshot-origin o");
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    world.cow.forget();
    world.origin.forget();
    CHECK(world.write(*base, 18, 2, 2));
    CHECK(world.origin.seen() == std::vector<Seen>{{Op::read, 16, 8, false}, {Op::write, 18, 2, false}});
    CHECK(world.cow.seen() ==
          std::vector<Seen>{{Op::write, 16, 8, false}, {Op::flush, 0, 0, false}, {Op::write, 8, 8, true}});
    CHECK(world.tags(*snap, 16, 8) == all_of(1, 8));
    CHECK(world.tags(*base, 16, 8) == std::vector<uint64_t>{1, 1, 2, 2, 1, 1, 1, 1});
    CHECK(world.status(*snap) == "24/256 16");

    world.cow.forget();  // the second write there copies nothing
    CHECK(world.write(*base, 16, 8, 3));
    CHECK(world.cow.seen().empty());
    CHECK(world.tags(*snap, 16, 8) == all_of(1, 8));
}

TEST_CASE("the origin's write waits for the exception, and for readers who still saw none") {
    World world;
    auto base = world.volume("base", "64 snapshot-origin o");
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    world.origin.hold();
    Memory memory(kSectorBytes);
    auto reading = begin(*world.executor, snap->io(bio_of(Op::read, 18, 1, &memory)));
    REQUIRE(soon([&] { return world.origin.held() == 1; }));
    // Another hand at the origin: what the copy reads is let through.
    Memory data = World::stamped_memory(18, 1, 2);
    auto writing = begin(*world.executor, base->io(bio_of(Op::write, 18, 1, &data)));
    REQUIRE(soon([&] { return world.origin.held() == 2; }));  // the reader, and the copy
    world.origin.forget();
    world.cow.hold();
    world.origin.let_go();
    CHECK(reading.get());
    CHECK(stamped(memory.data(), 1, 18));
    a_moment();
    CHECK(world.origin.count(Op::write) == 0);  // the exception is not there yet
    world.cow.let_go();
    CHECK(writing.get());
    CHECK(world.tags(*snap, 18, 1) == all_of(1, 1));
    CHECK(world.tags(*base, 18, 1) == all_of(2, 1));
}

TEST_CASE("a read of the snapshot that is under way keeps the origin's chunk from changing") {
    World world;
    FakeDevice& second = world.source.add("c2", 256);
    World::empty(second);
    auto base = world.volume("base", "64 snapshot-origin o");
    auto snap = world.volume("snap", "64 snapshot o c N 8");
    world.origin.hold();
    Memory memory(kSectorBytes);
    auto reading = begin(*world.executor, snap->io(bio_of(Op::read, 8, 1, &memory)));
    REQUIRE(soon([&] { return world.origin.held() == 1; }));
    // A write of the whole chunk through the snapshot copies nothing, so it makes an exception
    // while the read still waits.
    CHECK(world.write(*snap, 8, 8, 5));
    Memory data = World::stamped_memory(8, 1, 2);
    auto writing = begin(*world.executor, base->io(bio_of(Op::write, 8, 1, &data)));
    a_moment();
    CHECK(world.origin.count(Op::write) == 0);
    world.origin.let_go();
    CHECK(reading.get());
    CHECK(stamped(memory.data(), 1, 8));
    CHECK(writing.get());
}

TEST_CASE("many first writes at once are committed together") {
    World world;
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    world.cow.forget();
    world.cow.hold(Op::flush);  // the first commit hangs
    std::vector<Memory> memories;
    std::vector<Pending<Status>> writes;
    memories.reserve(8);
    for (Sector chunk = 0; chunk < 8; chunk++) {
        memories.push_back(World::stamped_memory(8 * chunk, 8, 3));
        writes.push_back(begin(*world.executor, snap->io(bio_of(Op::write, 8 * chunk, 8, &memories.back()))));
    }
    CHECK(world.cow.count(Op::write) == 8);
    world.cow.let_go();
    for (auto& write : writes) CHECK(write.get());
    // One commit for whoever came first, one for all that were done meanwhile.
    CHECK(world.cow.count(Op::flush) == 2);
    CHECK(world.cow.count(Op::write) == 10);
    CHECK(world.tags(*snap, 0, 64) == all_of(3, 64));
    CHECK(world.status(*snap) == "80/256 16");
}

TEST_CASE("after a slow commit the next one waits a moment for who comes back") {
    auto commits = [] {
        World world;
        auto snap = world.volume("snap", "64 snapshot o c P 8");
        world.cow.forget();
        world.cow.hold(Op::flush);
        Memory memory = World::stamped_memory(0, 64, 3);
        auto write = [&](Sector chunk) {
            Bio bio = bio_of(Op::write, 8 * chunk, 8, &memory);
            bio.offset = bytes_of(bio.sector);
            return begin(*world.executor, snap->io(bio));
        };
        auto first = write(0);
        std::vector<Pending<Status>> meanwhile = {write(1), write(2), write(3)};
        a_moment();
        world.cow.let_go();
        CHECK(first.get());
        CHECK(write(4).get());
        for (const auto& each : meanwhile) CHECK(each.get());
        CHECK(world.tags(*snap, 0, 40) == all_of(3, 40));
        return world.cow.count(Op::flush);
    };
    // Where this thread is not woken in time it is three.
    CHECK(soon([&] { return commits() == 2; }));
}

TEST_CASE("a write to part of a chunk is one write of the whole") {
    World world;
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    world.cow.forget();
    world.origin.forget();
    CHECK(world.write(*snap, 10, 3, 2));
    CHECK(world.origin.seen() == std::vector<Seen>{{Op::read, 8, 2, false}, {Op::read, 13, 3, false}});
    CHECK(world.cow.seen() ==
          std::vector<Seen>{{Op::write, 16, 8, false}, {Op::flush, 0, 0, false}, {Op::write, 8, 8, false}});
    CHECK(world.tags(*snap, 8, 8) == std::vector<uint64_t>{1, 1, 2, 2, 2, 1, 1, 1});
}

TEST_CASE("a snapshot's own exceptions are durable with the next flush, and before the origin changes") {
    World world;
    auto base = world.volume("base", "64 snapshot-origin o");
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    auto durable_write = [&](Sector sector, Sector count) {
        Memory memory = World::stamped_memory(sector, count, 4);
        Bio bio = bio_of(Op::write, sector, count, &memory);
        bio.fua = true;
        return run(*world.executor, snap->io(bio));
    };
    const Seen flush{Op::flush, 0, 0, false};
    world.cow.forget();
    SECTION("a write that has to be durable commits durably") {
        CHECK(durable_write(0, 8));
        CHECK(world.cow.seen() ==
              std::vector<Seen>{{Op::write, 16, 8, false}, flush, {Op::write, 8, 8, true}});
        world.cow.forget();  // to a chunk whose exception is durable
        CHECK(durable_write(0, 8));
        CHECK(world.cow.seen() == std::vector<Seen>{{Op::write, 16, 8, true}});
    }
    SECTION("one to a chunk whose exception is not makes it so") {
        CHECK(world.write(*snap, 0, 8, 2));
        CHECK(world.cow.seen() ==
              std::vector<Seen>{{Op::write, 16, 8, false}, flush, {Op::write, 8, 8, false}});
        world.cow.forget();
        CHECK(durable_write(0, 4));
        CHECK(world.cow.seen() == std::vector<Seen>{{Op::write, 16, 4, false}, flush});
        world.cow.forget();
        CHECK(durable_write(0, 4));
        CHECK(world.cow.seen() == std::vector<Seen>{{Op::write, 16, 4, true}});
    }
    SECTION("the origin's writes wait for a flush, once") {
        CHECK(world.write(*snap, 0, 8, 2));
        world.cow.forget();
        world.cow.hold(Op::flush);
        Memory memory = World::stamped_memory(0, 8, 3);
        auto writing = begin(*world.executor, base->io(bio_of(Op::write, 0, 8, &memory)));
        REQUIRE(soon([&] { return world.cow.held() == 1; }));
        a_moment();
        CHECK(world.origin.count(Op::write) == 0);
        world.cow.let_go();
        CHECK(writing.get());
        CHECK(world.cow.seen() == std::vector<Seen>{flush});
        CHECK(world.write(*base, 0, 8, 4));
        CHECK(world.cow.seen() == std::vector<Seen>{flush});
    }
    SECTION("a commit makes those before it durable") {
        CHECK(world.write(*snap, 0, 8, 2));
        CHECK(world.write(*snap, 8, 8, 2));
        world.cow.forget();
        CHECK(world.write(*base, 0, 8, 3));
        CHECK(world.cow.seen().empty());
        CHECK(world.write(*base, 16, 8, 3));  // this one durably
        world.cow.forget();
        CHECK(world.write(*base, 8, 8, 3));
        CHECK(world.cow.seen().empty());
    }
    SECTION("those that a store has when it is opened may not be durable") {
        CHECK(world.write(*snap, 0, 8, 2));
        CHECK(run(*world.executor, snap->io(Bio::flush())));
        REQUIRE(remove(*snap, false));
        snap = world.space.create("again");
        REQUIRE(soon([&] { return world.replace(*snap, "64 snapshot o c P 8").good(); }));
        world.cow.forget();
        for (uint64_t tag : {3, 4}) CHECK(world.write(*base, 0, 8, tag));
        CHECK(world.cow.seen() == std::vector<Seen>{flush});
        CHECK(world.tags(*snap, 0, 8) == all_of(2, 8));
    }
    SECTION("where the flush fails the snapshot is invalid") {
        CHECK(world.write(*snap, 0, 8, 2));
        world.cow.fail(Op::flush, EIO);
        CHECK(run(*world.executor, snap->io(Bio::flush())) == Status(EIO));
        CHECK(world.status(*snap) == "Invalid");
        CHECK(world.write(*base, 0, 8, 3));
    }
}

TEST_CASE("large requests go in as few pieces as their data lie in") {
    World world;
    auto base = world.volume("base", "64 snapshot-origin o");
    auto snap = world.volume("snap", "64 snapshot o c P 1");
    world.origin.forget();
    world.cow.forget();
    Memory memory(bytes_of(64));
    CHECK(run(*world.executor, snap->io(bio_of(Op::read, 0, 64, &memory))));
    CHECK(world.origin.seen() == std::vector<Seen>{{Op::read, 0, 64, false}});
    world.origin.forget();
    CHECK(world.write(*base, 0, 64, 2));
    // 64 chunks of one sector, of which 32 have room before the next area.
    CHECK(world.origin.seen() ==
          std::vector<Seen>{{Op::read, 0, 32, false}, {Op::read, 32, 32, false}, {Op::write, 0, 64, false}});
    CHECK(world.tags(*snap, 0, 64) == all_of(1, 64));
}

TEST_CASE("a snapshot is made without suspending its origin, and has all of what was written before") {
    World world;
    auto base = world.volume("base", "64 snapshot-origin o");
    world.origin.hold();
    Memory before = World::stamped_memory(0, 8, 2), behind = World::stamped_memory(8, 8, 3);
    auto first = begin(*world.executor, base->io(bio_of(Op::write, 0, 8, &before)));
    REQUIRE(soon([&] { return world.origin.held() == 1; }));
    auto snap = world.space.create("snap");
    auto making = begin(*world.executor, snap->replace(world.table(*snap, "64 snapshot o c P 16"), nullptr));
    a_moment();
    CHECK_FALSE(making.done());
    auto second = begin(*world.executor, base->io(bio_of(Op::write, 8, 8, &behind)));
    a_moment();
    CHECK(world.origin.held() == 1);  // the second waits for the snapshot
    world.origin.let_go();
    CHECK(first.get());
    CHECK(making.get());
    CHECK(second.get());
    std::vector<uint64_t> tags = all_of(2, 8);
    tags.insert(tags.end(), 8, 1);
    CHECK(world.tags(*snap, 0, 16) == tags);
    // The origin was flushed, so that what the snapshot shows cannot be lost with a cache.
    CHECK(world.origin.count(Op::flush) >= 1);
}

TEST_CASE("whoever makes a snapshot while a write hangs can be killed, and the origin goes on") {
    World world;
    auto base = world.volume("base", "64 snapshot-origin o");
    world.origin.hold();
    Memory data = World::stamped_memory(0, 8, 2);
    auto writing = begin(*world.executor, base->io(bio_of(Op::write, 0, 8, &data)));
    REQUIRE(soon([&] { return world.origin.held() == 1; }));
    auto snap = world.space.create("snap");
    Cancel cancel;
    auto making = begin(*world.executor, snap->replace(world.table(*snap, "64 snapshot o c P 8"), &cancel));
    a_moment();
    cancel.request();
    CHECK(making.get().why().error() == EINTR);
    CHECK_FALSE(snap->live());
    world.origin.let_go();
    CHECK(writing.get());
    CHECK(world.write(*base, 8, 8, 3));
    CHECK(world.cow.count(Op::write) <= 3);  // a header perhaps, but no copy
}

TEST_CASE("a writer who is killed while a copy hangs goes, and the copy is made all the same") {
    World world;
    auto base = world.volume("base", "64 snapshot-origin o");
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    world.cow.hold();
    Cancel cancel;
    Memory data = World::stamped_memory(0, 8, 2), again = World::stamped_memory(0, 8, 3);
    auto killed = begin(*world.executor, base->io(bio_of(Op::write, 0, 8, &data, &cancel)));
    auto other = begin(*world.executor, base->io(bio_of(Op::write, 0, 8, &again)));
    REQUIRE(soon([&] { return world.cow.held() == 1; }));
    cancel.request();
    CHECK(killed.get() == Status(EINTR));
    CHECK_FALSE(other.done());
    world.cow.let_go();
    CHECK(other.get());
    CHECK(world.tags(*base, 0, 8) == all_of(3, 8));
    CHECK(world.tags(*snap, 0, 8) == all_of(1, 8));
}

TEST_CASE("a killed write of a whole chunk to the snapshot leaves what the chunk held") {
    World world;
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    world.cow.hold();
    Cancel cancel;
    Memory data = World::stamped_memory(0, 8, 2);
    auto killed = begin(*world.executor, snap->io(bio_of(Op::write, 0, 8, &data, &cancel)));
    REQUIRE(soon([&] { return world.cow.held() == 1; }));
    cancel.request();
    CHECK(killed.get() == Status(EINTR));
    world.cow.let_go();
    REQUIRE(soon([&] { return world.status(*snap) == "24/256 16"; }));
    CHECK(world.tags(*snap, 0, 8) == all_of(1, 8));
}

TEST_CASE("where old data can't be kept the snapshot is invalid, on disk, before the origin changes") {
    World world;
    auto base = world.volume("base", "64 snapshot-origin o");
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    uint32_t events = snap->event_number();
    SECTION("the origin can't be read") { world.origin.fail_at(Op::read, 9, EIO); }
    SECTION("the COW device takes no data") { world.cow.fail_at(Op::write, 17, EIO); }
    SECTION("the COW device takes no metadata") { world.cow.fail_at(Op::write, 9, EIO); }
    CHECK(world.write(*base, 8, 4, 2));
    CHECK(world.status(*snap) == "Invalid");
    CHECK(world.cow.at(0)[4] == std::byte{0});
    CHECK(snap->event_number() == events + 1);
    CHECK(world.tags(*snap, 0, 1) == all_of(0, 1));
    CHECK(world.write(*snap, 0, 8, 3) == Status(EIO));
    CHECK(world.tags(*base, 12, 1) == all_of(1, 1));
    CHECK(world.write(*base, 16, 8, 3));  // and it costs nothing any more
}

TEST_CASE("a store that is full: who sees to it, and who does not") {
    World world;
    FakeDevice& small = world.source.add("small", 32);  // header, area, and two chunks
    World::empty(small);
    auto base = world.volume("base", "64 snapshot-origin o");
    auto seen_to = world.volume("po", "64 snapshot o small PO 8");
    CHECK(world.write(*seen_to, 0, 16, 2));
    CHECK(world.status(*seen_to) == "32/32 16");
    CHECK(world.write(*seen_to, 16, 1, 2) == Status(EIO));
    CHECK(world.status(*seen_to) == "Overflow");
    CHECK(seen_to->event_number() == 0);
    CHECK(world.tags(*seen_to, 0, 1) == all_of(2, 1));
    CHECK(world.write(*seen_to, 0, 1, 3) == Status(EIO));  // as the kernel: no writes at all
    CHECK(world.write(*base, 0, 16, 4));                   // is copied already
    CHECK(world.status(*seen_to) == "Overflow");
    CHECK(world.write(*base, 16, 1, 4));
    CHECK(world.status(*seen_to) == "Invalid");
    CHECK(seen_to->event_number() == 1);
}

TEST_CASE("a device of the size that is said to be needed takes all of the origin") {
    World world;
    const uint64_t needed = exception_store::Areas(1).chunks_for(64);
    const bool enough = GENERATE(true, false);
    World::empty(world.source.add("just", needed - (enough ? 0 : 1)));
    auto base = world.volume("base", "64 snapshot-origin o");
    auto snap = world.volume("snap", "64 snapshot o just P 1");
    for (Sector sector = 0; sector < 64; sector++) CHECK(world.write(*base, sector, 1, 2));
    CHECK((world.status(*snap) != "Invalid") == enough);
    if (enough) CHECK(world.tags(*snap, 0, 64) == all_of(1, 64));
}

TEST_CASE("entries behind the last are wiped before the store is used again") {
    World world;
    // What a crash in the middle of a commit leaves: an entry on the second sector of an area,
    // nothing on the first. The kernel would bring it back to life.
    {
        auto snap = world.volume("snap", "64 snapshot o c P 2");
        CHECK(remove(*snap));
    }
    const uint64_t stale[] = {30, 99};
    memcpy(world.cow.at(3), stale, sizeof stale);
    auto snap = world.volume("snap", "64 snapshot o c P 2");
    CHECK(world.status(*snap) == "4/256 4");
    CHECK(all_zero(world.cow.at(2), bytes_of(2)));
}

TEST_CASE("what stands in a store is checked before it is believed") {
    World world;
    auto put = [&](Sector sector, size_t entry, uint64_t old_chunk, uint64_t new_chunk) {
        const uint64_t words[] = {old_chunk, new_chunk};
        memcpy(world.cow.at(sector) + entry * sizeof words, words, sizeof words);
    };
    const uint32_t header[] = {0x70416e53, 1, 1, 8};
    memcpy(world.cow.at(0), header, sizeof header);
    std::shared_ptr<Volume> snap = world.space.create("snap");
    auto refusal = [&] {
        Outcome outcome = world.replace(*snap, "64 snapshot o c P 8");
        return !outcome ? outcome.why().reason() : std::string();
    };
    put(8, 0, 3, uint64_t{1} << 60);
    CHECK(refusal().find("chunk 3 is kept beyond the end of any device") != std::string::npos);
    put(8, 0, 3, 1);
    CHECK(refusal().find("where an area of the store lies") != std::string::npos);
    put(8, 0, uint64_t{1} << 60, 2);
    CHECK(refusal().find("beyond the end of any origin") != std::string::npos);
    put(8, 0, 3, 2);
    put(8, 1, 3, 3);
    CHECK(refusal().find("chunk 3 stands twice") != std::string::npos);
    put(8, 1, 4, 2);
    CHECK(refusal().find("two exceptions of the store are kept in chunk 2") != std::string::npos);
    put(8, 1, 0, 0);
    CHECK(refusal().empty());
}

TEST_CASE("an area without an end leads to no place beyond the device") {
    World world;
    FakeDevice& cut = world.source.add("cut", 33);
    World::empty(cut);
    const uint32_t header[] = {0x70416e53, 1, 1, 1};
    memcpy(cut.at(0), header, sizeof header);
    for (uint64_t i = 0; i < 32; i++) {
        const uint64_t words[] = {i, i % 30 + 2};
        memcpy(cut.at(1) + 16 * i, words, sizeof words);
    }
    std::shared_ptr<Volume> snap = world.space.create("snap");
    Outcome outcome = world.replace(*snap, "32 snapshot o cut P 1");
    REQUIRE_FALSE(outcome);
    CHECK(outcome.why().reason().find("goes on beyond the end of cut") != std::string::npos);
}

TEST_CASE("a COW device is one snapshot's, or handed over from one table to the next") {
    World world;
    world.source.add("o2", 64);
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    CHECK(world.write(*snap, 0, 8, 2));
    auto other = world.space.create("other");
    CHECK(world.replace(*other, "64 snapshot o2 c P 8").why().error() == EBUSY);
    CHECK(world.replace(*other, "64 snapshot o o P 8").why().error() == EINVAL);

    // To the next table of the same volume.
    CHECK(world.replace(*snap, "64 snapshot o c PO 8"));
    CHECK(world.tags(*snap, 0, 9) == std::vector<uint64_t>{2, 2, 2, 2, 2, 2, 2, 2, 1});

    // To another volume, while the first is suspended.
    CHECK(load(*other, world.table(*other, "64 snapshot o c P 8")));
    CHECK(world.resume(*other).why().error() == EINVAL);
    CHECK(world.suspend(*snap));
    CHECK(world.resume(*snap).why().error() == EINVAL);  // the other waits for it
    CHECK(world.resume(*other));
    CHECK(world.status(*snap) == "Invalid");
    CHECK(world.tags(*other, 0, 9) == std::vector<uint64_t>{2, 2, 2, 2, 2, 2, 2, 2, 1});
    CHECK(world.resume(*snap));
    CHECK(world.write(*snap, 0, 8, 3) == Status(EIO));
}

TEST_CASE("a table that is refused at the swap gives the COW device back") {
    World world;
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    CHECK(world.write(*snap, 0, 8, 2));
    // The second row's store is new, and its header can't be written.
    FakeDevice& bad = world.source.add("bad", 256);
    World::empty(bad);
    bad.fail(Op::write, EIO);
    CHECK(run(*world.executor,
              snap->replace(world.source.table("0 64 snapshot o c P 8\n64 32 snapshot o bad P 8"), nullptr))
              .why()
              .error() == EIO);
    CHECK(world.tags(*snap, 0, 1) == all_of(2, 1));
    CHECK(world.write(*snap, 8, 8, 4));
    CHECK(world.status(*snap) == "32/256 16");
}

TEST_CASE("a merge brings the exceptions back, the newest first, and flushes before it forgets them") {
    World world;
    auto base = world.volume("base", "64 snapshot-origin o");
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    CHECK(world.write(*snap, 0, 8, 2));
    CHECK(world.write(*snap, 20, 2, 3));
    CHECK(world.write(*base, 40, 8, 4));
    CHECK(world.suspend(*base));
    CHECK(world.suspend(*snap));
    CHECK(load(*base, world.table(*base, "64 snapshot-merge o c P 8")));
    world.origin.forget();
    world.cow.forget();
    CHECK(world.resume(*base));
    REQUIRE(soon([&] { return world.status(*base) == "16/256 16"; }));
    std::vector<Seen> origin = world.origin.seen(), cow = world.cow.seen();
    const Seen newest{Op::write, 40, 8, false}, flush{Op::flush, 0, 0, false};
    CHECK(origin.front() == newest);
    CHECK(origin[1] == flush);
    CHECK(origin.back() == flush);
    for (Sector sector : {0u, 16u}) CHECK(position(origin, {Op::write, sector, 8, false}) > 1);
    CHECK(cow.back() == Seen{Op::write, 8, 8, true});
    CHECK(all_zero(world.cow.at(8), bytes_of(8)));
    CHECK(world.tags(*base, 40, 8) == all_of(1, 8));  // what was written there is undone
    CHECK(world.tags(*base, 0, 8) == all_of(2, 8));
    CHECK(world.status(*snap) == "Invalid");
    CHECK(base->event_number() == 0);
}

TEST_CASE("reads go on during a merge, and writes to its chunks wait") {
    World world;
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    CHECK(world.write(*snap, 0, 8, 2));
    world.origin.hold();  // the merge hangs in its write
    CHECK(world.replace(*snap, "64 snapshot-merge o c P 8"));
    REQUIRE(soon([&] { return world.origin.held() == 1; }));
    CHECK(world.tags(*snap, 0, 8) == all_of(2, 8));
    Memory data = World::stamped_memory(2, 1, 3);
    Cancel cancel;
    auto writing = begin(*world.executor, snap->io(bio_of(Op::write, 2, 1, &data)));
    auto killed = begin(*world.executor, snap->io(bio_of(Op::write, 3, 1, &data, &cancel)));
    a_moment();
    CHECK_FALSE(writing.done());
    cancel.request();
    CHECK(killed.get() == Status(EINTR));
    // A suspend waits for the batch; who asked for it can be killed.
    Cancel tired;
    auto suspending = begin(*world.executor, snap->suspend(false, &tired));
    a_moment();
    CHECK_FALSE(suspending.done());
    tired.request();
    CHECK(suspending.get().why().error() == EINTR);
    world.origin.let_go();
    CHECK(writing.get());
    REQUIRE(soon([&] { return world.status(*snap) == "16/256 16"; }));
    CHECK(world.tags(*snap, 0, 4) == std::vector<uint64_t>{2, 2, 3, 2});
    CHECK(stamped(world.origin.at(2), 3, 2));
}

TEST_CASE("a merge that fails ends, and the volume goes on as it was") {
    World world;
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    CHECK(world.write(*snap, 0, 8, 2));
    CHECK(world.write(*snap, 16, 8, 2));
    SECTION("the origin takes no data") { world.origin.fail_at(Op::write, 17, EIO); }
    SECTION("the origin can't be flushed") { world.origin.fail(Op::flush, EIO); }
    CHECK(world.replace(*snap, "64 snapshot-merge o c P 8"));
    REQUIRE(soon([&] { return world.status(*snap) == "Merge failed"; }));
    CHECK(world.tags(*snap, 0, 24)[0] == 2);
    CHECK(world.tags(*snap, 16, 1) == all_of(2, 1));
    CHECK(world.write(*snap, 16, 1, 5));
    CHECK(world.tags(*snap, 16, 2) == std::vector<uint64_t>{5, 2});
}

TEST_CASE("what may still be on disk and may not is not written any more") {
    World world;
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    CHECK(world.write(*snap, 0, 8, 2));
    CHECK(world.write(*snap, 16, 8, 2));
    world.cow.fail_at(Op::write, 8, EIO);  // the area
    CHECK(world.replace(*snap, "64 snapshot-merge o c P 8"));
    REQUIRE(soon([&] { return world.status(*snap) == "Merge failed"; }));
    CHECK(world.tags(*snap, 16, 1) == all_of(2, 1));
    CHECK(world.write(*snap, 16, 1, 5) == Status(EIO));
    CHECK(world.write(*snap, 0, 1, 5));
    CHECK(world.write(*snap, 8, 1, 5));

    // The next resume tries again. That it fails earlier makes nothing certain.
    world.cow.mend();
    world.origin.fail_at(Op::write, 17, EIO);
    world.origin.forget();
    CHECK(world.suspend(*snap));
    CHECK(world.resume(*snap));
    REQUIRE(soon([&] { return !world.origin.seen().empty() && world.origin.seen().back().op == Op::write; }));
    a_moment();
    CHECK(world.write(*snap, 16, 1, 5) == Status(EIO));

    world.origin.mend();
    CHECK(world.suspend(*snap));
    CHECK(world.resume(*snap));
    REQUIRE(soon([&] { return world.cow.zeros(8, 8); }));
    REQUIRE(soon([&] { return world.write(*snap, 16, 1, 6).good(); }));
    CHECK(world.tags(*snap, 0, 1) == all_of(5, 1));
    CHECK(world.status(*snap) == "Merge failed");
}

TEST_CASE("only one snapshot of an origin merges, and no transient one") {
    World world;
    FakeDevice& second = world.source.add("c2", 256);
    World::empty(second);
    auto one = world.volume("one", "64 snapshot o c P 8");
    auto two = world.volume("two", "64 snapshot o c2 N 8");
    CHECK(world.replace(*two, "64 snapshot-merge o c2 N 8").why().error() == EINVAL);
    CHECK(world.replace(*two, "64 snapshot-merge o c2 P 8").why().error() == EINVAL);
}

TEST_CASE("other snapshots of the origin keep what a merge overwrites") {
    World world;
    FakeDevice& second = world.source.add("c2", 256);
    World::empty(second);
    auto one = world.volume("one", "64 snapshot o c P 8");
    auto two = world.volume("two", "64 snapshot o c2 P 2");
    CHECK(world.write(*one, 0, 64, 7));
    CHECK(world.replace(*one, "64 snapshot-merge o c P 8"));
    REQUIRE(soon([&] { return world.status(*one) == "16/256 16"; }));
    CHECK(world.tags(*two, 0, 64) == all_of(1, 64));
    CHECK(world.tags(*one, 0, 64) == all_of(7, 64));
}

TEST_CASE("where a snapshot's sectors are, forwards and backwards") {
    World world;
    world.source.add("c3", 256);
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    CHECK(world.write(*snap, 8, 8, 2));
    const Target& target = *snap->live()->rows().front().target;
    std::vector<std::string> steps;
    auto note = [&](const Step& step) {
        steps.push_back(std::string(name_of(step.op)) + " " + std::to_string(step.at) + "+" +
                        std::to_string(step.count) + " " + (step.device ? step.device->name() : "-") + " " +
                        std::to_string(step.start));
    };
    target.explain(Op::read, 4, 16, note);
    CHECK(steps == std::vector<std::string>{"read 4+4 o 4", "read 8+8 c 16", "read 16+4 o 16"});
    steps.clear();
    target.explain(Op::write, 16, 4, note);
    CHECK(steps == std::vector<std::string>{"read 16+8 o 16", "write 16+4 c 24"});
    steps.clear();
    target.explain(Op::discard, 0, 16, note);
    CHECK(steps == std::vector<std::string>{"discard 0+16 - 0"});
    steps.clear();
    auto zeroing =
        world.volume("zeroing", "64 snapshot o c3 N 8 2 discard_zeroes_cow discard_passdown_origin");
    zeroing->live()->rows().front().target->explain(Op::discard, 0, 4, note);
    CHECK(steps == std::vector<std::string>{"discard 0+4 o 0", "discard 0+4 - 0"});
    steps.clear();
    auto seen_through = world.volume("through", "60 snapshot-origin o");
    const Target& origin = *seen_through->live()->rows().front().target;
    origin.explain(Op::write, 57, 2, note);  // the last chunk is only partly there
    CHECK(steps == std::vector<std::string>{"read 56+4 o 56", "read 56+4 o 56", "write 57+2 o 57"});
    steps.clear();
    origin.explain(Op::discard, 0, 8, note);
    CHECK(steps == std::vector<std::string>{"discard 0+8 - 0"});
    steps.clear();
    target.explain(Op::flush, 0, 0, note);
    CHECK(steps == std::vector<std::string>{"flush 0+0 c 0"});

    std::vector<Run> runs;
    auto note_run = [&](const Run& run) { runs.push_back(run); };
    target.reverse(world.cow, 18, 2, note_run);
    REQUIRE(runs.size() == 1);
    CHECK((runs[0].at == 10 && runs[0].count == 2 && runs[0].start == 18));
    runs.clear();
    target.reverse(world.origin, 0, 64, note_run);  // but for what the snapshot has of its own
    REQUIRE(runs.size() == 2);
    CHECK((runs[0].at == 0 && runs[0].count == 8 && runs[1].at == 16 && runs[1].count == 48));
}
