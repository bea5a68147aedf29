// Target: how one row of a table maps its sectors. A target sees one aligned range
// at a time, relative to the row's start, within one chunk if it names a chunk; it
// computes where that lies and hands the request on.
//
// Adding a target: its source in src/targets, a line in registry.cc, a test,
// scenarios, a man page, an example.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/refused.h"
#include "base/words.h"
#include "engine/device.h"
#include "engine/executor.h"
#include "engine/lifecycle.h"
#include "engine/look.h"
#include "engine/room.h"

namespace dmfs {

class TargetSetup;

// The three texts of a target: `dmsetup status`, `dmsetup table`, `dmsetup measure`. No
// text has a key in it: zeros stand in its place.
enum class StatusKind { info, table, measure };

// What becomes of a flush of the volume.
enum class Flushing {
    none,     // nothing below keeps anything of it
    devices,  // its devices are flushed, each once for the whole table
    itself,   // the target gets the flush and passes it on as it must
};

// One thing that a request comes to below a target: what `dmfs explain` shows.
struct Step {
    Op op;
    Sector at;                 // of the row: the sectors [at, at + count) it serves
    Sector count;              // 0 for a flush
    Device* device = nullptr;  // what is asked; nullptr: nothing below
    Sector start = 0;          // of the device
    std::string note;          // how it came there, in a few words: "chunk 7, leg 1"
};
// May throw, to hear no more.
using StepVisitor = std::function<void(const Step&)>;

// Sectors of a row, and where on a device they lie.
struct Run {
    Sector at;
    Sector count;
    Sector start;
};
using RunVisitor = std::function<void(const Run&)>;

class Target {
  public:
    Target() = default;
    Target(const Target&) = delete;
    Target& operator=(const Target&) = delete;
    virtual ~Target() = default;

    virtual Task<Status> io(Bio bio) = 0;

    // The target's own words, without its name: one line, appended to nothing.
    virtual std::string status(StatusKind) const { return {}; }
    // status(StatusKind::table) with its keys, for those who may see them.
    virtual std::string table_with_keys() const { return status(StatusKind::table); }
    // Throws Refused; the answer may be empty.
    virtual std::string message(const std::vector<Word>&) {
        throw Refused(EINVAL, "this target takes no messages");
    }

    // Awaited after a message that was taken: what it began is done. Goes on when the
    // sender is killed; Lifecycle::close() waits for it.
    virtual Task<Status> settled() { return Task<Status>::ready(kOk); }

    virtual Flushing flushing() const { return Flushing::devices; }
    // Reads and writes are cut at multiples of this many sectors (the kernel's
    // max_io_len); 0: nowhere.
    virtual Sector chunk() const { return 0; }
    // Changes what its devices' stacked limits came to.
    virtual void adjust(Limits&) const {}
    // The run that begins at `at`; see Device::extent().
    virtual Extent extent(Sector at, Look& look) = 0;
    // Whether reads may fail now, or give anything but what its devices have: holes of these are
    // none then, at least in parts of the row.
    virtual bool differs() const { return false; }
    // As Device's. By itself it asks all of its devices' areas, and not only those below the range.
    virtual void ask_room(Sector, Sector, Room& room) const {
        each_device([&](Device& device, Sector from, Sector length) { device.ask_room(from, length, room); });
    }

    // What a request for [at, at + count) would come to now, step after step in the
    // order in which they are done. Changes nothing. Any length, not cut at chunks.
    virtual void explain(Op op, Sector at, Sector count, const StepVisitor& visit) const = 0;
    // Backwards: the sectors of the row that lie at [start, start + count) of `device`.
    virtual void reverse(const Device& device, Sector start, Sector count, const RunVisitor& visit) const = 0;

    // Each device with the area this target uses of it.
    using DeviceVisitor = std::function<void(Device&, Sector start, Sector length)>;
    virtual void each_device(const DeviceVisitor&) const {}
    // Likewise those that hold none of its sectors but what it notes about them: a log,
    // metadata. They count neither for the limits nor for the room that the row takes.
    virtual void each_side_device(const DeviceVisitor&) const {}

