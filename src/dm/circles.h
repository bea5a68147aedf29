// Circles: whether something stands on a volume of this mount, so that a table with it would wait
// for itself. Followed are
//
//     loop devices over a volume, their partitions, what the kernel stacks on them: in /sys/dev/block
//     file systems on these: by the number of their device; btrfs and others that have none, by
//         the source of their mount; overlayfs by its layers
//     other mounts of dmfs: by what their .control/graph says
//
// What is asked may never answer: not for a thread that others wait for.

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/mounts.h"

namespace dmfs {

// What is mounted, as of one moment, and which of it is the own mount.
struct Places {
    std::optional<uint64_t> filesystem;      // st_dev of this mount, once it stands
    std::map<std::string, std::string> own;  // where this mount shows, and what of it
    std::map<uint64_t, MountEntry> mounts;   // by their ids

    // Whether a path leads there, as far as its text says.
    bool is_own(const std::string& path) const;
};

class Circles {
  public:
    // mountpoint: absolute and resolved; empty where nothing is mounted.
    explicit Circles(std::string mountpoint);
    Circles(const Circles&) = delete;
    Circles& operator=(const Circles&) = delete;
    ~Circles();

    std::shared_ptr<const Places> places() const;

    // What of this mount stands below an open file, folder or block device (O_PATH will do),
    // or below what lies in it; empty: nothing that is known.
    std::string own_below(int fd) const;

  private:
    const std::string mountpoint_;
    const int mounts_fd_;
    mutable std::mutex mutex_;
    mutable std::shared_ptr<const Places> places_;
    mutable bool known_ = false;
};

}  // namespace dmfs
