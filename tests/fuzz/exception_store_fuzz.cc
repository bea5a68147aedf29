// The exception store: any bytes on a COW device are a store or are refused; one that is taken is
// used, merged and read again, and shows what it showed.

#include <cstring>
#include <optional>
#include <vector>

#include "base/log.h"
#include "fuzz/check.h"
#include "sim/executor.h"
#include "targets/snapshot/cow.h"

using namespace dmfs;
using namespace dmfs::snapshot;

namespace {

constexpr Sector kOrigin = 75;  // no multiple of most chunks
constexpr uint32_t kMostChunk = 64;

class Bytes final : public Device {
  public:
    explicit Bytes(Sector sectors) : size_(sectors), bytes_(bytes_of(sectors)) {}

    Task<Status> io(Bio bio) override { return Task<Status>::ready(act(bio)); }
    Sector size() const override { return size_; }
    Limits limits() const override { return {}; }
    Extent extent(Sector, Look&) override { return {true, size_}; }
    std::string name() const override { return "fuzzed"; }
    std::optional<DeviceNumber> number() const override { return {}; }
    std::byte* at(Sector sector) { return bytes_.data() + bytes_of(sector); }

  private:
    Status act(const Bio& bio) {
        if (bio.op == Op::flush) return kOk;
        if (bio.count > size_ || bio.sector > size_ - bio.count) return Status(EIO);
        if (bio.op == Op::read) memcpy(bio.data(), at(bio.sector), bio.bytes());
        if (bio.op == Op::write) memcpy(at(bio.sector), bio.data(), bio.bytes());
        if (bio.op == Op::write_zeroes) memset(at(bio.sector), 0, bytes_of(bio.count));
        return kOk;
    }

    const Sector size_;
    std::vector<std::byte> bytes_;
};

class World {
  public:
    World(const uint8_t* data, size_t size, Sector sectors, uint32_t chunk)
        : chunk_(chunk), device_(std::make_shared<Bytes>(sectors)) {
        memcpy(device_->at(0), data, std::min<size_t>(size, bytes_of(sectors)));
        memset(origin_->at(0), 'o', bytes_of(kOrigin));
    }

    // A snapshot of what is on the device now; nullptr if that is refused.
    std::shared_ptr<Cow> open() {
        auto cow = std::make_shared<Cow>(executor_, origin_, device_,
                                         std::make_unique<PersistentStore>(*device_, chunk_, 512));
        Outcome outcome = run(cow->read_store(nullptr));
        if (!outcome) {
            PROMISE(outcome.why().error() > 0 && !outcome.why().reason().empty());
            return nullptr;
        }
        cow->belongs_to({0, kOrigin}, false, [] {});
        return cow;
    }

    // Sector by sector: the first byte, or nothing where a read fails.
    std::vector<std::optional<std::byte>> shown(Cow& cow) {
        std::vector<std::optional<std::byte>> all;
        Memory memory(kSectorBytes);
        for (Sector at = 0; at < kOrigin; at++) {
            bool good = run(cow.read(request(Op::read, at, 1, &memory))).good();
            all.push_back(good ? std::optional(*memory.data()) : std::nullopt);
        }
        return all;
    }

    Status write(Cow& cow, Sector at, Sector count) {
        Memory memory(bytes_of(count));
        memset(memory.data(), 'w', memory.bytes());
        return run(cow.write(request(Op::write, at, count, &memory)));
    }

    template <class T>
    T run(Task<T> task) {
        std::optional<T> answer;
        executor_.spawn(keep(std::move(task), &answer));
        while (executor_.step()) {
        }
        PROMISE(answer.has_value() && executor_.running() == 0);
        return *answer;
    }

    Bytes& origin() { return *origin_; }

  private:
    template <class T>
    static Task<Status> keep(Task<T> task, std::optional<T>* answer) {
        T value = co_await task;
        answer->emplace(std::move(value));
        co_return kOk;
    }
    static Bio request(Op op, Sector at, Sector count, Memory* memory) {
        Bio bio;
        bio.op = op;
        bio.sector = at;
        bio.count = count;
        bio.memory = memory;
        return bio;
    }

    sim::Random random_{1};
    sim::SimExecutor executor_{random_};
    const uint32_t chunk_;
    const std::shared_ptr<Bytes> origin_ = std::make_shared<Bytes>(kOrigin), device_;
};

// All exceptions go back; false where the store turns out to be damaged.
bool merge(World& world, Cow& cow) {
    cow.become(Cow::Role::merging);
    for (size_t left = cow.exceptions();; left = cow.exceptions()) {
        std::vector<Cow::MergeRun> batch;
        if (!world.run(cow.begin_merging(4, &batch))) return false;
        if (batch.empty()) break;
        if (!world.run(cow.end_merging(batch, batch.size()))) return false;
        PROMISE(cow.exceptions() < left);
    }
    PROMISE(cow.exceptions() == 0);
    return true;
}

void use(World& world) {
    std::shared_ptr<Cow> cow = world.open();
    if (!cow || cow->chunk_sectors() > kMostChunk) return;
    PROMISE(exception_store::is_chunk(cow->chunk_sectors()));
    const bool valid = cow->state() == Cow::State::good;
    const auto before = world.shown(*cow);
    for (const auto& byte : before) PROMISE(valid || !byte);
    if (!valid || !world.run(cow->begin(nullptr))) return;
    PROMISE(world.shown(*cow) == before);

    // Writes of the snapshot, and copies for the origin's, as long as there is room.
    const bool wrote = world.write(*cow, 3, 1).good() && world.write(*cow, 22, 20).good();
    PROMISE(world.run(cow->preserve(40, 70, nullptr)).good());
    auto after = world.shown(*cow);
    if (cow->state() == Cow::State::invalid) return;
    for (Sector at = 0; at < kOrigin; at++) {
        bool written = at == 3 || (at >= 22 && at < 42);
        if (wrote && written) PROMISE(after[at] == std::byte{'w'});
        if (!written && before[at]) PROMISE(after[at] == before[at]);
    }
    const Store::Usage usage = cow->usage();
    PROMISE(usage.metadata > 0 && usage.total > 0);

    // A full one is full again when it is written, not before.
    std::shared_ptr<Cow> again = world.open();
    PROMISE(again != nullptr && again->exceptions() == cow->exceptions());
    PROMISE(world.shown(*again) == after);
    if (!merge(world, *again)) return;
    std::shared_ptr<Cow> merged = world.open();
    PROMISE(merged != nullptr && merged->exceptions() == 0);
}

}  // namespace

// Two bytes say how large the device and the chunks of the table are; the device begins with the
// others.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    log_to_stderr(false);
    if (size < 2) return 0;
    const Sector sectors = (size - 2 + kSectorBytes - 1) / kSectorBytes + 16 * (data[0] & 15) + 1;
    World world(data + 2, size - 2, sectors, data[1] & 1 ? 0 : 1u << (data[1] >> 1 & 3));
    use(world);
    return 0;
}
