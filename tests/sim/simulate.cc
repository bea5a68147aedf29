// Many clients, stacked volumes, tables that are exchanged under them, errors and
// crashes, from one seed:
//
//     sim [--seed N] [--runs N]        prints the seed of each run that fails
//
//     top     clients read, write, discard, zero, flush; what they should see is `Model`
//      |- low1 -- low0                 each volume has a controller, which suspends and
//      |- low0                         resumes it, rewrites its table in other words, and
//      `- disks  0  1  2  (cached)     moves its data elsewhere while it is suspended
//
// A volume's data lie in one half of the areas given to it on the disks; a move copies
// them to the other half and loads the table that finds them there. Requests of all
// clients go on meanwhile, so one that slips past a suspend is read in the wrong half.
//
// That it can fail was tried by breaking the engine; each was found within the first
// 25 seeds: a suspend that does not wait for those inside (suspend_locked without its
// drain), a gate that lets in while closed, one that wakes only the first outside when
// it opens, a cancelled suspend that leaves the gate closed, FUA dropped where a table
// splits, a flush of the first device only, a piece with the wrong place in memory,
// a striped discard without its last leg.

#include <algorithm>
#include <iterator>

#include "engine/namespace.h"
#include "sim/disk.h"
#include "sim/model.h"
#include "sim/runs.h"
#include "targets/registry.h"

namespace dmfs::sim {
namespace {

struct World;

// Where a volume's sector lies: on a disk, in another volume, or nowhere.
struct Place {
    enum class Kind { nowhere, disk, volume } kind = Kind::nowhere;
    size_t which = 0;
    Sector sector = 0;
};

// A stretch of a volume, and the ways to write it as rows.
struct Span {
    Sector length = 0;
    Place linear;      // where it begins, unless it is striped
    Sector chunk = 0;  // striped: over `legs`
    std::vector<Place> legs;

    Place place(Sector at) const {
        if (chunk == 0) {
            Place place = linear;
            place.sector += at;
            return place;
        }
        Place place = legs[at / chunk % legs.size()];
        place.sector += at / chunk / legs.size() * chunk + at % chunk;
        return place;
    }
};

struct SimVolume {
    size_t index = 0;
    std::string name;
    std::shared_ptr<Volume> volume;
    std::vector<Span> spans;
    // What it has of each disk: two halves, of which one holds the data.
    Sector area_start = 0, area_half = 0;
    int half = 0;

    Sector size() const {
        Sector size = 0;
        for (const Span& span : spans) size += span.length;
        return size;
    }
    Place place(Sector at) const {
        for (const Span& span : spans) {
            if (at < span.length) return span.place(at);
            at -= span.length;
        }
        fail("no such sector");
    }
};

struct World final : DeviceSource {
    Random random;
    Faults faults;
    SimExecutor executor{random};
    std::vector<std::shared_ptr<SimDisk>> disks;
    std::unique_ptr<Namespace> space = std::make_unique<Namespace>(executor);
    std::vector<SimVolume> volumes;
    std::unique_ptr<Model> model;
    uint64_t next_value = 1;
    bool stop = false;
    std::string failure;

    explicit World(uint64_t seed) : random(seed) {}
    ~World() override { volumes.clear(); }

    uint64_t upto(uint64_t most) { return random() % (most + 1); }
    bool chance(unsigned percent) { return random() % 100 < percent; }
    SimVolume& top() { return volumes.back(); }

    std::shared_ptr<Device> open_device(const std::string& word, bool, const std::string&) override {
        for (auto& disk : disks)
            if (disk->name() == word) return disk;
        std::shared_ptr<Volume> volume = space->by_name(word);
        if (!volume) throw Refused(ENOENT, "no " + word);
        return space->open(volume);
    }

    // Where a sector of a volume is in the end: nullptr for nowhere.
    SimDisk* resolve(size_t volume, Sector at, Sector& sector) {
        Place place = volumes[volume].place(at);
        if (place.kind == Place::Kind::volume) return resolve(place.which, place.sector, sector);
        sector = place.sector;
        return place.kind == Place::Kind::disk ? disks[place.which].get() : nullptr;
    }

    std::string device_name(const Place& place) {
        return place.kind == Place::Kind::disk ? disks[place.which]->name() : volumes[place.which].name;
    }

