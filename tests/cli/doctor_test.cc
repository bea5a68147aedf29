#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "catch.h"
#include "cli/doctor_checks.h"

using namespace dmfs;
using namespace dmfs::cli;

namespace {

// A machine that is well, in a folder; a test makes it ill.
struct Machine {
    std::string root;
    Host host;

    Machine() : root(made()), host(root) {
        host.user = 1000;
        host.path = {"/usr/bin"};
        host.make_ring = [] { return 0; };
        host.owns_mounts = [] { return true; };
        host.punch_hole = host.open_direct = host.open_device = [](const std::string&) { return 0; };
        file("/proc/sys/kernel/osrelease", "6.12.1-amd64");
        file("/proc/filesystems", "nodev\tproc\nnodev\tfuse\n");
        file("/proc/self/status",
             "CapEff:\t0000000001200000\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t0\nSeccomp:\t0\n");
        limits("1048576", "unlimited");
        file("/proc/self/cgroup", "0::/user/me\n");
        file("/dev/fuse", "");
        file("/dev/loop-control", "");
        file("/usr/bin/fusermount3", "");
        chmod((root + "/usr/bin/fusermount3").c_str(), 04755);
        file("/etc/mtab", "");
        file("/etc/fuse.conf", "# a comment\nuser_allow_other\n");
        mounts("");
    }
    ~Machine() { std::filesystem::remove_all(root); }

    static std::string made() {
        char name[] = "/tmp/dmfs-doctor-test.XXXXXX";
        return mkdtemp(name);
    }
    void file(const std::string& path, const std::string& text) const {
        std::filesystem::create_directories(std::filesystem::path(root + path).parent_path());
        std::ofstream(root + path) << text;
    }
    void gone(const std::string& path) const { std::filesystem::remove_all(root + path); }
    void limits(const std::string& files, const std::string& locked) const {
        file("/proc/self/limits",
             "Limit                     Soft Limit           Hard Limit           Units\n"
             "Max open files            1024                 " +
                 files + "     files\n" + "Max locked memory         " + locked +
                 "           unlimited            bytes\n");
    }
    void mounts(const std::string& more) const {
        file("/proc/self/mountinfo", "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n" + more);
    }

    Finding one(void (*check)(const Host&, Findings&)) const {
        Findings findings;
        check(host, findings);
        REQUIRE(findings.size() == 1);
        // What is not well says how it is mended.
        CHECK(findings[0].mend.empty() == (findings[0].grade == Grade::ok));
        CHECK_FALSE(findings[0].why.find('\n') != std::string::npos);
        return findings[0];
    }
    bool well(void (*check)(const Host&, Findings&)) const { return one(check).grade == Grade::ok; }
};

bool says(const Finding& finding, const std::string& why, const std::string& mend) {
    INFO(finding.why << "; " << finding.mend);
    CHECK(finding.why.find(why) != std::string::npos);
    CHECK(finding.mend.find(mend) != std::string::npos);
    return true;
}

bool is_root() { return geteuid() == 0; }  // for what root's set-user-id bit needs

}  // namespace

TEST_CASE("doctor: a machine that is well has no findings but good ones") {
    Machine machine;
    for (const Finding& finding : examine(machine.host, {})) {
        if (finding.check == "fusermount3" && !is_root()) continue;
        INFO(finding.check << ": " << finding.why);
        CHECK(finding.grade == Grade::ok);
    }
}

TEST_CASE("doctor: the kernel") {
    Machine machine;
    CHECK(machine.well(check_kernel));
    machine.file("/proc/sys/kernel/osrelease", "5.10.0");
    CHECK(machine.one(check_kernel).grade == Grade::warning);
    machine.file("/proc/sys/kernel/osrelease", "4.4.0-generic");
    CHECK(machine.one(check_kernel).grade == Grade::problem);
    machine.file("/proc/sys/kernel/osrelease", "unknown");
    CHECK(machine.one(check_kernel).grade == Grade::warning);
    machine.gone("/proc/sys/kernel/osrelease");
    CHECK(machine.one(check_kernel).grade == Grade::warning);
}

