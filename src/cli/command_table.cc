// The commands of dmfs, and the text of `dmfs help`.

#include <fmt/format.h>

#include "cli/commands.h"

namespace dmfs::cli {

const std::vector<Command>& command_table() {
    static const std::vector<Command> commands = {
        {"mount", "FOLDER [-o OPTION,...] [-f] [--config FILE]", 1, 1, mount},
        {"umount", "FOLDER [--lazy]", 1, 1, umount},
        {"save", "[--showkeys] [FILE]", 0, 1, save},
        {"key", "add logon|user DESCRIPTION [--hex] [FILE]", 1, 4, key},
        {"key", "remove logon|user DESCRIPTION", 1, 4, key},
        {"key", "list", 1, 4, key},
        {"attach", "VOLUME [--read-only] [--partscan] [--sector-size BYTES]", 1, 1, attach},
        {"detach", "VOLUME|/dev/loopN", 1, 1, detach},
        {"replay",
         "LOG [--list|--check|--find-mark TEXT] [--onto FILE [--after POINT,... --exec COMMAND]] [--from N] "
         "[--to N|--to-mark TEXT]",
         1, 1, replay},
        {"verity", "open NAME DATA HASH ROOT_DIGEST|@FILE [VERITY_OPTION...]", 1, 5, verity},
        {"verity", "table DATA HASH ROOT_DIGEST|@FILE [VERITY_OPTION...]", 1, 5, verity},
        {"verity", "dump HASH [--hash-offset BYTES]", 1, 5, verity},
        {"snapshot", "VOLUME NAME [--cow FILE] [--size SIZE] [--chunk SIZE] [--transient]", 1, 2, snapshot},
        {"merge", "NAME [--background] [--keep-cow]", 0, 1, merge},
        {"overlay", "FILE NAME [--cow FILE] [--size SIZE] [--chunk SIZE] [--transient]", 2, 2, overlay},
        {"fork", "VOLUME NAME [--cow FOLDER] [--size SIZE]", 1, 2, fork},
        {"drop", "NAME [--keep-cow]", 0, 1, drop},

        {"explain", "VOLUME SECTOR[+COUNT] [--write|OPERATION] [--dot]", 0, 3, explain},
        {"explain", "--reverse FILE OFFSET[+LENGTH]", 0, 3, explain},
        {"trace", "[--count N] [VOLUME...]", 0, -1, trace},
        {"graph", "[--dot] [--svg FILE] [--html FILE] [-o FILE] [VOLUME...]", 0, -1, graph},
        {"top", "[-d SECONDS] [-n COUNT] [-b] [-O KEY] [VOLUME...]", 0, -1, top},
        {"doctor", "[FILE...]", 0, -1, doctor},

        {"help", "[-c|-C|--columns]", 0, -1, help},
        {"create", "NAME [-u UUID] [-m MINOR] [-r] [-U UID] [-G GID] [-M MODE] [-n|--table TABLE|FILE]", 0, 2,
         create},
        {"create", "--concise [NAME,UUID,MINOR,FLAGS,TABLE[,TABLE...][;...]]", 0, 2, create},
        {"remove", "[--deferred] [-f|--force] [--retry] VOLUME...", 0, -1, remove},
        {"remove_all", "[-f|--force] [--deferred]", 0, 0, remove_all},
        {"suspend", "[--noflush] [--nolockfs] VOLUME...", 0, -1, suspend},
        {"resume", "[--noflush] [--nolockfs] VOLUME...", 0, -1, resume},
        {"load", "VOLUME [-r] [--table TABLE|FILE]", 0, 2, load},
        {"clear", "VOLUME...", 0, -1, clear},
        {"reload", "VOLUME [-r] [--table TABLE|FILE]", 0, 2, load},
        {"wipe_table", "[-f|--force] [--noflush] [--nolockfs] VOLUME...", 0, -1, wipe_table},
        {"rename", "VOLUME [--setuuid] NEW_NAME_OR_UUID", 1, 2, rename},
        {"measure", "[VOLUME...]", 0, -1, measure},
        {"message", "VOLUME SECTOR WORD...", 2, -1, message},
        {"ls", "[--target TARGET] [--exec COMMAND] [-o OPTIONS] [--tree]", 0, 0, ls},
        {"info",
         "[-c [-o FIELDS] [-O FIELDS] [--noheadings] [--separator TEXT] [--nameprefixes]] [VOLUME...]", 0, -1,
         info},
        {"deps", "[-o devno|blkdevname|devname] [VOLUME...]", 0, -1, deps},
        {"status", "[--target TARGET] [--noflush] [VOLUME...]", 0, -1, status},
        {"table", "[--concise] [--target TARGET] [--showkeys] [--inactive] [VOLUME...]", 0, -1, table},
        {"wait", "[--noflush] VOLUME [EVENT_NR]", 0, 2, wait},
        {"mknodes", "[VOLUME...]", 0, -1, mknodes},
        {"mangle", "[VOLUME...]", 0, -1, mangle},
        {"udevcreatecookie", "", 0, 0, udev},
        {"udevreleasecookie", "[COOKIE]", 0, 1, udev},
        {"udevflags", "COOKIE", 1, 1, udev},
        {"udevcomplete", "COOKIE", 1, 1, udev},
        {"udevcomplete_all", "[AGE_IN_MINUTES]", 0, 1, udev},
        {"udevcookies", "", 0, 0, udev},
        {"target-version", "TARGET...", 1, -1, target_version},
        {"targets", "", 0, 0, targets},
        {"version", "", 0, -1, version},
        {"setgeometry", "VOLUME CYLINDERS HEADS SECTORS START", 4, 5, set_geometry},
        {"splitname", "NAME [SUBSYSTEM]", 1, 2, splitname},
        {"devmap_name", "MAJOR:MINOR", 1, 2, devmap_name},
    };
    return commands;
}

const Command* find_command(std::string_view name) {
    for (const Command& command : command_table())
        if (command.name == name) return &command;
    return nullptr;
}

std::string usage_of(std::string_view name) {
    const Command* command = find_command(name);
    return fmt::format("usage: dmfs {} {}", command->name, command->synopsis);
}

std::string usage() {
    std::string out =
        "Usage:\n\n"
        "dmfs [--mount FOLDER] [-v] [--json] [--manglename none|hex|auto] COMMAND ...\n\n";
    for (const Command& command : command_table())
        out += fmt::format("    {}{}{}\n", command.name, *command.synopsis == 0 ? "" : " ", command.synopsis);
    return out +
           "\n"
           "VOLUME is a name, a path FOLDER/NAME, or (if only one) -u UUID or -j 0 -m MINOR.\n"
           "Which mount: --mount, $DMFS_MOUNT, or the only one there is.\n"
           "-S SELECTION narrows any list of volumes, as in -S 'open=0 && name=~^test'.\n"
           "FIELDS are separated by commas; `dmfs help -c` lists them.\n"
           "OPERATION is read, write, discard, write_zeroes or flush.\n"
           "OPTIONS of ls and deps: devno, blkdevname, devname; of ls --tree: ascii, utf,\n"
           "vt100; compact, inverted, notrunc; blkdevname, [no]device, active, open, rw, uuid.\n"
           "Tables come from --table, from a file, or from stdin.\n"
           "POINT is entry, flush, fua or mark; N counts entries of the log from 1.\n"
           "VERITY_OPTION is as veritysetup's open has it: dmfs-verity(7) lists them.\n";
}

}  // namespace dmfs::cli
