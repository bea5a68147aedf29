// snapshot, overlay, fork and drop: volumes that go their own way from what they were made of.
// (merge.cc brings one back.) The mount does the steps, whole or not at all; here the files are
// made that take what has to be kept, and deleted when nothing needs them any more.
//
//     dmfs snapshot VOLUME NAME     NAME keeps what VOLUME holds now
//     dmfs overlay FILE NAME        NAME shows FILE, and keeps what is written apart from it
//     dmfs fork VOLUME NAME         a copy of VOLUME and of all it stands on
//     dmfs drop NAME                any of them, thrown away

#include "cli/snapshot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/files.h"
#include "base/units.h"
#include "base/words.h"
#include "cli/commands.h"
#include "cli/cow_file.h"
#include "cli/escape.h"

namespace dmfs::cli {

namespace {

constexpr uint64_t kUsualChunk = 8;  // sectors: 4 KiB, as lvcreate

// The first argument is taken by now; the second names what is made.
std::string take_new_name(Invocation& invocation) {
    if (invocation.arguments.empty())
        throw Refused(EINVAL, "what is made needs a name", usage_of(invocation.command));
    std::string name = new_name(invocation, invocation.arguments.front());
    if (invocation.control().exists(name)) throw Refused(EBUSY, "the name '" + name + "' is taken");
    return name;
}

uint64_t bytes_of_file(const std::string& path) {
    struct stat found;
    if (::stat(path.c_str(), &found) != 0) throw Refused(errno, "cannot stat " + path);
    if (!S_ISREG(found.st_mode) && !S_ISBLK(found.st_mode))
        throw Refused(ENOTBLK, path + " is neither a file nor a block device");
    OpenFile file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    off_t end = file.good() ? ::lseek(file.fd(), 0, SEEK_END) : -1;
    if (end < 0) throw Refused(errno, "cannot open " + path);
    return static_cast<uint64_t>(end);
}

// The mount would refuse it, too, in words for those who wrote a table.
void check_unused(Invocation& invocation, const CowFile& cow) {
    if (invocation.is_foreign()) return;  // that is asked by following its paths
    const ControlClient& control = invocation.control();
    if (std::string user = user_of(control, cow.path()); !user.empty())
        throw Refused(EBUSY, cow.path() + " is in use: by '" + user + "'", "another file");
}

std::string store_type(const CowOptions& options) { return options.transient ? "N" : "PO"; }

}  // namespace

std::vector<std::vector<Word>> rows_of(const ControlClient& control, const std::string& name) {
    std::vector<std::vector<Word>> rows;
    const std::string table = control.read(name, "table");
    for (std::string_view line : lines_of(table))
        if (std::vector<Word> words = split_words(line); words.size() > 2) rows.push_back(std::move(words));
    return rows;
}

namespace {

// By what they are, not by how they are written.
bool is_same(const struct stat& one, const struct stat& other) {
    if (S_ISBLK(one.st_mode) && S_ISBLK(other.st_mode)) return one.st_rdev == other.st_rdev;
    return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

bool uses(const ControlClient& control, const std::string& name, const struct stat& wanted) {
    for (bool inactive : {false, true})
        for (const Dependency& one : control.deps(name, inactive)) {
            struct stat found;
            const std::string path = one.is_volume() ? control.volume_path(one.name) : one.name;
            if (::stat(path.c_str(), &found) == 0 && is_same(found, wanted)) return true;
        }
    return false;
}

}  // namespace

std::string user_of(const ControlClient& control, const std::string& path) {
    struct stat wanted;
    if (::stat(path.c_str(), &wanted) != 0) return {};
    for (const std::string& name : control.volumes()) {
        try {
            if (uses(control, name, wanted)) return name;
        } catch (const Refused& refused) {  // it may be gone by now
            if (refused.error() != ENOENT && refused.error() != ENXIO) throw;
        }
    }
    return {};
}

std::vector<OldCow> old_cows(Invocation& invocation, const std::set<std::string>& cows) {
    std::vector<OldCow> old;
    if (CowOptions(invocation.options).keep || cows.empty()) return old;
    if (invocation.is_foreign()) {
        fmt::print(
            stderr,
            "dmfs: {}: {} is not your mount, and no file that it names is deleted: it is its owner's to\n"
            "  do that\n",
            invocation.command, invocation.control().mountpoint());
        return old;
    }
    for (const std::string& cow : cows) old.emplace_back(cow);
    return old;
}

std::vector<std::string> delete_cows(const ControlClient& control, const std::vector<OldCow>& cows) {
    std::vector<std::string> deleted;
    for (const OldCow& cow : cows)
        if (user_of(control, cow.path()).empty() && cow.remove()) deleted.push_back(cow.path());
    return deleted;
}

int snapshot(Invocation& invocation) {
    const ControlClient& control = invocation.control();
    const CowOptions options(invocation.options);
    const std::string origin = take_volume(invocation), name = take_new_name(invocation);
    CowFile cow(options.file.value_or(name + ".cow"), options.size_for(control.volume_bytes(origin)),
                options.size.has_value(), false);
    check_unused(invocation, cow);
    std::string request =
        "snapshot " + quote_word(name) + " " + quote_word(cow.path()) + " " + store_type(options);
    if (options.chunk != 0) request += " " + std::to_string(options.chunk);
    control.write(origin, "state", request + "\n");
    cow.keep();
    if (invocation.options.json)
        print_json({{"volume", name}, {"origin", origin}, {"cow", cow.path()}, {"bytes", cow.bytes()}});
    else
        fmt::print("{} is a snapshot of {}; what it keeps goes to {}, {} at most\n", shown(invocation, name),
                   shown(invocation, origin), cow.path(), size_text(cow.bytes()));
    return 0;
}

int overlay(Invocation& invocation) {
    const ControlClient& control = invocation.control();
    const CowOptions options(invocation.options);
    std::error_code error;
    const std::filesystem::path path = std::filesystem::canonical(invocation.arguments.front(), error);
    if (error) throw Refused(error.value(), "cannot open " + invocation.arguments.front());
    if (path.parent_path() == std::filesystem::path(control.mountpoint()))
        throw Refused(EINVAL, path.string() + " is a volume",
                      "`dmfs snapshot`, which also knows of writes to the volume itself");
    invocation.arguments.erase(invocation.arguments.begin());
    const std::string name = take_new_name(invocation);

    const uint64_t bytes = bytes_of_file(path);
    if (bytes < kSectorBytes) throw Refused(EINVAL, path.string() + " has no sector");
    if (bytes % kSectorBytes != 0)
        fmt::print(stderr,
                   "dmfs: overlay {}: the last {} bytes of {} are less than a sector, and not shown\n", name,
                   bytes % kSectorBytes, path.string());
    // To go on with changes that were made earlier has to be said: they are of that file only.
    CowFile cow(options.file.value_or(name + ".cow"), options.size_for(bytes), options.size.has_value(),
                options.file.has_value() && !options.transient);
    check_unused(invocation, cow);
    invocation.options.table = fmt::format(
        "0 {} snapshot {} {} {} {}", sectors_in(bytes), quote_word(path.string()), quote_word(cow.path()),
        store_type(options), options.chunk != 0 ? options.chunk : kUsualChunk);
    invocation.arguments = {name};
    if (invocation.options.json) invocation.options.verbose = 0;
    int code = create(invocation);
    cow.keep();
    if (invocation.options.json)
        print_json({{"volume", name},
                    {"file", path.string()},
                    {"cow", cow.path()},
                    {"bytes", cow.bytes()},
                    {"goes_on", cow.goes_on()}});
    else
        fmt::print("{} shows {}; what is written to it goes {} {}\n", shown(invocation, name), path.string(),
                   cow.goes_on() ? "on in" : "to", cow.path());
    return code;
}

// Fork.

namespace {

// The volumes below `name`, and itself, of which fork makes snapshots: they stand on other things
// than volumes, or are seen through a snapshot-origin.
void collect_bottoms(const ControlClient& control, const std::string& name, std::set<std::string>* seen,
                     std::vector<std::string>* bottoms) {
    if (!seen->insert(name).second) return;
    const std::vector<Dependency> below = control.deps(name);
    const std::vector<std::vector<Word>> rows = rows_of(control, name);
    if ((rows.size() == 1 && rows.front()[2].text == "snapshot-origin") ||
        std::ranges::any_of(below, [](const Dependency& one) { return !one.is_volume(); })) {
        bottoms->push_back(name);
        return;
    }
    for (const Dependency& one : below) collect_bottoms(control, one.name, seen, bottoms);
}

}  // namespace

int fork(Invocation& invocation) {
    const ControlClient& control = invocation.control();
    const CowOptions options(invocation.options);
    const std::string original = take_volume(invocation), name = take_new_name(invocation);
    if (options.chunk != 0 || options.transient)
        throw Refused(EINVAL, options.chunk != 0 ? "--chunk is not for fork" : "--transient is not for fork",
                      "chunks are 4K, and kept in memory unless --cow FOLDER is said");
    std::string request = "fork " + quote_word(name);
    std::vector<CowFile> cows;
    if (options.file) {
        std::error_code error;
        std::filesystem::path folder = std::filesystem::canonical(*options.file, error);
        if (error) throw Refused(error.value(), "cannot open the folder " + *options.file);
        if (!std::filesystem::is_directory(folder))
            throw Refused(ENOTDIR, folder.string() + " is no folder",
                          "--cow FOLDER: each volume that is copied gets a COW file there");
        std::set<std::string> seen;
        std::vector<std::string> bottoms;
        collect_bottoms(control, original, &seen, &bottoms);
        for (const std::string& bottom : bottoms) {
            const std::string copy = bottom == original ? name : fmt::format("{}-{}", name, bottom);
            cows.emplace_back((folder / (copy + ".cow")).string(),
                              options.size_for(control.volume_bytes(bottom)), options.size.has_value(),
                              false);
            check_unused(invocation, cows.back());
        }
        request += " " + quote_word(folder.string());
    }
    control.write(original, "state", request + "\n");
    for (CowFile& cow : cows) cow.keep();
    if (invocation.options.json) {
        Json files = Json::array();
        for (const CowFile& cow : cows) files.push_back(cow.path());
        print_json({{"volume", name}, {"original", original}, {"cows", files}});
        return 0;
    }
    fmt::print("{} is a copy of {}; what is written to either goes to {}\n", shown(invocation, name),
               shown(invocation, original), cows.empty() ? "memory" : "files in " + *options.file);
    return 0;
}

// Drop.

namespace {

// What a snapshot or a copy keeps things in.
std::set<std::string> cows_of(const ControlClient& control, const std::string& name) {
    std::set<std::string> cows;
    auto collect = [&](const std::string& volume) {
        for (const std::vector<Word>& row : rows_of(control, volume))
            if (row.size() > 4 && row[2].text == "snapshot") cows.insert(row[4].text);
    };
    collect(name);
    if (!cows.empty()) return cows;
    const std::string prefix = name + "-";
    for (const std::string& volume : control.volumes())
        if (volume.starts_with(prefix) && control.exists(volume.substr(prefix.size()))) collect(volume);
    return cows;
}

}  // namespace

int drop(Invocation& invocation) {
    const ControlClient& control = invocation.control();
    const std::string name = take_volume(invocation);
    const std::vector<OldCow> cows = old_cows(invocation, cows_of(control, name));
    control.write(name, "state", "drop\n");
    const std::vector<std::string> deleted = delete_cows(control, cows);
    const bool gone = !control.exists(name);  // or an origin, whose snapshots were
    if (invocation.options.json) {
        print_json({{"volume", name}, {"removed", gone}, {"deleted", deleted}});
        return 0;
    }
    fmt::print("{}\n", shown(invocation, name) + (gone ? " is gone" : " is no origin any more"));
    for (const std::string& file : deleted) fmt::print("deleted {}\n", file);
    return 0;
}

}  // namespace dmfs::cli
