// The folder of a process that writes: where the relative paths of its table begin.
//
// Where it cannot be known, its paths may mean other files here, and are refused: a process of
// another mount or PID namespace, one that /proc shows nothing of (another user's, as root's on a
// user's mount; one that is not dumpable), a folder that was deleted, unmounted or mounted over.

#pragma once

#include <sys/types.h>

#include <string>

namespace dmfs::fs {

struct WriterFolder {
    pid_t process = 0;
    std::string path;  // absolute; empty: can't be known
    friend bool operator==(const WriterFolder&, const WriterFolder&) = default;
};

// As /proc says. Asks no filesystem.
WriterFolder folder_of(pid_t process);

// Whether the path leads to the process's folder from here, by device and inode. Asks the
// filesystem of the folder, which may never answer.
bool leads_there(const WriterFolder& folder);

}  // namespace dmfs::fs
