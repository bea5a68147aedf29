// The device mapper's command set, once, for every front end: what can be asked of
// the volumes of a mount, and the texts that answer. Knows texts and names; the
// engine knows tables and requests.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "dm/config.h"
#include "dm/device_words.h"
#include "engine/locks.h"
#include "engine/namespace.h"

namespace dmfs {

struct ConciseVolume;

enum class Which { live, inactive };

class DeviceMapper {
  public:
    // mountpoint: see DeviceWords.
    DeviceMapper(Executor& executor, std::string mountpoint, DeviceWords::Options options);

    Namespace& volumes() { return volumes_; }
    // For requests that change several volumes: snapshot, fork, merge, merged, drop.
    Lock& snapshot_steps() { return snapshot_steps_; }

    // `folder`: where relative paths of a table begin. Throws Refused.
    std::shared_ptr<Volume> create(const std::string& name, const std::string& uuid = {},
                                   std::optional<uint32_t> minor = {});
    // While open it waits a moment: the kernel tells FUSE of a close when it finds the time.
    // Killed, it leaves what the volume's table still owes its devices to be done alone.
    Task<Outcome> remove(std::shared_ptr<Volume> volume, bool deferred, Cancel* cancel);
    // A step of Undo: a volume that this operation made goes, at its last close if somebody has
    // found and opened it.
    Task<Outcome> unmake(std::shared_ptr<Volume> volume);
    // Volume::replace(), for somebody who may be killed.
    Task<Outcome> replace(std::shared_ptr<Volume> volume, std::shared_ptr<Table> table, Cancel* cancel);
    Outcome rename(Volume& volume, const std::string& name);
    Outcome set_uuid(Volume& volume, const std::string& uuid);

    // A table for `volume`, checked in full, its devices opened. `partial`: see
    // TableSource. Throws Refused. May wait for a device without an end: for tables whose
    // devices are known to answer.
    std::shared_ptr<Table> build(Volume& volume, const std::string& text, const std::string& folder,
                                 bool partial = false);
    // The same for all others, aside (engine/errand.h); *table is set if it is not refused.
    Task<Outcome> build(std::shared_ptr<Volume> volume, std::string text, std::string folder, bool partial,
                        std::shared_ptr<Table>* table, Cancel* cancel);
    // What a table for `volume` is built with.
    TableSource source_for(Volume& volume, const std::string& folder) {
        return source_for(volume, folder, devices_);
    }
    TableSource source_for(Volume& volume, const std::string& folder, DeviceSource& devices);
    // The words of the `state` file (dmfs-control(7)).
    Task<Outcome> set_state(std::shared_ptr<Volume> volume, std::string words, std::string folder,
                            Cancel* cancel);
    // Where bytes of a device show in volumes: see reverse_request().
    Task<Outcome> reverse(std::string text, std::string folder, std::string* answer, Cancel* cancel);
    // "SECTOR WORDS...", to the core if the first word begins with @.
    Task<Outcome> message(std::shared_ptr<Volume> volume, std::string text, std::string* answer,
                          Cancel* cancel);
    // Volumes in dmsetup's concise form; stops at the first that is refused.
    Task<Outcome> create_concise(std::string text, std::string folder, Cancel* cancel);
    // The volumes of a dmfs.toml. Throws Refused.
    void create_configured(const Config& config, const std::string& file, const std::string& folder);

  private:
    static Outcome ask_core(Volume& volume, const std::vector<Word>& words, const std::string& line,
                            std::string* answer);
    Task<Outcome> change_state(std::shared_ptr<Volume> volume, std::string words, std::string folder,
                               Cancel* cancel);
    Task<Outcome> create_each(std::string text, std::string folder, Cancel* cancel);
    Task<Outcome> fill(std::shared_ptr<Volume> volume, ConciseVolume wanted, std::string folder,
                       Cancel* cancel);

    Namespace volumes_;
    DeviceWords devices_;
    Lock snapshot_steps_;
};

// Runs a task that can wait for nothing that has not begun (before the mount serves).
Outcome run_now(Executor& executor, Task<Outcome> task);

// The files of the control tree, as dmsetup prints the same.
std::string version_text();
std::string targets_text();
std::string table_text(const Volume& volume, Which which);
// The same with its keys.
std::string showkeys_text(const Volume& volume, Which which);
std::string status_text(const Volume& volume, Which which);
std::string measure_text(const Volume& volume);
std::string info_text(const Volume& volume);
std::string state_text(const Volume& volume);
std::string deps_text(const Volume& volume, Which which);
std::string stats_text(const Volume& volume);
std::string inflight_text(const Volume& volume);
std::string limits_text(const Volume& volume);

}  // namespace dmfs
