// The log of log-writes: entries that were appended, on their way to the log device.
//
//     append()   from any thread, in the order that the log is to have
//     write()    writes what was appended before, and not yet; one at a time. Goes on when
//                whoever asked for it is killed: the log has no holes
//
// An entry that finds no room, and an entry or a super that cannot be written, end the
// logging for as long as the table lives; what was appended then is dropped.

#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "engine/device.h"
#include "engine/locks.h"

namespace dmfs {

class LogWriter : public std::enable_shared_from_this<LogWriter> {
  public:
    struct Entry {
        uint64_t flags = 0;  // write_log::kFlush and so on
        Sector sector = 0;   // of the device that is logged
        Sector count = 0;
        std::optional<Memory> data;  // of a write; without: zeros
        std::string mark;
        uint64_t number = 0;  // of the change, in the order in which they were done
    };
    using Entries = std::list<Entry>;

    // block: bytes, of which the log's blocks and the counts on the disk are; a
    // multiple of the log device's own.
    LogWriter(Executor& executor, Device& log, uint32_t block, bool enabled);

    void append(Entries entries);
    // EINTR: killed meanwhile. Else it never fails: an error ends the logging.
    Task<Status> write(Cancel* cancel = nullptr);

    // Ends the logging for as long as the table lives.
    void give_up(const std::string& why);
    bool enabled() const;
    // What the status shows: entries, the last sector that is taken, whether it goes on.
    struct State {
        uint64_t entries;
        Sector last;
        bool enabled;
    };
    State state() const;
    Device& device() const { return log_; }

  private:
    Task<Status> write_all(std::shared_ptr<LogWriter> self);
    static void cut_zeros(Entries& entries);
    std::optional<Sector> take_room(const Entry& entry);
    Task<Status> write_record(Entry* entry, Sector at);
    Task<Status> write_super();
    Task<Status> write_block(Sector at);

    Executor& executor_;
    Device& log_;
    const uint32_t block_;
    const Sector block_sectors_;
    Lock order_;
    Memory header_;  // one block; whose turn it is

    mutable std::mutex mutex_;
    Entries waiting_;
    uint64_t entries_ = 0;
    Sector next_;  // where the next entry goes
    Sector end_;
    bool enabled_;
};

}  // namespace dmfs
