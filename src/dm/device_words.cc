#include "dm/device_words.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <climits>
#include <cstring>
#include <deque>
#include <fstream>
#include <sstream>

#include "dm/names.h"

namespace dmfs {

namespace {

constexpr int kMostLinks = 40;  // as the kernel's own path walk
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
    : volumes_(volumes), mountpoint_(std::move(mountpoint)), options_(options), circles_(mountpoint_) {}

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
    try {
        return open_file(word, writable, folder);
    } catch (const Refused& refused) {
        if (is_path || refused.error() != ENOENT) throw;
        std::vector<std::string> names;
        for (const auto& volume : volumes_.volumes()) names.push_back(volume->name());
        std::vector<std::string> similar = similar_names(word, names);
        throw Refused(ENOENT, "no volume '" + word + "', and no file " + folder + "/" + word,
                      similar.empty() ? "" : "the volume '" + similar.front() + "'?");
    }
}

std::shared_ptr<Device> DeviceWords::open_file(const std::string& word, bool writable,
                                               const std::string& folder) {
    if (word[0] != '/' && folder.empty())
        throw Refused(EINVAL, "'" + word + "' begins in a folder that can't be seen from here",
                      "an absolute path");
    return open_path(word[0] == '/' ? word : folder + "/" + word, writable);
}

// A volume that is called as the file it stands on: `create disk.img --table '... disk.img 0'`.
std::shared_ptr<Device> DevicesOf::open_device(const std::string& word, bool writable,
                                               const std::string& folder) {
    try {
        return words_.open_device(word, writable, folder);
    } catch (const Refused& refused) {
        if (word != name_ || refused.error() != ENXIO) throw;  // ENXIO: it never had a table
        try {
            return words_.open_file(word, writable, folder);
        } catch (const Refused& of_file) {
            if (of_file.error() != ENOENT) throw;
        }
        throw;
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

std::shared_ptr<Device> DeviceWords::open_path(const std::string& path, bool writable) {
    Found found = walk(path);
    return found.volume.empty() ? open_found(found, writable) : open_volume(found.volume);
}

// Each table opens its files anew: Linux tells a lost write once to each open file,
// and every volume on the file has to hear of it.
std::shared_ptr<Device> DeviceWords::open_found(const Found& found, bool writable) {
    if (!found.place) throw Refused(found.error, "can't open " + found.path);
    refuse_own(found.place->fd(), found.path);
    return FileDevice::open(volumes_.executor(), found.path, {writable, options_.direct, options_.space},
                            "/proc/self/fd/" + std::to_string(found.place->fd()));
}

namespace {

struct statx known_of(int fd) {
    struct statx known {};
    static_cast<void>(::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &known));
    return known;
}

uint64_t filesystem_of(const struct statx& known) {
    return makedev(known.stx_dev_major, known.stx_dev_minor);
}

// What `part` of an open folder is; a link is not followed. `folder`: what has more parts after
// it, so that what is mounted on demand is mounted.
int open_part(int at, const std::string& part, bool folder) {
    constexpr int kFlags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
    int fd = folder ? ::openat(at, part.c_str(), kFlags | O_DIRECTORY) : -1;
    return fd >= 0 || (folder && errno != ENOTDIR) ? fd : ::openat(at, part.c_str(), kFlags);
}

std::string joined(std::string path, const std::deque<std::string>& rest) {
    for (const std::string& part : rest) path += "/" + part;
    return path;
}

}  // namespace

DeviceWords::Found DeviceWords::walk(const std::string& path) const {
    std::deque<std::string> rest = components(path);
    std::string walked;
    auto at = std::make_unique<OpenFile>(::open("/", O_PATH | O_CLOEXEC));
    uint64_t filesystem = filesystem_of(known_of(at->fd()));
    int links = 0;
    const std::shared_ptr<const Places> places = circles_.places();
    while (!rest.empty()) {
        std::string part = rest.front();
        rest.pop_front();
        std::string next = part == ".." ? walked.substr(0, walked.rfind('/')) : walked + "/" + part;
        auto inside = places->own.find(next);
        if (part != ".." && inside != places->own.end()) {
            if (!rest.empty() && rest.front() == "..") {  // in and out again
                rest.pop_front();
                continue;
            }
            std::deque<std::string> parts = components(inside->second);
            parts.insert(parts.end(), rest.begin(), rest.end());
            if (parts.size() != 1 || parts.front() == ".control")
                throw Refused(EINVAL, path + " leads into this mount",
                              "a volume's name, or " + mountpoint_ + "/NAME");
            return {nullptr, {}, parts.front(), 0};
        }
        auto open = std::make_unique<OpenFile>(open_part(at->fd(), part, !rest.empty()));
        if (!open->good()) return {nullptr, joined(next, rest), {}, errno};
        const struct statx known = known_of(open->fd());
        if (S_ISLNK(known.stx_mode)) {
            // /proc/PID/root and the like are no text: they lead where their text doesn't say.
            struct statfs kind;
            if (walked.starts_with("/proc/") && ::fstatfs(at->fd(), &kind) == 0 &&
                kind.f_type == PROC_SUPER_MAGIC)
                throw Refused(EINVAL, next + " is a link of another process", "the path it stands for");
            char target[PATH_MAX];
            ssize_t length = ::readlinkat(open->fd(), "", target, sizeof target - 1);
            if (length < 0) return {nullptr, joined(next, rest), {}, errno};
            if (++links > kMostLinks) throw Refused(ELOOP, path + " has too many symbolic links");
            target[length] = 0;
            std::deque<std::string> linked = components(target);
            rest.insert(rest.begin(), linked.begin(), linked.end());
            if (target[0] != '/') continue;
            walked.clear();
            at = std::make_unique<OpenFile>(::open("/", O_PATH | O_CLOEXEC));
            continue;
        }
        // A lookup beyond would be served by what stands below.
        const uint64_t entered = filesystem_of(known);
        if (!rest.empty() && entered != std::exchange(filesystem, entered)) refuse_own(open->fd(), next);
        at = std::move(open);
        walked = std::move(next);
    }
    return {std::move(at), walked.empty() ? "/" : walked, {}, 0};
}

void DeviceWords::refuse_own(int fd, const std::string& path) const {
    const struct statx known = known_of(fd);
    if (!S_ISBLK(known.stx_mode) && circles_.places()->filesystem == filesystem_of(known))
        throw Refused(EINVAL, path + " leads into this mount by a detour", "the volume's name");
    std::string own = circles_.own_below(fd);
    if (own.empty()) return;
    throw Refused(EINVAL, path + " stands on this mount's own " + own,
                  "name the volume itself, or another file system: else the daemon would wait for itself");
}

}  // namespace dmfs
