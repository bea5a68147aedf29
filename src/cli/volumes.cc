// Which volumes a command is about: names, paths, -u UUID, -j MAJOR -m MINOR.

#include <fmt/format.h>
#include <stdlib.h>

#include <filesystem>

#include "cli/command.h"

namespace dmfs::cli {

namespace {

// A path MNT/NAME, however it is written; empty if it leads elsewhere.
std::string name_in_mount(const std::string& mountpoint, const std::string& word) {
    std::error_code ignored;
    std::filesystem::path path(word);
    std::filesystem::path folder = std::filesystem::weakly_canonical(path.parent_path(), ignored);
    if (ignored || folder != std::filesystem::weakly_canonical(mountpoint, ignored)) return {};
    return path.filename();
}

[[noreturn]] void no_such_volume(Invocation& invocation, const std::string& reason, const std::string& word) {
    std::vector<std::string> near = similar_names(word, invocation.control().volumes());
    std::string hint = "`dmfs ls` lists the volumes of " + invocation.control().mountpoint();
    if (!near.empty()) {
        hint = "did you mean ";
        for (size_t i = 0; i < near.size(); i++)
            hint += (i == 0 ? "" : i + 1 == near.size() ? " or " : ", ") + near[i];
        hint += "? `dmfs ls` lists them all";
    }
    throw Refused(ENXIO, reason, hint);
}

// The volume that -u or -j -m names; empty if neither was given.
std::string named_by_option(Invocation& invocation) {
    const Options& options = invocation.options;
    if (!options.uuid && !options.minor && !options.major) return {};
    if (!options.uuid && !options.minor)
        throw Refused(EINVAL, "a major number without a minor", "-j 0 -m MINOR");
    uint32_t major = options.major.value_or(0);  // volumes have no other
    const ControlClient& control = invocation.control();
    for (const std::string& name : control.volumes()) {
        VolumeInfo info = control.info(name);
        if (options.uuid ? info.uuid == *options.uuid && !info.uuid.empty()
                         : info.major == major && info.minor == *options.minor)
            return name;
    }
    if (options.uuid)
        throw Refused(ENXIO, "no volume with uuid '" + *options.uuid + "' here", "`dmfs info -c` lists them");
    throw Refused(ENXIO, fmt::format("no volume {}:{} here", major, *options.minor),
                  "`dmfs ls` lists the volumes of " + control.mountpoint());
}

}  // namespace

std::string find_volume(Invocation& invocation, const std::string& word) {
    const ControlClient& control = invocation.control();
    std::string name;
    if (word.find('/') != std::string::npos) {
        name = name_in_mount(control.mountpoint(), word);
        if (name.empty()) throw Refused(ENXIO, "'" + word + "' is not in " + control.mountpoint());
    } else {
        try {
            name = name_from_user(word, invocation.options.mangling);
        } catch (const Refused& refused) {  // such a volume is not there
            throw Refused(ENXIO, refused.reason(), refused.remedy());
        }
    }
    if (!control.exists(name)) no_such_volume(invocation, "no volume " + name + " here", name);
    return name;
}

std::string take_volume(Invocation& invocation) {
    std::string name = named_by_option(invocation);
    if (!name.empty()) return name;
    if (invocation.arguments.empty())
        throw Refused(EINVAL, "no volume was named", usage_of(invocation.command));
    std::string word = invocation.arguments.front();
    invocation.arguments.erase(invocation.arguments.begin());
    return find_volume(invocation, word);
}

std::vector<std::string> take_volumes(Invocation& invocation, bool all_if_none) {
    std::vector<std::string> names;
    std::string by_option = named_by_option(invocation);
    if (!by_option.empty()) names.push_back(by_option);
    for (const std::string& word : invocation.arguments) {
        if (!by_option.empty())
            throw Refused(EINVAL, "both an option and '" + word + "' name a volume",
                          "either -u or -j -m, or names");
        names.push_back(find_volume(invocation, word));
    }
    if (names.empty() && (all_if_none || invocation.options.select))
        names = invocation.control().volumes();
    else if (names.empty())
        throw Refused(EINVAL, "no volume was named", usage_of(invocation.command));
    if (invocation.options.select)
        std::erase_if(names, [&](const std::string& name) { return !selected(invocation, name); });
    return names;
}

std::string new_name(const Invocation& invocation, const std::string& word) {
    return name_from_user(word, invocation.options.mangling);
}

std::string shown(const Invocation& invocation, std::string_view name) {
    return name_for_user(name, invocation.options.mangling);
}

void print_refusal(const Invocation& invocation, std::string_view name, const Refused& refused) {
    fflush(stdout);
    std::string who = "dmfs: " + invocation.command + (name.empty() ? "" : " ") + std::string(name) + ": ";
    if (const auto* told = dynamic_cast<const RequestRefused*>(&refused)) {
        fmt::print(stderr, "{}{}\n", who, told->text());
    } else if (!refused.place().file.empty()) {
        fmt::print(stderr, "{}{}\n", who, refused.report(refused.place().file));
    } else {
        fmt::print(stderr, "{}{}: {}\n", who, refused.reason(), strerror(refused.error()));
        if (!refused.remedy().empty()) fmt::print(stderr, "  {}\n", refused.remedy());
    }
}

}  // namespace dmfs::cli