TEST_CASE("doctor: FUSE") {
    Machine machine;
    CHECK(machine.well(check_fuse));
    machine.host.open_device = [](const std::string&) { return EACCES; };
    CHECK(says(machine.one(check_fuse), "Permission denied", "chmod 666 /dev/fuse"));
    machine.host.open_device = [](const std::string&) { return EPERM; };
    CHECK(says(machine.one(check_fuse), "container", "--device /dev/fuse"));
    machine.host.open_device = [](const std::string&) { return ENODEV; };
    CHECK(says(machine.one(check_fuse), "No such device", "modprobe fuse"));
    machine.gone("/dev/fuse");
    CHECK(says(machine.one(check_fuse), "no /dev/fuse", "mknod"));
    CHECK(machine.one(check_fuse).grade == Grade::problem);
    machine.file("/proc/filesystems", "nodev\tfusectl\n");
    CHECK(says(machine.one(check_fuse), "module", "modprobe fuse"));
    machine.file("/sys/module/fuse/parameters/x", "");
    CHECK(says(machine.one(check_fuse), "no /dev/fuse", "mknod"));
}

TEST_CASE("doctor: fusermount3") {
    Machine machine;
    if (is_root()) {
        CHECK(machine.well(check_fusermount));
        machine.host.user = 0;
        CHECK(machine.well(check_fusermount));  // root needs none of its rights
        machine.gone("/etc/mtab");
        CHECK(says(machine.one(check_fusermount), "/etc/mtab", "ln -s"));
        machine.host.user = 1000;
    }
    chmod((machine.root + "/usr/bin/fusermount3").c_str(), 0755);
    CHECK(says(machine.one(check_fusermount), "set-user-id", "chmod u+s /usr/bin/fusermount3"));
    CHECK(machine.one(check_fusermount).grade == Grade::problem);
    machine.gone("/usr/bin/fusermount3");
    CHECK(says(machine.one(check_fusermount), "missing", "apt install fuse3"));
    machine.host.user = 0;
    CHECK(machine.one(check_fusermount).grade == Grade::warning);
}

TEST_CASE("doctor: who may mount") {
    Machine machine;
    auto status = [&](const char* effective, const char* bounding, const char* no_new_privs) {
        machine.file("/proc/self/status", std::string("CapEff:\t") + effective + "\nCapBnd:\t" + bounding +
                                              "\nNoNewPrivs:\t" + no_new_privs + "\n");
    };
    const char* none = "0000000000000000";
    const char* all = "000001ffffffffff";
    machine.file("/proc/self/uid_map", "         0          0 4294967295\n");
    status(none, all, "0");
    CHECK(machine.well(check_mounting));  // by fusermount3
    status(none, all, "1");
    CHECK(says(machine.one(check_mounting), "no_new_privs", "no-new-privileges=false"));
    status(none, "00000000a80425fb", "0");  // docker's
    CHECK(says(machine.one(check_mounting), "CAP_SYS_ADMIN",
               "docker run --device /dev/fuse --cap-add SYS_ADMIN"));
    machine.host.user = 0;
    CHECK(says(machine.one(check_mounting), "CAP_SYS_ADMIN", "--cap-add SYS_ADMIN"));
    status(all, all, "1");
    CHECK(machine.well(check_mounting));  // root needs no more than it has

    // unshare -Um; unshare -Ur; unshare -Umr
    machine.host.user = 65534;
    status(none, all, "0");
    machine.file("/proc/self/uid_map", "");
    CHECK(says(machine.one(check_mounting), "root is nobody", "unshare -Umr"));
    machine.host.user = 0;
    status(all, all, "0");
    machine.file("/proc/self/uid_map", "         0       1000          1\n");
    machine.host.owns_mounts = [] { return false; };
    CHECK(says(machine.one(check_mounting), "no mounts of its own", "unshare -Umr"));
    machine.host.owns_mounts = [] { return true; };
    CHECK(machine.well(check_mounting));
    // What a user namespace calls rights are none of the host's.
    CHECK(says(machine.one(check_io_flusher), "CAP_SYS_RESOURCE", "host's root"));
    machine.limits("1048576", "65536");
    CHECK(says(machine.one(check_locked_memory), "64 KiB", "ulimit -l unlimited"));
}

