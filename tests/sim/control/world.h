// What the two controllers of sim_control share: the volumes, and what is known of them.

#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "dm/device_mapper.h"
#include "sim/executor.h"
#include "sim/model.h"

namespace dmfs::sim {

constexpr Sector kSectors = 128;    // of disk, and of lw
constexpr int64_t kMs = 1'000'000;  // in nanoseconds

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

    explicit World(uint64_t seed);
    uint64_t upto(uint64_t most) { return random() % (most + 1); }
    bool chance(unsigned percent) { return random() % 100 < percent; }
    std::shared_ptr<Volume> find(const std::string& name) { return dm->volumes().by_name(name); }
    // The first is told; the run ends.
    void note_failure(const std::string& what);
    // At what everybody may see at any time.
    void look();

  private:
    void removed(Volume& volume) override;
    void look_at_claim(const Table& table, std::map<const Device*, const Device*>* origin_of);
};

// Sleeps, at most so long.
Task<Status> pause(World* world, int64_t most_ns);

// Somebody who is killed in a while, if they still wait.
struct Mortal final : Cancel {
    int64_t killed_ns = 0;
};
std::shared_ptr<Mortal> new_mortal(World* world);
// That who was killed is not here long after.
void check_killed(World* world, const Mortal& mortal, const std::string& what);

// Until it is done: everybody goes on.
Outcome finish(World& world, Task<Outcome> task);
// Until nobody does anything any more. Fails where somebody waits for ever.
void run_until_quiet(World& world, const std::string& when);
// All volumes in a line, for a failure.
std::string standing(World& world);

}  // namespace dmfs::sim
