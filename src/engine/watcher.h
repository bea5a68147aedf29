// Watchers: who sees the requests of a volume begin and end (statistics, a trace). A
// volume that nobody watches pays one look at a flag for it.

#pragma once

#include <memory>
#include <vector>

#include "base/status.h"
#include "engine/bio.h"

namespace dmfs {

class Table;

// A request that passed a volume's gate.
struct WatchedRequest {
    Bio bio;  // its memory may be looked at only while the request is under way
    const Table& table;
    uint64_t generation;  // of the volume: which table this was
    int64_t began_ns;     // on the executor's clock
    int64_t ended_ns = 0;
    Status status;
};

class Watcher {
  public:
    Watcher() = default;
    Watcher(const Watcher&) = delete;
    Watcher& operator=(const Watcher&) = delete;
    virtual ~Watcher() = default;

    // On whichever thread the request is; neither may wait. A request is ended by
    // those who saw it begin.
    virtual void begun(const WatchedRequest&) {}
    virtual void ended(const WatchedRequest&) {}
};

using Watchers = std::vector<std::shared_ptr<Watcher>>;

}  // namespace dmfs