TEST_CASE("doctor: user_allow_other") {
    Machine machine;
    CHECK(machine.well(check_allow_other));
    machine.file("/etc/fuse.conf", "#user_allow_other\n");
    CHECK(says(machine.one(check_allow_other), "loop device", ">>/etc/fuse.conf"));
    machine.gone("/etc/fuse.conf");
    CHECK_FALSE(machine.well(check_allow_other));
    machine.file("/sys/module/fuse/parameters/allow_sys_admin_access", "Y\n");
    CHECK(machine.well(check_allow_other));
}

TEST_CASE("doctor: what the kernel allows requests") {
    Machine machine;
    CHECK(machine.well(check_request_timeout));
    machine.file("/proc/sys/fs/fuse/default_request_timeout", "0\n");
    machine.file("/proc/sys/fs/fuse/max_request_timeout", "0\n");
    CHECK(machine.well(check_request_timeout));
    machine.file("/proc/sys/fs/fuse/max_request_timeout", "60\n");
    CHECK(says(machine.one(check_request_timeout), "is 60 s", "sysctl -w fs.fuse.max_request_timeout=0"));
    machine.file("/proc/sys/fs/fuse/default_request_timeout", "10\n");
    CHECK(says(machine.one(check_request_timeout), "is 10 s",
               "default_request_timeout=0 fs.fuse.max_request_timeout=0"));

    CHECK(machine.well(check_max_pages));
    machine.file("/proc/sys/fs/fuse/max_pages_limit", "256\n");
    CHECK(machine.well(check_max_pages));
    machine.file("/proc/sys/fs/fuse/max_pages_limit", "32\n");
    CHECK(says(machine.one(check_max_pages), "128 KiB", "sysctl -w fs.fuse.max_pages_limit=256"));
}

TEST_CASE("doctor: io_uring") {
    Machine machine;
    CHECK(machine.well(check_io_uring));
    machine.host.make_ring = [] { return EPERM; };
    machine.file("/proc/sys/kernel/io_uring_disabled", "2\n");
    CHECK(
        says(machine.one(check_io_uring), "io_uring_disabled is 2", "sysctl -w kernel.io_uring_disabled=0"));
    machine.file("/proc/sys/kernel/io_uring_disabled", "0\n");
    machine.file("/proc/self/status", "Seccomp:\t2\n");
    CHECK(says(machine.one(check_io_uring), "seccomp", "seccomp=unconfined"));
    machine.file("/proc/self/status", "Seccomp:\t0\n");
    machine.host.make_ring = [] { return ENOSYS; };
    CHECK(says(machine.one(check_io_uring), "not implemented", "apt install"));
    machine.host.make_ring = [] { return ENOMEM; };
    CHECK(says(machine.one(check_io_uring), "memory", "ulimit -l"));
}

TEST_CASE("doctor: rights and limits") {
    Machine machine;
    CHECK(machine.well(check_io_flusher));
    machine.file("/proc/self/status", "CapEff:\t0000000000000000\n");
    CHECK(says(machine.one(check_io_flusher), "CAP_SYS_RESOURCE", "setcap cap_sys_resource+ep"));
    machine.host.user = 0;
    CHECK(says(machine.one(check_io_flusher), "loop device", "--cap-add SYS_RESOURCE"));

    CHECK(machine.well(check_open_files));
    CHECK(machine.well(check_locked_memory));
    machine.limits("256", "65536");
    CHECK(says(machine.one(check_open_files), "at most 256", "ulimit -Hn"));
    CHECK(says(machine.one(check_locked_memory), "64 KiB", "ulimit -l unlimited"));
    machine.file("/proc/self/status", "CapEff:\t0000000000004000\n");  // CAP_IPC_LOCK
    CHECK(machine.well(check_locked_memory));
}

