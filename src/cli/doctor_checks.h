// What `doctor` looks for: each check answers with what it found, why it matters and
// the command that mends it.
//
// A Host is the machine as the checks see it. Files are below a root, so that a test
// can show a check another machine; what only a system call can tell is a function,
// which a test replaces.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/mounts.h"
#include "cli/graph_model.h"

namespace dmfs::cli {

enum class Grade { ok, warning, problem };

struct Finding {
    Grade grade;
    std::string check;  // "fusermount3", or a mount's path
    std::string why;    // one line
    std::string mend;   // a command; empty where all is well
};

// A mount of dmfs, and what it tells.
struct MountLook {
    int error = 0;  // of looking: ENOTCONN, EACCES; ETIMEDOUT: it does not answer
    Graph graph;
    std::string options;                  // the text of .control/options
    std::vector<uint64_t> parked;         // requests, by the volumes of the graph
    std::vector<uint32_t> logical_block;  // bytes, likewise
};

struct Host {
    explicit Host(std::string root = {});
    Host(const Host&) = delete;  // its functions know where it is
    Host& operator=(const Host&) = delete;

    std::string root;
    uid_t user;
    std::vector<std::string> path;  // where programs are looked for

    // System calls. Each answers an errno, 0 if it succeeded.
    std::function<int(const std::string&)> open_device;  // for reading and writing
    std::function<int()> make_ring;                      // io_uring_setup(2)
    std::function<int(const std::string&)> punch_hole;   // in the filesystem of this folder
    std::function<int(const std::string&)> open_direct;  // O_DIRECT
    // st_dev; nothing: there is no such file; kSilent: it does not answer.
    static constexpr dev_t kSilent = ~dev_t{0};
    std::function<std::optional<dev_t>(const std::string&)> device_of;
    std::function<bool()> owns_mounts;  // the mount namespace is this user namespace's
    std::function<MountLook(const std::string&)> look_at_mount;

    std::string at(const std::string& file) const { return root + file; }
    bool exists(const std::string& file) const;
    // The first line; empty where there is none.
    std::string line(const std::string& file) const;
    // All of it.
    std::string text(const std::string& file) const;
    std::optional<uint64_t> number(const std::string& file) const;
    // Names in a folder, in their order.
    std::vector<std::string> names(const std::string& folder) const;
    // The value after "KEY:" in a file such as /proc/self/status.
    std::string value(const std::string& file, const std::string& key) const;
    // Where a program is; empty: nowhere.
    std::string program(const std::string& name) const;
    std::vector<MountEntry> mounts() const;
    bool is_root() const { return user == 0; }
};

// doctor_checks.cc: the host. Each appends one finding.
using Findings = std::vector<Finding>;
void check_kernel(const Host& host, Findings& findings);
void check_fuse(const Host& host, Findings& findings);
void check_mounting(const Host& host, Findings& findings);
void check_fusermount(const Host& host, Findings& findings);
void check_allow_other(const Host& host, Findings& findings);
void check_request_timeout(const Host& host, Findings& findings);
void check_max_pages(const Host& host, Findings& findings);
void check_io_uring(const Host& host, Findings& findings);
void check_io_flusher(const Host& host, Findings& findings);
void check_open_files(const Host& host, Findings& findings);
void check_locked_memory(const Host& host, Findings& findings);
void check_memory_group(const Host& host, Findings& findings);
void check_loop_control(const Host& host, Findings& findings);

// doctor_mounts.cc: each dmfs mount, the loop devices on it, swap; one finding for each
// trouble, one if there is none.
void check_mounts(const Host& host, Findings& findings);
// The filesystem of a file or a folder that is to be a device, or is one.
// `mount`: whose backing file it is; empty: of none yet.
void check_backing(const Host& host, const std::string& path, const std::string& mount, Findings& findings);

// All of that; the files are looked at by check_backing().
Findings examine(const Host& host, const std::vector<std::string>& files);

}  // namespace dmfs::cli
