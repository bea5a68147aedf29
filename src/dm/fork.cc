// fork: a copy of a whole stack, which goes its own way from one moment on.
//
//     top                          top     copy
//      |-- low  linear a.img        |       |-- copy-low   snapshot of low-real, transient
//      `-- fast striped ...         ...     `-- copy-fast  likewise
//
// Volumes that stand on something else than volumes, or have snapshots already, are copied as
// snapshots of what they show; those above them are built again from their tables, over the copies.

#include <map>

#include "dm/snapshot_steps.h"
#include "engine/errand.h"

namespace dmfs {

struct Snapshots::Copying {
    std::string name, folder;
    std::vector<std::shared_ptr<Volume>> order;  // lower ones first
    std::vector<std::shared_ptr<Volume>> suspended;
    std::map<uint64_t, std::shared_ptr<Volume>> copies;  // by the original's id

    std::string name_of(const Volume& original) const {
        return original.id() == order.back()->id() ? name : name + "-" + original.name();
    }
};

namespace {

// Where a copy's table finds its devices: copies where there are any.
class CopiedDevices final : public DeviceSource {
  public:
    CopiedDevices(Namespace& volumes, DeviceSource& others,
                  std::map<uint64_t, std::shared_ptr<Volume>> copies)
        : volumes_(volumes), others_(others), copies_(std::move(copies)) {}
    std::shared_ptr<Device> open_device(const std::string& word, bool writable,
                                        const std::string& folder) override {
        std::shared_ptr<Volume> original = volumes_.by_name(word);
        auto copy = original ? copies_.find(original->id()) : copies_.end();
        return copy != copies_.end() ? volumes_.open(copy->second)
                                     : others_.open_device(word, writable, folder);
    }

