// The steps of the requests in snapshots.h: snapshots.cc has those of one volume, fork.cc those
// of a whole stack.

#pragma once

#include <algorithm>
#include <string>

#include "dm/device_mapper.h"
#include "engine/undo.h"

namespace dmfs {

inline constexpr const char* kReal = "-real";  // the name of what is put below a volume
inline constexpr Sector kSnapshotChunk = 8;    // unless said otherwise: lvcreate's 4 KiB

// The row of a table that has one, of that target; nullptr otherwise.
const Table::Row* only_row(const std::shared_ptr<Table>& table, std::string_view type);

// Refuses a volume with a table that waits: whatever resumes it would make that one live.
Outcome check_none_waits(const Volume& volume);

class Snapshots {
  public:
    Snapshots(DeviceMapper& dm, std::string folder, Cancel* cancel)
        : dm_(dm), folder_(std::move(folder)), cancel_(cancel) {}

    Task<Outcome> request(std::shared_ptr<Volume> volume, std::vector<Word> words);
    // See snapshots.h.
    std::shared_ptr<Volume> merges_into(const std::shared_ptr<Volume>& snapshot) const;

  private:
    // What a new snapshot is made of.
    struct Wanted {
        std::string name, cow, type;
        Sector chunk = 0;
    };

    Task<Outcome> snapshot(std::shared_ptr<Volume> volume, Wanted wanted);
    Task<Outcome> make(std::shared_ptr<Device> origin, Sector length, Wanted wanted);
    Task<Outcome> give_table(std::shared_ptr<Volume> volume, std::shared_ptr<Device> origin, Sector length,
                             Wanted wanted);
    Task<Outcome> fork(std::shared_ptr<Volume> volume, std::string name, std::string folder);
    Task<Outcome> merge(std::shared_ptr<Volume> volume);
    Task<Outcome> hand_over(std::shared_ptr<Volume> from, std::shared_ptr<Volume> into, std::string text,
                            Undo* undo);
    Task<Outcome> merged(std::shared_ptr<Volume> volume);
    Task<Outcome> drop(std::shared_ptr<Volume> volume);
    Task<Outcome> make_single(std::shared_ptr<Volume> origin, Cancel* cancel);

    // Fork's.
    struct Copying;
    Outcome collect(const std::shared_ptr<Volume>& volume, Copying* copying) const;
    bool is_bottom(const Volume& volume) const;
    Task<Outcome> copy_all(Copying* copying, Undo* undo);
    Task<Outcome> copy_one(Copying* copying, std::shared_ptr<Volume> original);
    Task<Outcome> copy_upper(Copying* copying, std::shared_ptr<Volume> original);
    Task<Outcome> fill_upper(Copying* copying, std::shared_ptr<Volume> original,
                             std::shared_ptr<Volume> copy);
    Task<Outcome> unmake_copy(Copying* copying, std::shared_ptr<Volume> original,
                              std::shared_ptr<Volume> copy);

    Task<Outcome> build(std::shared_ptr<Volume> volume, std::string text, std::shared_ptr<Table>* table) {
        return dm_.build(std::move(volume), std::move(text), folder_, false, table, cancel_);
    }
    Outcome create(const std::string& name, std::shared_ptr<Volume>* volume) {
        try {
            *volume = dm_.create(name);
            return {};
        } catch (const Refused& refused) {
            return refused;
        }
    }
    // The volume that a table's device is, or nullptr. The table's own pointer would count it as
    // open.
    std::shared_ptr<Volume> as_volume(const std::shared_ptr<Device>& device) const {
        const auto* volume = dynamic_cast<const Volume*>(device.get());
        return volume != nullptr ? dm_.volumes().by_id(volume->id()) : nullptr;
    }
    std::shared_ptr<Volume> seen_through(const Volume& origin) const;
    bool has_snapshots(const Device& origin) const;
    Outcome check_no_snapshots(const Volume& volume) const;
    Task<Outcome> check_cow(std::string word, std::shared_ptr<Volume> origin) const;
    std::vector<std::shared_ptr<Volume>> parts(const std::string& prefix) const;
    bool is_fork(const Volume& volume) const;

    DeviceMapper& dm_;
    const std::string folder_;
    Cancel* const cancel_;
};

}  // namespace dmfs
