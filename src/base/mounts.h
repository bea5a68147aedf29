// What is mounted, as this process sees it (/proc/self/mountinfo).

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dmfs {

struct MountEntry {
    uint64_t device = 0;  // as st_dev of what lies in it
    std::string root;     // what of that filesystem is mounted: "/", or for a bind mount a path in it
    std::string where;
    std::string type;                  // "ext4", "fuse.dmfs"
    std::string source;                // as its file system says: "/dev/sda1", or any word
    std::optional<uint32_t> owner;     // of a FUSE filesystem: whose process serves it
    std::vector<std::string> options;  // its file system's: "rw", "lowerdir=/a:/b"
    uint64_t id = 0;                   // as in /proc/PID/fdinfo
};

// In the order in which they were mounted: a later entry hides an earlier one at
// the same place.
std::vector<MountEntry> mount_entries(const std::string& file = "/proc/self/mountinfo");

}  // namespace dmfs
