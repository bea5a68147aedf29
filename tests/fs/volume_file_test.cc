#include "fs/volume_file.h"

#include <cstring>
#include <random>

#include "base/log.h"
#include "engine/file_device.h"
#include "engine/support.h"

using namespace dmfs;
using namespace dmfs::fs;
using namespace dmfs::test;

namespace {

constexpr uint64_t kBytes = 64 * 1024;

// Memory as devices, by their names; b4k takes blocks of 4096 bytes only.
struct Blocks final : DeviceSource {
    // Whoever stands below says which requests it got.
    struct Block final : Device {
        std::shared_ptr<Device> below;
        uint32_t block;
        Block(std::shared_ptr<Device> device, uint32_t bytes) : below(std::move(device)), block(bytes) {}
        Task<Status> io(Bio bio) override {
            if (bytes_of(bio.sector) % block != 0 || bytes_of(bio.count) % block != 0)
                return Task<Status>::ready(Status(EINVAL));
            return below->io(bio);
        }
        Sector size() const override { return below->size(); }
        Limits limits() const override {
            Limits limits = below->limits();
            limits.logical_block = block;
            return limits;
        }
        Extent extent(Sector at, Look& look) override { return below->extent(at, look); }
        std::string name() const override { return below->name(); }
        std::optional<DeviceNumber> number() const override { return {}; }
    };

    explicit Blocks(Executor& executor) {
        for (const char* name : {"a", "b", "b4k"})
            devices[name] = std::make_shared<Block>(FileDevice::ram(executor, kBytes, name),
                                                    name == std::string("b4k") ? 4096 : 512);
    }
    std::shared_ptr<Device> open_device(const std::string& word, bool, const std::string&) override {
        return devices.at(word);
    }
    std::map<std::string, std::shared_ptr<Device>> devices;
};

struct World {
    Running executor;
    Blocks source{*executor};
    Namespace space{*executor};
    std::shared_ptr<Volume> volume = space.create("v");
    VolumeFile file{volume};

    explicit World(const std::string& device) { REQUIRE(replace(device)); }
    ~World() {
        soon([&] { return executor->running() == 0; });
    }
    std::shared_ptr<Table> table(const std::string& device) {
        return Table::build("0 128 linear " + device + " 0", TableSource{.executor = *executor,
                                                                         .registry = target_registry(),
                                                                         .devices = source,
                                                                         .folder = "/",
                                                                         .raise_event = [] {}});
    }
    Outcome replace(const std::string& device) {
        return run(*executor, volume->replace(table(device), nullptr));
    }
    Status write(uint64_t offset, const std::string& text) {
        Memory memory(text.size());
        memcpy(memory.data(), text.data(), text.size());
        return run(*executor, file.write(&memory, offset, text.size(), false, nullptr));
    }
    std::string read(uint64_t offset, uint64_t length) {
        std::optional<Memory> memory;
        size_t begin = 0;
        if (!run(*executor, file.read(&memory, &begin, offset, length, nullptr))) return "error";
        return {reinterpret_cast<const char*>(memory->data()) + begin, length};
    }
};

}  // namespace

TEST_CASE("requests of any place and length come out as in a plain array") {
    for (const char* device : {"a", "b4k"}) {
        World world(device);
        std::string model(kBytes, 0);
        unsigned seed = std::random_device{}();
        INFO(device << ", seed " << seed);
        std::mt19937 random(seed);
        auto pick = [&](uint64_t below) {
            return std::uniform_int_distribution<uint64_t>(0, below - 1)(random);
        };
        for (int round = 0; round < 400; round++) {
            uint64_t offset = pick(kBytes), length = 1 + pick(std::min<uint64_t>(kBytes - offset, 12000));
            switch (pick(4)) {
                case 0: {
                    std::string text(length, static_cast<char>('a' + pick(26)));
                    REQUIRE(world.write(offset, text));
                    model.replace(offset, length, text);
                    break;
                }
                case 1:
                    REQUIRE(
                        run(*world.executor, world.file.clear(pick(2) == 0 ? Op::discard : Op::write_zeroes,
                                                              offset, length, nullptr)));
                    model.replace(offset, length, std::string(length, 0));
                    break;
                default:
                    REQUIRE(world.read(offset, length) == model.substr(offset, length));
            }
        }
        CHECK(world.read(0, kBytes) == model);
    }
}

