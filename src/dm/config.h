// dmfs.toml: the options of a mount and the volumes it begins with.
//
//     [mount]                       every -o option
//     backing = "cached"
//     allow_root = true
//
//     [[key]]                       for tables that name a key of a keyring
//     description = "safe"          required, as the file; what the table calls it
//     file = "safe.key"             its bytes
//     type = "logon"                or "user"; logon if left out
//
//     [[volume]]
//     name = "disk"                 required; the others may be left out:
//     uuid = "..."                  readonly, suspended (booleans), minor
//     table = """
//     0 2048 linear a.img 0
//     """
//
// Volumes are made in the order of the file: one that stands on another stands
// after it. (Any order could be sorted out only by understanding every target's
// words.) But a merge begins with its volume, and every other snapshot of its origin
// has to be there by then: volumes of snapshot-merge are made last, and what stands
// on them. A volume without a table is made empty.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dmfs {

struct Config {
    struct Key {
        std::string type = "logon";
        std::string description;
        std::string file;
        size_t line = 0;  // of the file's name, for refusals
        friend bool operator==(const Key&, const Key&) = default;
    };

    struct Volume {
        std::string name;
        std::string uuid;
        std::string table;
        bool readonly = false;
        bool suspended = false;
        std::optional<uint32_t> minor;
        size_t line = 0;        // of its name, for refusals
        size_t table_line = 0;  // of the table's first line
        friend bool operator==(const Volume&, const Volume&) = default;
    };

    // In the order of their names; a boolean's text is "true" or "false".
    std::vector<std::pair<std::string, std::string>> options;
    std::vector<Key> keys;
    std::vector<Volume> volumes;
};

// Throws Refused with the place, which calls the text `file_name`.
Config parse_config(std::string_view text, const std::string& file_name);
// All volumes, in the order in which they are to be made.
std::vector<const Config::Volume*> making_order(const Config& config);
// Throws Refused where a name or a table is not UTF-8, which is all that TOML holds.
std::string format_config(const Config& config);

}  // namespace dmfs
