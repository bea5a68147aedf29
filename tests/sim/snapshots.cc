// Snapshots that come and go while their origin is written, handovers, merges, errors and
// crashes, from one seed:
//
//     sim_snapshots [--seed N] [--runs N]      prints the seed of each run that fails
//
//     org      snapshot-origin (or snapshot-merge) over the disk `o`; clients read and write it
//     s0 s1 s2 snapshots of it, each with a COW disk and clients of its own; a controller makes
//              them (without suspending anybody, mostly), reloads, suspends, removes, merges
//
// What clients may see of each is a Model. That of a snapshot begins with what its origin held
// when it was made: any of what was being written just then. After a crash all volumes are made
// again from what the disks kept, and go on.
//
// In every fifth run (2, 7, ...) the COW disks are sparse, and their file system is full now and then:
// room that is reserved, and writes, end with ENOSPC. In half of these the origin is only read: then no
// snapshot may become invalid.
//
// That it can fail was tried by breaking the targets, from seed 1 on; the seeds that found it:
//
//     Origin        a new snapshot does not wait for the writes under way        5
//                   a new snapshot does not flush its origin                    93
//     copies        the origin does not wait for the commit                      1
//                   nor for the snapshot's readers                              11
//     the store     no flush between data and exceptions                        18
//                   a commit is not durable when it answers                     44
//                   the next area is not zeroed                                  1
//     merging       no flush before exceptions are forgotten                    39
//                   no copies for other snapshots                                5
//                   no waiting for writers                                       5
//                   a batch that may be forgotten or not is taken for done      39
//     a full disk   a write that finds no room makes the snapshot invalid         37
//                   a chunk is given back though another was taken since        37
//                   the flush of an invalid snapshot is good                     3
//
// Stale entries that are not wiped it does not find: they only matter from the second block of an
// area on, for which its disks are too small. A unit test looks after them.

#include "engine/namespace.h"
#include "sim/disk.h"
#include "sim/model.h"
#include "sim/runs.h"
#include "targets/registry.h"

namespace dmfs::sim {
namespace {

constexpr size_t kShots = 3;
constexpr Sector kMostCount = 24;  // sectors of a request

// A volume with clients, and what they may see of it.
struct Face {
    std::string name;
    std::shared_ptr<Volume> volume;
    std::unique_ptr<Model> model;
    bool stop = false;            // its clients end
    size_t clients = 0;           // that have not
    bool may_fail = false;        // requests may end with EIO without an error below
    bool may_be_refused = false;  // or with ENOSPC
};

struct Shot : Face {
    enum class State { absent, coming, live } state = State::absent;
    Sector chunk = 8;
    std::string type;  // of the store
    Sector sectors = 0;
    std::vector<std::set<uint64_t>> candidates;  // while it is coming
    bool seen_lost = false;                      // its status said Invalid
};

struct World final : DeviceSource {
    Random random;
    Faults faults;
    SimExecutor executor{random};
    std::map<std::string, std::shared_ptr<SimDisk>> disks;
    std::unique_ptr<Namespace> space;
    Face org;
    Shot shots[kShots];
    std::string merge_row;  // of org, while it merges; empty: snapshot-origin
    Sector sectors = 0;     // of the origin
    uint64_t next_value = 1;
    bool stop = false;
    bool gets_full = false;     // the file system of the COW disks does, now and then
    bool origin_rests = false;  // nobody writes the origin
    std::string failure;

    explicit World(uint64_t seed) : random(seed) {}

    uint64_t upto(uint64_t most) { return random() % (most + 1); }
    bool chance(unsigned percent) { return random() % 100 < percent; }

    std::shared_ptr<Device> open_device(const std::string& word, bool, const std::string&) override {
        auto found = disks.find(word);
        if (found == disks.end()) throw Refused(ENOENT, "no " + word);
        return found->second;
    }

