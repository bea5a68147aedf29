// A mount: a process that serves the volumes below one folder.

#pragma once

#include <string>

namespace dmfs::fs {

struct MountOptions {
    std::string mountpoint;
    std::string options;  // as after -o: words with commas between them
    bool foreground = false;
    std::string config_path;  // a dmfs.toml, or empty
    // What /proc/self/mountinfo shows as the source, and mount(8) knows a mount by.
    std::string source = "dmfs";
    bool sloppy = false;  // options that nobody knows are passed over: mount -s
};

// Mounts and serves. In the background: returns once the mount stands. In the
// foreground: returns when it was unmounted. The result is an exit code; throws
// Refused where the mount can't be made.
int mount(const MountOptions& options);

}  // namespace dmfs::fs