TEST_CASE("a request that waited while the blocks became larger is aligned anew") {
    World world("a");
    REQUIRE(run(*world.executor, world.volume->suspend(false, nullptr)));
    std::string text(512, 'x');
    Memory memory(512);
    memcpy(memory.data(), text.data(), 512);
    auto writing = begin(*world.executor, world.file.write(&memory, 512, 512, false, nullptr));
    std::optional<Memory> read;
    size_t begins = 0;
    auto reading = begin(*world.executor, world.file.read(&read, &begins, 1024, 512, nullptr));
    CHECK(soon([&] { return world.volume->parked() == 2; }));
    REQUIRE(world.replace("b4k"));
    CHECK(writing.get());
    CHECK(reading.get());
    CHECK(world.read(512, 512) == text);
}

TEST_CASE("what was read from one table is not written to the next") {
    World world("a");
    for (uint64_t at = 0; at < 4096; at += 512) REQUIRE(world.write(at, std::string(512, 'A')));
    REQUIRE(world.replace("b"));
    for (uint64_t at = 0; at < 4096; at += 512) REQUIRE(world.write(at, std::string(512, 'B')));
    // Many writers of parts of one block, while tables change between the two.
    std::atomic<bool> stop{false};
    std::atomic<int> refused{0};
    std::thread swapper([&] {
        for (int i = 0; i < 300; i++)
            if (!world.replace(i % 2 == 0 ? "a" : "b")) refused++;
        stop = true;
    });
    while (!stop) CHECK(world.write(10, "xxxx"));
    swapper.join();
    CHECK(refused == 0);
    for (auto [device, letter] : {std::pair{"a", 'A'}, std::pair{"b", 'B'}}) {
        REQUIRE(world.replace(device));
        std::string sector = world.read(0, 512);
        for (size_t i = 0; i < 512; i++)
            if (i < 10 || i >= 14) REQUIRE(sector[i] == letter);
    }
}

TEST_CASE("holes and data are found across a volume") {
    World world("a");
    CHECK(world.file.seek(0, true) == -ENXIO);
    CHECK(world.file.seek(100, false) == 100);
    CHECK(world.file.seek(kBytes, false) == -ENXIO);
    REQUIRE(world.write(8192, std::string(4096, 'x')));
    CHECK(world.file.seek(0, true) == 8192);
    CHECK(world.file.seek(9000, true) == 9000);
    CHECK(world.file.seek(8192, false) == 12288);
}

TEST_CASE("a truncation to nothing zeroes the volume, and keeps its length") {
    for (const char* device : {"a", "b4k"}) {
        World world(device);
        REQUIRE(world.write(1000, std::string(20000, 'x')));
        REQUIRE(world.write(kBytes - 1, "y"));
        CHECK(run(*world.executor, world.file.truncate(0, true, nullptr)));
        CHECK(world.read(0, kBytes) == std::string(kBytes, 0));
        CHECK(world.file.bytes() == kBytes);
        CHECK(world.file.seek(0, true) == -ENXIO);  // no room is taken any more
    }
}

TEST_CASE("a truncation to a length is taken where only zeros are behind it") {
    World world("b4k");
    auto error_of = [&](uint64_t to, bool may_zero = true) {
        Outcome outcome = run(*world.executor, world.file.truncate(to, may_zero, nullptr));
        return !outcome ? outcome.why().error() : 0;
    };
    REQUIRE(world.write(5000, "x"));
    REQUIRE(world.write(20000, std::string(4096, 0)));  // zeros, but no hole
    CHECK(error_of(5001) == 0);
    CHECK(error_of(5000) == EPERM);
    CHECK(error_of(1) == EPERM);
    CHECK(error_of(kBytes) == 0);
    CHECK(error_of(kBytes + 1) == EFBIG);
    CHECK(error_of(0, false) == EPERM);  // truncate=refuse
    CHECK(world.read(4999, 3) == std::string("\0x\0", 3));
    CHECK(error_of(0) == 0);
    CHECK(error_of(0, false) == 0);
    CHECK(error_of(1) == 0);
}

