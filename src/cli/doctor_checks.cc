// The host, as dmfs needs it: the kernel, FUSE, io_uring, limits, loop devices.

#include "cli/doctor_checks.h"

#include <fmt/format.h>
#include <string.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <sstream>

#include "base/mount_rights.h"
#include "base/words.h"
#include "cli/escape.h"

namespace dmfs::cli {

namespace {

constexpr unsigned kCapSysResource = 24;
constexpr uint64_t kFewPages = 256;               // 1 MiB: the largest request of FUSE
constexpr uint64_t kLittleMemory = 256ULL << 20;  // for a daemon and the page cache of its files
constexpr uint64_t kFewFiles = 1024;
constexpr uint64_t kLittleLocked = 8ULL << 20;
constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();

void add(Findings& findings, Grade grade, const char* check, std::string why, std::string mend = {}) {
    findings.push_back({grade, check, std::move(why), std::move(mend)});
}

// "6.1.0-18-amd64" -> 6001; 0 if it is no such number.
unsigned version_of(const std::string& release) {
    unsigned major = 0, minor = 0;
    char dot = 0;
    std::istringstream words(release);
    words >> major >> dot >> minor;
    return dot == '.' ? major * 1000 + minor : 0;
}

// A row of /proc/self/limits: its soft and its hard limit.
struct Limit {
    uint64_t soft = kUnlimited, hard = kUnlimited;
};
std::optional<Limit> limit_of(const Host& host, const std::string& name) {
    std::string text = host.value("/proc/self/limits", name);
    if (text.empty()) return {};
    std::istringstream words(text);
    std::string soft, hard;
    words >> soft >> hard;
    return Limit{parse_decimal(soft).value_or(kUnlimited), parse_decimal(hard).value_or(kUnlimited)};
}

MountRights rights_of(const Host& host) {
    std::string uid_map = host.text("/proc/self/uid_map");
    if (uid_map.empty() && host.exists("/proc/self/uid_map")) uid_map = "\n";  // nobody is mapped
    MountRights rights = MountRights::of(host.text("/proc/self/status"), uid_map);
    rights.root = host.is_root();
    rights.own_mounts = host.owns_mounts();
    return rights;
}

}  // namespace

void check_kernel(const Host& host, Findings& findings) {
    std::string release = host.line("/proc/sys/kernel/osrelease");
    unsigned version = version_of(release);
    if (version == 0)
        return add(findings, Grade::warning, "kernel", "its version cannot be read",
                   "mount -t proc proc /proc");
    std::string what = "Linux " + printable(release);
    if (version < 4005)
        add(findings, Grade::problem, "kernel",
            what + ": loop devices with direct I/O on FUSE hang before Linux 4.5",
            "apt install linux-image-amd64  # 6.2 or later");
    else if (version < 6002)
        add(findings, Grade::warning, "kernel",
            what + ": writes to a volume wait for one another before Linux 6.2",
            "apt install linux-image-amd64  # 6.2 or later");
    else
        add(findings, Grade::ok, "kernel", what);
}

void check_fuse(const Host& host, Findings& findings) {
    bool known = host.text("/proc/filesystems").find("\tfuse\n") != std::string::npos;
    if (!known && !host.exists("/sys/module/fuse"))
        return add(findings, Grade::problem, "fuse", "the kernel has no FUSE, or its module is not loaded",
                   "modprobe fuse");
    if (!host.exists("/dev/fuse"))
        return add(findings, Grade::problem, "fuse",
                   "there is no /dev/fuse (a container needs --device /dev/fuse)",
                   "mknod -m 666 /dev/fuse c 10 229");
    int error = host.open_device("/dev/fuse");
    if (error == 0) return add(findings, Grade::ok, "fuse", "/dev/fuse can be opened");
    std::string why = std::string("/dev/fuse cannot be opened: ") + strerror(error);
    if (error == EPERM) why += " (by the devices that this container may use)";
    add(findings, Grade::problem, "fuse", why,
        error == ENODEV  ? "modprobe fuse"
        : error == EPERM ? "docker run --device /dev/fuse ..."
                         : "chmod 666 /dev/fuse  # as root");
}

void check_mounting(const Host& host, Findings& findings) {
    std::optional<MountTrouble> trouble = mount_trouble(rights_of(host));
    if (trouble) return add(findings, Grade::problem, "mounting", trouble->why, trouble->mend);
    add(findings, Grade::ok, "mounting", "nothing forbids it to this process");
}

void check_fusermount(const Host& host, Findings& findings) {
    // root mounts and unmounts without it
    Grade bad = host.is_root() ? Grade::warning : Grade::problem;
    std::string program = host.program("fusermount3");
    if (program.empty())
        return add(findings, bad, "fusermount3", "it is missing: users without rights cannot mount",
                   "apt install fuse3");
    struct stat found;
    if (::stat(host.at(program).c_str(), &found) != 0 || (found.st_mode & S_ISUID) == 0 || found.st_uid != 0)
        return add(findings, bad, "fusermount3",
                   program + " is not root's with the set-user-id bit: users cannot mount",
                   "chown root " + program + " && chmod u+s " + program);
    if (!host.exists("/etc/mtab"))
        return add(findings, Grade::warning, "fusermount3",
                   "there is no /etc/mtab, which fusermount3 -u reads", "ln -s /proc/self/mounts /etc/mtab");
    add(findings, Grade::ok, "fusermount3", program);
}

void check_allow_other(const Host& host, Findings& findings) {
    std::istringstream lines(host.text("/etc/fuse.conf"));
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string word;
        words >> word;
        if (word == "user_allow_other")
            return add(findings, Grade::ok, "user_allow_other",
                       "users may mount with -o allow_root and allow_other");
    }
    if (host.line("/sys/module/fuse/parameters/allow_sys_admin_access") == "Y")
        return add(findings, Grade::ok, "user_allow_other",
                   "root may use every FUSE mount (allow_sys_admin_access)");
    add(findings, Grade::warning, "user_allow_other",
        "users cannot let root use their mounts, so no loop device can stand on them",
        "echo user_allow_other >>/etc/fuse.conf");
}

