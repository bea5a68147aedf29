// Headroom on a full file system: who waits, who is refused, and what a snapshot loses: nothing, unless
// its origin changes.

#include "targets/snapshot/headroom.h"

#include "targets/snapshot_world.h"

using namespace dmfs;
using namespace dmfs::test;
using snapshot::Headroom;

namespace {

constexpr int64_t kMs = 1'000'000;

// A file of 4096 sectors on a file system that has `free` of them left.
class SparseFile final : public Device {
  public:
    SparseFile(Executor& executor, Space space) : hanging_(executor), space_(space) {}
    Task<Status> io(Bio) override { return Task<Status>::ready(kOk); }
    Sector size() const override { return 4096; }
    Limits limits() const override { return {}; }
    Extent extent(Sector, Look&) override { return {true, size()}; }
    std::string name() const override { return "file"; }
    std::optional<DeviceNumber> number() const override { return {}; }
    Space space() const override { return space_; }
    Task<Status> reserve(Sector, Sector length) override {
        asked++;
        return hangs ? take_later(length) : take(length);
    }
    void answer() {
        hanging_.wake_all(kOk, [this] { hangs = false; });
    }

    std::atomic<Sector> free{0};
    std::atomic<int> error{0}, asked{0};
    std::atomic<bool> hangs{false};

  private:
    Task<Status> take_later(Sector length) {
        std::function<bool()> must_wait = [this] { return hangs.load(); };
        Status status = co_await hanging_.wait(must_wait);
        static_cast<void>(status);
        Task<Status> taking = take(length);
        status = co_await taking;
        co_return status;
    }
    Task<Status> take(Sector length) {
        if (error != 0) return Task<Status>::ready(Status(error));
        if (length > free) return Task<Status>::ready(Status(ENOSPC));
        free -= length;
        return Task<Status>::ready(kOk);
    }

    WaitQueue hanging_;
    const Space space_;
};

struct RoomWorld {
    explicit RoomWorld(Space space)
        : file(std::make_shared<SparseFile>(*executor, space)),
          room(std::make_shared<Headroom>(*executor, file)) {
        room->begin(16, 8);
    }
    Status wait(Sector needed) {
        return run(*executor, room->wait(needed, Headroom::Who::snapshot, nullptr));
    }

    Running executor;
    std::shared_ptr<SparseFile> file;
    std::shared_ptr<Headroom> room;
};

}  // namespace

TEST_CASE("room is taken in steps, the next before the last is used up") {
    RoomWorld world({1024, 0});
    world.file->free = 4096;
    CHECK(world.wait(24));
    CHECK(world.room->end() == 16 + 1024);
    world.room->go_on(400);
    CHECK(world.file->asked == 1);
    world.room->go_on(600);
    CHECK(soon([&] { return world.room->end() == 16 + 2048; }));
    CHECK(world.wait(4096));
    CHECK(world.room->end() == 4096);
    world.room->go_on(4090);
    CHECK(world.file->asked == 4);
}

TEST_CASE("where a file system has less than a step, smaller ones are taken") {
    RoomWorld world({1024, 0});
    world.file->free = 700;
    CHECK(world.wait(24));
    CHECK(world.room->end() == 16 + 512);
    CHECK(world.wait(16 + 600));
    CHECK(world.wait(16 + 700) == Status(ENOSPC));
    CHECK(world.room->is_short());
}

TEST_CASE("who needs room that is not there waits for it, and for so long") {
    RoomWorld world({1024, 500 * kMs});
    const int64_t began = world.executor->now_ns();
    SECTION("until there is some") {
        auto waiting = begin(*world.executor, world.room->wait(24, Headroom::Who::snapshot, nullptr));
        CHECK(soon([&] { return world.room->is_short(); }));
        world.file->free = 4096;
        CHECK(waiting.get());
        CHECK_FALSE(world.room->is_short());
    }
    SECTION("until the time is over, and then nobody") {
        CHECK(world.wait(24) == Status(ENOSPC));
        CHECK(world.executor->now_ns() - began >= 500 * kMs);
        CHECK(world.wait(24) == Status(ENOSPC));
        world.file->free = 4096;
        CHECK(soon([&] { return world.wait(24).good(); }));
    }
    SECTION("until it is killed") {
        Cancel cancel;
        auto waiting = begin(*world.executor, world.room->wait(24, Headroom::Who::snapshot, &cancel));
        CHECK(soon([&] { return world.room->is_short(); }));
        cancel.request();
        CHECK(waiting.get() == Status(EINTR));
    }
}

