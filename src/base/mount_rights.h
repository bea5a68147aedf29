// Whether a process may mount FUSE filesystems: with CAP_SYS_ADMIN by itself, else through
// fusermount3, which has to be able to become root (capabilities(7), user_namespaces(7)).

#pragma once

#include <optional>
#include <string>

namespace dmfs {

struct MountRights {
    bool root = false;     // the effective user is 0
    bool capable = true;   // CAP_SYS_ADMIN is in effect ...
    bool bounded = false;  // ... and no program can get it: it is not in the bounding set
    bool no_new_privs = false;
    bool user_namespace = false;  // of its own: ids are not those of the host
    bool root_is_known = true;    // in the user namespace
    bool own_mounts = true;       // the mount namespace is the user namespace's

    // By the text of /proc/self/status and that of uid_map. What they do not say is taken to be well.
    static MountRights of(const std::string& status, const std::string& uid_map);
    // The rights of this process.
    static MountRights mine();
};

struct MountTrouble {
    std::string why, mend;
};

// Nothing: mounting may fail for other reasons only.
std::optional<MountTrouble> mount_trouble(const MountRights& rights);

// What a container needs, as options of docker and podman.
constexpr char kContainerOptions[] =
    "--device /dev/fuse --cap-add SYS_ADMIN --security-opt apparmor=unconfined";

}  // namespace dmfs
