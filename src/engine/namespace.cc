#include "engine/namespace.h"

#include <cassert>

namespace dmfs {

Namespace::Namespace(Executor& executor) : executor_(executor) {}

Namespace::~Namespace() {
    std::vector<std::shared_ptr<Table>> inactive;
    {
        std::lock_guard guard(mutex_);
        for (auto& [name, volume] : names_) {
            inactive.push_back(std::move(volume->inactive_));
            volume->remove_when_closed_ = false;
            volume->gate_.open();  // closing a table above may write to it
        }
    }
    inactive.clear();
    // From the top down: upper volumes keep lower ones open, and may still need them.
    while (std::shared_ptr<Table> table = take_uppermost()) {
        executor_.spawn(close_table(std::move(table)));
        std::unique_lock lock(mutex_);
        all_closed_.wait(lock, [this] { return closing_ == 0; });
    }
    std::unique_lock lock(mutex_);
    all_closed_.wait(lock, [this] { return closing_ == 0; });
}

// The live table of a volume that no other stands on, or at last of any.
std::shared_ptr<Table> Namespace::take_uppermost() {
    std::lock_guard guard(mutex_);
    Volume* uppermost = nullptr;
    for (auto& [name, volume] : names_)
        if (volume->live_ && (uppermost == nullptr || volume->open_count_ == 0)) uppermost = volume.get();
    if (uppermost == nullptr) return nullptr;
    uppermost->table_ = nullptr;
    return std::move(uppermost->live_);
}

Task<Status> Namespace::close_table(std::shared_ptr<Table> table) {
    {
        std::lock_guard guard(mutex_);
        closing_++;
    }
    Task<Status> closing = table->close();
    Status status = co_await closing;
    table.reset();  // before it counts as closed: it may be what keeps a volume open
    std::lock_guard guard(mutex_);
    if (--closing_ == 0) all_closed_.notify_all();
    co_return status;
}

std::shared_ptr<Volume> Namespace::create(const std::string& name, const std::string& uuid,
                                          std::optional<uint32_t> minor) {
    std::lock_guard guard(mutex_);
    if (names_.contains(name)) throw Refused(EBUSY, "the name '" + name + "' is taken");
    if (!uuid.empty() && uuids_.contains(uuid)) throw Refused(EBUSY, "the uuid '" + uuid + "' is taken");
    if (minor && minors_.contains(*minor))
        throw Refused(ENXIO, "the minor number " + std::to_string(*minor) + " is taken");
    uint32_t number = minor.value_or(0);
    if (!minor)
        for (const auto& [taken, other] : minors_) {
            if (taken != number) break;
            number++;
        }
    auto volume = std::make_shared<Volume>(*this, next_id_++, number);
    volume->name_ = name;
    volume->uuid_ = uuid;
    names_[name] = volume;
    if (!uuid.empty()) uuids_[uuid] = volume.get();
    minors_[number] = volume.get();
    ids_[volume->id()] = volume.get();
    return volume;
}

// Takes the volume out of every index; under the mutex.
void Namespace::forget(Volume& volume) {
    volume.removed_ = true;
    if (!volume.uuid_.empty()) uuids_.erase(volume.uuid_);
    minors_.erase(volume.minor());
    ids_.erase(volume.id());
    names_.erase(volume.name_);
}

Outcome Namespace::remove(Volume& volume, bool deferred, std::shared_ptr<Table>* left,
                          bool only_if_deferred) {
    std::shared_ptr<Volume> keep;
    std::shared_ptr<Table> live, inactive;  // destroyed after the mutex is let go: they close volumes
    {
        std::lock_guard guard(mutex_);
        if (volume.removed_) return Refused(ENXIO, "the volume was removed");
        if (only_if_deferred && !volume.remove_when_closed_) return {};  // cancelled meanwhile
        if (volume.open_count_ > 0) {
            if (deferred) {
                volume.remove_when_closed_ = true;
                return {};
            }
            std::string users = users_of(volume);
            return Refused(EBUSY,
                           "'" + volume.name_ + "' is open " + std::to_string(volume.open_count_) +
                               (volume.open_count_ == 1 ? " time" : " times") +
                               (users.empty() ? "" : ", by the tables of: " + users),
                           "close its files, detach its loop devices, remove the volumes that stand on it; "
                           "or remove --deferred");
        }
        keep = volume.shared_from_this();
        forget(volume);
        live = std::move(volume.live_);
        inactive = std::move(volume.inactive_);
        volume.table_ = nullptr;
    }
    volume.raise_event();
    if (observer_ != nullptr) observer_->removed(volume);
    if (left != nullptr)
        *left = std::move(live);
    else if (live)
        executor_.spawn(close_table(std::move(live)));
    return {};
}

Outcome Namespace::cancel_deferred_remove(Volume& volume) {
    std::lock_guard guard(mutex_);
    if (volume.removed_) return Refused(EBUSY, "the volume is being removed");
    volume.remove_when_closed_ = false;
    return {};
}

Outcome Namespace::rename(Volume& volume, const std::string& name) {
    {
        std::lock_guard guard(mutex_);
        if (volume.removed_) return Refused(ENXIO, "the volume was removed");
        if (names_.contains(name)) return Refused(EBUSY, "the name '" + name + "' is taken");
        auto node = names_.extract(volume.name_);
        node.key() = name;
        names_.insert(std::move(node));
        volume.name_ = name;
    }
    volume.raise_event();
    return {};
}

Outcome Namespace::set_uuid(Volume& volume, const std::string& uuid) {
    {
        std::lock_guard guard(mutex_);
        if (volume.removed_) return Refused(ENXIO, "the volume was removed");
        if (uuids_.contains(uuid)) return Refused(EBUSY, "the uuid '" + uuid + "' is taken");
        if (!volume.uuid_.empty())
            return Refused(EINVAL, "the volume has the uuid '" + volume.uuid_ + "' already",
                           "a uuid is given once");
        volume.uuid_ = uuid;
        uuids_[uuid] = &volume;
    }
    volume.raise_event();
    return {};
}

std::shared_ptr<Volume> Namespace::by_name(const std::string& name) const {
    std::lock_guard guard(mutex_);
    auto found = names_.find(name);
    return found == names_.end() ? nullptr : found->second;
}

std::shared_ptr<Volume> Namespace::by_uuid(const std::string& uuid) const {
    std::lock_guard guard(mutex_);
    auto found = uuids_.find(uuid);
    return found == uuids_.end() ? nullptr : found->second->shared_from_this();
}

std::shared_ptr<Volume> Namespace::by_minor(uint32_t minor) const {
    std::lock_guard guard(mutex_);
    auto found = minors_.find(minor);
    return found == minors_.end() ? nullptr : found->second->shared_from_this();
}

std::shared_ptr<Volume> Namespace::by_id(uint64_t id) const {
    std::lock_guard guard(mutex_);
    auto found = ids_.find(id);
    return found == ids_.end() ? nullptr : found->second->shared_from_this();
}

std::vector<std::shared_ptr<Volume>> Namespace::volumes() const {
    std::lock_guard guard(mutex_);
    std::vector<std::shared_ptr<Volume>> all;
    all.reserve(names_.size());
    for (const auto& [name, volume] : names_) all.push_back(volume);
    return all;
}

std::shared_ptr<Volume> Namespace::open(const std::shared_ptr<Volume>& volume) {
    std::lock_guard guard(mutex_);
    if (volume->removed_) throw Refused(ENXIO, "the volume was removed");
    if (!volume->had_table_)
        throw Refused(ENXIO, "'" + volume->name_ + "' never had a table",
                      "write one to .control/" + volume->name_ + "/table");
    volume->open_count_++;
    return {volume.get(), [this, volume](Volume*) { close(volume); }};
}

void Namespace::close(const std::shared_ptr<Volume>& volume) {
    bool remove_now = false;
    {
        std::lock_guard guard(mutex_);
        assert(volume->open_count_ > 0);
        remove_now = --volume->open_count_ == 0 && volume->remove_when_closed_;
    }
    // Where somebody opened it again, its removal waits for them.
    if (remove_now) static_cast<void>(remove(*volume, true, nullptr, true));
}

// Whether I/O to `table` can reach `volume`, through tables that are live, loaded, or
// on their way from the one to the other; under the mutex.
std::string Namespace::way_to(const Table& table, const Volume& volume) const {
    std::set<const Volume*> seen;
    return way_to(table, volume, seen);
}

std::string Namespace::way_to(const Table& table, const Volume& volume, std::set<const Volume*>& seen) {
    for (const std::shared_ptr<Device>& device : table.devices()) {
        auto* below = dynamic_cast<Volume*>(device.get());
        if (below == nullptr || !seen.insert(below).second) continue;
        if (below == &volume) return below->name_;
        for (const Table* next : {below->live_.get(), below->inactive_.get(), below->incoming_.get()}) {
            std::string rest = next == nullptr ? "" : way_to(*next, volume, seen);
            if (!rest.empty()) return below->name_ + " -> " + rest;
        }
    }
    return {};
}

// The volumes whose tables use `volume`; under the mutex.
std::string Namespace::users_of(const Volume& volume) const {
    std::string users;
    for (const auto& [name, other] : names_) {
        bool uses = false;
        for (const Table* table : {other->live_.get(), other->inactive_.get(), other->incoming_.get()})
            if (table != nullptr)
                for (const std::shared_ptr<Device>& device : table->devices())
                    uses |= device.get() == &volume;
        if (uses) users += (users.empty() ? "" : ", ") + name;
    }
    return users;
}

}  // namespace dmfs
