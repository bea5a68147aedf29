#include "sim/control/world.h"

namespace dmfs::sim {

World::World(uint64_t seed) : random(seed) {
    executor.allow_inline(1 << 20);  // memory answers at once; what is late is a delay's
    dm = std::make_unique<DeviceMapper>(executor, "", DeviceWords::Options{});
    dm->volumes().observe(this);
}

void World::note_failure(const std::string& what) {
    if (failure.empty()) failure = what;
    stop = true;
}

namespace {

// One that is lost shows nothing, and its COW device may be another's.
bool has_store(const Table& table) {
    const Table::Row& row = table.rows().front();
    return row.type == "snapshot" && row.target->status(StatusKind::info) != "Invalid";
}

}  // namespace

void World::look() {
    std::map<const Device*, const Device*> origin_of;  // by the COW device
    for (const auto& volume : dm->volumes().volumes()) {
        if (volume->live()) had_live.insert(volume->id());
        for (const auto& table : {volume->live(), volume->inactive()})
            if (table && has_store(*table)) look_at_claim(*table, &origin_of);
    }
}

void World::look_at_claim(const Table& table, std::map<const Device*, const Device*>* origin_of) {
    const Device* origin = table.devices()[0].get();
    const Device* cow = table.devices()[1].get();
    const Device* other = origin_of->emplace(cow, origin).first->second;
    if (other != origin)
        note_failure(cow->name() + " is the COW device of two origins: " + other->name() + ", " +
                     origin->name());
}

// Its table is closed next.
void World::removed(Volume& volume) {
    for (Op op : {Op::read, Op::write, Op::flush})
        if (volume.counted().in_flight(op) != 0)
            note_failure(volume.name() + " was removed while requests are inside");
}

// Who is killed.

Task<Status> pause(World* world, int64_t most_ns) {
    Task<Status> sleeping =
        sleep_until(world->executor, world->executor.now_ns() +
                                         static_cast<int64_t>(world->upto(static_cast<uint64_t>(most_ns))));
    Status status = co_await sleeping;
    co_return status;
}

namespace {

constexpr int64_t kGraceNs = 150 * kMs;  // in which who is killed has to be gone

Task<Status> kill_later(World* world, std::shared_ptr<Mortal> mortal, int64_t most_ns) {
    Task<Status> waiting = pause(world, most_ns);
    Status status = co_await waiting;
    mortal->killed_ns = world->executor.now_ns();
    mortal->request();
    co_return status;
}

}  // namespace

std::shared_ptr<Mortal> new_mortal(World* world) {
    auto mortal = std::make_shared<Mortal>();
    world->executor.spawn(kill_later(world, mortal, world->chance(30) ? 5 * kMs : 300 * kMs));
    return mortal;
}

void check_killed(World* world, const Mortal& mortal, const std::string& what) {
    if (mortal.killed_ns != 0 && world->executor.now_ns() > mortal.killed_ns + kGraceNs)
        world->note_failure(what + " went on after it was killed");
}

// Running it.

std::string standing(World& world) {
    std::string text;
    for (const auto& volume : world.dm->volumes().volumes()) {
        text += "; " + volume->name() + (volume->suspended() ? " suspended" : "") +
                (volume->live() ? " " + volume->live()->rows().front().type : " no table") + ", open " +
                std::to_string(volume->open_count()) + ", parked " + std::to_string(volume->parked());
        for (Op op : {Op::read, Op::write, Op::flush})
            text += " " + std::to_string(volume->counted().in_flight(op));
    }
    return text;
}

Outcome finish(World& world, Task<Outcome> task) {
    std::optional<Outcome> result = run_until_done(world.executor, std::move(task));
    if (!result) fail("everybody waits" + standing(world));
    return *result;
}

void run_until_quiet(World& world, const std::string& when) {
    while (world.executor.running() > 0)
        if (!world.executor.step()) fail(when + " somebody still waits" + standing(world));
}

}  // namespace dmfs::sim
