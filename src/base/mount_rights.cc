#include "base/mount_rights.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>

#include "base/files.h"

namespace dmfs {

namespace {

constexpr unsigned kCapSysAdmin = 21;

// The value after "KEY:"; empty where there is none.
std::string value_of(const std::string& status, const std::string& key) {
    std::istringstream lines(status);
    for (std::string line; std::getline(lines, line);)
        if (line.starts_with(key + ":"))
            if (size_t from = line.find_first_not_of(" \t", key.size() + 1); from != std::string::npos)
                return line.substr(from);
    return {};
}

bool has(const std::string& bits, unsigned capability) {
    return bits.empty() || (strtoull(bits.c_str(), nullptr, 16) >> capability & 1) != 0;
}

// Whether the mount namespace belongs to the user namespace of this process. Where that cannot be
// asked: yes.
bool owns_mounts() {
    OpenFile mounts(::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
    OpenFile owner(mounts.good() ? ::ioctl(mounts.fd(), NS_GET_USERNS) : -1);
    struct stat theirs, mine;
    if (!owner.good()) return !mounts.good() || errno != EPERM;  // EPERM: an outer one
    return ::fstat(owner.fd(), &theirs) != 0 || ::stat("/proc/self/ns/user", &mine) != 0 ||
           theirs.st_ino == mine.st_ino;
}

}  // namespace

MountRights MountRights::of(const std::string& status, const std::string& uid_map) {
    MountRights rights;
    rights.capable = has(value_of(status, "CapEff"), kCapSysAdmin);
    rights.bounded = !has(value_of(status, "CapBnd"), kCapSysAdmin);
    rights.no_new_privs = value_of(status, "NoNewPrivs") == "1";
    // INSIDE OUTSIDE COUNT; the host's own is "0 0 4294967295". Without a file: no user namespaces.
    std::istringstream ranges(uid_map);
    unsigned long long inside = 0, outside = 0, count = 0;
    bool any = false;
    rights.root_is_known = uid_map.empty();
    while (ranges >> inside >> outside >> count) {
        any = true;
        rights.user_namespace |= inside != outside || count < 4294967295ULL;
        rights.root_is_known |= inside == 0 && count > 0;
    }
    if (!any && !uid_map.empty()) rights.user_namespace = true;
    return rights;
}

MountRights MountRights::mine() {
    std::string status, uid_map;
    const bool known = read_whole("/proc/self/status", &status) == 0;
    const bool mapped = read_whole("/proc/self/uid_map", &uid_map) == 0;
    if (mapped && uid_map.empty()) uid_map = "\n";  // nobody is mapped
    MountRights rights = of(known ? status : "", uid_map);
    rights.root = ::geteuid() == 0;
    rights.own_mounts = owns_mounts();
    return rights;
}

std::optional<MountTrouble> mount_trouble(const MountRights& rights) {
    const std::string container = std::string("docker run ") + kContainerOptions + " ...  # podman: the same";
    if (rights.capable && rights.own_mounts) return {};
    if (rights.user_namespace && rights.root)
        return MountTrouble{"this user namespace has no mounts of its own, or no CAP_SYS_ADMIN",
                            "unshare -Umr  # or, in a container: " + std::string(kContainerOptions)};
    if (rights.user_namespace && !rights.root_is_known)
        return MountTrouble{"root is nobody in this user namespace, so fusermount3 cannot become root",
                            "unshare -Umr  # in it you are root, and may mount"};
    if (rights.bounded)
        return MountTrouble{"no process may mount here: CAP_SYS_ADMIN was taken from all of them", container};
    if (rights.root) return MountTrouble{"root lacks CAP_SYS_ADMIN here", container};
    if (rights.no_new_privs)
        return MountTrouble{
            "this process may gain no rights (no_new_privs), so fusermount3 has none",
            "docker run --security-opt no-new-privileges=false ...  # a unit: NoNewPrivileges=no"};
    return {};
}

}  // namespace dmfs
