// Which mount a command talks to.

#include <unistd.h>

#include <cstdlib>

#include "base/mounts.h"
#include "cli/command.h"

namespace dmfs::cli {

namespace {

std::string without_slashes(std::string path) {
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    return path;
}

}  // namespace

std::vector<std::string> dmfs_mounts() {
    std::vector<std::string> mounts;
    for (const MountEntry& entry : mount_entries())
        if (entry.type == "fuse.dmfs" && entry.root == "/") mounts.push_back(entry.where);
    return mounts;
}

const ControlClient& Invocation::control() {
    if (control_) return *control_;
    std::string mountpoint = options.mount;
    if (const char* named = getenv("DMFS_MOUNT"); mountpoint.empty() && named != nullptr) mountpoint = named;
    if (mountpoint.empty()) {
        std::vector<std::string> mounts = dmfs_mounts();
        if (mounts.empty()) throw Refused(ENODEV, "no dmfs is mounted", "`dmfs mount FOLDER` mounts one");
        if (mounts.size() > 1) {
            std::string list;
            for (const std::string& mount : mounts) list += "\n    --mount " + mount;
            throw Refused(EINVAL, "several dmfs are mounted, and none was named",
                          "name one, or set DMFS_MOUNT:" + list);
        }
        mountpoint = mounts.front();
    }
    control_ = std::make_unique<ControlClient>(without_slashes(mountpoint));
    return *control_;
}

}  // namespace dmfs::cli