    // What it does beside mapping; nullptr: nothing.
    virtual Lifecycle* lifecycle() { return nullptr; }

  protected:
    // The refusal of a message that points at one of its words.
    static Refused refuse(const Word& word, std::string reason, std::string remedy = {}) {
        return Refused(EINVAL, std::move(reason), std::move(remedy))
            .at(Place{"message", 1, {}, word.column, word.length});
    }
};

struct TargetType {
    std::string_view name;
    unsigned version[3];  // as Linux 6.12 counts it
    std::unique_ptr<Target> (*make)(TargetSetup&);
    struct Traits {
        bool singleton = false;  // its row is the only one of its table
        bool immutable = false;  // no table of another target takes its place ...
        bool wildcard = false;   // ... but one of this
    } traits{};
    // Whether word `index` of a row is a key, which no refusal shows; nullptr: none is.
    bool (*is_key)(size_t index, std::string_view word) = nullptr;
};

// All targets there are, and one by its name or nullptr (registry.cc in src/targets).
struct TargetRegistry {
    const std::vector<TargetType>& types;
    const TargetType* find(std::string_view name) const;
};

// What a target is made from: its row of the table, and the devices that its words
// name. Words count from 0, the target's name not included.
class TargetSetup {
  public:
    Sector row_start() const { return row_start_; }  // where the row begins, in the volume
    Sector length() const { return length_; }
    bool writable() const { return writable_; }
    Executor& executor() const { return executor_; }
    // Tells those who wait for the volume's events (dm_table_event).
    const std::function<void()>& raise_event() const { return raise_event_; }

    size_t words() const { return words_.size(); }
    const std::string& word(size_t index) const { return words_[index].text; }

    // Refuses the row unless it has exactly, or at least, so many words.
    void need_words(size_t count, std::string_view usage) const;
    void need_at_least(size_t count, std::string_view usage) const;
    // A decimal number within [least, most]; `what` names it in a refusal.
    uint64_t number(size_t index, std::string_view what, uint64_t least, uint64_t most) const;
    // A sector, read as the kernel does ("%llu%c"): digits only; beyond 64 bits it
    // is refused, where the kernel would wrap.
    Sector sector(size_t index, std::string_view what) const;
    // Opens a device for this table; it lives as long as the table. Checks that
    // the area [start, start + length) lies on it, as the kernel's
    // device_area_is_invalid; a volume or a block device of no size is not checked.
    Device& device(size_t index, Sector start, Sector length, size_t start_index);
    // The same in two steps, for a device that may be read-only, or has to be writable,
    // whatever the table is. Keeping the pointer keeps it open beyond the table.
    std::shared_ptr<Device> open(size_t index, bool writable);
    void check_area(Device& device, Sector start, Sector length, size_t start_index) const;

    // The Table drives it; it belongs to the target.
    void holds(Holder& holder);

    // Where a word stands, for a refusal that comes later.
    Place word_place(size_t index) const { return refuse(index, {}).place(); }

    // A refusal that points at a word.
    Refused refuse(size_t index, std::string reason, std::string remedy = {}, int error = EINVAL) const;
    // One that points at the bytes [from, from + length) of a word.
    Refused refuse_part(size_t index, size_t from, size_t length, std::string reason,
                        std::string remedy = {}) const;

  private:
    friend class TableBuilder;
    TargetSetup(class TableBuilder& builder, std::vector<Word> words, Sector row_start, Sector length);

    class TableBuilder& builder_;
    std::vector<Word> words_;
    Sector row_start_;
    Sector length_;
    bool writable_;
    Executor& executor_;
    std::function<void()> raise_event_;
};

// Whether [start, start + length) lies on a device of that size and alignment; the
// reason if not, else empty (device_area_is_invalid).
std::string area_problem(Device& device, Sector start, Sector length);

}  // namespace dmfs
