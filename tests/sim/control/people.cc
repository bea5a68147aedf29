#include "sim/control/people.h"

namespace dmfs::sim {

namespace {

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
    if (!outcome) co_return outcome;
    Task<Outcome> giving = load_only ? volume->load(std::move(table), cancel)
                                     : world->dm->replace(volume, std::move(table), cancel);
    outcome = co_await giving;
    co_return outcome;
}

}  // namespace

Task<Outcome> make(World* world, std::string name, Cancel* cancel) {
    if (name == "lw") {  // with a log of its own
        world->logs++;
        Task<Outcome> making = make(world, "log" + std::to_string(world->logs), nullptr);
        Outcome outcome = co_await making;
        if (!outcome) co_return outcome;
    }
    std::shared_ptr<Volume> volume;
    Outcome outcome;
    try {
        volume = world->dm->create(name);
    } catch (const Refused& refused) {
        outcome = refused;
    }
    if (!outcome) co_return outcome;
    if (name == "lw") world->log_of[volume->id()] = world->logs;
    Task<Outcome> giving = give_table(world, volume, table_of(world, name), false, cancel);
    outcome = co_await giving;
    if (!outcome) world->unmade.insert(volume->id());
    co_return outcome;
}

// The controllers.

namespace {

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
    if (!outcome && outcome.why().error() == EINTR) {
        world->removers.erase(world->removers.find(id));
        world->kept.insert(id);
    }
    co_return outcome;
}

// Who is told that something was not taken back, or that it still is, may find a volume suspended.
void note_told(World* world, const Outcome& outcome) {
    if (outcome) return;
    for (const char* told : {"and then: ", "still being taken back", "the merge has begun"})
        if (outcome.why().reason().find(told) != std::string::npos)
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

}  // namespace

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
        check_killed(world, *mortal, name + ": " + (!outcome ? outcome.why().reason() : "what was asked"));
        if (name != "over") note_told(world, outcome);  // what is begun there is taken back in the end
        world->look();
    }
    world->at_work--;
    co_return kOk;
}

// By hand.

namespace {

// Another COW device in the place of one that nobody has open.
Task<Outcome> renew(World* world, std::string name, Cancel* cancel) {
    Outcome outcome;
    if (std::shared_ptr<Volume> volume = world->find(name)) {
        Task<Outcome> removing = world->dm->set_state(std::move(volume), "remove\n", "/", cancel);
        outcome = co_await removing;
        if (!outcome) co_return outcome;
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
    if (!outcome || !snapshot) co_return outcome;
    const std::string text = "0 128 snapshot-merge disk-real cow" + number + " P 8";
    Task<Outcome> loading = give_table(world, std::move(hand), text, true, cancel);
    outcome = co_await loading;
    if (!outcome) co_return outcome;
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

}  // namespace

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
        check_killed(world, *mortal,
                     number + ": " + (!outcome ? outcome.why().reason() : "what was done by hand"));
        note_told(world, outcome);
        world->look();
    }
    world->at_work--;
    co_return kOk;
}

}  // namespace dmfs::sim
