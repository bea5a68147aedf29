// The dmfs mounts there are, what stands on them and what they stand on.

#include <fmt/format.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <sstream>

#include "base/words.h"
#include "cli/doctor_checks.h"
#include "cli/escape.h"

namespace dmfs::cli {

namespace {

constexpr uint64_t kFewBackground = 64;
constexpr int kDeepest = 16;  // block devices on one another

// One word for a shell; what would play tricks on a terminal is written \xHH.
std::string shell_word(const std::string& path) {
    bool plain = printable(path) == path;
    std::string out = plain ? "'" : "$'";
    for (char c : path) {
        auto byte = static_cast<unsigned char>(c);
        if (c == '\'')
            out += plain ? "'\\''" : "\\'";
        else if (!plain && c == '\\')
            out += "\\\\";
        else if (!plain && (byte < 0x20 || byte >= 0x7f))
            out += fmt::format("\\x{:02x}", byte);
        else
            out += c;
    }
    return out + "'";
}

bool inside(const std::string& path, const std::string& folder) {
    return path == folder || path.starts_with(folder + "/");
}

struct Loop {
    std::string name;     // "loop0"
    std::string backing;  // a path; perhaps with " (deleted)"
    std::string folder() const { return "/sys/block/" + name; }
};

std::vector<Loop> loops_of(const Host& host) {
    std::vector<Loop> loops;
    for (const std::string& name : host.names("/sys/block"))
        if (std::string backing = host.line("/sys/block/" + name + "/loop/backing_file"); !backing.empty())
            loops.push_back({name, backing});
    return loops;
}

// The file of `mount` that a block device stands on in the end; empty: none.
std::string stands_on(const Host& host, dev_t device, const std::string& mount, int depth = 0) {
    if (depth > kDeepest) return {};
    std::string folder = fmt::format("/sys/dev/block/{}:{}", major(device), minor(device));
    for (const char* file : {"/loop/backing_file", "/../loop/backing_file"}) {
        std::string backing = host.line(folder + file);
        if (backing.empty()) continue;
        if (inside(backing, mount)) return backing;
        if (std::optional<dev_t> below = host.device_of(backing); below && *below != Host::kSilent)
            if (std::string found = stands_on(host, *below, mount, depth + 1); !found.empty()) return found;
    }
    for (const std::string& slave : host.names(folder + "/slaves")) {
        std::string number = host.line(folder + "/slaves/" + slave + "/dev");
        unsigned major_number = 0, minor_number = 0;
        if (sscanf(number.c_str(), "%u:%u", &major_number, &minor_number) != 2) continue;
        std::string found = stands_on(host, makedev(major_number, minor_number), mount, depth + 1);
        if (!found.empty()) return found;
    }
    return {};
}

class MountCheck {
  public:
    MountCheck(const Host& host, const MountEntry& entry, Findings& findings)
        : host_(host), entry_(entry), where_(printable(entry.where)), findings_(findings) {}

    void run() {
        size_t before = findings_.size();
        look_ = host_.look_at_mount(entry_.where);
        if (look_.error != 0) {
            unreachable();
        } else {
            parked();
            background();
            for (const Loop& loop : loops_of(host_))
                if (inside(loop.backing, entry_.where)) loop_device(loop);
            std::set<std::string> files;
            // No path is followed that somebody else's mount names.
            const bool own = !entry_.owner || *entry_.owner == host_.user;
            for (const GraphDevice& device : look_.graph.devices)
                if (own && device.kind == "file" &&
                    files.insert(std::filesystem::path(device.name).parent_path()).second)
                    check_backing(host_, device.name, entry_.where, findings_);
        }
        // One line is enough for what is well.
        findings_.erase(
            std::remove_if(findings_.begin() + static_cast<std::ptrdiff_t>(before), findings_.end(),
                           [](const Finding& one) { return one.grade == Grade::ok; }),
            findings_.end());
        if (findings_.size() == before)
            add(Grade::ok, fmt::format("{} volumes", look_.graph.volumes.size()), {});
    }

  private:
    void add(Grade grade, std::string why, std::string mend) {
        findings_.push_back({grade, where_, std::move(why), std::move(mend)});
    }

    void unreachable() {
        if (look_.error == ENOTCONN)
            add(Grade::problem, "its process is gone, the mount is dead",
                "dmfs umount " + shell_word(entry_.where));
        else if (look_.error == ETIMEDOUT)
            add(Grade::problem, "it does not answer",
                fmt::format("echo 1 >/sys/fs/fuse/connections/{}/abort  # ends it; as root",
                            minor(entry_.device)));
        else if (look_.error == EACCES)
            add(Grade::warning, "it is another user's and cannot be looked at",
                "dmfs doctor  # as that user; or mount with -o allow_root");
        else
            add(Grade::warning, std::string("it cannot be looked at: ") + strerror(look_.error),
                "dmfs umount " + shell_word(entry_.where));
    }

    void parked() {
        for (size_t i = 0; i < look_.graph.volumes.size(); i++) {
            const GraphVolume& volume = look_.graph.volumes[i];
            if (volume.state != "suspended" || look_.parked[i] == 0) continue;
            add(Grade::warning,
                fmt::format("{} is suspended and {} requests wait; a process that waits through a loop "
                            "device cannot be killed",
                            printable(volume.name), look_.parked[i]),
                "dmfs --mount " + shell_word(entry_.where) + " resume " + shell_word(volume.name));
        }
    }

