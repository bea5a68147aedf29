// Two controllers beside each other, on the same volumes, from one seed:
//
//     sim_control [--seed N] [--runs N]        prints the seed of each run that fails
//
//     up     linear            over disk
//     disk   linear, or an origin over disk-real, over base, which answers late
//     s0 s1  snapshots of disk, with COW devices that answer late; fork: a copy of up
//     lw     log-writes        with a log that answers late, a new one each time
//     over   linear            over dead, a volume that never answers before the end
//     t u    snapshots of lw's device and of base, made together with one COW device of s0 or s1
//
// Each controller makes, loads, resumes, suspends, replaces, removes, snapshots, merges, drops,
// and is killed, sooner or later: whatever it waits for it has to answer then. In every fourth run
// somebody is at work by hand, too. Clients open the volumes as programs do. In the end what was
// dead answers, all is resumed, and
//
//     nobody waits, and no volume that ever had a table is without one
//     none was suspended but those that somebody suspended, or was told about
//     none was removed while requests were inside
//     disk has what was written, unless a merge was tried
//     each log has all writes that were answered, then its end mark, and nothing behind it
//     no COW device is that of two origins; what was told to be interrupted removes nothing later
//     everything can be removed
//
// It found, in its first form: a fork looked at the table of a volume that was removed while it was
// being suspended. Then: a removal that was killed while it waited for a last close came back.
//
// That it can fail was tried by breaking what it looks at, from seed 1 on; the seeds that found it:
//
//     removal       takes neither the control lock nor the gate                  8
//                   no control lock, but for logs: it crashes                  176
//                   neither, of log-writes alone: writes behind the end mark    44
//                   the lock, but does not wait for those inside                 8
//                   by `state`, cannot be killed                                 2
//                   passes on no cancel within its errand                       18
//     going back    a swap back that does nothing                                4
//                   a resume that is refused stays suspended with the new table 13
//                   a replacement that is refused leaves the new table live      4
//                   what was put under a volume is not taken back                5
//                   a merge that is refused resumes no snapshot                  9
//                   it tries to, and does not say that this was refused         20
//     one COW       a claim does not count while it reads the store              1
//                   nor is it there before it has read it                        1
//
// Who is inside has the volume open, but for copies of a snapshot whose row never was live: they
// go on when its table is gone. So a removal that does not wait shows in COW devices alone.

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "base/log.h"
#include "dm/device_mapper.h"
#include "formats/write_log.h"
#include "sim/disk.h"
#include "sim/executor.h"
#include "sim/model.h"
#include "targets/snapshot/exceptions.h"

namespace dmfs::sim {
namespace {

constexpr Sector kSectors = 128;         // of disk, and of lw
constexpr int64_t kMs = 1'000'000;       // in nanoseconds
constexpr int64_t kGraceNs = 150 * kMs;  // in which who is killed has to be gone
uint64_t current_seed = 0;

struct World final : NamespaceObserver {
    Random random;
    SimExecutor executor{random};
    std::unique_ptr<DeviceMapper> dm;
    Model model{kSectors};
    bool merges = false, merged = false;  // the run has merges; one was tried
    uint64_t next_value = 1;
    int logs = 0;
    uint64_t contested = 0;            // the COW device that t and u want
    std::map<uint64_t, int> log_of;    // by the id of a volume that is or was lw
    std::map<int, uint64_t> answered;  // writes, by the log's number
    std::set<uint64_t> had_live;       // ids
    std::set<uint64_t> unmade;         // of those whose first table was refused, maybe when it was live
    std::set<uint64_t> kept;           // ids of those whose removal was killed ...
    std::multiset<uint64_t> removers;  // ... and that nobody else may have removed
    std::set<uint64_t> may_stay;       // ids of those that may be suspended in the end
    bool stop = false;
    size_t at_work = 0;  // controllers and clients
    std::string failure;