    // The volume's table in some words that mean the same.
    std::shared_ptr<Table> table(const SimVolume& volume, const std::vector<Span>& spans) {
        std::string text;
        Sector start = 0;
        for (const Span& span : spans) {
            if (span.chunk != 0 && chance(70)) {
                text += std::to_string(start) + " " + std::to_string(span.length) + " striped " +
                        std::to_string(span.legs.size()) + " " + std::to_string(span.chunk);
                for (const Place& leg : span.legs)
                    text += " " + device_name(leg) + " " + std::to_string(leg.sector);
                text += "\n";
            } else {
                for (Sector at = 0; at < span.length;) {
                    Sector most = span.length - at;
                    if (span.chunk != 0) most = std::min(most, span.chunk - at % span.chunk);
                    Sector length = chance(50) ? most : 1 + upto(most - 1);
                    Place place = span.place(at);
                    text += std::to_string(start + at) + " " + std::to_string(length);
                    // A dust that is not enabled is a linear.
                    std::string area = place.kind == Place::Kind::nowhere
                                           ? ""
                                           : device_name(place) + " " + std::to_string(place.sector);
                    text += place.kind == Place::Kind::nowhere ? " zero\n"
                            : chance(80)                       ? " linear " + area + "\n"
                                                               : " dust " + area + " 512\n";
                    at += length;
                }
            }
            start += span.length;
        }
        Volume* raised = volume.volume.get();
        return Table::build(text, TableSource{executor, target_registry(), *this, "/", true,
                                              [raised] { raised->raise_event(); }});
    }

    // Another place for all that lies on disks, in the given half of the volume's areas.
    std::vector<Span> layout(const SimVolume& volume, int half) {
        std::vector<Sector> next(disks.size(),
                                 volume.area_start + static_cast<Sector>(half) * volume.area_half);
        std::vector<Sector> end(disks.size());
        for (size_t d = 0; d < disks.size(); d++) end[d] = next[d] + volume.area_half;
        std::vector<Span> spans;
        for (const Span& old : volume.spans) {
            if (old.chunk == 0 && old.linear.kind != Place::Kind::disk) {
                spans.push_back(old);
                continue;
            }
            for (Sector left = old.length; left > 0;) {
                Span span;
                span.length = chance(40) ? left : 1 + upto(left - 1);
                size_t legs = 1 + upto(disks.size() - 1);
                if (chance(50) && span.length >= legs) {
                    span.chunk = 1 + upto(std::min<Sector>(span.length / legs, 8) - 1);
                    span.length -= span.length % (span.chunk * legs);
                    size_t first = upto(disks.size() - 1);
                    for (size_t i = 0; i < legs; i++) {
                        size_t d = (first + i) % disks.size();
                        span.legs.push_back({Place::Kind::disk, d, next[d]});
                        next[d] += span.length / legs;
                    }
                } else {
                    size_t d = upto(disks.size() - 1);
                    span.linear = {Place::Kind::disk, d, next[d]};
                    next[d] += span.length;
                }
                left -= span.length;
                spans.push_back(span);
            }
        }
        for (size_t d = 0; d < disks.size(); d++)
            if (next[d] > end[d]) fail("the simulator made its areas too small");
        return spans;
    }

    void add_volume(const std::string& name, std::vector<Span> spans, Sector& area) {
        SimVolume volume;
        volume.index = volumes.size();
        volume.name = name;
        volume.spans = std::move(spans);
        volume.area_start = area;
        volume.area_half = volume.size();
        area += 2 * volume.area_half;
        volume.volume = space->create(name);
        volumes.push_back(std::move(volume));
    }