TEST_CASE("nobody waits for room that cannot come, nor when the wait is ended") {
    RoomWorld world({1024, 3600 * 1000 * kMs});
    SECTION("the file system is too small") {
        world.file->error = EFBIG;
        CHECK(world.wait(24) == Status(ENOSPC));
    }
    SECTION("let go") {
        auto waiting = begin(*world.executor, world.room->wait(24, Headroom::Who::snapshot, nullptr));
        CHECK(soon([&] { return world.room->is_short(); }));
        a_moment();
        world.room->let_go(Headroom::Who::origin);
        a_moment();
        CHECK_FALSE(waiting.done());
        world.room->let_go(Headroom::Who::snapshot);
        CHECK(waiting.get() == Status(ENOSPC));
    }
    SECTION("a file system that knows nothing of it") {
        world.file->error = EOPNOTSUPP;
        CHECK(world.wait(4096));
        CHECK(world.file->asked == 1);
    }
}

TEST_CASE("who is let go while a step is being taken waits for it, unless it is given up") {
    RoomWorld world({1024, 0});
    world.file->free = 4096;
    world.file->hangs = true;
    auto waiting = begin(*world.executor, world.room->wait(24, Headroom::Who::origin, nullptr));
    auto other = begin(*world.executor, world.room->wait(24, Headroom::Who::snapshot, nullptr));
    REQUIRE(soon([&] { return world.file->asked == 1; }));
    world.room->let_go(Headroom::Who::origin);
    a_moment();
    world.room->give_up(3600 * 1000 * kMs);  // it is not so late
    a_moment();
    CHECK_FALSE(waiting.done());
    SECTION("it was only slow") {
        world.file->answer();
        CHECK(waiting.get());
    }
    SECTION("it hangs") {
        world.room->give_up(kMs);
        CHECK(waiting.get() == Status(ETIMEDOUT));
        CHECK_FALSE(other.done());
        world.file->answer();
    }
    CHECK(other.get());
    CHECK(world.room->end() == 16 + 1024);
}

TEST_CASE("a writer to the snapshot who comes while nobody is to wait is turned away, until they may again") {
    RoomWorld world({1024, 3600 * 1000 * kMs});
    world.room->let_go(Headroom::Who::snapshot);
    CHECK(world.wait(24) == Status(ENOSPC));
    auto origins = begin(*world.executor, world.room->wait(24, Headroom::Who::origin, nullptr));
    world.room->hold_again();
    auto waiting = begin(*world.executor, world.room->wait(24, Headroom::Who::snapshot, nullptr));
    a_moment();
    CHECK_FALSE(waiting.done());
    CHECK_FALSE(origins.done());
    world.file->free = 4096;
    CHECK(waiting.get());
    CHECK(origins.get());
}

TEST_CASE("a step that fails once, as where a disk does not answer, is tried again") {
    RoomWorld world({1024, 300 * kMs});
    world.file->free = 4096;
    world.file->error = EIO;
    SECTION("and nobody writes where there may be no room") {
        CHECK(world.wait(24) == Status(EIO));
        CHECK(world.room->end() == 16);
    }
    SECTION("until it is taken") {
        auto waiting = begin(*world.executor, world.room->wait(24, Headroom::Who::snapshot, nullptr));
        a_moment();
        CHECK_FALSE(waiting.done());
        world.file->error = 0;
        CHECK(waiting.get());
        CHECK(world.room->end() == 16 + 1024);
    }
}

TEST_CASE("a write to a snapshot that finds the disk full is refused, and nothing is lost") {
    SnapshotWorld world;
    auto base = world.volume("base", "64 snapshot-origin o");
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    CHECK(world.write(*snap, 0, 8, 2));
    world.cow.fail(Op::write, ENOSPC);
    CHECK(world.write(*snap, 8, 8, 3) == Status(ENOSPC));
    CHECK(world.write(*snap, 17, 2, 3) == Status(ENOSPC));
    CHECK(world.tags(*snap, 0, 24) == [] {
        auto tags = all_of(1, 24);
        std::fill_n(tags.begin(), 8, 2);
        return tags;
    }());
    CHECK(run(*world.executor, snap->io(bio_of(Op::flush, 0, 0))));
    SECTION("the chunk that it took is free again") {
        world.cow.mend();
        CHECK(world.status(*snap) == "24/256 16");
        CHECK(world.write(*snap, 8, 8, 3));
        CHECK(world.status(*snap) == "32/256 16");
        CHECK(world.tags(*snap, 8, 8) == all_of(3, 8));
    }
    SECTION("unless its origin changes; then no flush is good any more") {
        CHECK(world.write(*base, 32, 8, 4));
        CHECK(world.status(*snap) == "Invalid");
        CHECK(run(*world.executor, snap->io(bio_of(Op::flush, 0, 0))) == Status(EIO));
    }
}

