#include "dm/device_words.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <climits>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/files.h"
#include "base/mounts.h"
#include "dm/names.h"

namespace dmfs {

namespace {

constexpr int kMostLinks = 40;     // as the kernel's own path walk
constexpr int kDeepestStack = 16;  // of block devices below a file system
constexpr uint64_t kMostRam = uint64_t{1} << 46;

std::deque<std::string> components(const std::string& path) {
    std::deque<std::string> parts;
    std::istringstream stream(path);
    for (std::string part; std::getline(stream, part, '/');)
        if (!part.empty() && part != ".") parts.push_back(part);
    return parts;
}

}  // namespace

DeviceWords::DeviceWords(Namespace& volumes, std::string mountpoint, Options options)
    : volumes_(volumes),
      mountpoint_(std::move(mountpoint)),
      options_(options),
      mounts_fd_(::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC)) {}

DeviceWords::~DeviceWords() {
    if (mounts_fd_ >= 0) ::close(mounts_fd_);
}

std::shared_ptr<Device> DeviceWords::open_device(const std::string& word, bool writable,
                                                 const std::string& folder) {
    if (word.empty()) throw Refused(ENOENT, "an empty word names no device");
    if (word.starts_with("ram:")) return open_ram(word);
    bool is_path = word.find('/') != std::string::npos;
    if (!is_path) {
        if (std::shared_ptr<Volume> volume = volumes_.by_name(word)) return volumes_.open(volume);
        size_t colon = word.find(':');
        if (colon != std::string::npos) {
            std::optional<uint64_t> major = parse_decimal(std::string_view(word).substr(0, colon));
            std::optional<uint64_t> minor = parse_decimal(std::string_view(word).substr(colon + 1));
            if (major && minor && *major <= UINT32_MAX && *minor <= UINT32_MAX)
                return open_numbered(word, static_cast<uint32_t>(*major), static_cast<uint32_t>(*minor),
                                     writable);
        }
    }
    if (word[0] != '/' && folder.empty())
        throw Refused(EINVAL, "'" + word + "' begins in a folder that can't be seen from here",
                      "an absolute path");
    Resolved found = resolve(word[0] == '/' ? word : folder + "/" + word);
    if (!found.volume.empty()) return open_volume(found.volume);
    try {
        return open_path(found.path, writable);
    } catch (const Refused& refused) {
        if (is_path || refused.error() != ENOENT) throw;
        std::vector<std::string> names;
        for (const auto& volume : volumes_.volumes()) names.push_back(volume->name());
        std::vector<std::string> similar = similar_names(word, names);
        throw Refused(ENOENT, "no volume '" + word + "', and no file " + found.path,
                      similar.empty() ? "" : "the volume '" + similar.front() + "'?");
    }
}

std::shared_ptr<Device> DeviceWords::open_volume(const std::string& name) {
    std::shared_ptr<Volume> volume = volumes_.by_name(name);
    if (!volume) throw Refused(ENOENT, "no volume '" + name + "' in this mount");
    return volumes_.open(volume);
}

std::shared_ptr<Device> DeviceWords::open_numbered(const std::string& word, uint32_t major, uint32_t minor,
                                                   bool writable) {
    if (major == 0) {
        std::shared_ptr<Volume> volume = volumes_.by_minor(minor);
        if (!volume)
            throw Refused(ENXIO, "no volume has the number " + word, "volumes are numbered 0:0, 0:1, ...");
        return volumes_.open(volume);
    }
    std::ifstream events("/sys/dev/block/" + word + "/uevent");
    for (std::string line; std::getline(events, line);)
        if (line.starts_with("DEVNAME=")) return open_path("/dev/" + line.substr(8), writable);
    throw Refused(ENXIO, "no block device has the number " + word, "lsblk lists them");
}

std::shared_ptr<Device> DeviceWords::open_ram(const std::string& word) {
    std::string size =
        word.substr(4, word.find(':', 4) == std::string::npos ? std::string::npos : word.find(':', 4) - 4);
    std::optional<uint64_t> bytes = parse_size(size);
    if (!bytes || *bytes == 0 || *bytes % kSectorBytes != 0 || *bytes > kMostRam)
        throw Refused(EINVAL, "'" + word + "' names no memory",
                      "ram:SIZE or ram:SIZE:NAME, SIZE such as 64M, a multiple of 512");
    std::lock_guard guard(mutex_);
    std::weak_ptr<FileDevice>& entry = ram_[word];
    std::shared_ptr<FileDevice> device = entry.lock();
    if (!device) entry = device = FileDevice::ram(volumes_.executor(), *bytes, word);
    return device;
}

// Each table opens its files anew: Linux tells a lost write once to each open file,
// and every volume on the file has to hear of it.
std::shared_ptr<Device> DeviceWords::open_path(const std::string& path, bool writable) {
    auto device = FileDevice::open(volumes_.executor(), path, {writable, options_.direct, options_.space});
    refuse_own(*device);
    return device;
}

