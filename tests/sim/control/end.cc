#include "sim/control/end.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "formats/write_log.h"
#include "sim/disk.h"

namespace dmfs::sim {

namespace {

// Resuming.

Task<Status> resume(std::shared_ptr<Volume> volume, Outcome* outcome) {
    Task<Outcome> resuming = volume->resume(false, nullptr);
    *outcome = co_await resuming;
    co_return kOk;
}

using Volumes = std::vector<std::shared_ptr<Volume>>;

// All at once: upper ones wait for lower ones. What each was told.
std::vector<Outcome> resume_each(World& world, const Volumes& volumes) {
    std::vector<Outcome> outcomes(volumes.size());
    for (size_t i = 0; i < volumes.size(); i++) world.executor.spawn(resume(volumes[i], &outcomes[i]));
    run_until_quiet(world, "when all is resumed");
    return outcomes;
}

// One without a table has nothing to resume.
bool stays_suspended(const Volume& volume) { return volume.suspended() && volume.live(); }

// What was dead answers, and what may be suspended is resumed. By then no other is.
void resume_suspended(World& world) {
    if (std::shared_ptr<Volume> hand = world.find("hand")) hand->clear();
    auto may_stay = [&](const auto& volume) { return world.may_stay.contains(volume->id()); };
    Volumes suspended;
    std::ranges::copy_if(world.dm->volumes().volumes(), std::back_inserter(suspended), may_stay);
    static_cast<void>(resume_each(world, suspended));
    for (const auto& volume : world.dm->volumes().volumes())
        if (stays_suspended(*volume) && !may_stay(volume))
            fail(volume->name() + " is suspended, and nobody was told");
}

// Again and again: one may only go on when another does.
void resume_all(World& world) {
    std::string refused;
    for (int round = 0; round < 50; round++) {
        refused.clear();
        const Volumes all = world.dm->volumes().volumes();
        const std::vector<Outcome> outcomes = resume_each(world, all);
        for (size_t i = 0; i < all.size(); i++)
            if (stays_suspended(*all[i]))
                refused += all[i]->name() +
                           " stays suspended: " + (outcomes[i] ? "and why?" : outcomes[i].why().reason()) +
                           "; ";
        if (refused.empty()) return;
    }
    fail(refused);
}

// Looking.

Task<Outcome> asked(std::shared_ptr<Volume> volume, Bio bio) {
    Task<Status> task = volume->io(bio);
    Status status = co_await task;
    if (!status) co_return Refused(status.error(), "a request failed");
    co_return Outcome();
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
    if (Outcome failed = finish(world, asked(disk, bio)); !failed)
        fail("disk can't be read" + standing(world));
    for (Sector s = 0; s < kSectors; s++) world.model.check_read(s, value_in(memory.data() + bytes_of(s)));
}

// All writes that were answered, then the end mark, and nothing behind it.
void check_log(World& world, int number) {
    std::shared_ptr<Volume> log = world.find("log" + std::to_string(number));
    Memory memory(bytes_of(log->size()));
    Bio bio;
    bio.count = log->size();
    bio.memory = &memory;
    if (!finish(world, asked(log, bio))) fail("a log can't be read");
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

// Removing.

void remove_all(World& world) {
    while (!world.dm->volumes().volumes().empty()) {
        std::string refused;
        bool removed = false;
        for (const auto& volume : world.dm->volumes().volumes()) {
            // Logs at last, when those who write them are gone, and they were looked at.
            if (volume->name().starts_with("log") && !world.log_of.empty()) continue;
            Outcome outcome = finish(world, volume->remove({}, nullptr));
            if (!outcome && outcome.why().error() != ENXIO) refused += outcome.why().reason() + "; ";
            removed = removed || outcome;
        }
        run_until_quiet(world, "behind a removal");
        if (!world.find("lw") && !world.log_of.empty()) {
            check_logs(world);
            world.log_of.clear();
            removed = true;
        }
        if (!removed) fail("what is left can't be removed: " + refused);
    }
}

}  // namespace

void end(World& world) {
    resume_suspended(world);
    resume_all(world);
    check_volumes(world);
    remove_all(world);
    if (!world.failure.empty()) fail(world.failure);
}

}  // namespace dmfs::sim
