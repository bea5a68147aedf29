// Snapshots under real threads: what tests/sim plays on one thread, here on many, so that
// ThreadSanitizer and AddressSanitizer see it.
//
//     clients      threads that read, write, zero, discard, flush the origin and its snapshots;
//                  some of their requests are killed
//     controller   makes snapshots while the origin is written, reloads, removes, merges them
//     bother       suspends and resumes volumes, and looks at everything that can be looked at
//
// What they may see is a Model each, as in tests/sim. Devices answer at once, or on another
// thread, or later. No device fails; a COW device may be too small.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <random>
#include <shared_mutex>
#include <thread>

#include "catch.h"
#include "engine/support.h"
#include "sim/model.h"

using namespace dmfs;
using namespace dmfs::test;
using sim::Model;

namespace {

constexpr size_t kShots = 3, kClients = 5;
constexpr Sector kSize = 192, kMostCount = 24;

using Random = std::mt19937_64;

uint64_t upto(Random& random, uint64_t most) { return random() % (most + 1); }
bool chance(Random& random, unsigned percent) { return random() % 100 < percent; }

void fill(std::byte* sector, uint64_t value) { stamp(sector, value, value); }
uint64_t value_in(const std::byte* sector) {
    uint64_t value = 0;
    memcpy(&value, sector, sizeof value);
    if (!stamped(sector, value, value)) sim::fail("a sector is torn");
    return value;
}

// Memory that answers at once, on an executor's thread, or later there.
class Moody final : public Device {
  public:
    Moody(Executor& executor, std::string name, Sector sectors, uint64_t seed)
        : executor_(executor), name_(std::move(name)), bytes_(bytes_of(sectors)), random_(seed) {}

    Task<Status> io(Bio bio) override {
        if (bio.end() > size()) return Task<Status>::ready(Status(EIO));
        uint64_t mood = 0;
        {
            std::lock_guard guard(mutex_);
            mood = random_() % 100;
        }
        if (mood < 50) {
            act(bio);
            return Task<Status>::ready(kOk);
        }
        return later(bio, mood < 90 ? 0 : static_cast<int64_t>(mood - 90) * 20'000);
    }
    Sector size() const override { return sectors_in(bytes_.size()); }
    Limits limits() const override {
        Limits limits;
        limits.discard_granularity = 512;
        limits.write_cache = limits.fua = true;
        return limits;
    }
    Extent extent(Sector, Look&) override { return {true, size()}; }
    std::string name() const override { return name_; }
    std::optional<DeviceNumber> number() const override { return {}; }

    // As a user does who takes the COW device of an earlier snapshot.
    void wipe() {
        std::lock_guard guard(mutex_);
        for (std::byte& byte : bytes_) byte = static_cast<std::byte>(random_());
        memset(bytes_.data(), 0, kSectorBytes);
    }

  private:
    struct Hop {
        Executor& executor;
        bool await_ready() const noexcept { return false; }
        [[gnu::noinline]] void await_suspend(std::coroutine_handle<> self) {
            Memory::settle_borrowed();
            executor.post(self);
        }
        void await_resume() const noexcept {}
    };

    Task<Status> later(Bio bio, int64_t ns) {
        if (ns == 0) {
            Hop hop{executor_};
            co_await hop;
        } else {
            Task<Status> pause = sleep_until(executor_, executor_.now_ns() + ns);
            Status slept = co_await pause;
            static_cast<void>(slept);
        }
        act(bio);
        co_return kOk;
    }
    void act(const Bio& bio) {
        std::lock_guard guard(mutex_);
        std::byte* at = bytes_.data() + bytes_of(bio.sector);
        if (bio.op == Op::read) memcpy(bio.data(), at, bio.bytes());
        if (bio.op == Op::write) memcpy(at, bio.data(), bio.bytes());
        if (bio.op == Op::discard || bio.op == Op::write_zeroes) memset(at, 0, bytes_of(bio.count));
    }

    Executor& executor_;
    const std::string name_;
    std::mutex mutex_;
    std::vector<std::byte> bytes_;
    Random random_;
};

// A volume with clients, and what they may see of it.
struct Face {
    std::string name;
    std::shared_ptr<Volume> volume;
    std::unique_ptr<Model> model;
    bool open = false;  // to clients
    size_t clients = 0;
    bool may_fail = false;  // requests may end with EIO
};

struct Shot : Face {
    enum class State { absent, coming, live } state = State::absent;
    std::string row;
    bool transient = false;
    std::vector<std::set<uint64_t>> candidates;  // while it is coming
};

struct Stress final : DeviceSource {
    Running executor;
    std::map<std::string, std::shared_ptr<Moody>> devices;
    std::unique_ptr<Namespace> space = std::make_unique<Namespace>(*executor);

