// What each target says about holes against what reads give: cp, tar and qemu-img believe it, and
// a hole that is none is data lost without a word. And how long it may take to find out.

#include "base/log.h"
#include "engine/file_device.h"
#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::test;

namespace {

constexpr Sector kSectors = 1024;

// Files of which nothing is allocated, but for some sectors of `d`; volumes by their names.
struct Holes final : DeviceSource {
    Running executor;
    Namespace space{*executor};
    std::map<std::string, std::shared_ptr<Device>> devices;

    Holes() {
        for (const char* name : {"a", "b", "d"}) add(name, kSectors);
        add("c", kSectors);
        add("tiny", 24);
        for (Sector at : {8, 200, 201, 900}) REQUIRE(write(*devices.at("d"), at, 8));
        log_to_stderr(false);
    }
    ~Holes() override {
        soon([&] { return executor->running() == 0; });
        log_to_stderr(true);
    }
    void add(const std::string& name, Sector sectors) {
        devices[name] = FileDevice::ram(*executor, bytes_of(sectors), name);
    }
    std::shared_ptr<Device> open_device(const std::string& word, bool, const std::string&) override {
        if (std::shared_ptr<Volume> volume = space.by_name(word)) return space.open(volume);
        return devices.at(word);
    }
    std::shared_ptr<Volume> volume(const std::string& name, const std::string& rows) {
        std::shared_ptr<Volume> volume = space.create(name);
        auto table = Table::build(rows, TableSource{.executor = *executor,
                                                    .registry = target_registry(),
                                                    .devices = *this,
                                                    .folder = "/",
                                                    .raise_event = [] {}});
        if (Outcome outcome = run(*executor, volume->replace(std::move(table), nullptr)); !outcome)
            throw outcome.why();
        return volume;
    }
    Status write(Device& device, Sector at, Sector count) {
        Memory memory(bytes_of(count));
        for (Sector s = 0; s < count; s++) stamp(memory.data() + bytes_of(s), 7, at + s);
        return run(*executor, device.io(bio_of(Op::write, at, count, &memory)));
    }
    bool reads_as_zeros(Device& device, Sector at) {
        const Sector block = sectors_in(device.limits().logical_block);
        Memory memory(bytes_of(block));
        return run(*executor, device.io(bio_of(Op::read, at / block * block, block, &memory))) &&
               all_zero(memory.data() + bytes_of(at % block), kSectorBytes);
    }
    // What is called a hole and is none; how many sectors are holes.
    std::pair<Sector, Sector> check(Volume& volume) {
        Sector lies = 0, holes = 0;
        for (Sector at = 0; at < volume.size();) {
            Extent extent = extent_of(volume, at);
            REQUIRE(extent.end > at);
            for (; at < extent.end; at++)
                if (!extent.data) holes++, lies += !reads_as_zeros(volume, at);
        }
        Look look;
        if (volume.allocated(0, volume.size(), look) == 0) CHECK(holes == volume.size());
        return {lies, holes};
    }
};

const std::string kKey(64, 'a');

}  // namespace

TEST_CASE("what a target calls a hole is read as zeros") {
    struct Case {
        std::string rows;
        std::vector<std::string> messages;
        bool has_holes;
    };
    const std::vector<Case> cases = {
        {"0 1024 linear d 0", {}, true},
        {"0 1024 zero", {}, true},
        {"0 1024 error", {}, false},
        {"0 512 zero\n512 8 error\n520 504 linear a 520", {}, true},
        {"0 1024 delay d 0 0 a 0 0", {}, true},
        {"0 1024 dust a 0 512", {"addbadblock 100", "addbadblock 101", "enable"}, true},
        {"0 1000 dust d 3 4096", {"addbadblock 7", "addbadblock 100", "enable"}, true},
        {"0 1024 dust a 0 512", {"addbadblock 100"}, true},
        {"0 1024 ebs d 0 1 8", {}, true},
        {"0 1024 flakey a 0 0 100", {}, false},
        {"0 1024 flakey a 0 100 100", {}, false},
        {"0 1024 flakey a 0 0 100 1 drop_writes", {}, true},
        {"0 1024 flakey a 0 0 100 5 corrupt_bio_byte 1 r 7 0", {}, false},
        {"0 1024 striped 2 8 a 0 d 0", {}, true},
        {"0 1024 unstriped 2 8 1 d 0", {}, true},
        {"0 1024 switch 2 8 0 a 0 d 0", {"set_region_mappings 1:0 2:1"}, true},
        {"0 1024 crypt aes-xts-plain64 " + kKey + " 0 a 0", {}, false},
        {"0 1024 log-writes d c", {}, true},
        {"0 1024 snapshot-origin d", {}, true},
        {"0 1024 snapshot d c P 8", {}, true},
        {"0 1024 snapshot a c N 8", {}, true},
        {"0 1024 chaos a 0 1", {}, true},
        {"0 1024 chaos a 0 1 bad:latent,sectors=100+8", {}, true},
        {"0 1024 chaos a 0 1 bad:error,on=read,sectors=100+8 too:flip,on=read,sectors=300+1", {}, true},
        {"0 1024 chaos a 0 1 f:flip,on=read", {}, false},
        {"0 1024 chaos a 0 1 e:error,on=write h:slow:1,on=read", {}, true},
        {"0 1024 chaos a 0 1 e:error,on=read,after=go", {}, true},
    };
    for (const Case& each : cases) {
        INFO(each.rows);
        Holes world;
        std::shared_ptr<Volume> volume = world.volume("v", each.rows);
        for (const std::string& text : each.messages)
            volume->live()->row_at(0).target->message(split_words(text));
        auto [lies, holes] = world.check(*volume);
        CHECK(lies == 0);
        CHECK((holes > 0) == each.has_holes);
        if (volume->live()->rows().size() > 1 || each.rows.find("error") != std::string::npos) continue;
        if (world.write(*volume, 640, 8)) CHECK(world.check(*volume).first == 0);
    }
}

