#include "engine/namespace.h"

#include <thread>

#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

int error_of(const Outcome& outcome) { return !outcome ? outcome.why().error() : 0; }

int refused_error(const std::function<void()>& act) {
    try {
        act();
    } catch (const Refused& refused) {
        return refused.error();
    }
    return 0;
}

struct World {
    Running executor;
    Namespace space{*executor};
    FakeSource source{*executor, &space};

    std::shared_ptr<Volume> volume(const std::string& name, const std::string& text) {
        auto volume = space.create(name);
        REQUIRE(run(*executor, volume->replace(source.table(text), nullptr)));
        return volume;
    }
};

}  // namespace

TEST_CASE("a volume is found by its name, uuid, number and id") {
    World world;
    auto volume = world.space.create("v", "u-1", 7);
    CHECK(world.space.by_name("v") == volume);
    CHECK(world.space.by_uuid("u-1") == volume);
    CHECK(world.space.by_minor(7) == volume);
    CHECK(world.space.by_id(volume->id()) == volume);
    CHECK(volume->number() == DeviceNumber{0, 7});
    CHECK_FALSE(world.space.by_name("w"));
    CHECK_FALSE(world.space.by_uuid(""));
    CHECK_FALSE(world.space.by_minor(0));
}

TEST_CASE("names, uuids and numbers are given once") {
    World world;
    auto volume = world.space.create("v", "u", 1);
    CHECK(refused_error([&] { world.space.create("v"); }) == EBUSY);
    CHECK(refused_error([&] { world.space.create("w", "u"); }) == EBUSY);
    CHECK(refused_error([&] { world.space.create("w", "", 1); }) == ENXIO);
    CHECK_FALSE(world.space.by_name("w"));
    CHECK(world.space.volumes().size() == 1);
}

TEST_CASE("a volume gets the lowest number that is free") {
    World world;
    CHECK(world.space.create("a")->minor() == 0);
    CHECK(world.space.create("c", "", 2)->minor() == 2);
    CHECK(world.space.create("b")->minor() == 1);
    CHECK(world.space.create("d")->minor() == 3);
    CHECK(remove(*world.space.by_name("b"), false));
    CHECK(world.space.create("e")->minor() == 1);
}

TEST_CASE("volumes are listed in the order of their names") {
    World world;
    for (const char* name : {"b", "a", "B", "aa"}) world.space.create(name);
    std::string names;
    for (const auto& volume : world.space.volumes()) names += volume->name() + " ";
    CHECK(names == "B a aa b ");
}

TEST_CASE("a removed volume is gone from everywhere, and its name free") {
    World world;
    auto volume = world.space.create("v", "u", 4);
    uint64_t id = volume->id();
    CHECK(remove(*volume, false));
    CHECK_FALSE(world.space.by_name("v"));
    CHECK_FALSE(world.space.by_uuid("u"));
    CHECK_FALSE(world.space.by_minor(4));
    CHECK_FALSE(world.space.by_id(id));
    CHECK(error_of(remove(*volume, false)) == ENXIO);
    CHECK(error_of(world.space.rename(*volume, "w")) == ENXIO);
    CHECK(error_of(world.space.set_uuid(*volume, "x")) == ENXIO);
    world.source.add("a", 100);
    CHECK(error_of(load(*volume, world.source.table("0 8 linear a 0"))) == ENXIO);
    CHECK(error_of(run(*world.executor, volume->replace(world.source.table("0 8 linear a 0"), nullptr))) ==
          ENXIO);
    CHECK(refused_error([&] { world.space.open(volume); }) == ENXIO);
    CHECK(world.space.create("v", "u", 4) != volume);
}

TEST_CASE("a renamed volume is found by its new name alone") {
    World world;
    auto volume = world.space.create("v");
    world.space.create("w");
    CHECK(error_of(world.space.rename(*volume, "w")) == EBUSY);
    CHECK(world.space.rename(*volume, "x"));
    CHECK(volume->name() == "x");
    CHECK(world.space.by_name("x") == volume);
    CHECK_FALSE(world.space.by_name("v"));
}

TEST_CASE("a uuid is given once and stays") {
    World world;
    auto volume = world.space.create("v");
    auto other = world.space.create("w", "taken");
    CHECK(error_of(world.space.set_uuid(*volume, "taken")) == EBUSY);
    CHECK(world.space.set_uuid(*volume, "u"));
    CHECK(world.space.by_uuid("u") == volume);
    CHECK(error_of(world.space.set_uuid(*volume, "u2")) == EINVAL);
    CHECK(volume->uuid() == "u");
}

TEST_CASE("a volume that is open is not removed") {
    World world;
    world.source.add("a", 100);
    auto volume = world.volume("v", "0 8 linear a 0");
    auto open = world.space.open(volume);
    CHECK(volume->open_count() == 1);
    CHECK(error_of(remove(*volume, false)) == EBUSY);
    CHECK(world.space.by_name("v") == volume);
    open.reset();
    CHECK(volume->open_count() == 0);
    CHECK(remove(*volume, false));
}

