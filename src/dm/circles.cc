#include "dm/circles.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "base/files.h"

namespace dmfs {

namespace {

constexpr int kDeepest = 32;              // ways through devices, file systems and mounts
constexpr size_t kMostGraph = 64U << 20;  // bytes of another mount's answer

std::string own_path(int fd) {
    char text[PATH_MAX];
    ssize_t length = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), text, sizeof text);
    return length > 0 ? std::string(text, static_cast<size_t>(length)) : std::string();
}

// Which mount an open file was reached through; 0: not known.
uint64_t mount_of(int fd) {
    std::ifstream info("/proc/self/fdinfo/" + std::to_string(fd));
    for (std::string line; std::getline(info, line);)
        if (line.starts_with("mnt_id:")) return std::strtoull(line.c_str() + 7, nullptr, 10);
    return 0;
}

// Parts of a text at each `separator` that no backslash quotes.
std::vector<std::string> parts_of(const std::string& text, char separator) {
    std::vector<std::string> parts(1);
    for (size_t at = 0; at < text.size(); at++) {
        if (text[at] == '\\' && at + 1 < text.size())
            parts.back() += text[++at];
        else if (text[at] == separator)
            parts.emplace_back();
        else
            parts.back() += text[at];
    }
    return parts;
}

// One search from a place down; no way is gone twice.
class Search {
  public:
    explicit Search(const Places& places) : places_(places) {}

    std::string below(int fd, int depth) {
        struct statx found;
        // As far as it is known already: the server of a file system is not asked.
        if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &found) != 0) return {};
        if (S_ISBLK(found.stx_mode))
            return below_device(makedev(found.stx_rdev_major, found.stx_rdev_minor), depth);
        uint64_t device = makedev(found.stx_dev_major, found.stx_dev_minor);
        if (device == places_.filesystem) return own_path(fd);
        if (found.stx_dev_major != 0) return below_device(device, depth);
        auto mount = places_.mounts.find(mount_of(fd));
        if (mount == places_.mounts.end()) return {};
        return mount->second.type == "fuse.dmfs" ? below_other(mount->second, own_path(fd), depth)
                                                 : below_mount(mount->second, depth);
    }

  private:
    std::string below_path(const std::string& path, int depth) {
        if (places_.is_own(path)) return path;
        if (depth > kDeepest || !seen_.insert(path).second) return {};
        OpenFile place(::open(path.c_str(), O_PATH | O_CLOEXEC));
        return place.good() ? below(place.fd(), depth + 1) : std::string();
    }

    // A block device: through loop devices, their partitions, and what the kernel stacks on them.
    std::string below_device(uint64_t device, int depth) {
        std::string folder =
            "/sys/dev/block/" + std::to_string(major(device)) + ":" + std::to_string(minor(device));
        if (depth > kDeepest || !seen_.insert(folder).second) return {};
        for (const char* where :
             {"/loop/backing_file", "/../loop/backing_file"})  // the disk, or that of a partition
            if (std::string backing = first_line(folder + where); !backing.empty())
                if (std::string own = below_path(backing, depth + 1); !own.empty()) return own;
        return below_listed(folder + "/slaves", depth);
    }

    // The block devices that a folder of /sys has links to.
    std::string below_listed(const std::string& folder, int depth) {
        std::error_code error;
        for (const auto& each : std::filesystem::directory_iterator(folder, error)) {
            unsigned major = 0, minor = 0;
            if (sscanf(first_line(each.path() / "dev").c_str(), "%u:%u", &major, &minor) != 2) continue;
            if (std::string own = below_device(makedev(major, minor), depth + 1); !own.empty()) return own;
        }
        return {};
    }

    // A file system without a device number of its own.
    std::string below_mount(const MountEntry& mount, int depth) {
        if (depth > kDeepest || !seen_.insert("mount " + std::to_string(mount.id)).second) return {};
        if (mount.type == "overlay") return below_overlay(mount, depth);
        bool has_devices = mount.source.starts_with("/dev/");
        if (!has_devices && !mount.type.starts_with("fuse") && mount.type != "ecryptfs") return {};
        if (!mount.source.starts_with("/")) return {};
        for (const std::string& source : parts_of(mount.source, ':'))  // bcachefs names several
            if (std::string own = below_path(source, depth + 1); !own.empty()) return own;
        if (mount.type != "btrfs") return {};
        // Where there are several devices only one is named.
        const std::string name = std::filesystem::path(mount.source).filename();
        std::error_code error;
        for (const auto& each : std::filesystem::directory_iterator("/sys/fs/btrfs", error))
            if (std::filesystem::exists(each.path() / "devices" / name, error))
                return below_listed(each.path() / "devices", depth);
        return {};
    }

    std::string below_overlay(const MountEntry& mount, int depth) {
        for (const std::string& option : mount.options) {
            size_t value = option.find('=');
            std::string key = option.substr(0, value);
            if (key != "lowerdir" && key != "upperdir" && key != "lowerdir+" && key != "datadir+") continue;
            for (const std::string& layer : parts_of(option.substr(value + 1), ':')) {
                if (layer.empty()) continue;  // data layers stand after ::
                std::string own = layer.starts_with('/') ? below_path(layer, depth + 1) : anywhere(depth);
                if (!own.empty()) return own;
            }
        }
        return {};
    }

    // A layer that was named from some folder: nobody knows which any more. It may lie on any
    // file system that stands on this mount.
    std::string anywhere(int depth) {
        for (const auto& [id, mount] : places_.mounts) {
            std::string own = major(mount.device) != 0 ? below_device(mount.device, depth + 1)
                              : mount.type == "btrfs"  ? below_mount(mount, depth + 1)
                                                       : std::string();
            if (!own.empty()) return own;
        }
        return {};
    }

    // A volume of another mount of dmfs: what its live table stands on.
    std::string below_other(const MountEntry& mount, const std::string& path, int depth) {
        if (!path.starts_with(mount.where)) return {};
        std::string name = mount.root + path.substr(mount.where.size());
        name.erase(0, name.find_first_not_of('/'));
        if (name.empty() || name.find('/') != std::string::npos) return {};
        if (!seen_.insert("volume " + std::to_string(mount.device) + " " + name).second) return {};
        const Graph& graph = graph_of(mount);
        std::set<std::string> known{name};
        std::vector<std::string> names{name};
        for (size_t i = 0; i < names.size(); i++)
            for (auto [at, end] = graph.equal_range(names[i]); at != end; ++at) {
                const auto& [kind, device] = at->second;
                if (kind == "volume") {
                    if (known.insert(device).second) names.push_back(device);
                } else if (kind == "file" || kind == "block") {
                    if (std::string own = below_path(device, depth + 1); !own.empty()) return own;
                }
            }
        return {};
    }

    // By volumes: kinds and names of their devices.
    using Graph = std::multimap<std::string, std::pair<std::string, std::string>>;

    static Graph devices_in(const nlohmann::json& graph) {
        Graph devices;
        const nlohmann::json none = nlohmann::json::array();
        auto list = [&](const nlohmann::json& of, const char* key) -> const nlohmann::json& {
            return of.is_object() && of.contains(key) && of[key].is_array() ? of[key] : none;
        };
        auto text = [](const nlohmann::json& of, const char* key) {
            return of.is_object() && of.contains(key) && of[key].is_string() ? of[key].get<std::string>()
                                                                             : std::string();
        };
        for (const nlohmann::json& volume : list(graph, "volumes"))
            for (const nlohmann::json& row : list(volume, "rows"))
                for (const nlohmann::json& area : list(row, "areas"))
                    devices.emplace(text(volume, "name"), std::pair(text(area, "kind"), text(area, "name")));
        return devices;
    }

    const Graph& graph_of(const MountEntry& mount) {
        auto [found, fresh] = graphs_.try_emplace(mount.device);
        if (!fresh) return found->second;
        std::string folder = mount.where;
        for (const auto& [id, other] : places_.mounts)  // the whole of it, where this is a part
            if (other.device == mount.device && other.root == "/") folder = other.where;
        found->second = devices_in(nlohmann::json::parse(answer_of(folder, mount), nullptr, false));
        return found->second;
    }

    // Whoever serves it is anybody: no link of his is followed, and no FIFO waited for.
    static std::string answer_of(const std::string& folder, const MountEntry& mount) {
        OpenFile file(open_below(folder, ".control/graph", O_RDONLY | O_NONBLOCK | O_NOCTTY));
        struct stat found;
        if (!file.good() || ::fstat(file.fd(), &found) != 0) return {};
        if (!S_ISREG(found.st_mode) || found.st_dev != mount.device) return {};
        std::string text, piece(1 << 16, 0);
        while (text.size() < kMostGraph) {
            const ssize_t got = ::read(file.fd(), piece.data(), piece.size());
            if (got <= 0) break;
            text.append(piece, 0, static_cast<size_t>(got));
        }
        return text;
    }

    const Places& places_;
    std::set<std::string> seen_;
    std::map<uint64_t, Graph> graphs_;  // of other mounts, by their st_dev
};

}  // namespace

