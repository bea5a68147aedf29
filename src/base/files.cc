#include "base/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

namespace dmfs {

OpenFile::~OpenFile() {
    if (good()) static_cast<void>(close());
}

int OpenFile::close() { return ::close(std::exchange(fd_, -1)); }

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
