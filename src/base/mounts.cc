#include "base/mounts.h"

#include <sys/sysmacros.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string_view>

namespace dmfs {

namespace {

// Blank, tab, newline and backslash stand there as three octal digits.
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

}  // namespace

std::vector<MountEntry> mount_entries(const std::string& file) {
    // ID PARENT MAJ:MIN ROOT WHERE OPTIONS [TAG...] - TYPE SOURCE OPTIONS
    std::vector<MountEntry> entries;
    std::ifstream table(file);
    for (std::string line; std::getline(table, line);) {
        std::istringstream words(line);
        std::string id, parent, device, root, where, word, type;
        words >> id >> parent >> device >> root >> where;
        while (words >> word && word != "-") {
        }
        std::string source, options;
        words >> type >> source >> options;
        std::istringstream list(options);
        std::vector<std::string> named;
        for (std::string option; std::getline(list, option, ',');)  // a comma in one is \054
            named.push_back(decode_octal(option));
        std::optional<uint32_t> owner;
        for (const std::string& option : named)
            if (option.starts_with("user_id="))
                owner = static_cast<uint32_t>(strtoul(option.c_str() + strlen("user_id="), nullptr, 10));
        unsigned major = 0, minor = 0;
        if (sscanf(device.c_str(), "%u:%u", &major, &minor) != 2) continue;
        entries.push_back({makedev(major, minor), decode_octal(root), decode_octal(where), type,
                           decode_octal(source), owner, std::move(named),
                           std::strtoull(id.c_str(), nullptr, 10)});
    }
    return entries;
}

}  // namespace dmfs