TEST_CASE("doctor: the memory of its group, and of those above") {
    Machine machine;
    CHECK(machine.well(check_memory_group));
    machine.file("/sys/fs/cgroup/user/me/memory.max", "max\n");
    CHECK(machine.well(check_memory_group));
    machine.file("/sys/fs/cgroup/user/memory.max", "67108864\n");
    CHECK(says(machine.one(check_memory_group), "64 MiB", ">/sys/fs/cgroup/user/memory.max"));
    machine.gone("/sys/fs/cgroup");
    machine.file("/proc/self/cgroup", "5:devices:/x\n4:cpu,memory:/box\n0::/\n");
    machine.file("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "9223372036854771712\n");
    CHECK(machine.well(check_memory_group));
    machine.file("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "1048576\n");
    CHECK(says(machine.one(check_memory_group), "1 MiB", "memory.limit_in_bytes"));
}

TEST_CASE("doctor: loop devices") {
    Machine machine;
    CHECK(machine.well(check_loop_control));
    machine.file("/sys/block/loop3/size", "0");
    CHECK(says(machine.one(check_loop_control), "loop3", "mknod -m 660 /dev/loop3 b 7 3"));
    machine.file("/dev/loop3", "");
    machine.host.user = 0;
    CHECK(machine.well(check_loop_control));
    machine.host.open_device = [](const std::string&) { return EPERM; };
    CHECK(says(machine.one(check_loop_control), "not permitted", "--device-cgroup-rule"));
    machine.gone("/dev/loop-control");
    CHECK(says(machine.one(check_loop_control), "no /dev/loop-control", "modprobe loop"));
    machine.file("/sys/module/loop/parameters/max_loop", "0");
    CHECK(says(machine.one(check_loop_control), "no /dev/loop-control", "mknod"));
}

namespace {

// The machine, with a mount on /mnt/dm that has one volume on a file.
struct Mounted : Machine {
    MountLook look;

    Mounted() {
        mounts("90 22 0:45 / /mnt/dm rw - fuse.dmfs dmfs rw\n91 22 0:46 / /mnt/other rw - fuse.sshfs x rw\n");
        GraphVolume volume;
        volume.name = "v";
        volume.sectors = 2048;
        volume.state = "active";
        look.graph.volumes.push_back(volume);
        GraphDevice device;
        device.kind = "file";
        device.name = "/home/a.img";
        look.graph.devices.push_back(device);
        look.parked = {0};
        look.logical_block = {512};
        file("/home/a.img", "");
        host.device_of = [](const std::string&) { return makedev(8, 1); };
        host.look_at_mount = [this](const std::string& where) {
            CHECK(where == "/mnt/dm");
            return look;
        };
    }
    void loop(const std::string& backing) const {
        file("/sys/block/loop7/loop/backing_file", backing + "\n");
        file("/sys/block/loop7/loop/dio", "1\n");
        file("/sys/block/loop7/size", "2048\n");
        file("/sys/block/loop7/queue/discard_granularity", "4096\n");
        file("/sys/block/loop7/queue/logical_block_size", "512\n");
    }
};

}  // namespace

TEST_CASE("doctor: a mount that is well, one that is dead, silent, or another user's") {
    Mounted machine;
    Finding well = machine.one(check_mounts);
    CHECK(well.grade == Grade::ok);
    CHECK(well.check == "/mnt/dm");
    machine.look.error = ENOTCONN;
    CHECK(says(machine.one(check_mounts), "dead", "dmfs umount '/mnt/dm'"));
    CHECK(machine.one(check_mounts).grade == Grade::problem);
    machine.look.error = ETIMEDOUT;
    CHECK(says(machine.one(check_mounts), "does not answer", "/connections/45/abort"));
    machine.look.error = EACCES;
    CHECK(says(machine.one(check_mounts), "another user", "allow_root"));
    machine.look.error = EIO;
    CHECK(says(machine.one(check_mounts), "Input/output error", "dmfs umount"));
    machine.mounts("");
    CHECK(says(machine.one(check_mounts), "no dmfs is mounted", ""));
}

TEST_CASE("doctor: requests that wait for a resume") {
    Mounted machine;
    machine.look.graph.volumes[0].state = "suspended";
    CHECK(machine.well(check_mounts));
    machine.look.parked = {3};
    machine.look.graph.volumes[0].name = "it's\n";
    CHECK(says(machine.one(check_mounts), "3 requests wait", "resume $'it\\'s\\x0a'"));
    machine.look.graph.volumes[0].state = "active";
    CHECK(machine.well(check_mounts));
}

TEST_CASE("doctor: how much the kernel sends to a mount at once") {
    Mounted machine;
    machine.file("/sys/fs/fuse/connections/45/max_background", "64\n");
    CHECK(machine.well(check_mounts));
    machine.file("/sys/fs/fuse/connections/45/max_background", "12\n");
    CHECK(
        says(machine.one(check_mounts), "at most 12", "echo 64 >/sys/fs/fuse/connections/45/max_background"));
}

TEST_CASE("doctor: loop devices on a volume") {
    Mounted machine;
    machine.loop("/mnt/dm/v");
    CHECK(machine.well(check_mounts));
    machine.file("/sys/block/loop7/loop/dio", "0\n");
    CHECK(says(machine.one(check_mounts), "buffered", "losetup --direct-io=on /dev/loop7"));
    machine.loop("/mnt/dm/v");
    machine.file("/sys/block/loop7/queue/discard_granularity", "0\n");
    CHECK(says(machine.one(check_mounts), "no discards", "dmfs detach /dev/loop7 && dmfs attach 'v'"));
    machine.loop("/mnt/dm/v");
    machine.file("/sys/block/loop7/size", "1024\n");
    CHECK(says(machine.one(check_mounts), "1024 sectors", "losetup -c /dev/loop7"));
    machine.loop("/mnt/dm/v");
    machine.look.logical_block = {4096};
    CHECK(says(machine.one(check_mounts), "wants 4096", "losetup --sector-size 4096 /dev/loop7"));
    machine.look.logical_block = {512};
    machine.file("/proc/swaps",
                 "Filename Type Size\n/dev/loop7                              partition\t100\n");
    CHECK(says(machine.one(check_mounts), "is swap", "swapoff /dev/loop7"));
    CHECK(machine.one(check_mounts).grade == Grade::problem);
    machine.file("/proc/swaps", "Filename Type Size\n/dev/loop70 partition 100\n");
    CHECK(machine.well(check_mounts));
    machine.loop("/mnt/dm/v (deleted)");
    CHECK(says(machine.one(check_mounts), "was removed", "losetup -d /dev/loop7"));
    // Those that stand elsewhere are not ours.
    machine.loop("/mnt/dmx/v");
    machine.file("/sys/block/loop7/loop/dio", "0\n");
    CHECK(machine.well(check_mounts));
}

TEST_CASE("doctor: a backing file on a filesystem that stands on its own loop device") {
    Mounted machine;
    machine.file("/sys/dev/block/8:1/loop/backing_file", "/elsewhere/disk\n");
    CHECK(machine.well(check_mounts));
    machine.file("/sys/dev/block/8:1/loop/backing_file", "/mnt/dm/v\n");
    CHECK(says(machine.one(check_mounts), "stands on /mnt/dm/v of the same mount",
               "cp --sparse=always '/home/a.img'"));
    CHECK(machine.one(check_mounts).grade == Grade::problem);
    // Through a partition and another mapping.
    machine.gone("/sys/dev/block/8:1/loop");
    machine.file("/sys/dev/block/8:1/slaves/dm-0/dev", "253:0\n");
    machine.file("/sys/dev/block/253:0/slaves/loop7p1/dev", "259:1\n");
    machine.file("/sys/dev/block/loop/backing_file", "/mnt/dm/v\n");
    machine.file("/sys/dev/block/259:1/x", "");
    CHECK(machine.one(check_mounts).grade == Grade::problem);
}

TEST_CASE("doctor: the filesystem of a file") {
    Machine machine;
    machine.file("/home/a.img", "");
    auto check = [&] {
        Findings findings;
        check_backing(machine.host, "/home/a.img", {}, findings);
        REQUIRE(findings.size() == 1);
        return findings[0];
    };
    machine.host.device_of = [](const std::string&) { return makedev(8, 1); };
    CHECK(says(check(), "on ext4", ""));
    CHECK(check().grade == Grade::ok);
    machine.host.punch_hole = [](const std::string& folder) {
        CHECK(folder == "/home");
        return EOPNOTSUPP;
    };
    CHECK(says(check(), "ext4 makes no holes", "mv '/home/a.img'"));
    machine.host.punch_hole = [](const std::string&) { return EACCES; };  // says nothing about holes
    CHECK(check().grade == Grade::ok);
    machine.host.open_direct = [](const std::string&) { return EINVAL; };
    CHECK(says(check(), "O_DIRECT", "backing=cached"));
    machine.host.device_of = [](const std::string&) { return std::optional<dev_t>(); };
    CHECK(check().grade == Grade::problem);
}