// Walks a path part by part, so that nothing is asked of the own mount: a lookup
// there would be answered by a thread that may be waiting for this very call.
DeviceWords::Resolved DeviceWords::resolve(const std::string& path) const {
    std::deque<std::string> rest = components(path);
    std::string walked;
    int links = 0;
    const Places places = known_places();
    while (!rest.empty()) {
        std::string part = rest.front();
        rest.pop_front();
        if (part == "..") {
            walked.resize(walked.rfind('/') == std::string::npos ? 0 : walked.rfind('/'));
            continue;
        }
        std::string next = walked + "/" + part;
        auto inside = places.own.find(next);
        bool is_own = inside != places.own.end();
        if (is_own && (rest.empty() || rest.front() != "..")) {
            std::deque<std::string> parts = components(inside->second);
            parts.insert(parts.end(), rest.begin(), rest.end());
            if (parts.size() != 1 || parts.front() == ".control")
                throw Refused(EINVAL, path + " leads into this mount",
                              "a volume's name, or " + mountpoint_ + "/NAME");
            return {{}, parts.front()};
        }
        // A lookup there would be served by one of the own volumes.
        if (auto mounted = places.on_devices.find(next); mounted != places.on_devices.end())
            if (std::string below = own_volume_below(mounted->second, places, 0); !below.empty())
                throw Refused(EINVAL, next + " stands on this mount's own " + below, "another filesystem");
        char target[PATH_MAX];
        ssize_t length = is_own ? -1 : ::readlink(next.c_str(), target, sizeof target - 1);
        if (length < 0) {
            walked = next;
            continue;
        }
        // /proc/PID/root and the like are no text: they lead where their text doesn't say.
        struct statfs filesystem;
        if (walked.starts_with("/proc/") && ::statfs(walked.c_str(), &filesystem) == 0 &&
            filesystem.f_type == PROC_SUPER_MAGIC)
            throw Refused(EINVAL, next + " is a link of another process", "the path it stands for");
        if (++links > kMostLinks) throw Refused(ELOOP, path + " has too many symbolic links");
        target[length] = 0;
        std::deque<std::string> linked = components(target);
        rest.insert(rest.begin(), linked.begin(), linked.end());
        if (target[0] == '/') walked.clear();
    }
    return {walked.empty() ? "/" : walked, {}};
}

DeviceWords::Places DeviceWords::known_places() const {
    if (mountpoint_.empty()) return {};
    std::lock_guard guard(mounts_mutex_);
    // The kernel says by poll(2) whether anything was mounted since the last look.
    pollfd changed{mounts_fd_, POLLPRI, 0};
    if (mounts_known_ && mounts_fd_ >= 0 && ::poll(&changed, 1, 0) == 0) return places_;
    std::vector<MountEntry> entries = mount_entries();
    places_ = Places();
    for (const MountEntry& entry : entries)
        if (entry.where == mountpoint_) places_.filesystem = entry.device;  // the last covers the others
    places_.own[mountpoint_] = "/";
    for (const MountEntry& entry : entries) {
        if (entry.device == places_.filesystem) places_.own[entry.where] = entry.root;
        if (major(entry.device) != 0) places_.on_devices[entry.where] = entry.device;
    }
    mounts_known_ = places_.filesystem.has_value();
    return places_;
}

void DeviceWords::refuse_own(const FileDevice& device) const {
    if (mountpoint_.empty()) return;
    const Places places = known_places();
    std::optional<DeviceNumber> number = device.number();
    if (!number && places.filesystem == device.filesystem())
        throw Refused(EINVAL, device.name() + " leads into this mount by a detour", "the volume's name");
    uint64_t below = number ? makedev(number->major, number->minor) : device.filesystem();
    std::string own = own_volume_below(below, places, 0);
    if (!own.empty())
        throw Refused(EINVAL, device.name() + " stands on this mount's own " + own,
                      "name the volume itself; through a loop device the daemon would wait for itself");
}

// The file of this mount that a block device stands on (through loop devices, their
// partitions, and what the kernel stacks on them), or empty.
std::string DeviceWords::own_volume_below(uint64_t device_number, const Places& places, int depth) const {
    if (major(device_number) == 0 || depth > kDeepestStack) return {};
    std::string folder =
        "/sys/dev/block/" + std::to_string(major(device_number)) + ":" + std::to_string(minor(device_number));
    for (const char* where :
         {"/loop/backing_file", "/../loop/backing_file"}) {  // the disk, or the disk of a partition
        std::string backing = first_line(folder + where);
        if (backing.empty()) continue;
        for (const auto& [own, root] : places.own)
            if (backing == own || backing.starts_with(own + "/")) return backing;
        struct stat found;
        if (::stat(backing.c_str(), &found) == 0)
            if (std::string own = own_volume_below(found.st_dev, places, depth + 1); !own.empty()) return own;
    }
    std::error_code error;
    for (const auto& slave : std::filesystem::directory_iterator(folder + "/slaves", error)) {
        unsigned major = 0, minor = 0;
        if (sscanf(first_line(slave.path() / "dev").c_str(), "%u:%u", &major, &minor) != 2) continue;
        if (std::string own = own_volume_below(makedev(major, minor), places, depth + 1); !own.empty())
            return own;
    }
    return {};
}

}  // namespace dmfs