    explicit World(uint64_t seed) : random(seed) {
        executor.allow_inline(1 << 20);  // memory answers at once; what is late is a delay's
        dm = std::make_unique<DeviceMapper>(executor, "", DeviceWords::Options{});
        dm->volumes().observe(this);
    }
    // Its table is closed next.
    void removed(Volume& volume) override {
        for (Op op : {Op::read, Op::write, Op::flush})
            if (volume.counted().in_flight(op) != 0)
                note_failure(volume.name() + " was removed while requests are inside");
    }
    uint64_t upto(uint64_t most) { return random() % (most + 1); }
    bool chance(unsigned percent) { return random() % 100 < percent; }
    std::shared_ptr<Volume> find(const std::string& name) { return dm->volumes().by_name(name); }
    void note_failure(const std::string& what) {
        if (failure.empty()) failure = what;
        stop = true;
    }
    void look() {
        std::map<const Device*, const Device*> origin_of;  // by the COW device
        for (const auto& volume : dm->volumes().volumes()) {
            if (volume->live()) had_live.insert(volume->id());
            for (const auto& table : {volume->live(), volume->inactive()})
                if (table && has_store(*table)) look_at_claim(*table, &origin_of);
        }
    }
    // One that is lost shows nothing, and its COW device may be another's.
    static bool has_store(const Table& table) {
        const Table::Row& row = table.rows().front();
        return row.type == "snapshot" && row.target->status(StatusKind::info) != "Invalid";
    }
    void look_at_claim(const Table& table, std::map<const Device*, const Device*>* origin_of) {
        const Device* origin = table.devices()[0].get();
        const Device* cow = table.devices()[1].get();
        const Device* other = origin_of->emplace(cow, origin).first->second;
        if (other != origin)
            note_failure(cow->name() + " is the COW device of two origins: " + other->name() + ", " +
                         origin->name());
    }
};

Task<Status> pause(World* world, int64_t most_ns) {
    Task<Status> sleeping =
        sleep_until(world->executor, world->executor.now_ns() +
                                         static_cast<int64_t>(world->upto(static_cast<uint64_t>(most_ns))));
    Status status = co_await sleeping;
    co_return status;
}

// Somebody who is killed in a while, if they still wait.
struct Mortal final : Cancel {
    int64_t killed_ns = 0;
};

Task<Status> kill_later(World* world, std::shared_ptr<Mortal> mortal, int64_t most_ns) {
    Task<Status> waiting = pause(world, most_ns);
    Status status = co_await waiting;
    mortal->killed_ns = world->executor.now_ns();
    mortal->request();
    co_return status;
}

std::shared_ptr<Mortal> new_mortal(World* world) {
    auto mortal = std::make_shared<Mortal>();
    world->executor.spawn(kill_later(world, mortal, world->chance(30) ? 5 * kMs : 300 * kMs));
    return mortal;
}

void check_killed(World* world, const Mortal& mortal, const std::string& what) {
    if (mortal.killed_ns != 0 && world->executor.now_ns() > mortal.killed_ns + kGraceNs)
        world->note_failure(what + " went on after it was killed");
}

// The tables that the volumes have in the beginning, or again.
std::string table_of(World* world, const std::string& name) {
    const std::string length = "0 " + std::to_string(kSectors) + " ";
    if (name == "disk") return length + "linear base 0";
    if (name == "up") return length + "linear disk 0";
    if (name == "over") return length + "linear dead 0";
    if (name == "dead") return length + "linear ram:64K:dead 0";
    if (name == "lw") return length + "log-writes base2 log" + std::to_string(world->logs);
    if (name.starts_with("log")) return "0 4096 delay ram:2M:" + name + " 0 1";
    if (name.starts_with("cow")) return "0 512 delay ram:256K:" + name + " 0 1";
    if (name == "t") return length + "snapshot base2 cow" + std::to_string(world->contested) + " P 8";
    if (name == "u") return length + "snapshot base cow" + std::to_string(world->contested) + " P 8";
    if (name == "late") return "0 512 delay flaky 0 3";
    if (name == "flaky") return "0 512 flakey ram:256K:flaky 0 0 1 1 error_writes";
    const std::string ram = "ram:64K:" + name + " 0 ";
    return length + "delay " + ram + "1 " + ram + "2 " + ram + "3";
}

// A table that is loaded, and refused when it is to go live.
const std::string kRefused = "0 128 snapshot base flaky P 8";

std::shared_ptr<Table> built(World* world, Volume& volume, const std::string& text, Outcome* outcome) {
    try {
        return world->dm->build(volume, text, "/");
    } catch (const Refused& refused) {
        *outcome = refused;
        return nullptr;
    }
}

Task<Outcome> give_table(World* world, std::shared_ptr<Volume> volume, std::string text, bool load_only,
                         Cancel* cancel) {
    Outcome outcome;
    std::shared_ptr<Table> table = built(world, *volume, text, &outcome);
    if (outcome) co_return outcome;
    Task<Outcome> giving = load_only ? volume->load(std::move(table), cancel)
                                     : world->dm->replace(volume, std::move(table), cancel);
    outcome = co_await giving;
    co_return outcome;
}

Task<Outcome> make(World* world, std::string name, Cancel* cancel) {
    if (name == "lw") {  // with a log of its own
        world->logs++;
        Task<Outcome> making = make(world, "log" + std::to_string(world->logs), nullptr);
        Outcome outcome = co_await making;
        if (outcome) co_return outcome;
    }
    std::shared_ptr<Volume> volume;
    Outcome outcome;
    try {
        volume = world->dm->create(name);
    } catch (const Refused& refused) {
        outcome = refused;
    }
    if (outcome) co_return outcome;
    if (name == "lw") world->log_of[volume->id()] = world->logs;
    Task<Outcome> giving = give_table(world, volume, table_of(world, name), false, cancel);
    outcome = co_await giving;
    if (outcome) world->unmade.insert(volume->id());
    co_return outcome;
}

// What a controller does with one volume, as a person would write it. By `state`, if it is that.
std::string request_for(World* world, const std::string& name) {
    const char* kAll[] = {"suspend", "suspend noflush", "resume", "resume",
                          "remove",  "remove deferred", "clear"};
    std::string request = kAll[world->upto(6)];
    if (name == "disk" && world->chance(40)) {
        const std::string number = std::to_string(world->upto(1));
        request = world->chance(20) ? "merged" : "snapshot s" + number + " cow" + number;
    }
    if ((name == "s0" || name == "s1") && world->chance(50))
        request = world->merges && world->chance(40) ? "merge" : "drop";
    if (name == "up" && world->chance(15)) request = "fork fork";
    if (name == "fork" && world->chance(50)) request = "drop";
    if (request == "merge") world->merged = true;
    return request;
}

// Whoever is told that it was interrupted has removed nothing, and will not.
Task<Outcome> remove_over(World* world, std::shared_ptr<Volume> volume, std::string request, Cancel* cancel) {
    const uint64_t id = volume->id();
    world->removers.insert(id);
    Task<Outcome> removing = world->dm->set_state(std::move(volume), request + "\n", "/", cancel);
    Outcome outcome = co_await removing;
    if (outcome && outcome->error() == EINTR) {
        world->removers.erase(world->removers.find(id));
        world->kept.insert(id);
    }
    co_return outcome;
}

// Who is told that something was not taken back, or that it still is, may find a volume suspended.
void note_told(World* world, const Outcome& outcome) {
    if (!outcome) return;
    for (const char* told : {"and then: ", "still being taken back", "the merge has begun"})
        if (outcome->reason().find(told) != std::string::npos)
            for (const auto& each : world->dm->volumes().volumes()) world->may_stay.insert(each->id());
}

Task<Outcome> act(World* world, std::shared_ptr<Volume> volume, std::string name, Cancel* cancel) {
    // A log has one table, and what is not a plain table is not made again.
    const bool plain = name == "disk" || name == "up" || name == "over";
    if (plain && world->chance(25)) {
        const bool bad = name == "disk" && world->chance(30), load_only = world->chance(50);
        return give_table(world, std::move(volume), bad ? kRefused : table_of(world, name), load_only,
                          cancel);
    }
    std::string request = request_for(world, name);
    // The slow ones underneath stay, and so do logs.
    const bool stays = name.starts_with("base") || name.starts_with("cow") || name.starts_with("log");
    if (stays && request.starts_with("remove")) request = "resume";
    if (name == "over" && request.starts_with("remove"))
        return remove_over(world, std::move(volume), request, cancel);
    if (request.starts_with("suspend")) world->may_stay.insert(volume->id());
    return world->dm->set_state(std::move(volume), request + "\n", "/", cancel);
}

Task<Status> make_beside(World* world, std::string name) {
    world->at_work++;
    std::shared_ptr<Mortal> mortal = new_mortal(world);
    Task<Outcome> making = make(world, name, mortal.get());
    Outcome outcome = co_await making;
    static_cast<void>(outcome);  // one of them has to be refused
    world->look();
    world->at_work--;
    co_return kOk;
}

void begin_contest(World* world) {
    world->contested = world->upto(1);
    if (!world->find("u")) world->executor.spawn(make_beside(world, "u"));
}

Task<Status> controller(World* world) {
    world->at_work++;
    while (!world->stop) {
        Task<Status> waiting = pause(world, 20 * kMs);
        Status waited = co_await waiting;
        static_cast<void>(waited);
        if (world->stop) break;
        const std::string kNames[] = {
            "disk", "disk", "disk", "disk", "s0",   "s1",    "up", "lw", "lw",
            "lw",   "over", "fork", "base", "cow0", "base2", "t",  "u",  "log" + std::to_string(world->logs)};
        const std::string name = kNames[world->upto(17)];
        std::shared_ptr<Volume> volume = world->find(name);
        if (!volume && (name == "s0" || name == "s1" || name == "fork" || name == "u")) continue;
        if (!volume && name == "t") begin_contest(world);
        std::shared_ptr<Mortal> mortal = new_mortal(world);
        Task<Outcome> acting =
            volume ? act(world, std::move(volume), name, mortal.get()) : make(world, name, mortal.get());
        Outcome outcome = co_await acting;
        check_killed(world, *mortal, name + ": " + (outcome ? outcome->reason() : "what was asked"));
        if (name != "over") note_told(world, outcome);  // what is begun there is taken back in the end
        world->look();
    }
    world->at_work--;
    co_return kOk;
}

// Somebody at work by hand: makes a snapshot of two rows, whose second is refused, and takes the COW
// device of the first away, where copies are still made that nobody waits for; and asks for a merge
// while another is loaded, so that it is refused, and the snapshot cannot go on.

Task<Outcome> renew(World* world, std::string name, Cancel* cancel) {
    Outcome outcome;
    if (std::shared_ptr<Volume> volume = world->find(name)) {
        Task<Outcome> removing = world->dm->set_state(std::move(volume), "remove\n", "/", cancel);
        outcome = co_await removing;
        if (outcome) co_return outcome;
    }
    Task<Outcome> making = make(world, name, cancel);
    outcome = co_await making;
    co_return outcome;
}

Task<Outcome> merge_twice(World* world, std::string number, Cancel* cancel) {
    std::shared_ptr<Volume> hand = world->find("hand"), disk = world->find("disk");
    hand->clear();
    Outcome outcome;
    if (disk && !world->find("s" + number)) {
        Task<Outcome> making =
            world->dm->set_state(std::move(disk), "snapshot s" + number + " cow" + number, "/", cancel);
        outcome = co_await making;
    }
    std::shared_ptr<Volume> snapshot = world->find("s" + number);
    if (outcome || !snapshot) co_return outcome;
    const std::string text = "0 128 snapshot-merge disk-real cow" + number + " P 8";
    Task<Outcome> loading = give_table(world, std::move(hand), text, true, cancel);
    outcome = co_await loading;
    if (outcome) co_return outcome;
    world->merged = true;
    Task<Outcome> merging = world->dm->set_state(std::move(snapshot), "merge\n", "/", cancel);
    outcome = co_await merging;
    co_return outcome;
}

Task<Outcome> half_snapshot(World* world, std::string cow, Cancel* cancel) {
    const std::string text = "0 64 snapshot disk-real " + cow + " P 8\n64 64 snapshot disk-real late P 8";
    Task<Outcome> giving = give_table(world, world->find("hand"), text, false, cancel);
    Outcome outcome = co_await giving;
    Task<Outcome> renewing = renew(world, std::move(cow), cancel);
    outcome = co_await renewing;
    co_return outcome;
}

Task<Status> handworker(World* world) {
    world->at_work++;
    while (!world->stop) {
        Task<Status> waiting = pause(world, 10 * kMs);
        Status waited = co_await waiting;
        static_cast<void>(waited);
        if (world->stop) break;
        const std::string number = std::to_string(world->upto(1));
        std::shared_ptr<Mortal> mortal = new_mortal(world);
        Task<Outcome> working = world->merges && world->chance(30)
                                    ? merge_twice(world, number, mortal.get())
                                    : half_snapshot(world, "cow" + number, mortal.get());
        Outcome outcome = co_await working;
        check_killed(world, *mortal, number + ": " + (outcome ? outcome->reason() : "what was done by hand"));
        note_told(world, outcome);
        world->look();
    }
    world->at_work--;
    co_return kOk;
}

// Clients.

Bio new_request(World* world, Memory* memory) {
    Bio bio;
    bio.op = world->chance(50) ? Op::read : Op::write;
    bio.sector = world->upto(kSectors - 9);
    bio.count = 1 + world->upto(7);
    bio.memory = memory;
    return bio;
}

void look_at_answer(World* world, const Bio& bio, Status status) {
    for (Sector s = bio.sector; s < bio.end(); s++) {
        if (bio.op == Op::write)
            world->model.end_write(s, status.good(), false, !status);
        else if (status && !world->merged)
            world->model.check_read(s, value_in(bio.data() + bytes_of(s - bio.sector)));
    }
}

Task<Status> client(World* world, std::string name) {
    world->at_work++;
    Memory memory(bytes_of(8));
    while (!world->stop) {
        Task<Status> waiting = pause(world, 10 * kMs);
        Status waited = co_await waiting;
        static_cast<void>(waited);
        std::shared_ptr<Volume> volume = world->find(name), open;
        try {
            if (volume) open = world->dm->volumes().open(volume);
        } catch (const Refused&) {
        }
        if (!open) continue;
        Bio bio = new_request(world, &memory);
        if (name == "up") bio.op = Op::read;  // what is below has its own writers
        const bool modelled = name == "disk";
        if (modelled && !world->model.take(bio.sector, bio.end())) continue;
        for (Sector s = bio.sector; s < bio.end(); s++) {
            uint64_t value = world->next_value++;
            fill(memory.data() + bytes_of(s - bio.sector), value);
            if (modelled && bio.op == Op::write) world->model.begin_write(s, value);
        }
        std::shared_ptr<Mortal> mortal = new_mortal(world);
        bio.cancel = mortal.get();
        Task<Status> task = open->io(bio);
        Status status = co_await task;
        check_killed(world, *mortal, name + ": a request");
        if (status && bio.op == Op::write && world->log_of.contains(open->id()))
            world->answered[world->log_of[open->id()]]++;
        try {
            if (modelled) look_at_answer(world, bio, status);
        } catch (const std::exception& error) {
            world->note_failure(std::string("disk: ") + error.what());
        }
        if (modelled) world->model.leave(bio.sector, bio.end());
    }
    world->at_work--;
    co_return kOk;
}

// Running it.

Task<Status> note_end(Task<Outcome> task, Outcome* result, bool* done) {
    *result = co_await task;
    *done = true;
    co_return kOk;
}

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
    Outcome result;
    bool done = false;
    world.executor.spawn(note_end(std::move(task), &result, &done));
    while (!done)
        if (!world.executor.step()) fail("everybody waits" + standing(world));
    return result;
}

Task<Outcome> asked(std::shared_ptr<Volume> volume, Bio bio) {
    Task<Status> task = volume->io(bio);
    Status status = co_await task;
    if (!status) co_return Refused(status.error(), "a request failed");
    co_return Outcome();
}

// What was dead answers, and what may be suspended is resumed. By then no other is.
void resume_suspended(World& world) {
    if (std::shared_ptr<Volume> hand = world.find("hand")) hand->clear();
    std::deque<Outcome> outcomes;
    std::deque<bool> ended;
    const std::vector<std::shared_ptr<Volume>> all = world.dm->volumes().volumes();
    for (const auto& volume : all)
        if (world.may_stay.contains(volume->id()))
            world.executor.spawn(
                note_end(volume->resume(false, nullptr), &outcomes.emplace_back(), &ended.emplace_back()));
    while (world.executor.running() > 0)
        if (!world.executor.step())
            fail("when what was suspended goes on somebody still waits" + standing(world));
    for (const auto& volume : world.dm->volumes().volumes())
        if (volume->suspended() && volume->live() && !world.may_stay.contains(volume->id()))
            fail(volume->name() + " stays suspended, and nobody was told");
}

// Lower volumes are resumed as upper ones are, again and again.
void resume_all(World& world) {
    std::string refused;
    for (int round = 0; round < 50; round++) {
        refused.clear();
        std::vector<std::shared_ptr<Volume>> all = world.dm->volumes().volumes();
        std::vector<bool> done(all.size());
        std::vector<Outcome> outcomes(all.size());
        std::deque<bool> ended(all.size(), false);
        for (size_t i = 0; i < all.size(); i++)
            world.executor.spawn(note_end(all[i]->resume(false, nullptr), &outcomes[i], &ended[i]));
        while (world.executor.running() > 0)
            if (!world.executor.step()) fail("at the end somebody still waits" + standing(world));
        for (size_t i = 0; i < all.size(); i++)
            if (all[i]->suspended() && all[i]->live())  // one without a table has nothing to resume
                refused += all[i]->name() +
                           " stays suspended: " + (outcomes[i] ? outcomes[i]->reason() : "and why?") + "; ";
        if (refused.empty()) return;
    }
    fail(refused);
}

void check_volumes(World& world) {
    for (uint64_t id : world.kept)
        if (!world.removers.contains(id) && !world.dm->volumes().by_id(id))
            fail("over is gone, by a removal that was killed");
    for (const auto& volume : world.dm->volumes().volumes()) {
        const bool had_table = world.had_live.contains(volume->id()) && !world.unmade.contains(volume->id());
        if (!volume->live() && had_table) fail(volume->name() + " had a table, and has none");
        if (volume->parked() != 0) fail(volume->name() + ": requests wait outside" + standing(world));
        for (Op op : {Op::read, Op::write, Op::flush})
            if (volume->counted().in_flight(op) != 0) fail(volume->name() + " counts requests that are gone");
    }
    std::shared_ptr<Volume> disk = world.find("disk");
    if (!disk || !disk->live() || world.merged) return;
    Memory memory(bytes_of(kSectors));
    Bio bio;
    bio.count = kSectors;
    bio.memory = &memory;
    if (Outcome failed = finish(world, asked(disk, bio))) fail("disk can't be read" + standing(world));
    for (Sector s = 0; s < kSectors; s++) world.model.check_read(s, value_in(memory.data() + bytes_of(s)));
}

// All writes that were answered, then the end mark, and nothing behind it.
void check_log(World& world, int number) {
    std::shared_ptr<Volume> log = world.find("log" + std::to_string(number));
    Memory memory(bytes_of(log->size()));
    Bio bio;
    bio.count = log->size();
    bio.memory = &memory;
    if (finish(world, asked(log, bio))) fail("a log can't be read");
    const std::span<const std::byte> bytes(memory.data(), memory.bytes());
    const write_log::Super super = write_log::decode_super(bytes);
    if (super.entries < world.answered[number] + 1)
        fail(log->name() + " has " + std::to_string(super.entries) + " entries, but " +
             std::to_string(world.answered[number]) + " writes were answered, and there is an end mark");
    write_log::Walk walk(super, bytes.size());
    std::string last;
    while (walk.more()) last = walk.take(bytes.subspan(walk.at(), kSectorBytes)).entry.mark;
    if (last != write_log::kEndMark) fail(log->name() + " does not end with its mark");
    for (std::byte byte : bytes.subspan(walk.at()).first(bytes_of(16)))
        if (byte != std::byte{}) fail(log->name() + " has something behind its end mark");
}

void check_logs(World& world) {
    for (const auto& [id, number] : world.log_of)
        if (!world.dm->volumes().by_id(id) && world.answered.contains(number)) check_log(world, number);
}

void remove_all(World& world) {
    while (!world.dm->volumes().volumes().empty()) {
        std::string refused;
        bool removed = false;
        for (const auto& volume : world.dm->volumes().volumes()) {
            // Logs at last, when those who write them are gone, and they were looked at.
            if (volume->name().starts_with("log") && !world.log_of.empty()) continue;
            Outcome outcome = finish(world, volume->remove({}, nullptr));
            if (outcome && outcome->error() != ENXIO) refused += outcome->reason() + "; ";
            removed |= !outcome;
        }
        while (world.executor.running() > 0)
            if (!world.executor.step()) fail("behind a removal somebody still waits" + standing(world));
        if (!world.find("lw") && !world.log_of.empty()) {
            check_logs(world);
            world.log_of.clear();
            removed = true;
        }
        if (!removed) fail("what is left can't be removed: " + refused);
    }
}

void simulate(uint64_t seed) {
    auto whole = new World(seed);  // one that failed is left alone
    World& world = *whole;
    world.merges = world.chance(50);
    for (const char* name : {"base", "base2", "cow0", "cow1", "flaky", "dead", "over", "disk", "lw"})
        if (Outcome refused = finish(world, make(&world, name, nullptr))) fail(refused->detail());
    if (finish(world, world.find("dead")->suspend(false, nullptr))) fail("dead does not die");
    world.may_stay.insert(world.find("dead")->id());
    if (seed % 4 == 0) {
        world.unmade.insert(world.dm->create("hand")->id());
        if (Outcome refused = finish(world, make(&world, "late", nullptr))) fail(refused->detail());
        world.executor.spawn(handworker(&world));
    }
    for (int i = 0; i < 2; i++) world.executor.spawn(controller(&world));
    for (const char* name : {"disk", "disk", "disk", "lw", "lw", "s0", "up", "over"})
        world.executor.spawn(client(&world, name));
    for (uint64_t i = 0, steps = 500 + world.upto(3000); i < steps && !world.stop; i++)
        if (!world.executor.step()) fail("everybody waits" + standing(world));
    world.stop = true;
    while (world.at_work > 0)
        if (!world.executor.step()) fail("somebody can't be killed" + standing(world));
    if (!world.failure.empty()) fail(world.failure);
    resume_suspended(world);
    resume_all(world);
    check_volumes(world);
    remove_all(world);
    delete whole;
}

void tell_seed(int signal) {
    printf("sim_control: --seed %llu --runs 1: signal %d\n", static_cast<unsigned long long>(current_seed),
           signal);
    fflush(stdout);
    _Exit(1);
}

}  // namespace
}  // namespace dmfs::sim

