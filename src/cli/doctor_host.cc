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
#include <future>
#include <sstream>
#include <thread>

#include "base/files.h"
#include "base/words.h"
#include "cli/doctor_checks.h"
#include "dm/control_client.h"

namespace dmfs::cli {

namespace {

constexpr std::chrono::seconds kMountPatience{3};

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

MountLook look(const std::string& mountpoint) {
    MountLook found;
    ControlClient control(mountpoint);
    try {
        found.options = control.read("options");
        found.graph = parse_graph(nlohmann::ordered_json::parse(control.read("graph"), nullptr, false));
        for (const std::string& name : control.volumes()) {
            // In the graph a name that is no UTF-8 is another.
            VolumeInfo info = control.info(name);
            auto& volumes = found.graph.volumes;
            auto place = std::find_if(volumes.begin(), volumes.end(),
                                      [&](const GraphVolume& volume) { return volume.minor == info.minor; });
            if (place == volumes.end()) continue;
            place->name = name;
            auto index = static_cast<size_t>(place - volumes.begin());
            found.parked.resize(volumes.size());
            found.logical_block.resize(volumes.size());
            std::istringstream inflight(control.read(name, "inflight"));
            uint64_t reads = 0, writes = 0;
            inflight >> reads >> writes >> found.parked[index];
            std::istringstream limits(control.read(name, "limits"));
            for (std::string key, value; limits >> key >> value;)
                if (key == "logical_block_size")
                    found.logical_block[index] = static_cast<uint32_t>(parse_decimal(value).value_or(512));
        }
    } catch (const Refused& refused) {
        found.error = refused.error();
    }
    found.parked.resize(found.graph.volumes.size());
    found.logical_block.resize(found.graph.volumes.size(), 512);
    return found;
}

// A mount that hangs takes the thread that looks at it with it; not us.
MountLook look_for_a_while(const std::string& mountpoint) {
    auto answer = std::make_shared<std::promise<MountLook>>();
    std::future<MountLook> future = answer->get_future();
    std::thread([answer, mountpoint] { answer->set_value(look(mountpoint)); }).detach();
    if (future.wait_for(kMountPatience) == std::future_status::ready) return future.get();
    MountLook silent;
    silent.error = ETIMEDOUT;
    return silent;
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
    punch_hole = [this](const std::string& folder) { return try_punch_hole(at(folder)); };
    open_direct = [this](const std::string& file) { return open_errno(at(file), O_RDONLY | O_DIRECT); };
    device_of = [this](const std::string& file) -> std::optional<dev_t> {
        struct stat found;
        if (::stat(at(file).c_str(), &found) != 0) return {};
        return found.st_dev;
    };
    look_at_mount = look_for_a_while;
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
