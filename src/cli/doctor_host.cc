// The real machine, for the checks of `doctor`.

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/io_uring.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/files.h"
#include "base/mount_rights.h"
#include "base/words.h"
#include "cli/bounded.h"
#include "cli/doctor_checks.h"
#include "dm/control_client.h"

namespace dmfs::cli {

namespace {

int open_errno(const std::string& path, int flags) {
    int fd = open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return errno;
    close(fd);
    return 0;
}

int try_ring() {
    io_uring_params params{};
    long fd = syscall(SYS_io_uring_setup, 4, &params);
    if (fd < 0) return errno;
    close(static_cast<int>(fd));
    return 0;
}

// On a file without a name, which is gone when it is closed.
int try_punch_hole(const std::string& folder) {
    int fd = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) return errno;
    int error = 0;
    if (ftruncate(fd, 65536) != 0 || fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 65536) != 0)
        error = errno;
    close(fd);
    return error;
}

// What a mount says: the errno of looking, its options, its graph, and of each volume its name and
// the files info, inflight and limits. Perhaps in another process, so in texts.
Texts read_mount(const std::string& mountpoint) {
    ControlClient control(mountpoint);
    Texts said{"0"};
    try {
        said.push_back(control.read("options"));
        said.push_back(control.read("graph"));
        for (const std::string& name : control.volumes())
            for (const std::string& text : {name, control.read(name, "info"), control.read(name, "inflight"),
                                            control.read(name, "limits")})
                said.push_back(text);
    } catch (const Refused& refused) {
        said.front() = std::to_string(refused.error());
    }
    return said;
}

MountLook look(const std::string& mountpoint) {
    MountLook found;
    std::optional<Texts> said = in_time([&] { return read_mount(mountpoint); });
    found.error = said ? static_cast<int>(parse_decimal(said->front()).value_or(EIO)) : ETIMEDOUT;
    if (said && said->size() > 1) found.options = (*said)[1];
    if (said && said->size() > 2)
        found.graph = parse_graph(nlohmann::ordered_json::parse((*said)[2], nullptr, false));
    auto& volumes = found.graph.volumes;
    found.parked.resize(volumes.size());
    found.logical_block.resize(volumes.size(), 512);
    for (size_t at = 3; said && at + 3 < said->size(); at += 4) {
        // In the graph a name that is no UTF-8 is another.
        VolumeInfo info = parse_info((*said)[at + 1]);
        auto place = std::find_if(volumes.begin(), volumes.end(),
                                  [&](const GraphVolume& volume) { return volume.minor == info.minor; });
        if (place == volumes.end()) continue;
        place->name = (*said)[at];
        auto index = static_cast<size_t>(place - volumes.begin());
        std::istringstream inflight((*said)[at + 2]);
        uint64_t reads = 0, writes = 0;
        inflight >> reads >> writes >> found.parked[index];
        std::istringstream limits((*said)[at + 3]);
        for (std::string key, value; limits >> key >> value;)
            if (key == "logical_block_size")
                found.logical_block[index] = static_cast<uint32_t>(parse_decimal(value).value_or(512));
    }
    return found;
}

// The errno of a call on a path that may lie on a server that is gone.
int errno_in_time(const std::function<int()>& call) {
    std::optional<Texts> said = in_time([&] { return Texts{std::to_string(call())}; });
    return said && !said->empty() ? static_cast<int>(parse_decimal(said->front()).value_or(EIO)) : ETIMEDOUT;
}

}  // namespace

Host::Host(std::string root_path) : root(std::move(root_path)), user(geteuid()) {
    const char* variable = getenv("PATH");
    std::istringstream folders(std::string(variable == nullptr ? "" : variable) +
                               ":/usr/sbin:/sbin:/usr/bin:/bin");
    for (std::string folder; std::getline(folders, folder, ':');)
        if (!folder.empty()) path.push_back(folder);
    open_device = [this](const std::string& file) { return open_errno(at(file), O_RDWR); };
    make_ring = try_ring;
    punch_hole = [this](const std::string& folder) {
        return errno_in_time([&] { return try_punch_hole(at(folder)); });
    };
    open_direct = [this](const std::string& file) {
        return errno_in_time([&] { return open_errno(at(file), O_RDONLY | O_DIRECT); });
    };
    device_of = [this](const std::string& file) -> std::optional<dev_t> {
        std::optional<Texts> said = in_time([&] {
            struct stat found;
            if (::stat(at(file).c_str(), &found) != 0) return Texts{};
            return Texts{std::to_string(found.st_dev)};
        });
        if (said && said->empty()) return {};
        return said ? static_cast<dev_t>(parse_decimal(said->front()).value_or(0)) : kSilent;
    };
    owns_mounts = [] { return MountRights::mine().own_mounts; };
    look_at_mount = look;
}

bool Host::exists(const std::string& file) const {
    std::error_code ignored;
    return std::filesystem::exists(at(file), ignored);
}

std::string Host::line(const std::string& file) const { return first_line(at(file)); }

std::string Host::text(const std::string& file) const {
    std::ifstream stream(at(file));
    return {std::istreambuf_iterator<char>(stream), {}};
}

std::optional<uint64_t> Host::number(const std::string& file) const { return parse_decimal(line(file)); }

std::vector<std::string> Host::names(const std::string& folder) const {
    std::vector<std::string> found;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(at(folder), error))
        found.push_back(entry.path().filename());
    std::sort(found.begin(), found.end());
    return found;
}

std::string Host::value(const std::string& file, const std::string& key) const {
    std::istringstream lines(text(file));
    for (std::string one; std::getline(lines, one);) {
        if (!one.starts_with(key)) continue;
        size_t from = one.find_first_not_of(": \t", key.size());
        return from == std::string::npos ? "" : one.substr(from);
    }
    return {};
}

std::string Host::program(const std::string& name) const {
    for (const std::string& folder : path)
        if (std::string file = folder + "/" + name; exists(file)) return file;
    return {};
}

std::vector<MountEntry> Host::mounts() const { return mount_entries(at("/proc/self/mountinfo")); }

}  // namespace dmfs::cli
