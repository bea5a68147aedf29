#include "fs/writer_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <climits>

namespace dmfs::fs {

namespace {

std::string link_of(const std::string& link) {
    char text[PATH_MAX];
    ssize_t length = readlink(link.c_str(), text, sizeof text);
    return length > 0 ? std::string(text, static_cast<size_t>(length)) : std::string();
}

std::string of_process(pid_t process, const char* what) {
    return "/proc/" + std::to_string(process) + "/" + what;
}

}  // namespace

WriterFolder folder_of(pid_t process) {
    WriterFolder folder{process, {}};
    if (process <= 0) return folder;  // the kernel's word for one of another PID namespace
    std::string space = link_of(of_process(process, "ns/mnt"));
    if (space.empty() || space != link_of("/proc/self/ns/mnt")) return folder;
    folder.path = link_of(of_process(process, "cwd"));
    if (!folder.path.starts_with('/')) folder.path.clear();  // "(unreachable)..."
    return folder;
}

bool leads_there(const WriterFolder& folder) {
    struct stat theirs, ours;
    return ::stat(of_process(folder.process, "cwd").c_str(), &theirs) == 0 &&
           ::stat(folder.path.c_str(), &ours) == 0 && theirs.st_dev == ours.st_dev &&
           theirs.st_ino == ours.st_ino;
}

}  // namespace dmfs::fs