    std::mutex mutex;  // of the faces, and what they know
    Face org;
    std::array<Shot, kShots> shots;
    uint64_t next_value = 1;
    std::string failure;

    std::shared_mutex calm;  // held alone by whoever wants nobody to suspend or resume
    std::atomic<bool> stop{false};
    std::atomic<uint64_t> requests{0}, merges{0}, made{0}, lost{0};

    std::shared_ptr<Device> open_device(const std::string& word, bool, const std::string&) override {
        return devices.at(word);
    }
    std::shared_ptr<Table> table(const std::string& row) {
        return Table::build("0 " + row + "\n",
                            TableSource{*executor, target_registry(), *this, "/", true, [] {}});
    }
    void note(const std::string& what) {
        std::lock_guard guard(mutex);
        note_locked(what);
    }
    void note_locked(const std::string& what) {
        if (failure.empty()) failure = what;
        stop = true;
    }
    void expect(const Outcome& outcome, const std::string& what) {
        if (!outcome) note(what + " was refused: " + outcome.why().detail());
    }
    template <class T>
    T run(Task<T> task) {
        return test::run(*executor, std::move(task));
    }

    void close(Face& face) {
        std::unique_lock lock(mutex);
        face.open = false;
        while (face.clients > 0) {
            lock.unlock();
            std::this_thread::yield();
            lock.lock();
        }
    }
    void open(Face& face) {
        std::lock_guard guard(mutex);
        face.open = true;
    }
};

std::string status_of(const Volume& volume) {
    std::shared_ptr<Table> table = volume.live();
    return table ? table->rows().front().target->status(StatusKind::info) : "";
}

// Clients.

Task<Status> cancel_later(Executor* executor, std::shared_ptr<Cancel> cancel, int64_t ns) {
    Task<Status> pause = sleep_until(*executor, executor->now_ns() + ns);
    Status status = co_await pause;
    cancel->request();
    co_return status;
}

Face* choose(Stress& stress, Random& random) {
    std::vector<Face*> open;
    if (stress.org.open) open.assign(2, &stress.org);
    for (Shot& shot : stress.shots)
        if (shot.open) open.push_back(&shot);
    if (open.empty()) return nullptr;
    Face* face = open[random() % open.size()];
    face->clients++;
    return face;
}

void begin(Stress& stress, Face* face, const Bio& bio) {
    for (Sector s = bio.sector; s < bio.end(); s++) {
        uint64_t value = bio.op == Op::write ? stress.next_value++ : 0;
        if (bio.op == Op::write) fill(bio.data() + bytes_of(s - bio.sector), value);
        face->model->begin_write(s, value);
        if (face == &stress.org)
            for (Shot& shot : stress.shots)
                if (shot.state == Shot::State::coming) shot.candidates[s].insert(value);
    }
}

void end(Stress& stress, Face* face, const Bio& bio, Status status, bool cancelled) {
    if (!status && !(bio.op == Op::discard && status.error() == EOPNOTSUPP) &&
        !(status.error() == EIO && face->may_fail) && !(status.error() == EINTR && cancelled))
        stress.note_locked(face->name + ": " + std::string(name_of(bio.op)) + " of " +
                           std::to_string(bio.count) + " sectors at " + std::to_string(bio.sector) +
                           " ended with " + std::to_string(status.error()) + ", and its status is " +
                           status_of(*face->volume));
    for (Sector s = bio.sector; s < bio.end(); s++) {
        if (bio.op == Op::read && status)
            face->model->check_read(s, value_in(bio.data() + bytes_of(s - bio.sector)));
        else if (bio.op == Op::discard)
            face->model->end_write(s, false, false);  // zeros, where there is an exception
        else if (bio.op == Op::write || bio.op == Op::write_zeroes)
            // The copy that a killed process began for its first write goes on, with its data.
            face->model->end_write(s, status.good(), false, !status && cancelled && face != &stress.org);
    }
}

void client(Stress& stress, uint64_t seed) {
    Random random(seed);
    while (!stress.stop) {
        constexpr Op kOps[] = {Op::read,  Op::read,  Op::read,         Op::write,  Op::write,
                               Op::write, Op::flush, Op::write_zeroes, Op::discard};
        Memory memory(bytes_of(kMostCount));
        Bio bio = bio_of(kOps[upto(random, std::size(kOps) - 1)], 0, 0, &memory);
        if (bio.op != Op::flush) {
            bio.sector = upto(random, kSize - 1);
            bio.count = 1 + upto(random, std::min<Sector>(kMostCount, kSize - bio.sector) - 1);
            if (chance(random, 50)) bio.count = std::min<Sector>(bio.count, 8);
        }
        bio.fua = bio.op == Op::write && chance(random, 15);
        Face* face = nullptr;
        {
            std::lock_guard guard(stress.mutex);
            face = choose(stress, random);
            if (face != nullptr && bio.op != Op::flush && !face->model->take(bio.sector, bio.end())) {
                face->clients--;
                face = nullptr;
            }
            if (face != nullptr && bio.op != Op::read && bio.op != Op::flush) begin(stress, face, bio);
        }
        if (face == nullptr) {
            std::this_thread::yield();
            continue;
        }
        std::shared_ptr<Cancel> cancel;
        if (chance(random, 10)) {
            cancel = std::make_shared<Cancel>();
            bio.cancel = cancel.get();
            stress.executor->spawn(
                cancel_later(&*stress.executor, cancel, static_cast<int64_t>(upto(random, 200'000))));
        }
        stress.requests++;
        Status status;
        try {
            status = stress.run(face->volume->io(bio));
        } catch (const std::exception& error) {
            stress.note(face->name + ": " + std::string(name_of(bio.op)) + ": " + error.what());
            return;  // it is still under way
        }
        std::lock_guard guard(stress.mutex);
        try {
            end(stress, face, bio, status, cancel != nullptr);
        } catch (const std::exception& error) {
            stress.note_locked(face->name + ", " + status_of(*face->volume) + ": " + error.what());
        }
        if (bio.op != Op::flush) face->model->leave(bio.sector, bio.end());
        face->clients--;
    }
}

// What the controller does.

void make_shot(Stress& stress, Shot& shot, Random& random) {
    const Sector chunk = Sector{1} << upto(random, 4);
    Moody& cow = *stress.devices["c-" + shot.name];
    shot.transient = chance(random, 20);
    shot.row = " o c-" + shot.name +
               (shot.transient       ? " N "
                : chance(random, 30) ? " PO "
                                     : " P ") +
               std::to_string(chunk) + " 1 discard_zeroes_cow";
    shot.may_fail = cow.size() < 4 * kSize + 64;
    cow.wipe();
    {
        std::lock_guard guard(stress.mutex);
        shot.candidates.clear();
        for (Sector s = 0; s < kSize; s++) shot.candidates.push_back(stress.org.model->seen(s));
        shot.state = Shot::State::coming;
        shot.volume = stress.space->create(shot.name);
    }
    stress.expect(stress.run(shot.volume->replace(
                      stress.table(std::to_string(kSize) + " snapshot" + shot.row), nullptr)),
                  "a snapshot");
    std::lock_guard guard(stress.mutex);
    shot.model = std::make_unique<Model>(kSize);
    for (Sector s = 0; s < kSize; s++) shot.model->set(s, shot.candidates[s]);
    shot.state = Shot::State::live;
    shot.open = true;
    stress.made++;
}

void forget(Stress& stress, Shot& shot) {
    std::shared_ptr<Volume> volume;
    {
        std::lock_guard guard(stress.mutex);
        volume = std::move(shot.volume);
        shot.state = Shot::State::absent;
    }
    stress.expect(remove(*volume), "a removal");
}

void remove_shot(Stress& stress, Shot& shot) {
    std::unique_lock calm(stress.calm);
    stress.close(shot);
    if (status_of(*shot.volume) == "Invalid") {
        stress.lost++;
        if (!shot.may_fail) stress.note(shot.name + " is invalid, and had no reason");
    }
    forget(stress, shot);
}

void reload_shot(Stress& stress, Shot& shot) {
    stress.expect(stress.run(shot.volume->replace(
                      stress.table(std::to_string(kSize) + " snapshot" + shot.row), nullptr)),
                  "the same table again");
}

// The snapshot becomes the origin; other snapshots go on meanwhile.
void merge_shot(Stress& stress, Shot& shot, Random& random) {
    {
        std::unique_lock calm(stress.calm);
        stress.close(shot);
        const std::string said = status_of(*shot.volume);
        if (said == "Invalid" || said == "Overflow") return forget(stress, shot);
        stress.close(stress.org);
        stress.expect(stress.run(stress.org.volume->suspend(false, nullptr)), "a suspend");
        stress.expect(stress.run(shot.volume->suspend(false, nullptr)), "a suspend");
        stress.expect(stress.run(stress.org.volume->load(
                          stress.table(std::to_string(kSize) + " snapshot-merge" + shot.row))),
                      "the load of a merge");
        {
            std::lock_guard guard(stress.mutex);
            stress.org.model = std::move(shot.model);
        }
        stress.expect(stress.run(stress.org.volume->resume(false, nullptr)), "the resume of a merge");
        forget(stress, shot);
        stress.open(stress.org);
    }
    stress.merges++;
    while (!stress.stop) {
        const std::string said = status_of(*stress.org.volume);
        size_t slash = said.find('/'), blank = said.find(' ');
        if (slash == std::string::npos) return stress.note("a merge ended with " + said);
        if (said.substr(0, slash) == said.substr(blank + 1)) break;
        if (chance(random, 30)) {
            stress.expect(stress.run(stress.org.volume->suspend(chance(random, 30), nullptr)), "a suspend");
            stress.expect(stress.run(stress.org.volume->resume(false, nullptr)), "a resume");
        }
        std::this_thread::yield();
    }
    if (stress.stop) return;
    stress.expect(stress.run(stress.org.volume->replace(
                      stress.table(std::to_string(kSize) + " snapshot-origin o"), nullptr)),
                  "the end of a merge");
}

void controller(Stress& stress, uint64_t seed, uint64_t most_requests) {
    Random random(seed);
    while (!stress.stop && stress.requests < most_requests) {
        std::this_thread::sleep_for(std::chrono::microseconds(upto(random, 2000)));
        Shot& shot = stress.shots[upto(random, kShots - 1)];
        if (shot.state == Shot::State::absent)
            make_shot(stress, shot, random);
        else if (chance(random, 50))
            reload_shot(stress, shot);
        else if (chance(random, 40) && !shot.transient)
            merge_shot(stress, shot, random);
        else
            remove_shot(stress, shot);
    }
    stress.stop = true;
}

// Suspends, resumes and looks, whatever else goes on.
void bother(Stress& stress, uint64_t seed) {
    Random random(seed);
    while (!stress.stop) {
        std::this_thread::sleep_for(std::chrono::microseconds(upto(random, 500)));
        std::shared_lock calm(stress.calm);
        std::shared_ptr<Volume> volume;
        {
            std::lock_guard guard(stress.mutex);
            size_t which = upto(random, kShots);
            volume = which == kShots ? stress.org.volume : stress.shots[which].volume;
        }
        if (!volume) continue;
        if (chance(random, 30)) {
            Cancel cancel;
            if (chance(random, 50)) {
                std::thread killer([&] { cancel.request(); });
                Outcome killed = stress.run(volume->suspend(false, &cancel));
                killer.join();
            } else {
                stress.expect(stress.run(volume->suspend(chance(random, 30), nullptr)), "a bother's suspend");
            }
            // Refused where a table is just being loaded that waits for the COW device.
            while (volume->suspended() && volume->live())
                if (stress.run(volume->resume(false, nullptr))) break;
            continue;
        }
        std::shared_ptr<Table> table = volume->live();
        if (!table) continue;
        Target& target = *table->rows().front().target;
        for (StatusKind kind : {StatusKind::info, StatusKind::table, StatusKind::measure})
            static_cast<void>(target.status(kind));
        if (Lifecycle* lifecycle = target.lifecycle()) static_cast<void>(lifecycle->own_work());
        static_cast<void>(extent_of(*volume, upto(random, kSize - 1)));
        for (Op op : {Op::read, Op::write, Op::discard}) target.explain(op, 0, kSize, [](const Step&) {});
        for (const std::shared_ptr<Device>& device : table->devices())
            target.reverse(*device, 0, device->size(), [](const Run&) {});
    }
}

void compare(Stress& stress, Face& face) {
    Memory memory(bytes_of(kSize));
    Status status = stress.run(face.volume->io(bio_of(Op::read, 0, kSize, &memory)));
    if (!status && face.may_fail) return;
    if (!status) sim::fail(face.name + " can't be read");
    for (Sector s = 0; s < kSize; s++) face.model->check_read(s, value_in(memory.data() + bytes_of(s)));
}

// Returns what went wrong.
std::string stress_snapshots(uint64_t seed, uint64_t most_requests) {
    auto whole = std::make_unique<Stress>();
    Stress& stress = *whole;
    Random random(seed);
    auto add = [&](const std::string& name, Sector sectors) {
        stress.devices[name] = std::make_shared<Moody>(*stress.executor, name, sectors, random());
    };
    add("o", kSize + upto(random, 20));
    stress.org.name = "org";
    for (size_t i = 0; i < kShots; i++) {
        stress.shots[i].name = "s" + std::to_string(i);
        add("c-" + stress.shots[i].name, i == 0 ? 100 + upto(random, kSize) : 1200);
    }
    stress.org.volume = stress.space->create("org");
    stress.org.model = std::make_unique<Model>(kSize);
    stress.expect(stress.run(stress.org.volume->replace(
                      stress.table(std::to_string(kSize) + " snapshot-origin o"), nullptr)),
                  "the origin");
    stress.org.open = true;
    std::vector<std::thread> threads;
    for (size_t i = 0; i < kClients; i++) threads.emplace_back([&, own = random()] { client(stress, own); });
    threads.emplace_back([&, own = random()] { bother(stress, own); });
    threads.emplace_back([&, own = random()] { controller(stress, own, most_requests); });
    for (std::thread& thread : threads) thread.join();
    try {
        if (stress.failure.empty()) compare(stress, stress.org);
        for (Shot& shot : stress.shots)
            if (stress.failure.empty() && shot.state == Shot::State::live &&
                status_of(*shot.volume) != "Invalid")
                compare(stress, shot);
    } catch (const std::exception& error) {
        stress.note(error.what());
    }
    UNSCOPED_INFO(stress.requests << " requests, " << stress.made << " snapshots, " << stress.merges
                                  << " merges, " << stress.lost << " lost");
    if (getenv("STRESS_VERBOSE") != nullptr)
        printf("seed %llu: %llu requests, %llu snapshots, %llu merges, %llu lost\n",
               static_cast<unsigned long long>(seed), static_cast<unsigned long long>(stress.requests),
               static_cast<unsigned long long>(stress.made), static_cast<unsigned long long>(stress.merges),
               static_cast<unsigned long long>(stress.lost));
    const std::string failure = stress.failure;
    if (!failure.empty()) {
        static_cast<void>(whole.release());  // somebody may still wait in it
        return failure;
    }
    stress.org.volume.reset();
    for (Shot& shot : stress.shots) shot.volume.reset();
    stress.space.reset();
    return {};
}

}  // namespace

TEST_CASE("snapshots keep what they showed, whatever many threads do at once") {
    const char* wanted = getenv("STRESS_SEED");
    const char* most = getenv("STRESS_REQUESTS");
    const uint64_t seed = wanted != nullptr ? strtoull(wanted, nullptr, 10) : std::random_device()();
    const std::string failure =
        stress_snapshots(seed, most != nullptr ? strtoull(most, nullptr, 10) : 100000);
    INFO("STRESS_SEED=" << seed << " " << failure);
    CHECK(failure.empty());
}
