#include "cli/output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "base/files.h"
#include "base/refused.h"
#include "base/words.h"

namespace dmfs::cli {

namespace {

// 0, or an errno.
int write_and_close(OpenFile& file, std::string_view text, bool sync) {
    int error = write_all(file.fd(), text);
    if (error == 0 && sync && ::fsync(file.fd()) != 0) error = errno;
    if (file.close() != 0 && error == 0) error = errno;
    return error;
}

mode_t without_umask(mode_t mode) {
    const mode_t mask = ::umask(077);
    ::umask(mask);
    return mode & ~mask;
}

void replace(const std::string& path, std::string_view text, mode_t mode) {
    std::string temporary = path + ".XXXXXX";
    OpenFile file(::mkostemp(temporary.data(), O_CLOEXEC));
    if (!file.good()) throw Refused(errno, "cannot write " + path);
    int error = ::fchmod(file.fd(), mode) != 0 ? errno : 0;
    if (error == 0) error = write_and_close(file, text, true);
    if (error == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
    if (error != 0) {
        ::unlink(temporary.c_str());
        throw Refused(error, "cannot write " + path);
    }
    sync_folder_of(path);
}

void write_into(const std::string& path, std::string_view text) {
    OpenFile file(::open(path.c_str(), O_WRONLY | O_NOCTTY | O_CLOEXEC));
    const int error = file.good() ? write_and_close(file, text, false) : errno;
    if (error != 0) throw Refused(error, "cannot write " + path);
}

// Which of our open files a path names; -1: none.
int own_file(std::string_view path) {
    if (path == "/dev/stderr") return STDERR_FILENO;
    for (std::string_view folder : {"/dev/fd/", "/proc/self/fd/"})
        if (path.starts_with(folder))
            if (std::optional<uint64_t> fd = parse_decimal(path.substr(folder.size())); fd && *fd <= INT_MAX)
                return static_cast<int>(*fd);
    return -1;
}

// Where it stands, as whoever opened it wants it.
void write_open(int fd, const std::string& path, std::string_view text) {
    OpenFile file(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    const int error = file.good() ? write_and_close(file, text, false) : errno;
    if (error != 0) throw Refused(error, "cannot write " + path);
}

}  // namespace

void write_output(const std::string& path, std::string_view text, mode_t mode) {
    if (path == "-" || path == "/dev/stdout") {
        fmt::print("{}", text);
        return;
    }
    if (const int fd = own_file(path); fd >= 0) return write_open(fd, path, text);
    // It follows links as the kernel lets us, and says what is there.
    OpenFile place(::open(path.c_str(), O_PATH | O_CLOEXEC));
    struct stat found;
    if (!place.good()) {
        if (errno != ENOENT) throw Refused(errno, "cannot write " + path);
        if (::lstat(path.c_str(), &found) == 0)
            throw Refused(ENOENT, path + " is a link to a file that is not there",
                          "make that, or remove the link");
        return replace(path, text, without_umask(mode));
    }
    if (::fstat(place.fd(), &found) != 0) throw Refused(errno, "cannot stat " + path);
    if (S_ISDIR(found.st_mode)) throw Refused(EISDIR, "cannot write " + path);
    if (S_ISBLK(found.st_mode))
        throw Refused(EINVAL, path + " is a block device", "a file, or - for standard output");
    if (!S_ISREG(found.st_mode) || path.starts_with("/proc/")) return write_into(path, text);
    std::error_code error;
    const std::string file =
        std::filesystem::read_symlink(fmt::format("/proc/self/fd/{}", place.fd()), error);
    replace(error ? path : file, text, found.st_mode & mode);
}

}  // namespace dmfs::cli
