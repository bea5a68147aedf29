#include "dm/control_client.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/files.h"
#include "base/words.h"
#include "dm/names.h"

namespace dmfs {

namespace {

// The rest of an open file, or the errno that ended it.
int read_all(int fd, std::string& text) {
    char buffer[65536];
    while (true) {
        ssize_t got = ::read(fd, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno;
        if (got == 0) return 0;
        text.append(buffer, static_cast<size_t>(got));
    }
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

uint32_t number(std::string_view text) {
    return static_cast<uint32_t>(parse_decimal(trimmed(text)).value_or(0));
}

constexpr std::string_view kVolumes = ".control/.volumes";  // whatever a volume is called

// Below the mount point. Throws Refused for what cannot be a volume's name.
std::string control_place(std::string_view name, std::string_view file) {
    std::string place = ".control";
    if (!name.empty()) {
        check_name(name);
        place = std::string(kVolumes) + "/" + std::string(name);
    }
    if (!file.empty()) place += "/" + std::string(file);
    return place;
}

}  // namespace

ControlClient::ControlClient(std::string mountpoint) : mountpoint_(std::move(mountpoint)) {}

std::string ControlClient::volume_path(std::string_view name) const {
    check_name(name);
    return mountpoint_ + "/" + std::string(name);
}

std::string ControlClient::control_path(std::string_view name, std::string_view file) const {
    return mountpoint_ + "/" + control_place(name, file);
}

int ControlClient::open_volume(std::string_view name, int flags) const {
    const std::string path = volume_path(name);
    int fd = open_below(mountpoint_, name, flags);
    if (fd < 0) refuse(errno, "open", path, {});
    return fd;
}

int ControlClient::open(std::string_view name, std::string_view file, int flags) const {
    int fd = open_below(mountpoint_, control_place(name, file), flags);
    if (fd < 0) refuse(errno, "open", control_path(name, file), control_place(name, "error"));
    return fd;
}

uint64_t ControlClient::volume_bytes(std::string_view name) const {
    OpenFile volume(open_volume(name, O_PATH));
    struct stat found;
    if (::fstat(volume.fd(), &found) != 0) refuse(errno, "stat", volume_path(name), {});
    return static_cast<uint64_t>(found.st_size);
}

int ControlClient::read_file(const std::string& place, std::string& text) const {
    OpenFile file(open_below(mountpoint_, place, O_RDONLY));
    return file.good() ? read_all(file.fd(), text) : errno;
}

void ControlClient::refuse(int error, std::string_view doing, const std::string& path,
                           const std::string& error_file) const {
    // The error file may still tell of an older request, or of somebody else's:
    // it counts only if its first line ends with this errno.
    std::string text;
    if (!error_file.empty() && read_file(error_file, text) == 0) {
        while (!text.empty() && text.back() == '\n') text.pop_back();
        std::string_view first = std::string_view(text).substr(0, text.find('\n'));
        if (first.ends_with(std::string(": ") + strerror(error))) throw RequestRefused(error, text);
    }
    struct stat found;
    if ((error == ENOENT || error == ENOTDIR) && ::lstat((mountpoint_ + "/.control").c_str(), &found) != 0) {
        if (errno == ENOTCONN)
            error = ENOTCONN;
        else
            throw Refused(ENODEV, mountpoint_ + " is not a dmfs mount",
                          "`dmfs mount " + mountpoint_ + "` makes it one");
    }
    if (error == ENOTCONN)
        throw Refused(error, "the process behind " + mountpoint_ + " is gone",
                      "`dmfs umount " + mountpoint_ + "` takes the dead mount away");
    if (error == EACCES)
        throw Refused(error, "cannot " + std::string(doing) + " " + path,
                      "a mount is its owner's alone unless it was mounted with -o allow_root or allow_other");
    throw Refused(error, "cannot " + std::string(doing) + " " + path);
}

std::vector<std::string> ControlClient::volumes() const {
    int fd = open_below(mountpoint_, kVolumes, O_RDONLY | O_DIRECTORY);
    DIR* folder = fd < 0 ? nullptr : ::fdopendir(fd);
    if (folder == nullptr) refuse(errno, "open", mountpoint_ + "/" + std::string(kVolumes), {});
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(folder)) {
        std::string_view name = entry->d_name;
        if (name != "." && name != "..") names.emplace_back(name);
    }
    ::closedir(folder);
    std::sort(names.begin(), names.end());
    return names;
}

bool ControlClient::exists(std::string_view name) const {
    OpenFile folder(open_below(mountpoint_, control_place(name, {}), O_PATH | O_DIRECTORY));
    if (folder.good()) return true;
    int error = errno;
    // Whether the mount is there at all is for the caller to know.
    OpenFile all(open_below(mountpoint_, kVolumes, O_PATH | O_DIRECTORY));
    if (!all.good() || error != ENOENT) refuse(error, "find", control_path(name, {}), {});
    return false;
}

std::string ControlClient::read(std::string_view file) const { return read({}, file); }

void ControlClient::write(std::string_view file, std::string_view text) const { write({}, file, text); }

std::string ControlClient::read(std::string_view name, std::string_view file) const {
    std::string text;
    int error = read_file(control_place(name, file), text);
    if (error != 0) refuse(error, "read", control_path(name, file), control_place(name, "error"));
    return text;
}

void ControlClient::write(std::string_view name, std::string_view file, std::string_view text) const {
    OpenFile open(this->open(name, file, O_WRONLY));
    int error = write_all(open.fd(), text);
    if (error == 0 && open.close() != 0) error = errno;
    if (error != 0) refuse(error, "write", control_path(name, file), control_place(name, "error"));
}

std::string ControlClient::ask(std::string_view name, std::string_view asked, std::string_view text) const {
    OpenFile file(open(name, asked, O_RDWR));
    const std::string path = control_path(name, asked), error_file = control_place(name, "error");
    if (::write(file.fd(), text.data(), text.size()) < 0) refuse(errno, "write", path, error_file);
    std::string answer;
    if (::lseek(file.fd(), 0, SEEK_SET) < 0) refuse(errno, "read", path, error_file);
    int error = read_all(file.fd(), answer);
    if (error != 0) refuse(error, "read", path, error_file);
    return answer;
}

void ControlClient::create(std::string_view name) const {
    const std::string path = control_path(name, {});
    OpenFile folder(open_below(mountpoint_, kVolumes, O_PATH | O_DIRECTORY));
    if (folder.good() && ::mkdirat(folder.fd(), std::string(name).c_str(), 0700) == 0) return;
    // The kernel's answer for a name that is taken.
    int error = errno == EEXIST ? EBUSY : errno;
    if (error == EBUSY) throw Refused(error, "the name '" + std::string(name) + "' is taken");
    refuse(error, "make", path, control_place({}, "error"));
}

void ControlClient::remove(std::string_view name) const {
    const std::string path = control_path(name, {});
    OpenFile folder(open_below(mountpoint_, kVolumes, O_PATH | O_DIRECTORY));
    if (folder.good() && ::unlinkat(folder.fd(), std::string(name).c_str(), AT_REMOVEDIR) == 0) return;
    int error = errno;
    std::string error_file = control_place(name, "error"), text;
    if (read_file(error_file, text) != 0 || text.empty()) error_file = control_place({}, "error");
    refuse(error, "remove", path, error_file);
}

void ControlClient::rename(std::string_view name, std::string_view new_name) const {
    const std::string from = control_path(name, {}), to = control_path(new_name, {});
    OpenFile folder(open_below(mountpoint_, kVolumes, O_PATH | O_DIRECTORY));
    // NOREPLACE: an ordinary rename would also be asked to replace the other volume.
    if (folder.good() && ::renameat2(folder.fd(), std::string(name).c_str(), folder.fd(),
                                     std::string(new_name).c_str(), RENAME_NOREPLACE) == 0)
        return;
    int error = errno == EEXIST ? EBUSY : errno;
    if (error == EBUSY) throw Refused(error, "the name '" + std::string(new_name) + "' is taken");
    refuse(error, "rename", from, control_place({}, "error"));
}

VolumeInfo ControlClient::info(std::string_view name) const {
    VolumeInfo info = parse_info(read(name, "info"));
    info.name = name;
    return info;
}

std::vector<Dependency> ControlClient::deps(std::string_view name, bool inactive) const {
    return parse_deps(read(name, inactive ? "inactive_deps" : "deps"));
}

VolumeInfo parse_info(std::string_view text) {
    VolumeInfo info;
    for (std::string_view line : lines_of(text)) {
        size_t colon = line.find(':');
        if (colon == std::string_view::npos) continue;
        std::string_view key = line.substr(0, colon), value = trimmed(line.substr(colon + 1));
        if (key == "Name") info.name = value;
        if (key == "UUID") info.uuid = value;
        if (key == "Read Ahead") info.read_ahead = number(value);
        if (key == "Open count") info.open_count = number(value);
        if (key == "Event number") info.events = number(value);
        if (key == "Number of targets") info.targets = number(value);
        if (key == "State") {
            info.suspended = value.find("SUSPENDED") != std::string_view::npos;
            info.readonly = value.find("READ-ONLY") != std::string_view::npos;
            info.deferred_remove = value.find("DEFERRED REMOVE") != std::string_view::npos;
        }
        if (key == "Tables present") {
            info.inactive = value.ends_with("INACTIVE");
            info.live = value.starts_with("LIVE");
        }
        if (key == "Major, minor") {
            info.major = number(value.substr(0, value.find(',')));
            if (value.find(',') != std::string_view::npos)
                info.minor = number(value.substr(value.find(',') + 1));
        }
    }
    return info;
}

std::vector<Dependency> parse_deps(std::string_view text) {
    std::vector<Dependency> all;
    for (std::string_view line : lines_of(text)) {
        size_t blank = line.find(' ');
        if (blank == std::string_view::npos) continue;
        Dependency one;
        one.name = line.substr(blank + 1);
        std::string_view numbers = line.substr(0, blank);
        size_t colon = numbers.find(':');
        if (colon != std::string_view::npos) {
            one.numbered = true;
            one.major = number(numbers.substr(0, colon));
            one.minor = number(numbers.substr(colon + 1));
        }
        all.push_back(std::move(one));
    }
    return all;
}

std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        size_t end = text.find('\n');
        lines.push_back(text.substr(0, end));
        if (end == std::string_view::npos) break;
        text.remove_prefix(end + 1);
    }
    return lines;
}

}  // namespace dmfs