void check_request_timeout(const Host& host, Findings& findings) {
    std::string set, mend;
    for (const char* name : {"default_request_timeout", "max_request_timeout"}) {
        uint64_t seconds = host.number(std::string("/proc/sys/fs/fuse/") + name).value_or(0);
        if (seconds == 0) continue;
        set += fmt::format("{}fs.fuse.{} is {} s", set.empty() ? "" : ", ", name, seconds);
        mend += fmt::format("{}fs.fuse.{}=0", mend.empty() ? "sysctl -w " : " ", name);
    }
    if (set.empty())
        return add(findings, Grade::ok, "request timeout",
                   "the kernel lets requests take as long as they need");
    add(findings, Grade::warning, "request timeout",
        set + ": a request that takes longer ends the whole mount, so suspends fail theirs after half of it",
        mend);
}

void check_max_pages(const Host& host, Findings& findings) {
    std::optional<uint64_t> pages = host.number("/proc/sys/fs/fuse/max_pages_limit");
    if (!pages || *pages >= kFewPages)
        return add(findings, Grade::ok, "request size",
                   fmt::format("up to {} KiB at once", pages.value_or(kFewPages) * 4));
    add(findings, Grade::warning, "request size",
        fmt::format("fs.fuse.max_pages_limit cuts large requests into pieces of {} KiB", *pages * 4),
        fmt::format("sysctl -w fs.fuse.max_pages_limit={}", kFewPages));
}

void check_io_uring(const Host& host, Findings& findings) {
    int error = host.make_ring();
    if (error == 0) return add(findings, Grade::ok, "io_uring", "it is there and allowed");
    uint64_t disabled = host.number("/proc/sys/kernel/io_uring_disabled").value_or(0);
    const std::string instead =
        "; threads wait for the disks instead, which costs half of the rate of small requests";
    if (disabled != 0)
        return add(findings, Grade::warning, "io_uring",
                   fmt::format("kernel.io_uring_disabled is {}", disabled) + instead,
                   "sysctl -w kernel.io_uring_disabled=0");
    if (host.value("/proc/self/status", "Seccomp") == "2")
        return add(findings, Grade::warning, "io_uring",
                   std::string("a seccomp filter refuses it: ") + strerror(error) + instead,
                   "docker run --security-opt seccomp=unconfined ...");
    add(findings, Grade::warning, "io_uring", std::string(strerror(error)) + instead,
        error == ENOMEM ? "ulimit -l unlimited  # as root" : "apt install linux-image-amd64  # 5.1 or later");
}

void check_io_flusher(const Host& host, Findings& findings) {
    std::string bits = host.value("/proc/self/status", "CapEff");
    uint64_t capabilities = strtoull(bits.c_str(), nullptr, 16);
    const bool of_host = !rights_of(host).user_namespace;  // else they do not count here
    if ((capabilities >> kCapSysResource & 1) != 0 && of_host)
        return add(findings, Grade::ok, "I/O flusher",
                   "CAP_SYS_RESOURCE is there: memory is not freed through dmfs's own volumes");
    add(findings, Grade::warning, "I/O flusher",
        "without CAP_SYS_RESOURCE a loop device on a volume may hang when memory is short",
        !of_host         ? "mount as the host's root"
        : host.is_root() ? "docker run --cap-add SYS_RESOURCE ...  # or CapabilityBoundingSet= in a unit"
                         : "setcap cap_sys_resource+ep \"$(command -v dmfs)\"  # as root; or mount as root");
}