  private:
    Namespace& volumes_;
    DeviceSource& others_;
    const std::map<uint64_t, std::shared_ptr<Volume>> copies_;
};

}  // namespace

// `volume` and what it stands on, the lower ones first.
Outcome Snapshots::collect(const std::shared_ptr<Volume>& volume, Copying* copying) const {
    for (const std::shared_ptr<Volume>& known : copying->order)
        if (known->id() == volume->id()) return {};
    std::shared_ptr<Table> table = volume->live();
    if (!table) return Refused(ENXIO, "'" + volume->name() + "' has no live table");
    if (Outcome outcome = check_none_waits(*volume); !outcome) return outcome;
    for (const std::shared_ptr<Device>& device : table->devices())
        if (std::shared_ptr<Volume> below = as_volume(device); below && !is_bottom(*volume))
            if (Outcome outcome = collect(below, copying); !outcome) return outcome;
    copying->order.push_back(volume);
    return {};
}

bool Snapshots::is_bottom(const Volume& volume) const {
    std::shared_ptr<Table> table = volume.live();
    // Removed meanwhile: snapshot() refuses it.
    if (!table || only_row(table, "snapshot-origin") != nullptr) return true;
    return std::any_of(table->devices().begin(), table->devices().end(),
                       [&](const auto& device) { return !as_volume(device); });
}

Task<Outcome> Snapshots::fork(std::shared_ptr<Volume> volume, std::string name, std::string folder) {
    Copying copying{
        .name = std::move(name), .folder = std::move(folder), .order = {}, .suspended = {}, .copies = {}};
    Outcome outcome = collect(volume, &copying);
    if (!outcome) co_return outcome;
    Undo undo;
    Task<Outcome> whole = undo.unless_done(copy_all(&copying, &undo));
    outcome = co_await whole;
    while (!copying.suspended.empty()) {
        std::shared_ptr<Volume> each = std::move(copying.suspended.back());
        copying.suspended.pop_back();
        Task<Outcome> resuming = each->resume(false, nullptr);
        Outcome resumed = co_await resuming;
        outcome = and_then(std::move(outcome), resumed);
    }
    co_return outcome;
}

Task<Outcome> Snapshots::copy_all(Copying* copying, Undo* undo) {
    // From the top: what the upper ones flush goes through the lower.
    for (size_t i = copying->order.size(); i-- > 0;) {
        std::shared_ptr<Volume> each = copying->order[i];
        if (each->suspended()) continue;
        Task<Outcome> suspending = each->suspend(false, cancel_);
        Outcome outcome = co_await suspending;
        if (!outcome) co_return outcome;
        copying->suspended.push_back(each);
    }
    for (const std::shared_ptr<Volume>& original : copying->order) {
        const std::string name = copying->name_of(*original);
        Task<Outcome> making = copy_one(copying, original);
        Outcome outcome = co_await making;
        if (!outcome)
            co_return Refused(outcome.why().error(), name + ": " + outcome.why().reason(),
                              outcome.why().remedy());
        std::shared_ptr<Volume> copy = dm_.volumes().by_name(name);
        if (!copy) co_return Refused(ENXIO, "'" + name + "' was removed");
        copying->copies[original->id()] = copy;
        undo->add([this, copying, original, copy] { return unmake_copy(copying, original, copy); });
    }
    co_return Outcome();
}

Task<Outcome> Snapshots::copy_one(Copying* copying, std::shared_ptr<Volume> original) {
    if (!is_bottom(*original)) return copy_upper(copying, std::move(original));
    const std::string name = copying->name_of(*original);
    const Sector chunk = std::max<Sector>(kSnapshotChunk, sectors_in(original->logical_block()));
    const uint64_t bytes = bytes_of((original->size() + chunk - 1) / chunk * chunk);
    Wanted wanted{name,
                  copying->folder.empty() ? "ram:" + std::to_string(bytes) + ":" + name
                                          : copying->folder + "/" + name + ".cow",
                  "N", chunk};
    return snapshot(std::move(original), std::move(wanted));
}

Task<Outcome> Snapshots::copy_upper(Copying* copying, std::shared_ptr<Volume> original) {
    std::shared_ptr<Volume> copy;
    Outcome outcome = create(copying->name_of(*original), &copy);
    if (!outcome) co_return outcome;
    Undo undo;
    undo.add([this, copy] { return dm_.unmake(copy); });
    Task<Outcome> whole = undo.unless_done(fill_upper(copying, std::move(original), copy));
    outcome = co_await whole;
    co_return outcome;
}

Task<Outcome> Snapshots::fill_upper(Copying* copying, std::shared_ptr<Volume> original,
                                    std::shared_ptr<Volume> copy) {
    copy->set_load_readonly(original->readonly());
    auto built = std::make_shared<std::shared_ptr<Table>>();
    std::function<void()> building = [dm = &dm_, folder = folder_, copies = copying->copies, copy, built,
                                      text = showkeys_text(*original, Which::live)] {
        TableSource source = dm->source_for(*copy, folder);
        CopiedDevices devices(dm->volumes(), source.devices, copies);
        TableSource copied{.executor = source.executor,
                           .registry = source.registry,
                           .devices = devices,
                           .folder = source.folder,
                           .writable = source.writable,
                           .raise_event = source.raise_event,
                           .owner = source.owner};
        *built = Table::build(text, copied);
    };
    Task<Outcome> task = aside(dm_.volumes().executor(), std::move(building), cancel_);
    Outcome outcome = co_await task;
    if (!outcome) co_return outcome;
    Task<Outcome> replacing = copy->replace(std::move(*built), cancel_);
    outcome = co_await replacing;
    co_return outcome;
}

// A step of Undo: the upper copies are gone already. The original is again what it was.
Task<Outcome> Snapshots::unmake_copy(Copying* copying, std::shared_ptr<Volume> original,
                                     std::shared_ptr<Volume> copy) {
    copying->copies.erase(original->id());
    Task<Outcome> removing = dm_.remove(std::move(copy), false, nullptr);
    Outcome outcome = co_await removing;
    std::shared_ptr<Volume> real = dm_.volumes().by_name(original->name() + kReal);
    if (!real) co_return outcome;
    Task<Outcome> making_single = make_single(std::move(real), nullptr);
    Outcome single = co_await making_single;
    co_return and_then(std::move(outcome), single);
}

}  // namespace dmfs
