#include "engine/holding.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "base/log.h"
#include "base/mounts.h"
#include "base/words.h"
#include "engine/file_device.h"

namespace dmfs {

namespace {

// A daemon that was just unmounted still flushes and closes.
constexpr std::chrono::milliseconds kPatience{2000}, kStep{20};

std::mutex mutex;
std::condition_variable taken;
// Never destroyed: a device may go after main().
auto& held = *new std::map<Identity, std::weak_ptr<Holding>>;
auto& being_taken = *new std::set<Identity>;

// Calls `attempt`, which gives an errno, until it is 0 or no more EBUSY.
template <class Attempt>
int patiently(Attempt attempt) {
    auto deadline = std::chrono::steady_clock::now() + kPatience;
    int error = attempt();
    while (error == EBUSY && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(kStep);
        error = attempt();
    }
    return error;
}

int open_again(int fd, int flags) {
    return ::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), flags | O_CLOEXEC | O_NONBLOCK);
}

std::string mounted_on(uint64_t device) {
    for (const MountEntry& entry : mount_entries())
        if (entry.device == device) return entry.where;
    return {};
}

std::shared_ptr<Holding> hold_block(int fd, const std::string& name) {
    struct stat found;
    if (::fstat(fd, &found) != 0) throw Refused(errno, "can't stat " + name);
    if (std::string where = mounted_on(found.st_rdev); !where.empty())
        throw Refused(EBUSY, name + " is busy: it is mounted on " + where, "umount " + where);
    int own = -1;
    int error = patiently([&] {
        own = open_again(fd, O_RDWR | O_EXCL);
        if (own < 0 && errno != EBUSY) own = open_again(fd, O_RDONLY | O_EXCL);
        return own >= 0 ? 0 : errno;
    });
    if (error == EBUSY)
        throw Refused(EBUSY, name + " is busy: a mount, swap, RAID, LVM or another dmfs has it",
                      "lsblk shows what stands on it");
    if (error != 0) throw Refused(error, "can't open " + name);
    return std::make_shared<Holding>(own);
}

// Who has locked a file: "process 4711 (dmfs mount /mnt)"; empty where the kernel doesn't say.
std::string who_has(const struct stat& file) {
    // ID: FLOCK ADVISORY WRITE PID MAJ:MIN:INODE FROM END, the device in hexadecimal digits
    std::ifstream locks("/proc/locks");
    for (std::string line; std::getline(locks, line);) {
        unsigned major = 0, minor = 0;
        unsigned long inode = 0;
        int pid = 0;
        if (sscanf(line.c_str(), "%*u: FLOCK %*s %*s %d %x:%x:%lu", &pid, &major, &minor, &inode) != 4)
            continue;
        // btrfs has another number here than in stat(2), but never block 0 of a disk.
        bool same_device = makedev(major, minor) == file.st_dev || ::major(file.st_dev) == 0;
        if (inode != file.st_ino || !same_device || pid <= 0) continue;
        std::ifstream words("/proc/" + std::to_string(pid) + "/cmdline", std::ios::binary);
        std::string command;
        for (std::string word; std::getline(words, word, '\0');)
            command += (command.empty() ? "" : " ") + quote_word(word);
        return "process " + std::to_string(pid) + (command.empty() ? "" : " (" + command + ")");
    }
    return {};
}

std::shared_ptr<Holding> hold_file(int fd, const std::string& name) {
    // NFS wants a descriptor for writing; who cannot write harms no other reader.
    int own = open_again(fd, O_RDWR), kind = LOCK_EX;
    if (own < 0) {
        own = open_again(fd, O_RDONLY);
        kind = LOCK_SH;
    }
    if (own < 0) throw Refused(errno, "can't open " + name);
    auto holding = std::make_shared<Holding>(own);
    int error = patiently([&] {
        if (::flock(own, kind | LOCK_NB) == 0) return 0;
        return errno == EWOULDBLOCK ? EBUSY : errno;
    });
    if (error == EBUSY) {
        struct stat found {};
        static_cast<void>(::fstat(own, &found));
        std::string who = who_has(found);
        throw Refused(EBUSY, name + " is in use: " + (who.empty() ? "another process has locked it" : who),
                      "a store has one user at a time: end that one first, or take another file");
    }
    if (error != 0)
        log_line(Severity::warning, name + " can't be locked (" + strerror(error) +
                                        "): nobody will see if another dmfs uses it, too");
    return holding;
}

}  // namespace

Holding::~Holding() { ::close(fd_); }

std::shared_ptr<Holding> Holding::of(int fd, const Identity& which, const std::string& name, bool block) {
    // Not under the mutex, since it may hang; those who want the same wait for it.
    {
        std::unique_lock lock(mutex);
        taken.wait(lock, [&] { return !being_taken.contains(which); });
        if (std::shared_ptr<Holding> holding = held[which].lock()) return holding;
        being_taken.insert(which);
    }
    struct Taken {
        const Identity& which;
        std::shared_ptr<Holding> holding;
        ~Taken() {
            std::lock_guard guard(mutex);
            std::erase_if(held, [](const auto& each) { return each.second.expired(); });
            if (holding) held[which] = holding;
            being_taken.erase(which);
            taken.notify_all();
        }
    };
    Taken now{which, nullptr};
    now.holding = block ? hold_block(fd, name) : hold_file(fd, name);
    return now.holding;
}

void hold_store(const TargetSetup& setup, size_t index, Device& device) {
    try {
        if (auto* file = dynamic_cast<FileDevice*>(&device)) file->hold();
    } catch (const Refused& refused) {
        throw setup.refuse(index, refused.reason(), refused.remedy(), refused.error());
    }
}

}  // namespace dmfs