TEST_CASE("a volume that never had a table is not opened") {
    World world;
    auto volume = world.space.create("v");
    CHECK(refused_error([&] { world.space.open(volume); }) == ENXIO);
    CHECK(volume->open_count() == 0);
}

TEST_CASE("a deferred removal happens at the last close") {
    World world;
    world.source.add("a", 100);
    auto volume = world.volume("v", "0 8 linear a 0");
    auto one = world.space.open(volume), two = world.space.open(volume);
    CHECK(remove(*volume, true));
    CHECK(volume->deferred_remove());
    CHECK(world.space.by_name("v") == volume);
    one.reset();
    CHECK(world.space.by_name("v") == volume);
    two.reset();
    CHECK_FALSE(world.space.by_name("v"));
}

TEST_CASE("a deferred removal may be called off") {
    World world;
    world.source.add("a", 100);
    auto volume = world.volume("v", "0 8 linear a 0");
    auto open = world.space.open(volume);
    CHECK(remove(*volume, true));
    CHECK(world.space.cancel_deferred_remove(*volume));
    CHECK_FALSE(volume->deferred_remove());
    open.reset();
    CHECK(world.space.by_name("v") == volume);
    CHECK(remove(*volume, true));  // nobody has it open: at once
    CHECK_FALSE(world.space.by_name("v"));
    CHECK(error_of(world.space.cancel_deferred_remove(*volume)) == EBUSY);
}

TEST_CASE("a volume that others stand on is open, through live tables and loaded ones") {
    World world;
    world.source.add("a", 100);
    auto below = world.volume("below", "0 8 linear a 0");
    auto above = world.volume("above", "0 8 linear below 0");
    CHECK(below->open_count() == 1);
    CHECK(error_of(remove(*below, false)) == EBUSY);
    CHECK(load(*above, world.source.table("0 4 linear below 0\n4 4 linear below 4")));
    CHECK(below->open_count() == 1);
    above->clear();
    CHECK(below->open_count() == 1);
    CHECK(run(*world.executor, above->replace(world.source.table("0 8 linear a 0"), nullptr)));
    CHECK(below->open_count() == 0);
    CHECK(remove(*below, false));
}

TEST_CASE("a removal takes along those below whose removal was deferred") {
    World world;
    world.source.add("a", 100);
    auto one = world.volume("one", "0 8 linear a 0");
    auto two = world.volume("two", "0 8 linear one 0");
    auto three = world.volume("three", "0 8 linear two 0");
    CHECK(remove(*one, true));
    CHECK(remove(*two, true));
    CHECK(world.space.volumes().size() == 3);
    CHECK(remove(*three, false));
    CHECK(world.space.volumes().empty());
}

TEST_CASE("a namespace goes with all that stands in it") {
    Running executor;
    {
        Namespace space(*executor);
        FakeSource source(*executor, &space);
        source.add("a", 100);
        for (const char* pair : {"a1 a", "z a1", "b z", "c b"}) {
            std::string name(pair, std::string(pair).find(' ')), below(pair + name.size() + 1);
            auto volume = space.create(name);
            REQUIRE(run(*executor, volume->replace(source.table("0 8 linear " + below + " 0"), nullptr)));
            static_cast<void>(remove(*volume, false));
            if (space.by_name(name)) continue;
            volume = space.create(name);
            REQUIRE(run(*executor, volume->replace(source.table("0 8 linear " + below + " 0"), nullptr)));
        }
        CHECK(space.volumes().size() == 4);
    }
    SUCCEED("it went");
}

TEST_CASE("volumes may be made, opened, renamed and removed by many threads") {
    World world;
    world.source.add("a", 100);
    std::atomic<int> unexpected{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++)
        threads.emplace_back([&, t] {
            for (int i = 0; i < 200; i++) {
                std::string name = "v" + std::to_string((t + i) % 3);
                try {
                    auto volume = world.space.create(name);
                    int error = error_of(
                        run(*world.executor, volume->replace(world.source.table("0 8 linear a 0"), nullptr)));
                    if (error != 0 && error != ENXIO) unexpected++;
                } catch (const Refused& refused) {
                    if (refused.error() != EBUSY) unexpected++;
                }
                if (auto volume = world.space.by_name(name)) {
                    try {
                        auto open = world.space.open(volume);
                        Memory memory(kSectorBytes);
                        Status status = run(*world.executor, open->io(bio_of(Op::read, 0, 1, &memory)));
                        if (status != kOk && status != Status(EIO)) unexpected++;
                    } catch (const Refused& refused) {
                        if (refused.error() != ENXIO) unexpected++;
                    }
                    static_cast<void>(remove(*volume, i % 2 == 0));
                }
            }
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(unexpected == 0);
}