int main(int argc, char** argv) {
    uint64_t seed = std::random_device()(), runs = 100;
    for (int i = 1; i < argc; i += 2) {
        std::string option = argv[i];
        if (i + 1 == argc || (option != "--seed" && option != "--runs")) {
            fprintf(stderr, "usage: %s [--seed N] [--runs N]\n", argv[0]);
            return 2;
        }
        (option == "--seed" ? seed : runs) = strtoull(argv[i + 1], nullptr, 10);
    }
    dmfs::log_to_stderr(getenv("SIM_LOG") != nullptr);
    dmfs::snapshot::Exceptions::fix_hash(1);
    for (int each : {SIGSEGV, SIGABRT, SIGBUS}) signal(each, dmfs::sim::tell_seed);
    for (uint64_t run = 0; run < runs; run++) {
        dmfs::sim::current_seed = seed + run;
        try {
            dmfs::sim::simulate(seed + run);
        } catch (const std::exception& error) {
            printf("sim_control: --seed %llu --runs 1: %s\n", static_cast<unsigned long long>(seed + run),
                   error.what());
            fflush(stdout);
            _Exit(1);
        }
    }
    printf("sim_control: %llu runs from seed %llu\n", static_cast<unsigned long long>(runs),
           static_cast<unsigned long long>(seed));
    return 0;
}
