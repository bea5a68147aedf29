#include "dm/splitname.h"

namespace dmfs {

namespace {

// The part that begins at `at`; moves `at` after the '-' that ends it.
std::string take_part(std::string_view name, size_t& at) {
    std::string part;
    for (; at < name.size(); at++) {
        if (name[at] != '-') {
            part += name[at];
            continue;
        }
        at++;
        if (at < name.size() && name[at] != '-') return part;
        part += '-';  // doubled, or the last byte of all: then it belongs to the part
    }
    return part;
}

}  // namespace

SplitName split_name(std::string_view name, std::string_view subsystem) {
    SplitName parts;
    parts.subsystem = subsystem;
    if (subsystem != "LVM") return parts;
    size_t at = 0;
    parts.group = take_part(name, at);
    parts.volume = take_part(name, at);
    parts.layer = take_part(name, at);
    return parts;
}

std::string subsystem_of(std::string_view uuid) {
    size_t dash = uuid.find('-');
    return dash == std::string_view::npos ? std::string() : std::string(uuid.substr(0, dash));
}

}  // namespace dmfs