TEST_CASE("a snapshot goes live though its origin can't be flushed, and its first flush says so") {
    SnapshotWorld world;
    auto base = world.volume("base", "64 snapshot-origin o");
    CHECK(world.write(*base, 0, 8, 2));
    world.origin.fail(Op::flush, EIO);
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    CHECK(world.tags(*snap, 0, 8) == all_of(2, 8));
    world.origin.mend();
    auto flush = [&](Volume& volume) { return run(*world.executor, volume.io(bio_of(Op::flush, 0, 0))); };
    CHECK(flush(*snap) == Status(EIO));
    CHECK(flush(*snap));
    CHECK(flush(*base) == Status(EIO));  // whose it is
    CHECK(flush(*base));
}

TEST_CASE("the flush of a snapshot says that its origin was not flushed, whoever writes meanwhile") {
    SnapshotWorld world;
    auto base = world.volume("base", "64 snapshot-origin o");
    CHECK(world.write(*base, 0, 8, 2));
    world.origin.fail(Op::flush, EIO);
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    world.origin.mend();
    CHECK(world.write(*snap, 8, 8, 3));  // an exception that is not durable yet
    CHECK(world.write(*base, 8, 8, 4));  // has it made durable
    CHECK(run(*world.executor, snap->io(bio_of(Op::flush, 0, 0))) == Status(EIO));
    CHECK(run(*world.executor, snap->io(bio_of(Op::flush, 0, 0))));
}

TEST_CASE("the end of a mount ends no snapshot whose origin's writer waits for room") {
    SnapshotWorld world;
    world.cow.set_space({1024, 3600 * 1000 * kMs});
    auto base = world.volume("base", "64 snapshot-origin o");
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    world.cow.room_error() = ENOSPC;
    Memory data = SnapshotWorld::stamped_memory(0, 8, 2);
    Cancel cancel;
    auto writing = begin(*world.executor, base->io(bio_of(Op::write, 0, 8, &data, &cancel)));
    a_moment();
    for (int i = 0; i < 3; i++) {
        base->end_waits();
        snap->end_waits();
        a_moment();
    }
    CHECK_FALSE(writing.done());
    cancel.request();
    CHECK(writing.get() == Status(EINTR));
    CHECK(world.status(*snap).ends_with(" out_of_data_space"));
}

TEST_CASE("a merge that waits for the room of another snapshot is stopped, and nobody loses anything") {
    SnapshotWorld world;
    FakeDevice& other_cow = world.source.add("c2", 256);
    SnapshotWorld::empty(other_cow);
    other_cow.set_space({1024, 3600 * 1000 * kMs});
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    CHECK(world.write(*snap, 8, 8, 3));
    auto other = world.volume("other", "64 snapshot o c2 P 8");
    other_cow.room_error() = ENOSPC;
    CHECK(world.replace(*snap, "64 snapshot-merge o c P 8"));
    REQUIRE(soon([&] { return world.status(*other).ends_with(" out_of_data_space"); }));
    CHECK(world.suspend(*snap));
    CHECK(world.status(*other).ends_with(" out_of_data_space"));
    CHECK(world.status(*snap) == "24/256 16");
    other_cow.room_error() = 0;
    CHECK(world.resume(*snap));
    CHECK(soon([&] { return world.status(*snap) == "16/256 16"; }));
    CHECK(world.tags(*snap, 8, 8) == all_of(3, 8));
    CHECK(world.tags(*other, 8, 8) == all_of(1, 8));
}

TEST_CASE("a write that waits for room waits as a whole, and takes its chunks in their order then") {
    SnapshotWorld world;
    auto snap = world.volume("snap", "64 snapshot o c P 8");
    CHECK(world.write(*snap, 8, 8, 2));
    CHECK(world.begin_removing(snap).get());
    world.cow.set_space({1024, 3600 * 1000 * kMs});
    world.cow.room_error() = ENOSPC;
    snap = world.volume("snap", "64 snapshot o c P 8");
    world.cow.forget();
    Memory data = SnapshotWorld::stamped_memory(4, 24, 3);
    auto writing = begin(*world.executor, snap->io(bio_of(Op::write, 4, 24, &data)));
    REQUIRE(soon([&] { return world.status(*snap).ends_with(" out_of_data_space"); }));
    CHECK(world.cow.count(Op::write) == 0);  // not even to the chunk that has its place
    world.cow.room_error() = 0;
    CHECK(writing.get());
    CHECK(stamped(world.cow.at(24 + 4), 3, 4));
    CHECK(stamped(world.cow.at(32), 3, 16));
    CHECK(stamped(world.cow.at(40), 3, 24));
}

TEST_CASE("a store keeps the room that it has: it zeroes by writing") {
    SnapshotWorld world;
    FakeDevice& large = world.source.add("large", 5 * 4096, 0);
    SnapshotWorld::empty(large);
    auto snap = world.volume("snap", "64 snapshot o large P 4096");  // areas of 2 MiB
    CHECK(world.write(*snap, 0, 8, 2));
    CHECK(large.count(Op::write_zeroes) == 0);
}