bool Places::is_own(const std::string& path) const {
    for (const auto& [where, root] : own)
        if (path == where || path.starts_with(where + "/")) return true;
    return false;
}

Circles::Circles(std::string mountpoint)
    : mountpoint_(std::move(mountpoint)), mounts_fd_(::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC)) {}

Circles::~Circles() {
    if (mounts_fd_ >= 0) ::close(mounts_fd_);
}

std::shared_ptr<const Places> Circles::places() const {
    std::lock_guard guard(mutex_);
    // The kernel says by poll(2) whether anything was mounted since the last look.
    pollfd changed{mounts_fd_, POLLPRI, 0};
    if (known_ && mounts_fd_ >= 0 && ::poll(&changed, 1, 0) == 0) return places_;
    auto fresh = std::make_shared<Places>();
    std::vector<MountEntry> entries = mount_entries();
    if (!mountpoint_.empty()) {
        for (const MountEntry& entry : entries)
            if (entry.where == mountpoint_) fresh->filesystem = entry.device;  // the last covers the others
        fresh->own[mountpoint_] = "/";
    }
    for (MountEntry& entry : entries) {
        if (entry.device == fresh->filesystem) fresh->own[entry.where] = entry.root;
        fresh->mounts.emplace(entry.id, std::move(entry));
    }
    known_ = fresh->filesystem.has_value();
    places_ = std::move(fresh);
    return places_;
}

std::string Circles::own_below(int fd) const {
    if (mountpoint_.empty()) return {};
    std::shared_ptr<const Places> now = places();
    return Search(*now).below(fd, 0);
}

}  // namespace dmfs
