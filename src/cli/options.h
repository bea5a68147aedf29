// The options of the dmfs command. As with dmsetup, they may stand before or
// after the command's name and between its arguments, long ones may be shortened
// while they are unambiguous, and every command takes every option.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dm/names.h"

namespace dmfs::cli {

struct Options {
    // which mount, which volumes
    std::string mount;
    std::optional<std::string> uuid;
    std::optional<uint32_t> major, minor;
    std::optional<std::string> select;
    Mangling mangling = Mangling::automatic;

    // how to show
    bool json = false;
    bool columns = false, headings = true, name_prefixes = false, unquoted = false, rows = false;
    std::optional<std::string> fields, sort, separator;
    std::optional<uint64_t> count, interval;
    bool tree = false, concise = false, show_keys = false, inactive = false;
    std::optional<std::string> target, exec;
    int verbose = 0;

    // what to do
    std::optional<std::string> table;
    bool no_table = false, readonly = false, set_uuid = false;
    bool force = false, retry = false, deferred = false;
    bool noflush = false, nolockfs = false;
    std::optional<uint32_t> uid, gid, mode;

    // key
    bool hex = false;

    // mount, attach
    bool foreground = false, lazy = false, partscan = false;
    std::string config;
    std::optional<uint32_t> sector_size;

    // explain
    bool write = false, reverse = false, dot = false;

    // replay
    bool list = false, check = false;
    std::optional<std::string> onto, to_mark, find_mark, after;
    std::optional<uint64_t> from, to;

    // graph, top, doctor
    bool batch = false;
    std::optional<std::string> svg, html;
    std::optional<double> delay;  // seconds
    std::string root;             // where doctor takes the host's files from: for tests

    // What a few commands alone read, by name: those of `verity` (veritysetup's), and those about
    // COW files.
    std::map<std::string, std::string, std::less<>> own;

    bool help = false, version = false;
};

struct CommandLine {
    Options options;
    std::string command;                 // empty: none was given
    std::vector<std::string> arguments;  // after the command
};

// Throws Refused; what getopt_long itself finds wrong it has said on stderr, and
// the reason is then empty.
CommandLine parse_command_line(int argc, char** argv);

}  // namespace dmfs::cli
