// mount, umount, and mount.fuse.dmfs, which mount(8) runs for
// `mount -t fuse.dmfs SOURCE FOLDER` and for lines of /etc/fstab.

#include "fs/mount.h"

#include <fmt/format.h>
#include <spawn.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/files.h"
#include "base/words.h"
#include "cli/commands.h"

namespace dmfs::cli {

namespace {

namespace stdfs = std::filesystem;

constexpr std::chrono::milliseconds kLookPatience{500};
constexpr std::chrono::seconds kUnmountPatience{10};

// The path as /proc/self/mountinfo writes it. The last part is not followed: it
// may be a mount whose process is gone.
std::string mounted_path(const std::string& folder) {
    std::error_code error;
    stdfs::path path = stdfs::absolute(folder, error).lexically_normal();
    if (!path.has_filename()) path = path.parent_path();
    std::string direct = stdfs::canonical(path, error);
    if (!error) return direct;
    return (stdfs::weakly_canonical(path.parent_path(), error) / path.filename()).string();
}

// How many are mounted there, one over the other.
auto mounted(const std::string& path) {
    const std::vector<MountEntry> mounts = dmfs_mounts();
    return std::ranges::count(mounts, path, &MountEntry::where);
}

bool inside(const std::string& path, const std::string& folder) {
    return path == folder || path.starts_with(folder + "/");
}

// Who keeps the mount busy, as far as this user may see: one line each.
std::vector<std::string> users_of(const std::string& mountpoint) {
    std::vector<std::string> users;
    std::error_code error;
    for (const auto& entry : stdfs::directory_iterator("/sys/block", error)) {
        std::string device = entry.path().filename();
        std::string backing = first_line(entry.path() / "loop/backing_file");
        if (inside(backing, mountpoint))
            users.push_back(fmt::format("/dev/{} is attached to {}", device, backing));
    }
    for (const auto& process : stdfs::directory_iterator("/proc", error)) {
        std::string pid = process.path().filename();
        if (!parse_decimal(pid) || pid == std::to_string(getpid())) continue;
        std::vector<stdfs::path> links = {process.path() / "cwd", process.path() / "root"};
        std::error_code denied;
        for (const auto& open : stdfs::directory_iterator(process.path() / "fd", denied))
            links.push_back(open.path());
        for (const stdfs::path& link : links) {
            std::string target = stdfs::read_symlink(link, denied);
            if (denied || !inside(target, mountpoint)) continue;
            users.push_back(
                fmt::format("process {} ({}) uses {}", pid, first_line(process.path() / "comm"), target));
            break;
        }
    }
    return users;
}

[[noreturn]] void refuse_busy(const std::string& mountpoint) {
    std::string remedy;
    for (const std::string& user : users_of(mountpoint)) remedy += (remedy.empty() ? "" : "\n  ") + user;
    if (remedy.empty()) remedy = "a process of another user, or another mount, stands on it";
    throw Refused(EBUSY, mountpoint + " is in use",
                  remedy + "\n  --lazy takes it away once nobody uses it any more");
}

// fusermount3 -u, for those who are not root; what it says is kept off the terminal.
bool unmount_by_helper(const std::string& mountpoint, bool lazy) {
    std::string flags = lazy ? "-uzq" : "-uq", path = mountpoint, separator = "--";
    std::string program = "fusermount3";
    char* argv[] = {program.data(), flags.data(), separator.data(), path.data(), nullptr};
    pid_t child = 0;
    int error = posix_spawnp(&child, argv[0], nullptr, nullptr, argv, environ);
    if (error != 0) throw Refused(error, "cannot run fusermount3", "it comes with libfuse (package fuse3)");
    int result = 0;
    while (waitpid(child, &result, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(result) && WEXITSTATUS(result) == 0;
}

// The kernel would stack a second mount on it, and hide all its volumes; both daemons would write to
// the same files. (Of a dead one fs::mount says that it is dead.)
void refuse_mounted(const std::string& folder) {
    std::string path = mounted_path(folder);
    if (mounted(path) != 0 && access(path.c_str(), F_OK) == 0)
        throw Refused(EBUSY, path + " is a dmfs mount already",
                      "`dmfs umount " + path + "` first, or another folder");
}

// With the configuration as the source, as mount(8) writes a path: so `mount -a` finds it mounted.
void take_config(fs::MountOptions& options, const std::string& path) {
    std::error_code error;
    options.config_path = path;
    if (path.empty()) return;
    const stdfs::path found = stdfs::canonical(path, error);
    options.source = error ? path : found.string();
}

}  // namespace

int mount(Invocation& invocation) {
    fs::MountOptions options;
    options.mountpoint = invocation.arguments.front();
    refuse_mounted(options.mountpoint);
    options.options = invocation.options.fields.value_or("");
    options.foreground = invocation.options.foreground;
    take_config(options, invocation.options.config);
    return fs::mount(options);
}

int umount(Invocation& invocation) {
    std::string path = mounted_path(invocation.arguments.front());
    auto before = mounted(path);
    if (before == 0)
        throw Refused(EINVAL, path + " is not a dmfs mount", "`findmnt -t fuse.dmfs` lists them");
    bool lazy = invocation.options.lazy;
    if (chdir("/") != 0) throw Refused(errno, "cannot leave this folder");  // which may be in the mount
    if (geteuid() == 0) {
        // Others may look at it just now: `dmfs doctor`, or a mount that asks what this one stands on.
        int error = 0;
        for (auto until = std::chrono::steady_clock::now() + kLookPatience;;) {
            error = ::umount2(path.c_str(), UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) != 0 ? errno : 0;
            if (error != EBUSY || std::chrono::steady_clock::now() > until) break;
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
        if (error == EBUSY) refuse_busy(path);
        if (error != 0) throw Refused(error, "cannot unmount " + path);
    } else if (!unmount_by_helper(path, lazy)) {
        if (!users_of(path).empty()) refuse_busy(path);
        throw Refused(EPERM, "fusermount3 cannot unmount " + path,
                      access("/etc/mtab", F_OK) != 0
                          ? "it reads /etc/mtab: `ln -s /proc/self/mounts /etc/mtab`, as root"
                          : "a mount is its owner's to unmount, or root's");
    }
    auto deadline = std::chrono::steady_clock::now() + kUnmountPatience;
    while (mounted(path) >= before) {
        if (std::chrono::steady_clock::now() > deadline)
            throw Refused(ETIMEDOUT, path + " is still mounted", "another dmfs may be mounted below it");
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return 0;
}

// SOURCE is the path of a dmfs.toml, or a word without meaning ("dmfs", "none").
static int mount_source(const std::string& source, fs::MountOptions options) {
    if (source.find('/') != std::string::npos || source.ends_with(".toml"))
        take_config(options, source);
    else
        options.source = source;
    refuse_mounted(options.mountpoint);
    return fs::mount(options);
}

int mount_source(const std::string& source, const Invocation& invocation) {
    fs::MountOptions options;
    options.mountpoint = invocation.arguments.front();
    options.options = invocation.options.fields.value_or("");
    options.foreground = invocation.options.foreground;
    return mount_source(source, options);
}

// mount.fuse.dmfs SOURCE FOLDER [-sfnvN] [-o OPTIONS]
int mount_helper(int argc, char** argv) {
    fs::MountOptions options;
    std::vector<std::string> words;
    bool fake = false;
    for (int i = 1; i < argc; i++) {
        std::string_view word = argv[i];
        if (word == "-o" || word == "-t" || word == "-N") {
            if (i + 1 == argc) break;
            std::string_view value = argv[++i];
            if (word == "-o") options.options += (options.options.empty() ? "" : ",") + std::string(value);
        } else if (word.size() > 1 && word[0] == '-') {
            fake |= word.find('f') != std::string_view::npos;
            options.sloppy |= word.find('s') != std::string_view::npos;
        } else {
            words.emplace_back(word);
        }
    }
    if (words.size() != 2) {
        fmt::print(stderr, "usage: mount.fuse.dmfs SOURCE FOLDER [-o OPTIONS]\n");
        return 1;
    }
    options.mountpoint = words[1];
    return fake ? 0 : mount_source(words[0], options);
}

}  // namespace dmfs::cli
