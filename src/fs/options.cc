#include "fs/options.h"

#include <algorithm>
#include <array>

#include "base/refused.h"
#include "base/words.h"
#include "dm/names.h"

namespace dmfs::fs {

namespace {

constexpr unsigned kMostThreads = 64;
constexpr uint64_t kLongestPark = 366 * 86400;
constexpr uint64_t kMostAhead = uint64_t{1} << 40;

// Words of fstab that are for others, or go without saying.
bool for_others(const std::string& name) {
    // No volume has times of access, and names are as durable as the mount itself.
    constexpr std::array kIgnored = {"rw",
                                     "defaults",
                                     "auto",
                                     "noauto",
                                     "nofail",
                                     "_netdev",
                                     "user",
                                     "users",
                                     "nouser",
                                     "owner",
                                     "group",
                                     "nosuid",
                                     "nodev",
                                     "noexec",
                                     "exec",
                                     "suid",
                                     "dev",
                                     "noatime",
                                     "atime",
                                     "nodiratime",
                                     "diratime",
                                     "relatime",
                                     "norelatime",
                                     "strictatime",
                                     "nostrictatime",
                                     "lazytime",
                                     "nolazytime",
                                     "dirsync",
                                     "silent",
                                     "loud",
                                     "nosymfollow",
                                     "default_permissions"};
    return name.starts_with("x-") || name.starts_with("comment") ||
           std::find(kIgnored.begin(), kIgnored.end(), name) != kIgnored.end();
}

bool flag(const std::string& name, const std::string& value) {
    if (value.empty() || value == "true" || value == "yes" || value == "1") return true;
    if (value == "false" || value == "no" || value == "0") return false;
    throw Refused(EINVAL, "the option " + name + " can't be '" + value + "'", "true or false");
}

bool choice(const std::string& name, const std::string& value, const std::string& no,
            const std::string& yes) {
    if (value != no && value != yes)
        throw Refused(EINVAL, "the option " + name + " can't be '" + value + "'",
                      name + "=" + no + " or " + name + "=" + yes);
    return value == yes;
}

Refused unknown(const std::string& name) {
    const std::vector<std::string> known = {
        "backing",    "cache",       "executor",   "threads", "poll",         "park_timeout", "space_ahead",
        "space_wait", "allow_other", "allow_root", "sync",    "auto_unmount", "fsname",       "truncate"};
    std::vector<std::string> similar = similar_names(name, known);
    std::string all;
    for (const std::string& each : known) all += (all.empty() ? "" : ", ") + each;
    return Refused(EINVAL, "no mount option '" + name + "'",
                   similar.empty() ? all : "'" + similar.front() + "'?");
}

}  // namespace

void Options::set(const std::string& name, const std::string& value) {
    if (name == "backing") {
        direct = choice(name, value, "cached", "direct");
    } else if (name == "cache") {
        shared_mmap = choice(name, value, "none", "auto");
    } else if (name == "truncate") {
        truncate_zeroes = choice(name, value, "refuse", "zero");
    } else if (name == "executor") {
        if (value != "auto" && value != "io_uring" && value != "threads")
            throw Refused(EINVAL, "the option executor can't be '" + value + "'",
                          "auto, io_uring or threads");
        executor = value;
    } else if (name == "threads") {
        std::optional<uint64_t> number = parse_decimal(value);
        if (!number || *number > kMostThreads)
            throw Refused(EINVAL, "the option threads can't be '" + value + "'",
                          "1 to " + std::to_string(kMostThreads) + ", or 0: as many as suit");
        threads = static_cast<unsigned>(*number);
    } else if (name == "poll") {
        poll = flag(name, value);
    } else if (name == "park_timeout") {
        std::optional<uint64_t> seconds = parse_decimal(value);
        if (!seconds || *seconds > kLongestPark)
            throw Refused(EINVAL, "the option park_timeout can't be '" + value + "'",
                          "seconds, or 0: requests of a suspended volume wait forever");
        park_seconds = static_cast<unsigned>(*seconds);
    } else if (name == "space_ahead") {
        std::optional<uint64_t> bytes = parse_size(value);
        if (!bytes || *bytes > kMostAhead)
            throw Refused(EINVAL, "the option space_ahead can't be '" + value + "'",
                          "a size up to 1T, such as 64M; or 0: a COW file gets no room ahead of its use");
        space_ahead = *bytes;
    } else if (name == "space_wait") {
        std::optional<uint64_t> seconds = parse_decimal(value);
        if (!seconds || *seconds > kLongestPark)
            throw Refused(EINVAL, "the option space_wait can't be '" + value + "'",
                          "seconds, or 0: writes that find a full disk below fail at once");
        space_wait = static_cast<unsigned>(*seconds);
    } else if (name == "allow_other") {
        allow_other = flag(name, value);
    } else if (name == "allow_root") {
        allow_root = flag(name, value);
    } else if (name == "sync" || name == "async") {
        sync = flag(name, value) == (name == "sync");
    } else if (name == "auto_unmount") {
        auto_unmount = flag(name, value);
    } else if (name == "fsname") {
        if (value.empty()) throw Refused(EINVAL, "the option fsname needs a name", "fsname=NAME");
        source = value;
    } else if (name == "ro") {
        throw Refused(EINVAL, "a mount can't be read-only", "volumes can: load --readonly");
    } else if (!for_others(name) && !sloppy) {
        throw unknown(name);
    }
    if (allow_other && allow_root)
        throw Refused(EINVAL, "allow_other and allow_root exclude each other", "one of them");
}

void Options::parse(std::string_view words) {
    std::string word;
    for (size_t at = 0; at <= words.size(); at++) {
        if (at < words.size() && words[at] == '\\' && at + 1 < words.size()) {
            word += words[++at];
        } else if (at < words.size() && words[at] != ',') {
            word += words[at];
        } else if (!word.empty()) {
            size_t equals = word.find('=');
            set(word.substr(0, equals), equals == std::string::npos ? "" : word.substr(equals + 1));
            word.clear();
        }
    }
}

std::string Options::text() const {
    std::string text = std::string("backing = ") + (direct ? "direct" : "cached") + "\n";
    text += std::string("cache = ") + (shared_mmap ? "auto" : "none") + "\n";
    text += std::string("truncate = ") + (truncate_zeroes ? "zero" : "refuse") + "\n";
    text += "executor = " + executor + "\n";
    text += "threads = " + std::to_string(threads) + "\n";
    text += "park_timeout = " + std::to_string(park_seconds) + "\n";
    text += "space_ahead = " + std::to_string(space_ahead) + "\n";
    text += "space_wait = " + std::to_string(space_wait) + "\n";
    if (poll) text += "poll = true\n";
    if (allow_other) text += "allow_other = true\n";
    if (allow_root) text += "allow_root = true\n";
    if (sync) text += "sync = true\n";
    if (auto_unmount) text += "auto_unmount = true\n";
    return text;
}

Space Options::space() const { return {sectors_in(space_ahead), int64_t{space_wait} * 1'000'000'000}; }

}  // namespace dmfs::fs
