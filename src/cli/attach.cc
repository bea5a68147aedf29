// attach and detach: a volume as a real block device, through a loop device.
//
// losetup does the same, but leaves three traps open, which these close:
//   * another process may take the free device between asking and configuring:
//     then the next one is asked for;
//   * without direct I/O a loop device handles one request at a time and caches
//     what a table swap makes stale: direct I/O is asked for and then verified;
//   * udev probes a device while it is being set up and holds it when it is to go:
//     partitions are scanned in a second step, and detach holds the device's lock.

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/loop.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "base/files.h"
#include "base/words.h"
#include "cli/commands.h"

namespace dmfs::cli {

namespace {

namespace stdfs = std::filesystem;

constexpr int kRaces = 64;  // free devices that others may take before us
constexpr std::chrono::seconds kDetachPatience{5};

class File {
  public:
    File(const std::string& path, int flags) : File(open(path.c_str(), flags | O_CLOEXEC)) {}
    explicit File(int fd) : fd_(fd), error_(fd < 0 ? errno : 0) {}
    ~File() {
        if (fd_ >= 0) close(fd_);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    int fd() const { return fd_; }
    int error() const { return error_; }

  private:
    int fd_;
    int error_;
};

std::string sys_path(const std::string& device, const char* file) {
    return "/sys/block/" + device.substr(device.rfind('/') + 1) + "/loop/" + file;
}

void need_loop_control(const File& control) {
    if (control.error() == 0) return;
    if (control.error() == EACCES)
        throw Refused(EACCES, "cannot open /dev/loop-control",
                      "loop devices are root's: sudo dmfs attach ...");
    throw Refused(control.error(), "cannot open /dev/loop-control", "`modprobe loop` makes it");
}

void need_volume(const File& file, const std::string& path) {
    if (file.error() == 0) return;
    if (file.error() == EACCES && geteuid() == 0)
        throw Refused(EACCES, "root cannot open " + path,
                      "it is another user's mount: mount it with -o allow_root, or as root");
    throw Refused(file.error(), "cannot open " + path,
                  file.error() == EROFS || file.error() == EACCES
                      ? "a read-only volume is attached with --read-only"
                      : "");
}

// The loop device that now stands on `backing`; configured, but not yet verified.
std::string configure(int control, int backing, const std::string& path, const Options& options) {
    loop_config config{};
    config.fd = static_cast<uint32_t>(backing);
    config.block_size = options.sector_size.value_or(0);
    config.info.lo_flags = LO_FLAGS_DIRECT_IO;
    if (options.readonly) config.info.lo_flags |= LO_FLAGS_READ_ONLY;
    strncpy(reinterpret_cast<char*>(config.info.lo_file_name), path.c_str(), LO_NAME_SIZE - 1);
    for (int tries = 0; tries < kRaces; tries++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0) throw Refused(errno, "no loop device is free");
        std::string device = fmt::format("/dev/loop{}", number);
        if (access(device.c_str(), F_OK) != 0) {
            // A container has the nodes it was given, and no devtmpfs that adds one.
            throw Refused(ENOENT, device + " is free, but there is no such node",
                          fmt::format("mknod {} b 7 {}", device, number));
        }
        File loop(device, options.readonly ? O_RDONLY : O_RDWR);
        if (loop.error() != 0) throw Refused(loop.error(), "cannot open " + device);
        if (ioctl(loop.fd(), LOOP_CONFIGURE, &config) == 0) return device;
        if (errno == EBUSY) continue;
        if (errno == EINVAL && options.sector_size)
            throw Refused(EINVAL, fmt::format("{} refuses sectors of {} bytes", device, *options.sector_size),
                          "a power of two from 512 to 4096");
        throw Refused(errno, "cannot attach " + device + " to " + path);
    }
    throw Refused(EBUSY, fmt::format("others took {} free loop devices in a row", kRaces));
}

// The block that the volume wants requests aligned to: 512, or what a device below takes.
uint32_t block_of(const ControlClient& control, const std::string& name) {
    for (const std::string text = control.read(name, "limits"); std::string_view line : lines_of(text)) {
        std::vector<Word> words = split_words(line);
        if (words.size() == 2 && words[0].text == "logical_block_size")
            return static_cast<uint32_t>(parse_decimal(words[1].text).value_or(0));
    }
    return 0;
}

void detach_device(const std::string& device) {
    File loop(device, O_RDONLY);
    if (loop.error() != 0) throw Refused(loop.error(), "cannot open " + device);
    // udev leaves a device alone that somebody has locked.
    while (flock(loop.fd(), LOCK_EX) != 0 && errno == EINTR) {
    }
    if (ioctl(loop.fd(), LOOP_CLR_FD) != 0) {
        if (errno == ENXIO) throw Refused(ENXIO, device + " is attached to nothing");
        throw Refused(errno, "cannot detach " + device);
    }
}

// The kernel takes a device that others hold away when the last of them closes it.
void wait_until_gone(const std::string& device) {
    auto deadline = std::chrono::steady_clock::now() + kDetachPatience;
    while (access(sys_path(device, "backing_file").c_str(), F_OK) == 0) {
        if (std::chrono::steady_clock::now() > deadline)
            throw Refused(EBUSY, device + " is in use",
                          "it goes when its last user (a mount, a process) lets it go");
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
}

void verify_direct_io(const std::string& device) {
    std::string dio = sys_path(device, "dio");
    if (first_line(dio) == "1") return;
    int error = EOPNOTSUPP;
    {
        File loop(device, O_RDONLY);
        if (loop.error() == 0 && ioctl(loop.fd(), LOOP_SET_DIRECT_IO, 1UL) != 0) error = errno;
    }
    if (first_line(dio) == "1") return;
    detach_device(device);
    throw Refused(error, device + " would not do direct I/O, so it was detached again",
                  "buffered, it would serve one request at a time and show stale data after a table swap");
}

void scan_partitions(const std::string& device) {
    File loop(device, O_RDONLY);
    loop_info64 info{};
    if (loop.error() != 0) throw Refused(loop.error(), "cannot open " + device);
    if (ioctl(loop.fd(), LOOP_GET_STATUS64, &info) != 0) throw Refused(errno, "cannot ask " + device);
    info.lo_flags |= LO_FLAGS_PARTSCAN;
    if (ioctl(loop.fd(), LOOP_SET_STATUS64, &info) != 0)
        throw Refused(errno, "cannot scan the partitions of " + device);
}

std::vector<std::string> devices_on(const std::string& path) {
    std::vector<std::string> devices;
    std::error_code error;
    for (const auto& entry : stdfs::directory_iterator("/sys/block", error)) {
        std::string device = "/dev/" + entry.path().filename().string();
        if (device.starts_with("/dev/loop") && first_line(sys_path(device, "backing_file")) == path)
            devices.push_back(device);
    }
    std::sort(devices.begin(), devices.end());
    return devices;
}

std::string kernel_path(Invocation& invocation, const std::string& name) {
    std::error_code error;
    stdfs::path mountpoint = stdfs::weakly_canonical(invocation.control().mountpoint(), error);
    return mountpoint / name;
}

}  // namespace

int attach(Invocation& invocation) {
    std::string name = take_volume(invocation);
    Options options = invocation.options;
    if (!options.sector_size) options.sector_size = block_of(invocation.control(), name);
    VolumeInfo info = invocation.control().info(name);
    if (!info.live)
        throw Refused(ENXIO, "the volume has no live table", "`dmfs load` and `dmfs resume` give it one");
    std::string path = kernel_path(invocation, name);
    File backing(open_below(invocation.control().mountpoint(), name, options.readonly ? O_RDONLY : O_RDWR));
    need_volume(backing, path);
    File control("/dev/loop-control", O_RDWR);
    need_loop_control(control);
    std::string device = configure(control.fd(), backing.fd(), path, options);
    verify_direct_io(device);
    if (options.partscan) scan_partitions(device);
    if (options.json)
        print_json({{"name", name}, {"device", device}});
    else
        fmt::print("{}\n", device);
    return 0;
}

int detach(Invocation& invocation) {
    const std::string& word = invocation.arguments.front();
    std::vector<std::string> devices = {word};
    if (!word.starts_with("/dev/loop")) {
        std::string name = take_volume(invocation);
        std::string path = kernel_path(invocation, name);
        devices = devices_on(path);
        if (devices.empty()) throw Refused(ENXIO, "no loop device is attached to " + path);
    }
    for (const std::string& device : devices) {
        detach_device(device);
        wait_until_gone(device);
    }
    return 0;
}

}  // namespace dmfs::cli
