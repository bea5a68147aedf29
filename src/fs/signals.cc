#include "fs/signals.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <climits>
#include <csignal>
#include <cstdint>
#include <string>

#include "base/files.h"

namespace dmfs::fs {

namespace {

template <class... Numbers>
constexpr uint64_t set_of(Numbers... signals) {
    return ((uint64_t{1} << (signals - 1)) | ...);
}

// The set behind `name`; none where it is missing.
uint64_t set_in(std::string_view status, std::string_view name) {
    size_t at = status.find(name);
    if (at == std::string_view::npos) return 0;
    at = status.find_first_not_of(" \t", at + name.size());
    uint64_t set = 0;
    if (at != std::string_view::npos)
        std::from_chars(status.data() + at, status.data() + status.size(), set, 16);
    return set;
}

// Whether the numbers in /proc are those that are ours: it may be another namespace's.
bool proc_is_ours() {
    char self[32];
    ssize_t length = readlink("/proc/self", self, sizeof self);
    return length > 0 && std::string_view(self, static_cast<size_t>(length)) == std::to_string(getpid());
}

}  // namespace

bool ends_wait(std::string_view status, Until until) {
    const uint64_t harmless = set_of(SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU);
    const uint64_t asks = set_of(SIGINT, SIGQUIT, SIGTERM, SIGHUP);
    if (until == Until::signal || status.find("\nVmSize:") == std::string_view::npos) return true;
    uint64_t pending = set_in(status, "\nSigPnd:") | set_in(status, "\nShdPnd:");
    if ((pending & set_of(SIGKILL)) != 0) return true;
    uint64_t met = pending & ~set_in(status, "\nSigBlk:") & ~set_in(status, "\nSigIgn:");
    if (until == Until::asked && (met & asks) != 0) return true;
    return (met & ~set_in(status, "\nSigCgt:") & ~harmless) != 0;
}

bool ends_wait(pid_t thread, Until until) {
    static const bool kProcIsOurs = proc_is_ours();
    if (until == Until::signal || thread <= 0 || !kProcIsOurs) return true;
    OpenFile file(open(("/proc/" + std::to_string(thread) + "/status").c_str(), O_RDONLY | O_CLOEXEC));
    char text[8192];  // it is shorter, but for hundreds of groups
    ssize_t length = file.good() ? read(file.fd(), text, sizeof text) : -1;
    return length <= 0 || ends_wait(std::string_view(text, static_cast<size_t>(length)), until);
}

}  // namespace dmfs::fs
