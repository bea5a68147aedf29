// Namespace: the volumes of a mount by name, uuid and number; who has one open; who
// stands on whom.
//
// One mutex guards all of that. It is held for moments only, never across I/O, and
// never while a table or a volume is destroyed.

#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/volume.h"

namespace dmfs {

// Told what happened, outside the mutex, on whichever thread it happened.
class NamespaceObserver {
  public:
    virtual ~NamespaceObserver() = default;
    virtual void event_raised(Volume&) {}
    virtual void table_swapped(Volume&) {}  // other bytes, perhaps another size
    virtual void removed(Volume&) {}
};

class Namespace {
  public:
    explicit Namespace(Executor& executor);
    Namespace(const Namespace&) = delete;
    Namespace& operator=(const Namespace&) = delete;
    // Nobody has a volume open any more, but for other volumes. Waits until the tables
    // are closed.
    ~Namespace();

    Executor& executor() { return executor_; }
    void observe(NamespaceObserver* observer) { observer_ = observer; }

    // dmsetup's create without a table. EBUSY: the name or uuid is taken; ENXIO:
    // the minor is. Without a minor, the lowest that is free. Throws Refused.
    std::shared_ptr<Volume> create(const std::string& name, const std::string& uuid = {},
                                   std::optional<uint32_t> minor = {});
    // Closes a table that is live no more.
    Task<Status> close_table(std::shared_ptr<Table> table);
    Outcome rename(Volume& volume, const std::string& name);
    Outcome set_uuid(Volume& volume, const std::string& uuid);
    Outcome cancel_deferred_remove(Volume& volume);

    std::shared_ptr<Volume> by_name(const std::string& name) const;
    std::shared_ptr<Volume> by_uuid(const std::string& uuid) const;
    std::shared_ptr<Volume> by_minor(uint32_t minor) const;
    std::shared_ptr<Volume> by_id(uint64_t id) const;
    std::vector<std::shared_ptr<Volume>> volumes() const;  // in the order of their names

    // The volume, counted as open as long as the pointer lives. ENXIO for one that
    // never had a table. Throws Refused.
    std::shared_ptr<Volume> open(const std::shared_ptr<Volume>& volume);

  private:
    friend class Volume;

    void close(const std::shared_ptr<Volume>& volume);
    Task<Status> remove_closed(std::shared_ptr<Volume> volume);
    Outcome doom(Volume& volume, Volume::Removal how, bool* put_off, bool now);
    void spare(Volume& volume);
    void forget(Volume& volume);
    std::shared_ptr<Volume> uppermost();
    Task<Status> end(std::shared_ptr<Volume> volume);
    void begin_closing();
    void end_closing();
    std::string way_to(const Table& table, const Volume& volume) const;
    static std::string way_to(const Table& table, const Volume& volume, std::set<const Volume*>& seen);
    std::string users_of(const Volume& volume) const;

    Executor& executor_;
    NamespaceObserver* observer_ = nullptr;

    mutable std::mutex mutex_;
    std::map<std::string, std::shared_ptr<Volume>> names_;
    std::map<std::string, Volume*> uuids_;
    std::map<uint32_t, Volume*> minors_;
    std::map<uint64_t, Volume*> ids_;
    uint64_t next_id_ = 1;
    size_t closing_ = 0;  // tables, and volumes at their last close
    std::condition_variable all_closed_;
};

}  // namespace dmfs
