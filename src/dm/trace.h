// Trace: the requests of a volume, as they end, for one reader.
//
//     requests --> | oldest ... newest |  --> lines          what the reader is too slow
//                    at most kMost                           for is dropped, and counted
//
// A request pays for a look at the clock, a short mutex and, once a second for each
// process, a look at its name.

#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "engine/volume.h"
#include "engine/wait.h"

namespace dmfs {

class Trace final : public Watcher {
  public:
    explicit Trace(std::shared_ptr<Volume> volume);

    void ended(const WatchedRequest& request) override;

    // Waits until there is something to take(), or stop(); EINTR when cancelled.
    Task<Status> wait(Cancel* cancel);
    void stop();
    bool stopped() const;

    // The oldest lines that fit into `bytes`, taken off. A line is
    //     TIME PROCESS NAME OPERATION SECTOR COUNT LATENCY_NS ERRNO PATH
    // TIME in seconds since 1970, of the request's beginning; "-" where nothing is
    // known; OPERATION with +fua where it has that; PATH as path_of(). Where requests
    // were dropped, a line "# N lost".
    std::string take(size_t bytes);

  private:
    static constexpr size_t kMost = 1 << 15;
    static constexpr size_t kMostProcesses = 1024;

    struct Record {
        uint64_t number;  // which request of the trace
        int64_t began_ns;
        int64_t took_ns;
        pid_t process;
        int error;
        Op op;
        bool fua;
        Sector sector, count;
        uint64_t generation;
        std::shared_ptr<const std::string> process_name;
    };
    struct Process {
        std::shared_ptr<const std::string> name;
        int64_t seen_ns;
    };

    std::shared_ptr<const std::string> name_of(pid_t process, int64_t now_ns);
    std::string line(const Record& record, const Table* table, uint64_t generation) const;

    const std::shared_ptr<Volume> volume_;
    const int64_t clock_offset_ns_;  // from the executor's clock to that of the day
    WaitQueue readers_;

    mutable std::mutex mutex_;  // guards what follows
    std::deque<Record> records_;
    uint64_t told_ = 0, lost_ = 0;
    bool wanted_ = false;  // a reader waits
    bool stopped_ = false;
    std::map<pid_t, Process> processes_;
};

}  // namespace dmfs
