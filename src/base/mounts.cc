#include "base/mounts.h"

#include <sys/sysmacros.h>

#include <cstdio>
#include <fstream>
#include <sstream>

namespace dmfs {

namespace {

// Blanks and backslashes stand there as \\ooo.
std::string decode_octal(const std::string& text) {
    std::string out;
    for (size_t at = 0; at < text.size(); at++) {
        unsigned code = 0;
        if (text[at] == '\\' && sscanf(text.c_str() + at + 1, "%3o", &code) == 1) {
            out += static_cast<char>(code);
            at += 3;
        } else {
            out += text[at];
        }
    }
    return out;
}

}  // namespace

std::vector<MountEntry> mount_entries() {
    // ID PARENT MAJ:MIN ROOT WHERE OPTIONS [TAG...] - TYPE SOURCE OPTIONS
    std::vector<MountEntry> entries;
    std::ifstream table("/proc/self/mountinfo");
    for (std::string line; std::getline(table, line);) {
        std::istringstream words(line);
        std::string id, parent, device, root, where, word, type;
        words >> id >> parent >> device >> root >> where;
        while (words >> word && word != "-") {
        }
        words >> type;
        unsigned major = 0, minor = 0;
        if (sscanf(device.c_str(), "%u:%u", &major, &minor) != 2) continue;
        entries.push_back({makedev(major, minor), decode_octal(root), decode_octal(where), type});
    }
    return entries;
}

}  // namespace dmfs
