#include "base/files.h"

#include <unistd.h>

#include <cerrno>
#include <fstream>

namespace dmfs {

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
