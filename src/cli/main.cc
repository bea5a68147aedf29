// dmfs: the command of a dmfs mount. It goes by three more names: devmap_name
// (dmsetup's own alias) and mount.fuse.dmfs (the helper that mount(8) runs).

#include <fmt/format.h>
#include <string.h>
#include <sys/stat.h>

#include <string>

#include "cli/command.h"

namespace dmfs::cli {

// mount.cc
int mount_helper(int argc, char** argv);
int mount_source(const std::string& source, const Invocation& invocation);

namespace {

// devmap_name MAJOR MINOR, devmap_name MAJOR:MINOR
void become_devmap_name(CommandLine& line) {
    std::vector<std::string> numbers = line.arguments;
    numbers.insert(numbers.begin(), line.command);
    if (numbers.size() == 1) {
        size_t colon = numbers[0].find(':');
        if (colon != std::string::npos) numbers = {numbers[0].substr(0, colon), numbers[0].substr(colon + 1)};
    }
    line.command = "devmap_name";
    line.arguments = numbers;
}

// dmfs SOURCE FOLDER -o OPTIONS: so calls mount.fuse(8), which mount(8) finds where it does not find
// mount.fuse.dmfs.
bool is_mount_call(const CommandLine& line) {
    const std::string& source = line.command;
    struct stat found;
    return line.arguments.size() == 1 && ::stat(line.arguments.front().c_str(), &found) == 0 &&
           S_ISDIR(found.st_mode) &&
           (line.options.fields || source == "none" || source.find('/') != std::string::npos);
}

int unknown(const std::string& command) {
    std::vector<std::string> names;
    for (const Command& known : command_table()) names.emplace_back(known.name);
    std::vector<std::string> near = similar_names(command, names);
    fmt::print(stderr, "dmfs: {}: unknown command: {}\n  {}\n", command, strerror(EINVAL),
               near.empty() ? "`dmfs help` lists them" : "did you mean " + near.front() + "?");
    return 1;
}

// Says so where the command has another number of arguments.
bool fits(const Command& command, const CommandLine& line) {
    const auto given = static_cast<int>(line.arguments.size());
    const bool by_option = line.options.uuid || line.options.minor || line.options.select;
    const bool too_many = command.max_arguments >= 0 && given > command.max_arguments;
    if (given + by_option >= command.min_arguments && !too_many) return true;
    fmt::print(stderr, "dmfs: {}: {} arguments: {}\n  {}\n", line.command,
               given > command.min_arguments ? "too many" : "too few", strerror(EINVAL),
               usage_of(line.command));
    return false;
}

int run(int argc, char** argv) {
    std::string program = argc > 0 ? argv[0] : "dmfs";
    program = program.substr(program.rfind('/') + 1);

    Invocation invocation;
    std::string name;  // what the refusal is about
    try {
        if (program == "mount.fuse.dmfs") {
            invocation.command = "mount";
            if (argc > 2) name = argv[2];
            return mount_helper(argc, argv);
        }
        CommandLine line = parse_command_line(argc, argv);
        if (program == "devmap_name") become_devmap_name(line);
        if (line.options.help) line.command = "help";
        if (line.options.version) line.command = "version";
        if (line.command.empty()) {
            fmt::print(stderr, "{}", usage());
            return 1;
        }
        invocation.command = line.command;
        invocation.options = line.options;
        invocation.arguments = line.arguments;
        if (!line.arguments.empty() && !line.options.concise) invocation.first_word = line.arguments.front();

        const Command* command = find_command(line.command);
        if (command == nullptr && is_mount_call(line)) {
            name = line.arguments.front();
            invocation.command = "mount";
            return mount_source(line.command, invocation);
        }
        if (command == nullptr) return unknown(line.command);
        if (!fits(*command, line)) return 1;
        if (!line.arguments.empty() && !line.options.concise) name = line.arguments.front();
        int code = command->function(invocation);
        if (fflush(stdout) != 0) throw Refused(errno, "cannot write the answer");
        return code;
    } catch (const Refused& refused) {
        if (refused.reason().empty()) return 1;  // getopt_long has said it
        if (invocation.command.empty())
            fmt::print(stderr, "dmfs: {}: {}\n{}{}{}", refused.reason(), strerror(refused.error()),
                       refused.remedy().empty() ? "" : "  ", refused.remedy(),
                       refused.remedy().empty() ? "" : "\n");
        else
            print_refusal(invocation, name, refused);
    } catch (const std::exception& error) {
        fmt::print(stderr, "dmfs: {}: {}\n", invocation.command, error.what());
    }
    return 1;
}

}  // namespace

}  // namespace dmfs::cli

int main(int argc, char** argv) { return dmfs::cli::run(argc, argv); }
