// table, status, measure, deps, ls: what dmsetup prints of volumes.
//
// One volume that was named has its lines bare; of several, each line begins with
// "NAME: ". --target shows the lines of one target only.

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/words.h"
#include "cli/commands.h"
#include "dm/concise.h"

namespace dmfs::cli {

namespace {

bool of_target(std::string_view line, const std::string& target) {
    std::vector<Word> words = split_words(line);
    return words.size() > 2 && words[2].text == target;
}

// In `table` zeros stand for keys.
const char* table_file(const Options& options) {
    if (options.show_keys) return options.inactive ? "inactive_showkeys" : "showkeys";
    return options.inactive ? "inactive" : "table";
}

// Prints the lines of one control file of every volume that was named.
int print_lines(Invocation& invocation, const char* file, bool is_table) {
    const Options& options = invocation.options;
    const ControlClient& control = invocation.control();
    bool bare =
        invocation.arguments.size() == 1 || (invocation.arguments.empty() && (options.uuid || options.minor));
    std::vector<std::string> names = take_volumes(invocation, true);
    if (names.empty() && !options.json && !options.select) fmt::print("No devices found\n");
    Json volumes = Json::array();
    int code = for_each_volume(invocation, names, [&](const std::string& name) {
        std::string text = control.read(name, file);
        std::vector<std::string_view> lines = lines_of(text);
        size_t all = lines.size();
        if (options.target)
            std::erase_if(lines, [&](std::string_view line) { return !of_target(line, *options.target); });
        if (options.json) {
            Json rows = Json::array();
            for (std::string_view line : lines)
                rows.push_back(row_json(line, is_table ? "arguments" : "status"));
            volumes.push_back({{"name", name}, {is_table ? "table" : "status", rows}});
            return;
        }
        if (options.target && lines.empty()) return;
        if (options.verbose > 0) print_info(invocation, control.info(name));
        std::string prefix = bare ? "" : shown(invocation, name) + ": ";
        if (all == 0) fmt::print("{}\n", prefix);
        for (std::string_view line : lines) fmt::print("{}{}\n", prefix, line);
    });
    if (options.json && code == 0) print_json({{"volumes", volumes}});
    return code;
}

int print_concise(Invocation& invocation) {
    const ControlClient& control = invocation.control();
    std::vector<std::string> names = take_volumes(invocation, true);
    if (names.empty()) fmt::print("No devices found");
    std::string out;
    for (const std::string& name : names) {
        VolumeInfo info = control.info(name);
        ConciseVolume volume{name, info.uuid, info.minor, info.readonly,
                             control.read(name, table_file(invocation.options))};
        out += (out.empty() ? "" : ";") + format_concise(volume);
    }
    fmt::print("{}\n", out);
    return 0;
}

enum class DeviceName { number, block, map };

DeviceName device_name(const Options& options) {
    std::string word = options.fields.value_or("devno");
    if (word == "devno") return DeviceName::number;
    if (word == "blkdevname") return DeviceName::block;
    if (word == "devname") return DeviceName::map;
    throw Refused(EINVAL, "unknown option '" + word + "'", "-o devno, -o blkdevname or -o devname");
}

std::string dependency_text(const Invocation& invocation, const Dependency& one, DeviceName how) {
    if (how == DeviceName::number && one.numbered) return fmt::format("({}, {})", one.major, one.minor);
    if (one.is_volume()) return "(" + shown(invocation, one.name) + ")";
    return "(" + (one.name.starts_with("/dev/") ? one.name.substr(5) : one.name) + ")";
}

// Runs the words of --exec with the path of a volume after them.
int run_for(const std::string& words, const std::string& path) {
    std::vector<std::string> held;
    for (const Word& word : split_words(words)) held.push_back(word.text);
    if (held.empty()) throw Refused(EINVAL, "--exec names no command");
    held.push_back(path);
    std::vector<char*> argv;
    for (std::string& word : held) argv.push_back(word.data());
    argv.push_back(nullptr);
    fflush(stdout);
    pid_t child = 0;
    int error = posix_spawnp(&child, argv[0], nullptr, nullptr, argv.data(), environ);
    if (error != 0) throw Refused(error, "cannot run " + held[0]);
    int result = 0;
    while (waitpid(child, &result, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(result) && WEXITSTATUS(result) == 0 ? 0 : 1;
}

}  // namespace

int table(Invocation& invocation) {
    if (invocation.options.concise) return print_concise(invocation);
    return print_lines(invocation, table_file(invocation.options), true);
}

int status(Invocation& invocation) {
    return print_lines(invocation, invocation.options.inactive ? "inactive_status" : "status", false);
}

int measure(Invocation& invocation) { return print_lines(invocation, "measure", false); }

int deps(Invocation& invocation) {
    DeviceName how = device_name(invocation.options);
    bool bare = invocation.arguments.size() == 1 || invocation.options.uuid || invocation.options.minor;
    std::vector<std::string> names = take_volumes(invocation, true);
    if (names.empty() && !invocation.options.json) fmt::print("No devices found\n");
    Json volumes = Json::array();
    for (const std::string& name : names) {
        std::vector<Dependency> all = invocation.control().deps(name, invocation.options.inactive);
        if (invocation.options.json) {
            Json list = Json::array();
            for (const Dependency& one : all) {
                Json entry{{"name", one.name},
                           {"kind", one.is_volume() ? "volume"
                                    : one.numbered  ? "device"
                                                    : "file"}};
                if (one.numbered) entry.update({{"major", one.major}, {"minor", one.minor}});
                list.push_back(entry);
            }
            volumes.push_back({{"name", name}, {"deps", list}});
            continue;
        }
        if (invocation.options.verbose > 0) print_info(invocation, invocation.control().info(name));
        fmt::print("{}{} dependencies\t:", bare ? "" : shown(invocation, name) + ": ", all.size());
        for (const Dependency& one : all) fmt::print(" {}", dependency_text(invocation, one, how));
        fmt::print("\n");
    }
    if (invocation.options.json) print_json({{"volumes", volumes}});
    return 0;
}

int ls(Invocation& invocation) {
    const Options& options = invocation.options;
    if (options.tree) return ls_tree(invocation);
    DeviceName how = device_name(options);
    const ControlClient& control = invocation.control();
    std::vector<std::string> names = take_volumes(invocation, true);
    if (names.empty() && !options.json) {
        fmt::print("No devices found\n");
        return 0;
    }
    Json volumes = Json::array();
    int code = 0;
    for (const std::string& name : names) {
        if (options.target) {
            std::string table = control.read(name, "table");
            bool has = false;
            for (std::string_view line : lines_of(table)) has |= of_target(line, *options.target);
            if (!has) continue;
        }
        if (options.exec) {
            code |= run_for(*options.exec, control.volume_path(name));
            continue;
        }
        VolumeInfo info = control.info(name);
        if (options.json) {
            volumes.push_back({{"name", name},
                               {"major", info.major},
                               {"minor", info.minor},
                               {"path", control.volume_path(name)}});
            continue;
        }
        // dmsetup writes "(0, 1)" when --target makes it look at each volume, else "(0:1)".
        std::string number = fmt::format("{}{}{}", info.major, options.target ? ", " : ":", info.minor);
        fmt::print("{}\t({})\n", shown(invocation, name),
                   how == DeviceName::number ? number : shown(invocation, name));
    }
    if (options.json && !options.exec) print_json({{"volumes", volumes}});
    return code;
}

}  // namespace dmfs::cli
