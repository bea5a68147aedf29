// What a command of dmfs is given, and what all commands use.
//
// A command is a function that prints its answer on stdout and throws Refused.
// command_table.cc lists them; main.cc catches what they throw.

#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/mounts.h"
#include "base/refused.h"
#include "cli/options.h"
#include "dm/control_client.h"

namespace dmfs::cli {

using Json = nlohmann::ordered_json;

struct Invocation {
    std::string command;
    Options options;
    std::vector<std::string> arguments;

    // The first argument as it was given. MNT/NAME says which mount is meant, too.
    std::string first_word;

    // The mount that is meant: --mount, the path of a volume, $DMFS_MOUNT, or the only one that is
    // the caller's own. Throws Refused.
    const ControlClient& control();
    // Somebody else serves that mount. What it says is nothing to go by: no path that it names is
    // followed, and no file that it names is deleted.
    bool is_foreign();

  private:
    std::unique_ptr<ControlClient> control_;
};

struct Command {
    const char* name;
    const char* synopsis;
    int min_arguments;
    int max_arguments;  // -1: any number
    int (*function)(Invocation&);
};

const std::vector<Command>& command_table();
const Command* find_command(std::string_view name);
// The usage line of a command that exists, and the text of `dmfs help`.
std::string usage_of(std::string_view name);
std::string usage();

// mounts.cc: mounts of fuse.dmfs, in the order of /proc/self/mountinfo.
std::vector<MountEntry> dmfs_mounts();
// "nobody's (65534)", "your own"
std::string whose(const MountEntry& mount);

// volumes.cc -------------------------------------------------------------------

// The volume that one word names: a name, or a path MNT/NAME. Throws Refused
// (ENXIO) with the names that are near when there is none.
std::string find_volume(Invocation& invocation, const std::string& word);
// The volume of the first argument, or of -u or -j -m; that argument is consumed.
std::string take_volume(Invocation& invocation);
// All that the arguments (or -u, -j -m) name; where they name none and
// `all_if_none`, every volume of the mount. --select narrows it down.
std::vector<std::string> take_volumes(Invocation& invocation, bool all_if_none);
// A name that a new volume is to get.
std::string new_name(const Invocation& invocation, const std::string& word);
std::string shown(const Invocation& invocation, std::string_view name);

// Runs `act` for each, up to the first refusal, which is printed with the name it
// concerns; the exit code tells.
template <typename Act>
int for_each_volume(Invocation& invocation, const std::vector<std::string>& names, Act act);

// Prints "dmfs: COMMAND NAME: ..." on stderr.
void print_refusal(const Invocation& invocation, std::string_view name, const Refused& refused);

// json.cc ----------------------------------------------------------------------

// Names are bytes: what is no UTF-8 is shown as U+FFFD.
void print_json(const Json& document);
Json info_json(const VolumeInfo& info);
// A line of a table or of a status: {"start", "length", "target", "arguments"}.
Json row_json(std::string_view line, const char* rest_key);

// select.cc ----------------------------------------------------------------------

class Facts;
// Whether the volume matches --select; true without one. Throws Refused where the
// selection cannot be understood.
bool selected(Invocation& invocation, const std::string& name);
bool selected(const std::string& selection, Facts& facts);

template <typename Act>
int for_each_volume(Invocation& invocation, const std::vector<std::string>& names, Act act) {
    for (const std::string& name : names) {
        try {
            act(name);
        } catch (const Refused& refused) {
            print_refusal(invocation, name, refused);
            return 1;
        }
    }
    return 0;
}

}  // namespace dmfs::cli
