#include "base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

namespace dmfs {

OpenFile::~OpenFile() {
    if (good()) static_cast<void>(close());
}

void OpenFile::reset(int fd) {
    const int error = errno;
    if (good()) static_cast<void>(close());
    fd_ = fd;
    errno = error;
}

int OpenFile::close() { return ::close(std::exchange(fd_, -1)); }

namespace {

bool is_link(int fd) {
    struct stat found;
    return ::fstat(fd, &found) == 0 && S_ISLNK(found.st_mode);
}

}  // namespace

int open_below(const std::string& folder, std::string_view path, int flags) {
    OpenFile at(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    while (at.good()) {
        size_t slash = path.find('/');
        const std::string name(path.substr(0, slash));
        if (slash == std::string_view::npos) {
            at.reset(::openat(at.fd(), name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
            if (!at.good() || (flags & O_PATH) == 0 || !is_link(at.fd())) return at.release();
            errno = ELOOP;  // O_PATH opens the link itself
            return -1;
        }
        at.reset(::openat(at.fd(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        path.remove_prefix(slash + 1);
    }
    return -1;
}

void sync_folder_of(const std::string& path) {
    std::string folder = path.find('/') == std::string::npos ? "." : path.substr(0, path.rfind('/') + 1);
    OpenFile open(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (open.good()) static_cast<void>(::fsync(open.fd()));
}

std::string first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

int read_whole(const std::string& path, std::string* text) {
    OpenFile file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.good()) return errno;
    char buffer[65536];
    ssize_t got = 0;
    while ((got = ::read(file.fd(), buffer, sizeof buffer)) != 0) {
        if (got > 0)
            text->append(buffer, static_cast<size_t>(got));
        else if (errno != EINTR)
            return errno;
    }
    return 0;
}

int write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        ssize_t put = write(fd, text.data(), text.size());
        if (put >= 0)
            text.remove_prefix(static_cast<size_t>(put));
        else if (errno != EINTR)
            return errno;
    }
    return 0;
}

}  // namespace dmfs