    Span on_disks(Sector length) { return {length, {Place::Kind::disk, 0, 0}, 0, {}}; }
    Span on_volume(size_t which, Sector start, Sector length) {
        return {length, {Place::Kind::volume, which, start}, 0, {}};
    }
    Span nowhere(Sector length) { return {length, {}, 0, {}}; }
};

Task<Status> pause(World* world, int64_t most_ns) {
    Task<Status> sleeping =
        sleep_until(world->executor, world->executor.now_ns() +
                                         static_cast<int64_t>(world->upto(static_cast<uint64_t>(most_ns))));
    Status status = co_await sleeping;
    co_return status;
}

Task<Status> cancel_later(World* world, std::shared_ptr<Cancel> cancel) {
    Task<Status> waiting = pause(world, 3000);
    Status status = co_await waiting;
    cancel->request();
    co_return status;
}

// Runs `check`, of which a failure ends the run: nothing may be thrown out of a coroutine.
template <class Check>
void guarded(World* world, Check check) {
    try {
        check();
    } catch (const std::exception& error) {
        if (world->failure.empty()) world->failure = error.what();
        world->stop = true;
    }
}

void look_at_answer(World* world, const Bio& bio, Status status, uint64_t began, bool may_be_cancelled) {
    Model& model = *world->model;
    if (status.error() != 0 && status.error() != EIO && !(status.error() == EINTR && may_be_cancelled))
        fail("a request ended with " + std::to_string(status.error()));
    if (!status && status.error() == EIO && world->faults.power && world->faults.errors == 0)
        fail("EIO without an error below");
    if (bio.op == Op::flush) {
        if (status) model.flushed(began);
        return;
    }
    for (Sector s = bio.sector; s < bio.end(); s++) {
        Sector sector = 0;
        bool nowhere = world->resolve(world->top().index, s, sector) == nullptr;
        if (bio.op == Op::read) {
            if (status) model.check_read(s, value_in(bio.data() + bytes_of(s - bio.sector)));
        } else if (!nowhere) {
            model.end_write(s, status.good(), bio.op == Op::write && bio.fua);
        }
    }
}

Task<Status> client(World* world) {
    Model& model = *world->model;
    Volume& top = *world->top().volume;
    Sector size = world->top().size();
    while (!world->stop) {
        Bio bio;
        constexpr Op kOps[] = {Op::read,  Op::read,  Op::write,   Op::write,
                               Op::write, Op::flush, Op::discard, Op::write_zeroes};
        bio.op = kOps[world->upto(7)];
        Memory memory(bytes_of(32));
        if (bio.op != Op::flush) {
            bio.sector = world->upto(size - 1);
            bio.count = 1 + world->upto(std::min<Sector>(32, size - bio.sector) - 1);
            if (!model.take(bio.sector, bio.end())) {
                Task<Status> waiting = pause(world, 300);
                Status waited = co_await waiting;
                static_cast<void>(waited);
                continue;
            }
        }
        bio.fua = bio.op == Op::write && world->chance(20);
        bio.memory = &memory;
        for (Sector s = bio.sector; s < bio.end(); s++) {
            uint64_t value = bio.op == Op::write ? world->next_value++ : 0;
            fill(memory.data() + bytes_of(s - bio.sector), bio.op == Op::read ? UINT64_MAX : value);
            Sector sector = 0;
            if (bio.op != Op::read && world->resolve(world->top().index, s, sector) != nullptr)
                model.begin_write(s, value);
        }
        std::shared_ptr<Cancel> cancel;
        if (world->chance(15)) {
            cancel = std::make_shared<Cancel>();
            bio.cancel = cancel.get();
            world->executor.spawn(cancel_later(world, cancel));
        }
        uint64_t began = model.now();
        Task<Status> task = top.io(bio);
        Status status = co_await task;
        if (!world->faults.power) co_return kOk;  // what it did counts as under way
        guarded(world, [&] { look_at_answer(world, bio, status, began, cancel != nullptr); });
        model.leave(bio.sector, bio.end());
        if (world->chance(30)) {
            Task<Status> waiting = pause(world, 500);
            Status waited = co_await waiting;
            static_cast<void>(waited);
        }
    }
    co_return kOk;
}

// The volume is suspended: its data go to its other half.
std::vector<Span> moved(World* world, SimVolume& volume) {
    std::vector<Span> spans = world->layout(volume, 1 - volume.half);
    SimVolume after = volume;
    after.spans = spans;
    for (Sector s = 0; s < volume.size(); s++) {
        Place from = volume.place(s), to = after.place(s);
        if (from.kind == Place::Kind::disk)
            world->disks[to.which]->copy(to.sector, *world->disks[from.which], from.sector);
    }
    volume.half = 1 - volume.half;
    return spans;
}

void expect(World* world, const Outcome& outcome, bool may_be_cancelled, const char* what) {
    if (outcome || (may_be_cancelled && outcome.why().error() == EINTR)) return;
    guarded(world, [&] { fail(std::string(what) + " was refused: " + outcome.why().detail()); });
}

Task<Status> controller(World* world, size_t index) {
    SimVolume& volume = world->volumes[index];
    Volume& engine = *volume.volume;
    while (!world->stop) {
        Task<Status> waiting = pause(world, 4000);
        Status waited = co_await waiting;
        static_cast<void>(waited);
        std::shared_ptr<Cancel> cancel;
        if (world->chance(25)) {
            cancel = std::make_shared<Cancel>();
            world->executor.spawn(cancel_later(world, cancel));
        }
        unsigned what = static_cast<unsigned>(world->upto(3));
        if (what == 0) {  // the same in other words, at once
            std::shared_ptr<Table> table = world->table(volume, volume.spans);
            Task<Outcome> task = engine.replace(std::move(table), cancel.get());
            Outcome outcome = co_await task;
            expect(world, outcome, cancel != nullptr, "a table");
            continue;
        }
        if (what == 1) {  // the same, loaded and resumed
            std::shared_ptr<Table> table = world->table(volume, volume.spans);
            Task<Outcome> loading = engine.load(table);
            Outcome loaded = co_await loading;
            expect(world, loaded, false, "a load");
            if (world->chance(20)) engine.clear();
            Task<Outcome> task = engine.resume(world->chance(30), cancel.get());
            Outcome outcome = co_await task;
            expect(world, outcome, cancel != nullptr, "a resume");
            continue;
        }
        bool noflush = world->chance(30);
        Task<Outcome> suspending = engine.suspend(noflush, cancel.get());
        Outcome suspended = co_await suspending;
        expect(world, suspended, cancel != nullptr, "a suspend");
        if (!suspended) continue;
        if (what == 2 && world->faults.power) {
            volume.spans = moved(world, volume);
            std::shared_ptr<Table> table = world->table(volume, volume.spans);
            Task<Outcome> loading = engine.load(table);
            Outcome loaded = co_await loading;
            expect(world, loaded, false, "the load of a move");
        } else {
            engine.clear();
            Task<Status> lingering = pause(world, 1500);
            Status lingered = co_await lingering;
            static_cast<void>(lingered);
        }
        Task<Outcome> resuming = engine.resume(noflush, nullptr);
        Outcome resumed = co_await resuming;
        expect(world, resumed, false, "the resume of a suspended volume");
    }
    co_return kOk;
}

// Runs the simulated world until `task` is done.
Status finish(World& world, Task<Status> task) {
    std::optional<Status> result = run_until_done(world.executor, std::move(task));
    if (!result) fail("everybody waits");
    return *result;
}

Task<Status> bring_up(World* world, size_t index) {
    SimVolume& volume = world->volumes[index];
    volume.spans = world->layout(volume, 0);
    std::shared_ptr<Table> table = world->table(volume, volume.spans);
    Task<Outcome> task = volume.volume->replace(std::move(table), nullptr);
    Outcome outcome = co_await task;
    co_return Status(!outcome ? outcome.why().error() : 0);
}

// What was parked while a volume was suspended meets the table it resumes with.
Task<Status> exchange_for_zeros(World* world) {
    Volume& top = *world->top().volume;
    Sector size = world->top().size();
    Task<Outcome> suspending = top.suspend(false, nullptr);
    Outcome outcome = co_await suspending;
    if (!outcome) co_return Status(outcome.why().error());
    Memory within(kSectorBytes), beyond(kSectorBytes);
    Bio bio;
    bio.count = 1;
    bio.memory = &within;
    fill(within.data(), UINT64_MAX);
    Task<Status> first = top.io(bio);
    first.start();
    bio.memory = &beyond;
    bio.sector = size - 1;
    Task<Status> second = top.io(bio);
    second.start();
    if (top.parked() != 2) co_return Status(EPROTO);
    std::string text = "0 " + std::to_string(size / 2) + " zero";
    std::shared_ptr<Table> table =
        Table::build(text, TableSource{world->executor, target_registry(), *world, "/", true, [] {}});
    Task<Outcome> loading = top.load(std::move(table));
    outcome = co_await loading;
    if (!outcome) co_return Status(outcome.why().error());
    Task<Outcome> resuming = top.resume(false, nullptr);
    outcome = co_await resuming;
    if (!outcome) co_return Status(outcome.why().error());
    Status zeros = co_await first;
    Status refused = co_await second;
    if (!zeros || value_in(within.data()) != 0) co_return Status(EILSEQ);
    co_return refused.error() == EIO ? kOk : Status(ERANGE);
}

// A world that failed is left alone: its coroutines still stand where they stood.
void simulate(uint64_t seed) {
    auto whole = new World(seed);
    World& world = *whole;
    Sector area = 0;
    constexpr Sector kDiskSectors = 2000;
    for (uint64_t i = 0, count = 1 + world.upto(3); i < count; i++)
        world.disks.push_back(std::make_shared<SimDisk>(world.executor, world.random, world.faults,
                                                        "disk" + std::to_string(i), kDiskSectors));
    world.faults.latency_ns = 1 << world.upto(10);
    Sector a = 8 + world.upto(60), b = 8 + world.upto(60);
    world.add_volume("low0", {world.on_disks(a), world.nowhere(world.upto(5) + 1), world.on_disks(b)}, area);
    world.add_volume("low1", {world.on_disks(10 + world.upto(60)), world.on_volume(0, 0, a)}, area);
    Sector low0 = world.volumes[0].size(), low1 = world.volumes[1].size();
    world.add_volume(
        "top",
        {world.on_disks(1 + world.upto(80)), world.on_volume(0, a, low0 - a),
         world.nowhere(1 + world.upto(9)), world.on_volume(1, 0, low1), world.on_disks(1 + world.upto(40))},
        area);
    for (size_t i = 0; i < world.volumes.size(); i++)
        if (!finish(world, bring_up(&world, i))) fail("a volume did not come up");
    Sector size = world.top().size();
    world.model = std::make_unique<Model>(size);
    world.faults.errors = world.chance(40) ? 0.02 : 0;

    bool crash = world.chance(60);
    for (uint64_t i = 0, count = 1 + world.upto(30); i < count; i++) world.executor.spawn(client(&world));
    for (size_t i = 0; i < world.volumes.size(); i++) world.executor.spawn(controller(&world, i));
    uint64_t steps = 2000 + world.upto(8000);
    for (uint64_t i = 0; i < steps && !world.stop; i++)
        if (!world.executor.step()) fail("everybody waits");

    if (crash && world.failure.empty()) {
        world.faults.power = false;
        for (auto& disk : world.disks) disk->crash();
        for (Sector s = 0; s < size; s++) {
            Sector sector = 0;
            if (SimDisk* disk = world.resolve(world.top().index, s, sector))
                world.model->check_after_crash(s, disk->seen(sector));
        }
    }
    world.stop = true;
    while (world.executor.running() > 0)
        if (!world.executor.step()) fail("at the end somebody still waits");
    if (!world.failure.empty()) fail(world.failure);
    for (SimVolume& volume : world.volumes) {
        if (volume.volume->suspended() || volume.volume->parked() != 0)
            fail(volume.name + " is not as it was");
        for (Op op : {Op::read, Op::write, Op::flush, Op::discard, Op::write_zeroes})
            if (volume.volume->counted().in_flight(op) != 0)
                fail(volume.name + " counts requests that are gone");
    }
    if (crash) {
        delete whole;
        return;
    }

    world.faults.errors = 0;
    Memory memory(bytes_of(size));
    Bio bio;
    bio.count = size;
    bio.memory = &memory;
    if (!finish(world, world.top().volume->io(bio))) fail("the last read failed");
    for (Sector s = 0; s < size; s++) world.model->check_read(s, value_in(memory.data() + bytes_of(s)));
    // A flush that a suspend lost is told once; then there is nothing left to lose.
    bio = Bio();
    bio.op = Op::flush;
    static_cast<void>(finish(world, world.top().volume->io(bio)));
    for (int i = 0; i < 3; i++) static_cast<void>(finish(world, world.top().volume->io(bio)));
    if (!finish(world, world.top().volume->io(bio))) fail("the last flush failed");
    for (auto& disk : world.disks) disk->crash();
    for (Sector s = 0; s < size; s++) {
        Sector sector = 0;
        SimDisk* disk = world.resolve(world.top().index, s, sector);
        world.model->check_read(s, disk != nullptr ? disk->seen(sector) : 0);
    }
    if (Status status = finish(world, exchange_for_zeros(&world)); !status)
        fail("the exchange for zeros ended with " + std::to_string(status.error()));
    while (world.executor.running() > 0)
        if (!world.executor.step()) fail("at the very end somebody still waits");
    delete whole;
}

}  // namespace
}  // namespace dmfs::sim

int main(int argc, char** argv) { return dmfs::sim::run_all(argc, argv, "sim", dmfs::sim::simulate); }