    // What the kernel lets wait at once for this mount; there only with fusectl, for root.
    void background() {
        std::string file = fmt::format("/sys/fs/fuse/connections/{}/max_background", minor(entry_.device));
        std::optional<uint64_t> most = host_.number(file);
        if (most && *most < kFewBackground)
            add(Grade::warning, fmt::format("the kernel sends it at most {} requests at once", *most),
                fmt::format("echo {} >{}", kFewBackground, file));
    }

    void loop_device(const Loop& loop) {
        std::string device = "/dev/" + loop.name;
        if (loop.backing.ends_with(" (deleted)"))
            return add(Grade::warning, device + " stands on a volume that was removed",
                       "losetup -d " + device);
        std::string name = loop.backing.substr(std::min(loop.backing.size(), entry_.where.size() + 1));
        if (host_.line(loop.folder() + "/loop/dio") == "0")
            add(Grade::warning,
                device +
                    " is buffered: it serves one request at a time, and shows old bytes after a swap of "
                    "tables",
                "losetup --direct-io=on " + device);
        if (std::optional<uint64_t> granularity = host_.number(loop.folder() + "/queue/discard_granularity");
            granularity && *granularity == 0)
            add(Grade::warning, device + " takes no discards, so what is freed above is not freed below",
                "dmfs detach " + device + " && dmfs attach " + shell_word(name));
        swapped_to(device);
        const std::vector<GraphVolume>& volumes = look_.graph.volumes;
        auto volume = std::find_if(volumes.begin(), volumes.end(),
                                   [&](const GraphVolume& one) { return one.name == name; });
        if (volume == volumes.end()) return;
        if (std::optional<uint64_t> sectors = host_.number(loop.folder() + "/size");
            sectors && *sectors != volume->sectors)
            add(Grade::warning,
                fmt::format("{} has {} sectors, {} has {} by now", device, *sectors, printable(name),
                            volume->sectors),
                "losetup -c " + device);
        uint32_t block = look_.logical_block[static_cast<size_t>(volume - volumes.begin())];
        if (std::optional<uint64_t> has = host_.number(loop.folder() + "/queue/logical_block_size");
            has && *has < block)
            add(Grade::warning,
                fmt::format("{} takes requests of {} bytes, what is below {} wants {}", device, *has,
                            printable(name), block),
                fmt::format("losetup --sector-size {} {}", block, device));
    }

    void swapped_to(const std::string& device) {
        std::istringstream lines(host_.text("/proc/swaps"));
        for (std::string line; std::getline(lines, line);)
            if (line.starts_with(device + " ") || line.starts_with(device + "\t"))
                add(Grade::problem, device + " is swap: when memory is short, the daemon may wait for itself",
                    "swapoff " + device);
    }

    const Host& host_;
    const MountEntry& entry_;
    const std::string where_;
    Findings& findings_;
    MountLook look_;
};

}  // namespace

void check_mounts(const Host& host, Findings& findings) {
    bool any = false;
    for (const MountEntry& entry : host.mounts()) {
        if (entry.type != "fuse.dmfs" || entry.root != "/") continue;
        any = true;
        MountCheck(host, entry, findings).run();
    }
    if (!any) findings.push_back({Grade::ok, "mounts", "no dmfs is mounted", {}});
}

void check_backing(const Host& host, const std::string& path, const std::string& mount, Findings& findings) {
    auto add = [&](Grade grade, std::string why, std::string mend) {
        findings.push_back({grade, printable(path), std::move(why), std::move(mend)});
    };
    std::optional<dev_t> device = host.device_of(path);
    if (!device) return add(Grade::problem, "it cannot be found", "ls -l " + shell_word(path));
    if (*device == Host::kSilent)
        return add(Grade::problem, "it does not answer: its server or its disk is gone, or hangs",
                   "timeout 9 stat " + shell_word(path) +
                       (mount.empty() ? "" : "  # suspend --noflush ends the waits of its volumes"));
    std::string kind = "its filesystem", folder = path;
    for (const MountEntry& entry : host.mounts())
        if (entry.device == *device) kind = printable(entry.type);
    std::error_code ignored;
    bool is_folder = std::filesystem::is_directory(host.at(path), ignored);
    if (!is_folder) folder = std::filesystem::path(path).parent_path();
    if (folder.empty()) folder = ".";

    size_t before = findings.size();
    std::string own = mount.empty() ? std::string() : stands_on(host, *device, mount);
    if (!own.empty())
        add(Grade::problem,
            "its filesystem stands on " + printable(own) +
                " of the same mount: the daemon may wait for itself",
            "cp --sparse=always " + shell_word(path) + " /var/tmp/  # and load a table with the copy");
    int error = host.punch_hole(folder);
    if (error == EOPNOTSUPP || error == ENOSYS || error == EISDIR)
        add(Grade::warning,
            kind + " makes no holes in files: discards free nothing, and zeros are written out",
            "mv " + shell_word(path) + " FOLDER  # on ext4, xfs, btrfs or tmpfs");
    if (!is_folder) {
        int direct = host.open_direct(path);
        if (direct == EINVAL || direct == EOPNOTSUPP)
            add(Grade::warning, kind + " knows no O_DIRECT, so the mount option backing=direct is not for it",
                "dmfs mount FOLDER -o backing=cached");
    }
    if (findings.size() == before) add(Grade::ok, "on " + kind, {});
}

}  // namespace dmfs::cli