    std::shared_ptr<Table> table(const std::string& row) {
        return Table::build("0 " + row + "\n",
                            TableSource{executor, target_registry(), *this, "/", true, [] {}});
    }
    std::string org_row() const {
        return merge_row.empty() ? std::to_string(sectors) + " snapshot-origin o" : merge_row;
    }
    static std::string row_of(const Shot& shot, const char* target) {
        return std::to_string(shot.sectors) + " " + target + " o c-" + shot.name + " " + shot.type + " " +
               std::to_string(shot.chunk);
    }
    void note_failure(const std::string& what) {
        if (failure.empty()) failure = what;
        stop = true;
    }
    template <class Check>
    void guarded(Check check) {
        try {
            check();
        } catch (const std::exception& error) {
            note_failure(error.what());
        }
    }
};

Task<Status> pause(World* world, int64_t most_ns) {
    Task<Status> sleeping =
        sleep_until(world->executor, world->executor.now_ns() +
                                         static_cast<int64_t>(world->upto(static_cast<uint64_t>(most_ns))));
    Status status = co_await sleeping;
    co_return status;
}

std::string status_of(const Volume& volume) {
    std::shared_ptr<Table> table = volume.live();
    return table ? table->rows().front().target->status(StatusKind::info) : "";
}

Task<Status> cancel_later(World* world, std::shared_ptr<Cancel> cancel) {
    Task<Status> waiting = pause(world, 3000);
    Status status = co_await waiting;
    cancel->request();
    co_return status;
}

// Clients.

void check_read(Face* face, Sector at, const std::byte* data) {
    try {
        face->model->check_read(at, value_in(data));
    } catch (const std::exception& error) {
        fail(face->name + ": " + error.what());
    }
}

void look_at_answer(World* world, Face* face, const Bio& bio, Status status, uint64_t began, bool cancelled) {
    if (!status && status.error() != EIO && !(status.error() == EINTR && cancelled) &&
        !(status.error() == ENOSPC && face->may_be_refused && bio.op != Op::flush))
        fail(face->name + ": a request ended with " + std::to_string(status.error()));
    if (status.error() == EIO && world->faults.errors == 0 && !face->may_fail)
        fail(face->name + ": EIO without an error below");
    if (bio.op == Op::flush) {
        if (status) face->model->flushed(began);
        return;
    }
    for (Sector s = bio.sector; s < bio.end(); s++) {
        if (bio.op != Op::read)
            // The copy that a killed process began for its first write goes on, with its data.
            face->model->end_write(s, status.good(), bio.op == Op::write && bio.fua,
                                   !status && cancelled && face != &world->org);
        else if (status)
            check_read(face, s, bio.data() + bytes_of(s - bio.sector));
    }
}

void begin_writes(World* world, Face* face, const Bio& bio) {
    for (Sector s = bio.sector; s < bio.end(); s++) {
        uint64_t value = bio.op == Op::write ? world->next_value++ : 0;
        if (bio.op == Op::write) fill(bio.data() + bytes_of(s - bio.sector), value);
        face->model->begin_write(s, value);
        if (face == &world->org)
            for (Shot& shot : world->shots)
                if (shot.state == Shot::State::coming && s < shot.sectors) shot.candidates[s].insert(value);
    }
}

Task<Status> client(World* world, Face* face) {
    face->clients++;
    const bool only_reads = face == &world->org && world->origin_rests;
    while (!world->stop && !face->stop) {
        constexpr Op kOps[] = {Op::read,  Op::read,  Op::read,  Op::write,
                               Op::write, Op::write, Op::flush, Op::write_zeroes};
        Bio bio;
        bio.op = kOps[world->upto(only_reads ? 2 : 7)];
        Memory memory(bytes_of(kMostCount));
        bio.memory = &memory;
        if (bio.op != Op::flush) {
            Sector size = face->model->size();
            bio.sector = world->upto(size - 1);
            bio.count = 1 + world->upto(std::min<Sector>(kMostCount, size - bio.sector) - 1);
            if (world->chance(50)) bio.count = std::min<Sector>(bio.count, 8);
            if (!face->model->take(bio.sector, bio.end())) {
                Task<Status> waiting = pause(world, 300);
                Status waited = co_await waiting;
                static_cast<void>(waited);
                continue;
            }
        }
        bio.fua = bio.op == Op::write && world->chance(15);
        if (bio.op == Op::write || bio.op == Op::write_zeroes) begin_writes(world, face, bio);
        std::shared_ptr<Cancel> cancel;
        if (world->chance(10)) {
            cancel = std::make_shared<Cancel>();
            bio.cancel = cancel.get();
            world->executor.spawn(cancel_later(world, cancel));
        }
        uint64_t began = face->model->now();
        const bool was_lost = face != &world->org && status_of(*face->volume) == "Invalid";
        Task<Status> task = face->volume->io(bio);
        Status status = co_await task;
        if (was_lost && status) world->note_failure(face->name + ": it is lost, and yet a request was good");
        if (!world->faults.power) break;  // what it did counts as under way
        world->guarded([&] { look_at_answer(world, face, bio, status, began, cancel != nullptr); });
        if (bio.op != Op::flush) face->model->leave(bio.sector, bio.end());
        Task<Status> waiting = pause(world, world->chance(30) ? 500 : 0);
        Status waited = co_await waiting;
        static_cast<void>(waited);
    }
    face->clients--;
    co_return kOk;
}

void begin_clients(World* world, Face* face) {
    face->stop = false;
    for (uint64_t i = 0, count = 1 + world->upto(4); i < count; i++)
        world->executor.spawn(client(world, face));
}

Task<Status> end_clients(World* world, Face* face) {
    face->stop = true;
    while (face->clients > 0) {
        Task<Status> waiting = pause(world, 100);
        Status waited = co_await waiting;
        static_cast<void>(waited);
    }
    co_return kOk;
}

// The file system below the COW disks is full for a while, again and again.
Task<Status> fill_and_empty(World* world) {
    while (!world->stop) {
        Task<Status> waiting = pause(world, 20000);
        Status waited = co_await waiting;
        static_cast<void>(waited);
        world->faults.full = !world->faults.full && !world->stop;
    }
    world->faults.full = false;
    co_return kOk;
}

// What the controller does. Behind a failure of the power nothing is expected any more.

void expect(World* world, const Outcome& outcome, const std::string& what) {
    if (outcome || !world->faults.power || world->faults.errors > 0) return;
    if (world->gets_full && outcome.why().error() == ENOSPC) return;  // a new store has to be written
    world->note_failure(what + " was refused: " + outcome.why().detail());
}

// Again and again, while errors below are in its way.
Task<Status> resume(World* world, std::shared_ptr<Volume> volume, const char* what) {
    while (true) {
        Task<Outcome> resuming = volume->resume(false, nullptr);
        Outcome outcome = co_await resuming;
        expect(world, outcome, what);
        if (outcome || world->stop || !world->faults.power) co_return kOk;
    }
}

// As a user does who takes the COW disk of an earlier snapshot: the first sector is zeroed.
void wipe(World* world, Shot* shot) {
    SimDisk& disk = *world->disks["c-" + shot->name];
    for (Sector s = 0; s < disk.size(); s++) disk.put(s, s == 0 ? 0 : 7 + world->upto(40));
    disk.make_sparse();
}

Task<Status> make_shot(World* world, Shot* shot) {
    Sector most = world->disks["c-" + shot->name]->size();
    shot->chunk = Sector{1} << world->upto(4);
    shot->type = world->chance(20) ? "N" : world->chance(20) ? "PO" : "P";
    shot->sectors = world->chance(70) ? world->sectors : 1 + world->upto(world->sectors - 1);
    shot->may_fail = most < 4 * world->sectors + 64 || world->faults.errors > 0 ||
                     (world->gets_full && !world->origin_rests);
    shot->may_be_refused = world->gets_full;
    shot->seen_lost = false;
    wipe(world, shot);
    bool suspends = world->chance(30);
    if (suspends) {
        Task<Outcome> suspending = world->org.volume->suspend(false, nullptr);
        Outcome outcome = co_await suspending;
        expect(world, outcome, "the suspend of the origin");
    }
    shot->candidates.clear();
    for (Sector s = 0; s < shot->sectors; s++) shot->candidates.push_back(world->org.model->seen(s));
    shot->state = Shot::State::coming;
    shot->volume = world->space->create(shot->name);
    Task<Outcome> making = shot->volume->replace(world->table(World::row_of(*shot, "snapshot")), nullptr);
    Outcome outcome = co_await making;
    expect(world, outcome, "a snapshot");
    if (suspends) {
        Task<Status> resuming = resume(world, world->org.volume, "the resume of the origin");
        Status resumed = co_await resuming;
        static_cast<void>(resumed);
    }
    if (!outcome) {
        Task<Outcome> removing = shot->volume->remove({}, nullptr);
        Outcome removed = co_await removing;
        static_cast<void>(removed);
        shot->volume.reset();
        shot->state = Shot::State::absent;
        co_return kOk;
    }
    shot->model = std::make_unique<Model>(shot->sectors);
    for (Sector s = 0; s < shot->sectors; s++) {
        // The flush of the origin may have failed, which refuses no snapshot.
        if (world->faults.errors > 0 || !world->faults.power)
            shot->model->set_loose(s, shot->candidates[s], world->org.model->possible(s));
        else
            shot->model->set(s, shot->candidates[s]);
    }
    shot->state = Shot::State::live;
    begin_clients(world, shot);
    co_return kOk;
}

Task<Status> remove_shot(World* world, Shot* shot) {
    Task<Status> ending = end_clients(world, shot);
    Status status = co_await ending;
    Task<Outcome> removing = shot->volume->remove({}, nullptr);
    Outcome outcome = co_await removing;
    expect(world, outcome, "a removal");
    shot->volume.reset();
    shot->state = Shot::State::absent;
    co_return status;
}

Task<Status> bother_shot(World* world, Shot* shot) {
    if (world->chance(50)) {
        Task<Outcome> again = shot->volume->replace(world->table(World::row_of(*shot, "snapshot")), nullptr);
        Outcome outcome = co_await again;
        expect(world, outcome, "the same table again");
        co_return kOk;
    }
    Task<Outcome> suspending = shot->volume->suspend(world->chance(30), nullptr);
    Outcome outcome = co_await suspending;
    expect(world, outcome, "a suspend");
    Task<Status> lingering = pause(world, 3000);
    Status lingered = co_await lingering;
    Task<Status> resuming = resume(world, shot->volume, "a resume");
    lingered = co_await resuming;
    co_return lingered;
}

// A resume that is refused brings the old table back: the new one is loaded again.
Task<Status> resume_merge(World* world, Shot* shot) {
    while (true) {
        Task<Outcome> resuming = world->org.volume->resume(false, nullptr);
        Outcome outcome = co_await resuming;
        expect(world, outcome, "the resume of a merge");
        if (outcome || world->stop || !world->faults.power) co_return kOk;
        Task<Outcome> loading = world->org.volume->load(world->table(World::row_of(*shot, "snapshot-merge")));
        outcome = co_await loading;
        expect(world, outcome, "the load of a merge that was refused");
    }
}

// The snapshot becomes the origin: org shows from now on what the snapshot showed.
Task<Status> merge_shot(World* world, Shot* shot) {
    Task<Status> ending = end_clients(world, shot);
    Status status = co_await ending;
    Task<Status> ending_too = end_clients(world, &world->org);
    status = co_await ending_too;
    std::string said = status_of(*shot->volume);
    Outcome outcome;
    if (said != "Invalid" && said != "Overflow" && world->faults.power) {
        std::vector<std::shared_ptr<Volume>> both{world->org.volume, shot->volume};
        for (const std::shared_ptr<Volume>& volume : both) {
            Task<Outcome> suspending = volume->suspend(false, nullptr);
            outcome = co_await suspending;
            expect(world, outcome, "a suspend before a merge");
        }
        Task<Outcome> loading = world->org.volume->load(world->table(World::row_of(*shot, "snapshot-merge")));
        outcome = co_await loading;
        expect(world, outcome, "the load of a merge");
        if (outcome && world->faults.power) {
            world->merge_row = World::row_of(*shot, "snapshot-merge");
            std::unique_ptr<Model> before = std::move(world->org.model);
            world->org.model = std::move(shot->model);
            shot->state = Shot::State::absent;
            Task<Status> resuming = resume_merge(world, shot);
            status = co_await resuming;
            // An error at the last moment: there is nothing to merge, org is the origin as it is.
            if (world->faults.errors > 0 && status_of(*world->org.volume) == "Invalid")
                world->org.model = std::move(before);
            Task<Outcome> removing = shot->volume->remove({}, nullptr);
            Outcome removed = co_await removing;
            expect(world, removed, "the removal of a snapshot that was merged");
            shot->volume.reset();
        }
    }
    std::vector<std::shared_ptr<Volume>> both{world->org.volume, shot->volume};
    for (const std::shared_ptr<Volume>& volume : both) {
        if (!volume || !volume->suspended()) continue;
        Task<Status> resuming = resume(world, volume, "a resume behind a merge");
        status = co_await resuming;
    }
    begin_clients(world, &world->org);
    if (shot->state == Shot::State::live) begin_clients(world, shot);
    co_return status;
}

// A merge that is done makes org an origin again.
Task<Status> look_at_merge(World* world) {
    std::string said = status_of(*world->org.volume);
    if (said == "Merge failed" && world->faults.errors == 0 && world->faults.power)
        world->note_failure("a merge failed without an error below");
    size_t slash = said.find('/'), blank = said.find(' ');
    if (slash == std::string::npos || blank == std::string::npos ||
        said.substr(0, slash) != said.substr(blank + 1)) {
        if (world->chance(50)) co_return kOk;
        Task<Outcome> suspending = world->org.volume->suspend(false, nullptr);  // in the middle of it
        Outcome outcome = co_await suspending;
        expect(world, outcome, "the suspend of a merge");
        Task<Status> resuming = resume(world, world->org.volume, "the resume of a suspended merge");
        Status resumed = co_await resuming;
        static_cast<void>(resumed);
        co_return kOk;
    }
    Task<Outcome> replacing = world->org.volume->replace(
        world->table(std::to_string(world->org.model->size()) + " snapshot-origin o"), nullptr);
    Outcome outcome = co_await replacing;
    expect(world, outcome, "the end of a merge");
    if (outcome) {
        world->merge_row.clear();
        world->sectors = world->org.model->size();
    }
    co_return kOk;
}

void look_for_lost(World* world) {
    for (Shot& shot : world->shots) {
        if (!shot.volume || status_of(*shot.volume) != "Invalid") continue;
        // The one that a merge has taken over is Invalid, too, and absent.
        if (shot.state != Shot::State::live) continue;
        shot.seen_lost = true;
        if (!shot.may_fail) world->note_failure(shot.name + " is invalid, and had no reason");
    }
}

Task<Status> controller(World* world) {
    while (!world->stop) {
        Task<Status> waiting = pause(world, 3000);
        Status waited = co_await waiting;
        static_cast<void>(waited);
        if (world->stop) break;
        Shot& shot = world->shots[world->upto(kShots - 1)];
        bool merges = !world->merge_row.empty();
        bool taken = merges && world->merge_row.find(" c-" + shot.name + " ") != std::string::npos;
        Task<Status> doing =
            taken || (merges && world->chance(50)) ? look_at_merge(world)
            : shot.state == Shot::State::absent
                // Of a half merged origin there is no telling what a snapshot shows.
                ? merges ? look_at_merge(world) : make_shot(world, &shot)
                : world->chance(55)   ? bother_shot(world, &shot)
                  : world->chance(50) ? remove_shot(world, &shot)
                  : merges || world->origin_rests || shot.type == "N" || shot.sectors != world->sectors
                      ? Task<Status>::ready(kOk)
                      : merge_shot(world, &shot);
        Status done = co_await doing;
        static_cast<void>(done);
        if (world->faults.power) look_for_lost(world);
    }
    co_return kOk;
}

// Running it.

Status finish(World& world, Task<Status> task) {
    std::optional<Status> result = run_until_done(world.executor, std::move(task));
    if (!result) fail("everybody waits");
    return *result;
}

Task<Status> take_away(std::shared_ptr<Volume> volume, std::string* refusal) {
    Task<Outcome> removing = volume->remove({}, nullptr);
    Outcome outcome = co_await removing;
    if (!outcome) *refusal = outcome.why().detail();
    co_return kOk;
}

Task<Status> bring_up(World* world, Face* face, std::string row, std::string* refusal) {
    face->volume = world->space->create(face->name);
    Task<Outcome> task = face->volume->replace(world->table(row), nullptr);
    Outcome outcome = co_await task;
    if (!outcome) *refusal = outcome.why().detail();
    co_return Status(!outcome ? outcome.why().error() : 0);
}

// Reads all of it. With `crashed` each sector may be one of those that a crash leaves.
void compare(World& world, Face& face, bool crashed) {
    Sector size = face.model->size();
    Memory memory(bytes_of(size));
    Bio bio;
    bio.count = size;
    bio.memory = &memory;
    Status status = finish(world, face.volume->io(bio));
    if (!status) fail(face.name + ": it can't be read: " + std::to_string(status.error()));
    for (Sector s = 0; s < size; s++) {
        try {
            uint64_t value = value_in(memory.data() + bytes_of(s));
            if (crashed)
                face.model->check_after_crash(s, value);
            else
                face.model->check_read(s, value);
            if (crashed) face.model->set(s, {value});
        } catch (const std::exception& error) {
            fail(face.name + ": " + error.what());
        }
    }
}

// Who waits, where, for whoever looks for the reason.
std::string standing(const World& world) {
    std::string text;
    for (const auto& volume : world.space->volumes()) {
        text += "; " + volume->name() + (volume->suspended() ? " suspended" : "") + ", parked " +
                std::to_string(volume->parked());
        for (Op op : {Op::read, Op::write, Op::flush, Op::write_zeroes})
            text += " " + std::string(name_of(op)) + " " + std::to_string(volume->counted().in_flight(op));
        if (volume->live()) text += " " + volume->live()->rows().front().type + " " + status_of(*volume);
    }
    return text;
}

void run_until_quiet(World& world) {
    world.stop = true;
    while (world.executor.running() > 0)
        if (!world.executor.step()) fail("at the end somebody still waits" + standing(world));
}

void end_namespace(World& world) {
    world.org.volume.reset();
    for (Shot& shot : world.shots) shot.volume.reset();
    // From the top down, by steps, since its destructor would wait for this very thread.
    for (const auto& volume : world.space->volumes()) {
        std::string refusal;
        static_cast<void>(finish(world, take_away(volume, &refusal)));
        if (!refusal.empty()) fail("a volume can't be removed: " + refusal);
    }
    while (world.executor.running() > 0)
        if (!world.executor.step()) fail("behind the end somebody still waits");
    world.space.reset();
}

// All volumes anew, on what the disks have.
void come_up(World& world, bool crashed) {
    world.space = std::make_unique<Namespace>(world.executor);
    world.stop = false;
    double errors = std::exchange(world.faults.errors, 0);
    world.faults.full = false;
    std::string refusal;
    // Snapshots first: what changes the origin, as a merge that goes on, must find them.
    for (Shot& shot : world.shots) {
        bool persistent = shot.state == Shot::State::live && shot.type != "N";
        if (!persistent) {
            shot.state = Shot::State::absent;
            continue;
        }
        if (!finish(world, bring_up(&world, &shot, World::row_of(shot, "snapshot"), &refusal)))
            fail(shot.name + " does not come up: " + refusal);
        if (status_of(*shot.volume) == "Invalid") {
            if (!shot.may_fail) fail(shot.name + " came up invalid");
            shot.seen_lost = true;
            continue;
        }
        if (shot.seen_lost && errors > 0) {  // an error kept that from being written down
            static_cast<void>(finish(world, take_away(shot.volume, &refusal)));
            if (!refusal.empty()) fail("a removal was refused: " + refusal);
            shot.volume.reset();
            shot.state = Shot::State::absent;
            continue;
        }
        compare(world, shot, crashed);
    }
    if (!finish(world, bring_up(&world, &world.org, world.org_row(), &refusal)))
        fail("the origin does not come up: " + refusal);
    compare(world, world.org, crashed);
    world.faults.errors = errors;
}

void simulate(uint64_t seed) {
    auto whole = new World(seed);  // one that failed is left alone
    World& world = *whole;
    world.sectors = 20 + world.upto(150);
    world.org.name = "org";
    world.org.model = std::make_unique<Model>(world.sectors);
    world.faults.latency_ns = 1 << world.upto(10);
    auto add_disk = [&](const std::string& name, Sector sectors, bool metadata) {
        world.disks[name] =
            std::make_shared<SimDisk>(world.executor, world.random, world.faults, name, sectors, metadata);
    };
    add_disk("o", world.sectors + world.upto(20), false);
    for (size_t i = 0; i < kShots; i++) {
        world.shots[i].name = "s" + std::to_string(i);
        bool small = world.chance(20);
        add_disk("c-s" + std::to_string(i), small ? 40 + world.upto(world.sectors) : 1200, true);
    }
    world.gets_full = seed % 5 == 2;
    world.origin_rests = world.gets_full && world.chance(50);
    const bool can_reserve = world.gets_full && world.chance(70);
    for (size_t i = 0; i < kShots && world.gets_full; i++) {
        const Sector ahead = 8 + world.upto(300);
        const auto wait_ns = static_cast<int64_t>(world.chance(50) ? world.upto(3'000'000) : 0);
        world.disks["c-s" + std::to_string(i)]->make_sparse({ahead, wait_ns}, can_reserve);
    }
    come_up(world, false);
    world.faults.errors = world.chance(25) ? 0.004 : 0;
    for (uint64_t epoch = 0, epochs = 1 + world.upto(3); epoch < epochs; epoch++) {
        bool crash = epoch + 1 < epochs || world.chance(50);
        begin_clients(&world, &world.org);
        for (Shot& shot : world.shots)
            if (shot.state == Shot::State::live) begin_clients(&world, &shot);
        world.executor.spawn(controller(&world));
        if (world.gets_full) world.executor.spawn(fill_and_empty(&world));
        for (uint64_t i = 0, steps = 1000 + world.upto(9000); i < steps && !world.stop; i++)
            if (!world.executor.step()) fail("everybody waits");
        if (!world.failure.empty()) fail(world.failure);
        if (crash) {
            look_for_lost(&world);
            if (!world.failure.empty()) fail(world.failure);
            world.faults.power = false;
            run_until_quiet(world);
            end_namespace(world);
            for (auto& [name, disk] : world.disks) disk->crash();
            world.faults.power = true;
            for (Face* face : {&world.org, static_cast<Face*>(&world.shots[0]),
                               static_cast<Face*>(&world.shots[1]), static_cast<Face*>(&world.shots[2])}) {
                if (face->model) face->model->leave(0, face->model->size());
                face->clients = 0;
            }
            come_up(world, true);
            continue;
        }
        run_until_quiet(world);
        if (!world.failure.empty()) fail(world.failure);
        world.faults.errors = 0;
        for (Shot& shot : world.shots)
            if (shot.state == Shot::State::live && status_of(*shot.volume) != "Invalid")
                compare(world, shot, false);
        compare(world, world.org, false);
    }
    end_namespace(world);
    OtherSectors::forget();
    delete whole;
}

}  // namespace
}  // namespace dmfs::sim

int main(int argc, char** argv) {
    return dmfs::sim::run_all(argc, argv, "sim_snapshots", dmfs::sim::simulate);
}
