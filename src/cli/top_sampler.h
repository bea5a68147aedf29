// Reads the counters of the volumes in a thread of its own: a daemon that hangs must
// not keep `top` from leaving the terminal as it found it.

#pragma once

#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cli/top_rates.h"

namespace dmfs::cli {

// dm's statistics for the time that requests take: one region over each volume, made by
// message, under the name of this program. A mount that knows no such messages has none.
class Regions {
  public:
    explicit Regions(const ControlClient& control);

    // The counters of this volume's region; makes it first if need be. `empty`: the volume has
    // no table, so that there is nothing to make a region over.
    std::optional<RegionCounters> read(const std::string& name, bool empty);
    void remove_all();

  private:
    std::optional<std::string> ask(const std::string& name, const std::string& words);
    void remove_dead(const std::string& name);

    const ControlClient& control_;
    const std::string mark_;  // "PID.START": tells the regions of this process
    bool supported_ = true;
    std::map<std::string, std::optional<uint64_t>> ids_;  // nothing: was refused
};

class Sampler {
  public:
    // names: the volumes to look at; empty: all there are at the time.
    Sampler(const ControlClient& control, std::vector<std::string> names);
    // Waits a moment for the regions to go; a thread that hangs is left behind (the process ends).
    ~Sampler();
    Sampler(const Sampler&) = delete;
    Sampler& operator=(const Sampler&) = delete;

    void request();
    int ready_fd() const { return ready_; }  // readable when there is a sample
    // What was asked for last; throws Refused if the mount refused.
    std::optional<Sample> take();
    // False: the thread is still inside the mount.
    bool stop();

  private:
    void run();
    Sample look();

    const ControlClient& control_;
    const std::vector<std::string> names_;
    Regions regions_;
    int ready_;

    std::mutex mutex_;
    std::condition_variable changed_;
    bool wanted_ = false, stopping_ = false, ended_ = false;
    std::optional<Sample> sample_;
    std::exception_ptr failure_;
    std::thread thread_;
};

}  // namespace dmfs::cli
