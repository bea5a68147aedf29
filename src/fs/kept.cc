#include "fs/kept.h"

#include <ctime>
#include <tuple>

#include "fs/fuse.h"

namespace dmfs::fs {

namespace {

constexpr int kOwner = FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID;
constexpr int kTimes = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME;

std::tuple<time_t, long> order(const timespec& time) { return {time.tv_sec, time.tv_nsec}; }

}  // namespace

void Kept::put_over(uint64_t ino, struct stat* found) {
    std::lock_guard guard(mutex_);
    auto at = entries_.find(ino);
    if (at == entries_.end()) return;
    const Entry& entry = at->second;
    found->st_mode = (found->st_mode & S_IFMT) | entry.mode;
    found->st_uid = entry.uid;
    found->st_gid = entry.gid;
    if (order(entry.ctime) > order(found->st_ctim)) found->st_ctim = entry.ctime;
    if (entry.has_atime) found->st_atim = entry.atime;
    if (entry.has_mtime && order(entry.changed) == order(found->st_mtim)) found->st_mtim = entry.mtime;
}

void Kept::set(uint64_t ino, const struct stat& found, const struct stat& wanted, int to_set) {
    if ((to_set & (kOwner | kTimes)) == 0) return;
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    std::lock_guard guard(mutex_);
    Entry fresh{found.st_mode & 07777, found.st_uid, found.st_gid};
    Entry& entry = entries_.try_emplace(ino, fresh).first->second;
    entry.ctime = now;
    if ((to_set & FUSE_SET_ATTR_MODE) != 0) entry.mode = wanted.st_mode & 07777;
    if ((to_set & FUSE_SET_ATTR_UID) != 0) entry.uid = wanted.st_uid;
    if ((to_set & FUSE_SET_ATTR_GID) != 0) entry.gid = wanted.st_gid;
    if ((to_set & FUSE_SET_ATTR_ATIME) != 0) {
        entry.has_atime = true;
        entry.atime = (to_set & FUSE_SET_ATTR_ATIME_NOW) != 0 ? now : wanted.st_atim;
    }
    if ((to_set & FUSE_SET_ATTR_MTIME) != 0) {
        entry.has_mtime = true;
        entry.mtime = (to_set & FUSE_SET_ATTR_MTIME_NOW) != 0 ? now : wanted.st_mtim;
        entry.changed = found.st_mtim;
    }
}

void Kept::forget(const std::function<bool(uint64_t ino)>& which) {
    std::lock_guard guard(mutex_);
    std::erase_if(entries_, [&](const auto& entry) { return which(entry.first); });
}

}  // namespace dmfs::fs