TEST_CASE("a snapshot that is invalid has no holes") {
    Holes world;
    std::shared_ptr<Volume> volume = world.volume("v", "0 1024 snapshot a tiny P 8");
    CHECK(world.check(*volume).second == kSectors);
    CHECK_FALSE(world.write(*volume, 0, 256));
    REQUIRE(volume->live()->row_at(0).target->status(StatusKind::info) == "Invalid");
    CHECK(world.check(*volume).second == 0);
    Look look;
    CHECK(volume->allocated(0, kSectors, look) == kSectors);
}

TEST_CASE("a small part of a large file with data has blocks") {
    Holes world;
    world.add("large", Sector{1} << 30);
    REQUIRE(world.write(*world.devices.at("large"), 64, 8));
    std::shared_ptr<Volume> volume = world.volume("v", "0 8 linear large 64\n8 1024 zero");
    Look look;
    CHECK(volume->allocated(0, volume->size(), look) > 0);
    CHECK(volume->allocated(0, 8, look) > 0);
}

TEST_CASE("what a file has lost to a truncation is no hole") {
    Holes world;
    std::shared_ptr<Volume> volume = world.volume("v", "0 1024 linear a 0");
    world.devices.clear();
    world.add("s", 16);
    std::shared_ptr<Device> shorter = world.devices.at("s");
    Look look;
    CHECK(shorter->allocated(0, 16, look) == 0);
    CHECK(shorter->allocated(8, 16, look) == 16);
}

TEST_CASE("a stack of diamonds is asked once for each volume") {
    Holes world;
    Sector sectors = 8;
    world.volume("v0", "0 8 linear a 0");
    std::shared_ptr<Volume> top;
    for (int i = 1; i <= 40; i++, sectors *= 2) {
        const std::string below = "linear v" + std::to_string(i - 1) + " 0";
        const std::string half = std::to_string(sectors);
        top = world.volume("v" + std::to_string(i),
                           "0 " + half + " " + below + "\n" + half + " " + half + " " + below);
    }
    Look look(nullptr, 200);
    CHECK(top->allocated(0, sectors, look) == 0);
    CHECK_FALSE(look.ended());
}

TEST_CASE("a look that has ended sees data, and so does one that is cancelled") {
    Holes world;
    std::string rows;
    for (int i = 0; i < 100; i++) rows += std::to_string(i) + " 1 zero\n";
    std::shared_ptr<Volume> volume = world.volume("v", rows);
    Look look(nullptr, 50);
    Sector at = 0;
    while (at < 100) {
        Extent extent = volume->extent(at, look);
        if (extent.data) break;
        at = extent.end;
    }
    CHECK(at == 50);
    Look ended(nullptr, 0);
    CHECK(volume->allocated(0, 100, ended) == 100);
    struct Gone final : Cancel {};
    Gone gone;
    gone.request();
    Look cancelled(&gone);
    CHECK(volume->extent(0, cancelled).data);
    CHECK(cancelled.cancelled());
}

TEST_CASE("a hole of 2^50 chunks is one step, whatever few exceptions there are") {
    Holes world;
    const std::string length = std::to_string(Sector{1} << 53);
    world.volume("base", "0 " + length + " zero");
    std::shared_ptr<Volume> volume = world.volume("v", "0 " + length + " snapshot base c N 8");
    CHECK(extent_of(*volume, 0).end == Sector{1} << 53);
    const Sector far = Sector{1} << 52;
    REQUIRE(world.write(*volume, far, 8));
    Extent hole = extent_of(*volume, 0);
    CHECK_FALSE(hole.data);
    CHECK(hole.end == far);
    Extent data = extent_of(*volume, far);
    CHECK(data.data);
    CHECK(data.end == far + 8);
    CHECK(extent_of(*volume, far + 8).end == Sector{1} << 53);
}