TEST_CASE("a truncation that cannot be done whole is refused before anything changes") {
    Running executor;
    Namespace space(*executor);
    FakeSource source(*executor, &space);
    FakeDevice& origin = source.add("o", 64, 1);
    FakeDevice& cow = source.add("c", 40, 0);  // a header, an area, and three chunks of 8
    memset(cow.at(0), 0, bytes_of(40));
    auto volume = [&](const std::string& name, const std::string& rows) {
        std::shared_ptr<Volume> made = space.create(name);
        REQUIRE(run(*executor, made->replace(source.table(rows), nullptr)));
        return made;
    };
    std::shared_ptr<Volume> base = volume("base", "0 64 snapshot-origin o");
    std::shared_ptr<Volume> snap = volume("snap", "0 64 snapshot o c P 8");
    std::shared_ptr<Volume> top = volume("top", "0 64 linear base 0");
    std::shared_ptr<Volume> part = volume("part", "0 8 linear base 0\n8 8 error");
    auto error_of = [&](const std::shared_ptr<Volume>& of) {
        VolumeFile file(of);
        Outcome outcome = run(*executor, file.truncate(0, true, nullptr));
        return !outcome ? outcome.why().error() : 0;
    };
    for (const std::shared_ptr<Volume>& each : {base, snap, top}) CHECK(error_of(each) == ENOSPC);
    CHECK(error_of(part) == EIO);
    CHECK(cow.count(Op::write) <= 3);  // the header and its area
    for (Sector s = 0; s < 64; s++) CHECK(stamped(origin.at(s), 1, s));
    CHECK(snap->live()->row_at(0).target->status(StatusKind::info) == "16/40 16");
    // One chunk it can keep.
    CHECK(error_of(volume("chunk", "0 8 linear base 8")) == 0);
    CHECK(origin.zeros(8, 8));
    Memory memory(bytes_of(8));
    REQUIRE(run(*executor, snap->io(bio_of(Op::read, 8, 8, &memory))));
    CHECK(stamped(memory.data(), 1, 8));
}

TEST_CASE("a truncation waits at a suspended volume, and can be killed there") {
    World world("a");
    REQUIRE(world.write(1000, "x"));
    REQUIRE(run(*world.executor, world.volume->suspend(false, nullptr)));
    Killed killed;
    Outcome outcome = run(*world.executor, world.file.truncate(0, true, &killed));
    REQUIRE_FALSE(outcome);
    CHECK(outcome.why().error() == EINTR);
    auto truncating = begin(*world.executor, world.file.truncate(0, true, nullptr));
    a_moment();
    CHECK_FALSE(truncating.done());
    // The table that it meets then is the one that is zeroed.
    auto b = world.table("b");
    REQUIRE(load(*world.volume, b));
    REQUIRE(run(*world.executor, world.volume->resume(false, nullptr)));
    CHECK(truncating.get());
    CHECK(world.read(0, kBytes) == std::string(kBytes, 0));
    REQUIRE(world.replace("a"));
    CHECK(world.read(1000, 1) == "x");
}

TEST_CASE("a read that meets a bad sector gives what lies before it") {
    Running executor;
    Namespace space(*executor);
    FakeSource source(*executor, &space);
    FakeDevice& device = source.add("o", 512, 3);
    std::shared_ptr<Volume> volume = space.create("v");
    REQUIRE(run(*executor, volume->replace(source.table("0 512 linear o 0"), nullptr)));
    VolumeFile file(volume);
    auto good = [&](uint64_t offset, uint64_t length) {
        std::optional<Memory> memory;
        size_t begin = 0;
        uint64_t given = length;
        Status status = run(*executor, file.read_before_error(&memory, &begin, offset, &given, nullptr));
        if (!status) return uint64_t{0};
        for (uint64_t s = 0; s + kSectorBytes <= given; s += kSectorBytes)
            CHECK(stamped(memory->data() + begin + s, 3, sectors_in(offset + s)));
        return given;
    };
    for (Sector bad : {8, 9, 100, 255, 256, 504, 511}) {
        INFO("bad sector " << bad);
        device.mend();
        device.fail_at(Op::read, bad, EIO);
        CHECK(good(0, bytes_of(512)) == bad / 8 * 4096);
        CHECK(good(512, bytes_of(511)) == bad / 8 * 4096 - 512);
        CHECK(good(bad / 8 * 4096, bytes_of(512 - bad / 8 * 8)) == 0);
        CHECK(good(bytes_of(bad), 512) == 0);
    }
    device.mend();
    device.fail_at(Op::read, 3, EIO);
    CHECK(good(0, bytes_of(512)) == 0);
    device.mend();  // a fault that does not come again was told: nothing is given in its place
    CHECK(good(0, bytes_of(512)) == 0);
}
