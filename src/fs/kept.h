// Kept: what chmod, chown and utimens changed of a file. It is there as long as the mount is, and
// is put over what the file itself shows.
//
//     mtime    what utimens set, until the file changes
//     ctime    the later of its last change and the last of these calls

#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>

namespace dmfs::fs {

class Kept {
  public:
    // `found` is what the file shows: st_mtim is the time of its last change.
    void put_over(uint64_t ino, struct stat* found);
    // What `to_set` (FUSE_SET_ATTR_...) names of `wanted`; the size is others' business.
    void set(uint64_t ino, const struct stat& found, const struct stat& wanted, int to_set);
    void forget(const std::function<bool(uint64_t ino)>& which);

  private:
    struct Entry {
        mode_t mode;
        uid_t uid;
        gid_t gid;
        bool has_atime = false, has_mtime = false;
        timespec atime{}, mtime{}, ctime{};
        timespec changed{};  // when mtime was set: the file's last change
    };

    std::mutex mutex_;
    std::map<uint64_t, Entry> entries_;  // by inode
};

}  // namespace dmfs::fs
