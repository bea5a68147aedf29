// Table: the rows of a volume, in the order of their sectors, without gaps.
//
//     0 2048 linear /a.img 0          sectors [0, 2048)     -> a target
//     2048 2048 striped 2 128 ...     sectors [2048, 4096)  -> a target
//
// The table finds the row of a request, cuts it at the ends of rows and of the
// target's chunks, and hands the pieces on. It never changes: a volume swaps tables.

#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "engine/target.h"

namespace dmfs {

class Volume;

// The volume whose events the targets of a table raise. The table may be put below another volume
// than the one it was made for (Volume::insert).
class TableOwner {
  public:
    explicit TableOwner(std::weak_ptr<Volume> volume) : volume_(std::move(volume)) {}
    void move_to(std::weak_ptr<Volume> volume) {
        std::lock_guard guard(mutex_);
        volume_ = std::move(volume);
    }
    void raise_event() const;  // of the volume, if it is still there

  private:
    mutable std::mutex mutex_;
    std::weak_ptr<Volume> volume_;
};

// What a text needs to become a table.
struct TableSource {
    Executor& executor;
    const TargetRegistry& registry;
    DeviceSource& devices;
    std::string folder;  // where relative paths begin
    bool writable = true;
    std::function<void()> raise_event;  // see TargetSetup::raise_event
    std::string file = "table";         // what refusals call the text
    size_t first_line = 1;
    bool partial = false;                         // the text may go on: no rows yet are no table yet
    std::shared_ptr<TableOwner> owner = nullptr;  // who stands behind raise_event
};

class Table {
  public:
    // Rows "START LENGTH TARGET WORDS...", one a line; empty lines and what follows
    // a # are passed over, as dmsetup does. Throws Refused with the place. A
    // partial text without rows gives nullptr.
    static std::shared_ptr<Table> build(std::string_view text, const TableSource& source);

    void belongs_to(std::weak_ptr<Volume> volume) {
        if (owner_) owner_->move_to(std::move(volume));
    }

    // See Lifecycle, for this and what follows below; once is enough. Volume::load() and replace()
    // see to it.
    Task<Outcome> prepare(Cancel* cancel);

    Task<Status> io(Bio bio);  // within the table

    // The pieces in which io() hands a request on, cut at rows and chunks, as long as visit(row,
    // piece) says true.
    template <class Visit>
    void each_piece(Bio bio, Visit visit) const {
        for (size_t index = row_index(bio.sector); bio.count > 0;) {
            const Row& row = rows_[index];
            Bio piece = bio.part(0, std::min(bio.count, room(row, bio)));
            bio = bio.part(piece.count, bio.count - piece.count);
            if (bio.sector == row.start + row.length) index++;
            if (!visit(row, piece)) return;
        }
    }

    Sector size() const { return size_; }
    bool writable() const { return writable_; }
    const Limits& limits() const { return limits_; }
    // As Device's.
    Extent extent(Sector at, Look& look) const;
    Sector allocated(Sector start, Sector length, Look& look) const;
    void ask_room(Sector start, Sector count, Room& room) const;

    struct Row {
        Sector start;
        Sector length;
        Sector chunk;  // cut reads and writes at multiples of it, counted from start; 0: nowhere
        std::string type;
        const TargetType* target_type;
        std::unique_ptr<Target> target;
    };
    const std::vector<Row>& rows() const { return rows_; }
    Row& row_at(Sector sector);

    // Whether `table` may take the place of this one, which is live.
    bool may_become(const Table& table) const;

    // In the order in which the rows named them, each once.
    const std::vector<std::shared_ptr<Device>>& devices() const { return devices_; }

    // Those that a flush of the table reaches by itself; targets pass it on to others.
    const std::vector<Device*>& flushed_devices() const { return flushed_devices_; }

    // What a device became too small for since the table was built; empty if nothing.
    std::string areas_problem() const;

    void presuspend();
    void presuspend_undo();
    Task<Status> quiet(Cancel* cancel);
    void postsuspend();
    Task<Outcome> preresume(Cancel* cancel);
    void resume();
    Task<Status> close();  // the first error
    void end_waits();
    void give_up(int64_t longer_than_ns);  // the devices, too

  private:
    friend class TableBuilder;
    Table() = default;

    size_t row_index(Sector sector) const;
    Task<Status> flush(Bio bio);
    Task<Status> split(Bio bio);
    static Sector room(const Row& row, const Bio& bio);
    void settle_limits();

    std::vector<Row> rows_;
    std::vector<Sector> ends_;  // of the rows: what a lookup searches
    std::vector<std::shared_ptr<Device>> devices_;
    std::vector<Holder*> holders_;
    struct Living {
        Lifecycle* lifecycle;
        size_t row;
    };
    std::vector<Living> living_;  // in the order of the rows, of which few have one
    std::vector<Device*> flushed_devices_;
    std::vector<Target*> flushed_targets_;
    Limits limits_;
    Sector size_ = 0;
    bool writable_ = true;
    bool prepared_ = false;
    std::shared_ptr<TableOwner> owner_;
};

}  // namespace dmfs
