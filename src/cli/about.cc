// help, version, targets: about the command and the mount, not about volumes.

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/words.h"
#include "cli/commands.h"
#include "cli/fields.h"

namespace dmfs::cli {

namespace {

#ifndef DMFS_VERSION
#define DMFS_VERSION "0.1.0"
#endif

// "linear           v1.4.0" -> name and version
struct TargetVersion {
    std::string name;
    std::string version;
    std::string line;
};

std::vector<TargetVersion> known_targets(Invocation& invocation) {
    std::vector<TargetVersion> all;
    std::string text = invocation.control().read("targets");
    for (std::string_view line : lines_of(text)) {
        std::vector<Word> words = split_words(line);
        if (words.size() < 2) continue;
        std::string version = words[1].text.starts_with("v") ? words[1].text.substr(1) : words[1].text;
        all.push_back({words[0].text, version, std::string(line)});
    }
    return all;
}

// The word after "interface " in the version file.
std::string interface_version(const std::string& text) {
    for (std::string_view line : lines_of(text))
        if (line.starts_with("interface ")) return std::string(line.substr(10));
    return {};
}

int print_targets(const Invocation& invocation, const std::vector<TargetVersion>& targets) {
    Json list = Json::array();
    for (const TargetVersion& target : targets) {
        if (invocation.options.json)
            list.push_back({{"name", target.name}, {"version", target.version}});
        else
            fmt::print("{}\n", target.line);
    }
    if (invocation.options.json) print_json({{"targets", list}});
    return 0;
}

}  // namespace

int help(Invocation& invocation) {
    fmt::print("{}", usage());
    if (invocation.options.columns) fmt::print("\n{}", fields_help());
    return 0;
}

int version(Invocation& invocation) {
    // The command's own version can be told without a mount.
    std::string daemon, driver;
    try {
        daemon = invocation.control().read("version");
        driver = interface_version(daemon);
        daemon = daemon.substr(0, daemon.find('\n'));
    } catch (const Refused& refused) {
        if (!invocation.options.mount.empty()) throw;
    }
    if (invocation.options.json) {
        print_json({{"version", DMFS_VERSION},
                    {"mount", daemon.empty() ? Json(nullptr) : Json(daemon)},
                    {"interface", driver.empty() ? Json(nullptr) : Json(driver)}});
        return 0;
    }
    fmt::print("Library version:   dmfs {}\n", DMFS_VERSION);
    if (!driver.empty()) fmt::print("Driver version:    {}\n", driver);
    return 0;
}

int targets(Invocation& invocation) { return print_targets(invocation, known_targets(invocation)); }

int target_version(Invocation& invocation) {
    std::vector<TargetVersion> known = known_targets(invocation), asked;
    std::vector<std::string> names;
    for (const TargetVersion& target : known) names.push_back(target.name);
    for (const std::string& word : invocation.arguments) {
        auto found = std::find(names.begin(), names.end(), word);
        if (found == names.end()) {
            std::vector<std::string> near = similar_names(word, names);
            throw Refused(EINVAL, "unknown target '" + word + "'",
                          near.empty() ? "`dmfs targets` lists them" : "did you mean " + near.front() + "?");
        }
        asked.push_back(known[static_cast<size_t>(found - names.begin())]);
    }
    return print_targets(invocation, asked);
}

}  // namespace dmfs::cli
