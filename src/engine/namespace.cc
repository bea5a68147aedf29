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
    // From the top down: upper volumes keep lower ones open, and may still need them. Who
    // becomes the uppermost is found among those that a closed table stood on.
    std::vector<std::shared_ptr<Volume>> next;
    {
        std::lock_guard guard(mutex_);
        for (auto& [name, volume] : names_)
            if (volume->open_count_ == 0) next.push_back(volume);
    }
    for (;;) {
        std::shared_ptr<Volume> volume;
        while (!volume && !next.empty()) {
            if (next.back()->live()) volume = std::move(next.back());
            next.pop_back();
        }
        if (!volume) volume = uppermost();
        if (!volume) break;
        std::vector<std::shared_ptr<Volume>> below;
        if (std::shared_ptr<Table> table = volume->live())
            for (const std::shared_ptr<Device>& device : table->devices())
                if (auto* each = dynamic_cast<Volume*>(device.get()))
                    below.push_back(each->shared_from_this());
        executor_.spawn(end(std::move(volume)));
        std::unique_lock lock(mutex_);
        all_closed_.wait(lock, [this] { return closing_ == 0; });
        for (std::shared_ptr<Volume>& each : below)
            if (each->open_count_ == 0) next.push_back(std::move(each));
    }
    std::unique_lock lock(mutex_);
    all_closed_.wait(lock, [this] { return closing_ == 0; });
}

// A volume that has a live table and no other stands on, or at last any.
std::shared_ptr<Volume> Namespace::uppermost() {
    std::lock_guard guard(mutex_);
    Volume* uppermost = nullptr;
    for (auto& [name, volume] : names_)
        if (volume->live_ && (uppermost == nullptr || volume->open_count_ == 0)) uppermost = volume.get();
    return uppermost == nullptr ? nullptr : uppermost->shared_from_this();
}

Task<Status> Namespace::end(std::shared_ptr<Volume> volume) {
    begin_closing();
    Status status;
    {
        Task<Status> ending = volume->end_table();
        status = co_await ending;
    }
    volume.reset();
    end_closing();
    co_return status;
}

void Namespace::begin_closing() {
    std::lock_guard guard(mutex_);
    closing_++;
}

void Namespace::end_closing() {
    std::lock_guard guard(mutex_);
    if (--closing_ == 0) all_closed_.notify_all();
}

Task<Status> Namespace::close_table(std::shared_ptr<Table> table) {
    begin_closing();
    Task<Status> closing = table->close();
    Status status = co_await closing;
    table.reset();  // before it counts as closed: it may be what keeps a volume open
    end_closing();
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

// Whether a removal may begin: nobody has the volume open, and, `now`, nobody gets it open any more.
// *put_off: it may not yet, or was called off.
Outcome Namespace::doom(Volume& volume, Volume::Removal how, bool* put_off, bool now) {
    std::lock_guard guard(mutex_);
    if (volume.removed_) return Refused(ENXIO, "the volume was removed");
    *put_off = how.only_if_deferred ? !volume.remove_when_closed_ || volume.open_count_ > 0
                                    : how.deferred && volume.open_count_ > 0;
    if (*put_off) {
        volume.remove_when_closed_ |= how.deferred && !how.only_if_deferred;
        return {};
    }
    if (volume.open_count_ > 0) {
        std::string users = users_of(volume);
        return Refused(EBUSY,
                       "'" + volume.name_ + "' is open " + std::to_string(volume.open_count_) +
                           (volume.open_count_ == 1 ? " time" : " times") +
                           (users.empty() ? "" : ", by the tables of: " + users),
                       "close its files, detach its loop devices, remove the volumes that stand on it; "
                       "or remove --deferred");
    }
    volume.doomed_ |= now;
    return {};
}

void Namespace::spare(Volume& volume) {
    std::lock_guard guard(mutex_);
    volume.doomed_ = false;
}

Outcome Namespace::cancel_deferred_remove(Volume& volume) {
    std::lock_guard guard(mutex_);
    if (volume.removed_ || volume.doomed_) return Refused(EBUSY, "the volume is being removed");
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
        if (!volume.live_) return {};  // as in the kernel: events are a table's
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
        if (!volume.live_) return {};
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
    if (volume->doomed_) throw Refused(ENXIO, "'" + volume->name_ + "' is being removed");
    if (!volume->had_table_)
        throw Refused(ENXIO, "'" + volume->name_ + "' never had a table",
                      "write one to .control/.volumes/" + volume->name_ + "/table");
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
    if (remove_now) executor_.spawn(remove_closed(volume));
}

// Where somebody opened it again, its removal waits for them. Nobody is there to hear of a refusal,
// which can only be that it was removed otherwise.
Task<Status> Namespace::remove_closed(std::shared_ptr<Volume> volume) {
    begin_closing();
    {
        Task<Outcome> removing = volume->remove({.deferred = true, .only_if_deferred = true}, nullptr);
        Outcome outcome = co_await removing;
        static_cast<void>(outcome);
    }
    volume.reset();
    end_closing();
    co_return kOk;
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
