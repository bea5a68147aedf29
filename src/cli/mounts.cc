// Which mount a command talks to.

#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "cli/command.h"

namespace dmfs::cli {

namespace {

// /proc/self/mountinfo writes blank, tab, newline and backslash as three octal digits.
std::string decode_octal(std::string_view text) {
    auto octal = [](char c) { return c >= '0' && c <= '7'; };
    std::string out;
    for (size_t at = 0; at < text.size(); at++) {
        if (text[at] == '\\' && at + 3 < text.size() && octal(text[at + 1]) && octal(text[at + 2]) &&
            octal(text[at + 3])) {
            out += static_cast<char>((text[at + 1] - '0') * 64 + (text[at + 2] - '0') * 8 +
                                     (text[at + 3] - '0'));
            at += 3;
        } else {
            out += text[at];
        }
    }
    return out;
}

std::string without_slashes(std::string path) {
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    return path;
}

}  // namespace

std::vector<std::string> dmfs_mounts() {
    // ID PARENT MAJ:MIN ROOT MOUNTPOINT OPTIONS [TAG...] - TYPE SOURCE OPTIONS
    std::vector<std::string> mounts;
    std::ifstream table("/proc/self/mountinfo");
    for (std::string line; std::getline(table, line);) {
        size_t dash = line.find(" - ");
        if (dash == std::string::npos) continue;
        std::string_view type = std::string_view(line).substr(dash + 3);
        if (type.substr(0, type.find(' ')) != "fuse.dmfs") continue;
        size_t from = 0;
        for (int skipped = 0; skipped < 4; skipped++) from = line.find(' ', from) + 1;
        mounts.push_back(decode_octal(std::string_view(line).substr(from, line.find(' ', from) - from)));
    }
    return mounts;
}

const ControlClient& Invocation::control() {
    if (control_) return *control_;
    std::string mountpoint = options.mount;
    if (const char* named = getenv("DMFS_MOUNT"); mountpoint.empty() && named != nullptr) mountpoint = named;
    if (mountpoint.empty()) {
        std::vector<std::string> mounts = dmfs_mounts();
        if (mounts.empty()) throw Refused(ENODEV, "no dmfs is mounted", "`dmfs mount FOLDER` mounts one");
        if (mounts.size() > 1) {
            std::string list;
            for (const std::string& mount : mounts) list += "\n    --mount " + mount;
            throw Refused(EINVAL, "several dmfs are mounted, and none was named",
                          "name one, or set DMFS_MOUNT:" + list);
        }
        mountpoint = mounts.front();
    }
    control_ = std::make_unique<ControlClient>(without_slashes(mountpoint));
    return *control_;
}

}  // namespace dmfs::cli
