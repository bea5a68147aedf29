// Which mount a command talks to.
//
// Whoever serves a mount reads all that is written to it, keys too, and answers what he likes. So one
// of another user is never taken because no other was named.

#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/files.h"
#include "base/mounts.h"
#include "cli/command.h"

namespace dmfs::cli {

namespace {

namespace stdfs = std::filesystem;

std::string without_slashes(std::string path) {
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    return path;
}

bool is_own(const MountEntry& mount) { return mount.owner == geteuid(); }

// The mount in which a path names a volume; empty if there is none.
std::string mount_of(const std::string& word, const std::vector<MountEntry>& mounts) {
    if (word.find('/') == std::string::npos) return {};
    std::error_code error;
    const stdfs::path path = stdfs::absolute(word, error).lexically_normal();
    auto stands = [&](const stdfs::path& folder) {
        return std::ranges::any_of(mounts, [&](const MountEntry& mount) { return mount.where == folder; });
    };
    if (stands(path.parent_path())) return path.parent_path();
    const stdfs::path folder = stdfs::canonical(path.parent_path(), error);
    return !error && stands(folder) ? folder.string() : std::string();
}

// Where the mount stands that a path leads to. No link leads from there to another one, so a command
// speaks to one mount from its beginning to its end. What is no mount stays as it was written.
std::string mount_point(const std::string& path, const std::vector<MountEntry>& mounts) {
    OpenFile folder(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!folder.good()) return path;
    std::error_code error;
    const stdfs::path where = stdfs::read_symlink(fmt::format("/proc/self/fd/{}", folder.fd()), error);
    const bool stands =
        std::ranges::any_of(mounts, [&](const MountEntry& mount) { return mount.where == where; });
    return stands && !error ? where.string() : path;
}

// The only one that is the caller's.
std::string own_mount(const std::vector<MountEntry>& mounts) {
    std::vector<std::string> own;
    std::string all;
    for (const MountEntry& mount : mounts) {
        if (is_own(mount) && std::ranges::find(own, mount.where) == own.end()) own.push_back(mount.where);
        all += fmt::format("\n    --mount {}{}", mount.where, is_own(mount) ? "" : "    " + whose(mount));
    }
    if (own.size() == 1) return own.front();
    if (mounts.empty()) throw Refused(ENODEV, "no dmfs is mounted", "`dmfs mount FOLDER` mounts one");
    if (own.empty())
        throw Refused(EPERM, "what is mounted is not yours, and none was named",
                      "name one if you trust its owner, who reads what is written there:" + all);
    throw Refused(EINVAL, "several dmfs are mounted, and none was named",
                  "name one, or set DMFS_MOUNT:" + all);
}

}  // namespace

std::vector<MountEntry> dmfs_mounts() {
    std::vector<MountEntry> mounts;
    for (MountEntry& entry : mount_entries())
        if (entry.type == "fuse.dmfs" && entry.root == "/") mounts.push_back(std::move(entry));
    return mounts;
}

std::string whose(const MountEntry& mount) {
    if (is_own(mount)) return "your own";
    if (!mount.owner) return "somebody's";
    const passwd* user = getpwuid(*mount.owner);
    return fmt::format("{}'s ({})", user != nullptr ? user->pw_name : "a user", *mount.owner);
}

const ControlClient& Invocation::control() {
    if (control_) return *control_;
    const std::vector<MountEntry> mounts = dmfs_mounts();
    std::string mountpoint = options.mount;
    if (mountpoint.empty()) {
        mountpoint = mount_of(first_word, mounts);
        if (const char* named = getenv("DMFS_MOUNT"); mountpoint.empty() && named != nullptr)
            mountpoint = named;
        if (mountpoint.empty()) mountpoint = own_mount(mounts);
    }
    control_ = std::make_unique<ControlClient>(mount_point(without_slashes(mountpoint), mounts));
    return *control_;
}

bool Invocation::is_foreign() {
    const std::string& where = control().mountpoint();
    const std::vector<MountEntry> mounts = dmfs_mounts();
    // The last hides the others.
    const auto found = std::find_if(mounts.rbegin(), mounts.rend(),
                                    [&](const MountEntry& mount) { return mount.where == where; });
    return found == mounts.rend() || !is_own(*found);
}

}  // namespace dmfs::cli