void check_open_files(const Host& host, Findings& findings) {
    // A mount raises its own limit to the hard one.
    uint64_t most = limit_of(host, "Max open files").value_or(Limit{}).hard;
    if (most >= kFewFiles)
        return add(findings, Grade::ok, "open files",
                   most == kUnlimited ? "any number" : fmt::format("up to {}", most));
    add(findings, Grade::warning, "open files",
        fmt::format("at most {}: each table opens each of its files", most),
        "ulimit -Hn 65536  # as root; or LimitNOFILE=65536 in a unit");
}

void check_locked_memory(const Host& host, Findings& findings) {
    // Only root's daemon locks its memory; others lose nothing.
    uint64_t most = limit_of(host, "Max locked memory").value_or(Limit{}).soft;
    std::string bits = host.value("/proc/self/status", "CapEff");
    bool above_limits = (strtoull(bits.c_str(), nullptr, 16) >> 14 & 1) != 0 &&  // CAP_IPC_LOCK
                        !rights_of(host).user_namespace;
    if (above_limits || most >= kLittleLocked)
        return add(findings, Grade::ok, "locked memory",
                   above_limits || most == kUnlimited ? "any amount" : "up to " + size_text(most));
    add(findings, Grade::warning, "locked memory",
        "at most " + size_text(most) + ": the daemon's memory may be swapped out, io_uring may be refused",
        "ulimit -l unlimited  # as root; or LimitMEMLOCK=infinity in a unit");
}

void check_memory_group(const Host& host, Findings& findings) {
    // HIERARCHY:CONTROLLERS:PATH; each group above limits those below.
    uint64_t least = kUnlimited;
    std::string where;
    std::istringstream lines(host.text("/proc/self/cgroup"));
    for (std::string line; std::getline(lines, line);) {
        size_t first = line.find(':'), second = line.find(':', first + 1);
        if (second == std::string::npos) continue;
        std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
        std::string group = line.substr(second + 1), base, file;
        if (controllers == ",,") {
            base = "/sys/fs/cgroup", file = "/memory.max";
        } else if (controllers.find(",memory,") != std::string::npos) {
            base = "/sys/fs/cgroup/memory", file = "/memory.limit_in_bytes";
        } else {
            continue;
        }
        for (;; group.resize(group.rfind('/'))) {
            while (!group.empty() && group.back() == '/') group.pop_back();
            uint64_t limit = host.number(base + group + file).value_or(kUnlimited);
            if (limit < least) least = limit, where = base + group + file;
            if (group.empty()) break;
        }
    }
    if (least >= kLittleMemory)
        return add(findings, Grade::ok, "memory",
                   least >= kUnlimited >> 2 ? "no group limits it" : "its group may use " + size_text(least));
    add(findings, Grade::warning, "memory",
        "its group may use " + size_text(least) + ", of which the cached pages of the files below are a part",
        fmt::format("echo {} >{}", kLittleMemory, where));
}

void check_loop_control(const Host& host, Findings& findings) {
    if (!host.exists("/dev/loop-control"))
        return add(
            findings, Grade::warning, "loop devices",
            "there is no /dev/loop-control: volumes cannot be block devices",
            host.exists("/sys/module/loop") ? "mknod -m 660 /dev/loop-control c 10 237" : "modprobe loop");
    for (const std::string& name : host.names("/sys/block"))
        if (name.starts_with("loop") && !host.exists("/dev/" + name))
            return add(findings, Grade::warning, "loop devices",
                       "the kernel has " + name + ", and here is no node for it",
                       "mknod -m 660 /dev/" + name + " b 7 " + name.substr(4));
    if (!host.is_root())
        return add(findings, Grade::ok, "loop devices", "root can attach them (sudo dmfs attach)");
    if (int error = host.open_device("/dev/loop-control"); error != 0)
        return add(findings, Grade::warning, "loop devices",
                   std::string("/dev/loop-control cannot be opened: ") + strerror(error),
                   "docker run --device-cgroup-rule 'b 7:* rmw' --device /dev/loop-control ...");
    add(findings, Grade::ok, "loop devices", "they can be attached");
}

Findings examine(const Host& host, const std::vector<std::string>& files) {
    Findings findings;
    for (auto check :
         {check_kernel, check_fuse, check_mounting, check_fusermount, check_allow_other,
          check_request_timeout, check_max_pages, check_io_uring, check_io_flusher, check_open_files,
          check_locked_memory, check_memory_group, check_loop_control, check_mounts})
        check(host, findings);
    for (const std::string& file : files) check_backing(host, file, {}, findings);
    return findings;
}

}  // namespace dmfs::cli
