#include "cli/options.h"

#include <getopt.h>
#include <grp.h>
#include <pwd.h>

#include <cstdlib>
#include <limits>

#include "base/refused.h"
#include "base/words.h"

namespace dmfs::cli {

namespace {

// Options without a letter of their own.
enum : int {
    kMount = 256,
    kJson,
    kTable,
    kConcise,
    kTarget,
    kExec,
    kTree,
    kShowKeys,
    kHex,
    kInactive,
    kMangleName,
    kNoHeadings,
    kHeadings,
    kNamePrefixes,
    kUnquoted,
    kRows,
    kSeparator,
    kCount,
    kInterval,
    kSetUuid,
    kRetry,
    kDeferred,
    kNoFlush,
    kNoLockFs,
    kLazy,
    kPartScan,
    kSectorSize,
    kConfig,
    kVersion,
    kForeground,
    kWrite,
    kReverse,
    kDot,
    kList,
    kCheck,
    kOnto,
    kFrom,
    kTo,
    kToMark,
    kFindMark,
    kAfter,
    kSvg,
    kHtml,
    kRoot,
    kOwn,
    kIgnored,
    kIgnoredWithValue,
};

constexpr char kShort[] = "bcCd:fG:hj:m:M:no:O:rS:u:U:vy";
// In `top`, -n has a number, as in top(1).
constexpr char kShortOfTop[] = "bcCd:fG:hj:m:M:n:o:O:rS:u:U:vy";

const option kLong[] = {
    {"mount", required_argument, nullptr, kMount},
    {"json", no_argument, nullptr, kJson},
    {"columns", no_argument, nullptr, 'c'},
    {"force", no_argument, nullptr, 'f'},
    {"gid", required_argument, nullptr, 'G'},
    {"help", no_argument, nullptr, 'h'},
    {"major", required_argument, nullptr, 'j'},
    {"minor", required_argument, nullptr, 'm'},
    {"mode", required_argument, nullptr, 'M'},
    {"notable", no_argument, nullptr, 'n'},
    {"options", required_argument, nullptr, 'o'},
    {"sort", required_argument, nullptr, 'O'},
    {"readonly", no_argument, nullptr, 'r'},
    {"read-only", no_argument, nullptr, 'r'},
    {"select", required_argument, nullptr, 'S'},
    {"uuid", required_argument, nullptr, 'u'},
    {"uid", required_argument, nullptr, 'U'},
    {"verbose", no_argument, nullptr, 'v'},
    {"yes", no_argument, nullptr, 'y'},
    {"table", required_argument, nullptr, kTable},
    {"concise", no_argument, nullptr, kConcise},
    {"target", required_argument, nullptr, kTarget},
    {"exec", required_argument, nullptr, kExec},
    {"tree", no_argument, nullptr, kTree},
    {"showkeys", no_argument, nullptr, kShowKeys},
    {"hex", no_argument, nullptr, kHex},
    {"inactive", no_argument, nullptr, kInactive},
    {"manglename", required_argument, nullptr, kMangleName},
    {"noheadings", no_argument, nullptr, kNoHeadings},
    {"headings", required_argument, nullptr, kHeadings},
    {"nameprefixes", no_argument, nullptr, kNamePrefixes},
    {"unquoted", no_argument, nullptr, kUnquoted},
    {"rows", no_argument, nullptr, kRows},
    {"separator", required_argument, nullptr, kSeparator},
    {"count", required_argument, nullptr, kCount},
    {"interval", required_argument, nullptr, kInterval},
    {"setuuid", no_argument, nullptr, kSetUuid},
    {"retry", no_argument, nullptr, kRetry},
    {"deferred", no_argument, nullptr, kDeferred},
    {"noflush", no_argument, nullptr, kNoFlush},
    {"nolockfs", no_argument, nullptr, kNoLockFs},
    {"lazy", no_argument, nullptr, kLazy},
    {"partscan", no_argument, nullptr, kPartScan},
    {"sector-size", required_argument, nullptr, kSectorSize},
    {"config", required_argument, nullptr, kConfig},
    {"foreground", no_argument, nullptr, kForeground},
    {"batch", no_argument, nullptr, 'b'},
    {"delay", required_argument, nullptr, 'd'},
    {"svg", required_argument, nullptr, kSvg},
    {"html", required_argument, nullptr, kHtml},
    {"root", required_argument, nullptr, kRoot},
    {"version", no_argument, nullptr, kVersion},
    {"write", no_argument, nullptr, kWrite},
    {"reverse", no_argument, nullptr, kReverse},
    {"dot", no_argument, nullptr, kDot},
    {"list", no_argument, nullptr, kList},
    {"check", no_argument, nullptr, kCheck},
    {"onto", required_argument, nullptr, kOnto},
    {"from", required_argument, nullptr, kFrom},
    {"to", required_argument, nullptr, kTo},
    {"to-mark", required_argument, nullptr, kToMark},
    {"find-mark", required_argument, nullptr, kFindMark},
    {"after", required_argument, nullptr, kAfter},
    {"hash-offset", required_argument, nullptr, kOwn},
    {"no-superblock", no_argument, nullptr, kOwn},
    {"format", required_argument, nullptr, kOwn},
    {"hash", required_argument, nullptr, kOwn},
    {"data-block-size", required_argument, nullptr, kOwn},
    {"hash-block-size", required_argument, nullptr, kOwn},
    {"data-blocks", required_argument, nullptr, kOwn},
    {"salt", required_argument, nullptr, kOwn},
    {"ignore-corruption", no_argument, nullptr, kOwn},
    {"restart-on-corruption", no_argument, nullptr, kOwn},
    {"panic-on-corruption", no_argument, nullptr, kOwn},
    {"error-as-corruption", no_argument, nullptr, kOwn},
    {"ignore-zero-blocks", no_argument, nullptr, kOwn},
    {"check-at-most-once", no_argument, nullptr, kOwn},
    {"use-tasklets", no_argument, nullptr, kOwn},
    {"fec-device", required_argument, nullptr, kOwn},
    {"fec-offset", required_argument, nullptr, kOwn},
    {"fec-roots", required_argument, nullptr, kOwn},
    {"root-hash-file", required_argument, nullptr, kOwn},
    {"cow", required_argument, nullptr, kOwn},
    {"size", required_argument, nullptr, kOwn},
    {"chunk", required_argument, nullptr, kOwn},
    {"transient", no_argument, nullptr, kOwn},
    {"keep-cow", no_argument, nullptr, kOwn},
    {"background", no_argument, nullptr, kOwn},
    // Nodes under /dev, udev and read-ahead are the kernel's; dmsetup's scripts may ask for them.
    {"addnodeoncreate", no_argument, nullptr, kIgnored},
    {"addnodeonresume", no_argument, nullptr, kIgnored},
    {"checks", no_argument, nullptr, kIgnored},
    {"noopencount", no_argument, nullptr, kIgnored},
    {"noudevrules", no_argument, nullptr, kIgnored},
    {"noudevsync", no_argument, nullptr, kIgnored},
    {"verifyudev", no_argument, nullptr, kIgnored},
    {"readahead", required_argument, nullptr, kIgnoredWithValue},
    {"udevcookie", required_argument, nullptr, kIgnoredWithValue},
    {nullptr, 0, nullptr, 0},
};

uint64_t number(const char* option, const char* text, uint64_t below) {
    std::optional<uint64_t> value = parse_decimal(text);
    if (!value || *value >= below)
        throw Refused(EINVAL, std::string(option) + " '" + text + "' is no such number");
    return *value;
}

uint32_t number32(const char* option, const char* text) {
    return static_cast<uint32_t>(number(option, text, uint64_t{1} << 32));
}

// "2", "0.5"
double seconds(const char* text) {
    std::string_view rest = text;
    double value = 0, unit = 1;
    bool fraction = false, digits = false;
    for (char c : rest) {
        if (c == '.' && !fraction) {
            fraction = true;
        } else if (c >= '0' && c <= '9') {
            digits = true;
            if (fraction) unit /= 10;
            value = fraction ? value + (c - '0') * unit : value * 10 + (c - '0');
        } else {
            digits = false;
            break;
        }
    }
    if (!digits || value < 0.01 || value > 86400)
        throw Refused(EINVAL, std::string("delay '") + text + "' is no such time",
                      "seconds, from 0.01 to 86400");
    return value;
}

uint32_t octal_mode(const char* text) {
    char* end = nullptr;
    unsigned long mode = strtoul(text, &end, 8);
    if (*text == 0 || *end != 0 || mode > 07777)
        throw Refused(EINVAL, std::string("mode '") + text + "' is not octal");
    return static_cast<uint32_t>(mode);
}

uint32_t user_id(const char* text) {
    if (parse_decimal(text)) return number32("uid", text);
    const passwd* user = getpwnam(text);
    if (user == nullptr) throw Refused(EINVAL, std::string("no user '") + text + "'");
    return user->pw_uid;
}

uint32_t group_id(const char* text) {
    if (parse_decimal(text)) return number32("gid", text);
    const group* found = getgrnam(text);
    if (found == nullptr) throw Refused(EINVAL, std::string("no group '") + text + "'");
    return found->gr_gid;
}

// One option; false if getopt_long did not know it. `index`: of a long one, in kLong.
bool take(int letter, int index, Options& options) {
    switch (letter) {
        case kOwn:
            options.own[kLong[index].name] = optarg == nullptr ? "" : optarg;
            return true;
        case 'c':
        case 'C':
            options.columns = true;
            return true;
        case 'f':  // remove's, and mount's
            options.force = options.foreground = true;
            return true;
        case 'G':
            options.gid = group_id(optarg);
            return true;
        case 'h':
            options.help = true;
            return true;
        case 'j':
            options.major = number32("major", optarg);
            return true;
        case 'm':
            options.minor = number32("minor", optarg);
            return true;
        case 'M':
            options.mode = octal_mode(optarg);
            return true;
        case 'n':
            if (optarg != nullptr)
                options.count = number("count", optarg, UINT64_MAX);
            else
                options.no_table = true;
            return true;
        case 'b':
            options.batch = true;
            return true;
        case 'd':
            options.delay = seconds(optarg);
            return true;
        case kDot:
            options.dot = true;
            return true;
        case kSvg:
            options.svg = optarg;
            return true;
        case kHtml:
            options.html = optarg;
            return true;
        case kRoot:
            options.root = optarg;
            return true;
        case 'o':
            // mount -o a -o b; and dmsetup's last -o counts, but joining does no harm there
            options.fields = options.fields ? *options.fields + "," + optarg : optarg;
            return true;
        case 'O':
            options.sort = optarg;
            return true;
        case 'r':
            options.readonly = true;
            return true;
        case 'S':
            options.select = optarg;
            return true;
        case 'u':
            options.uuid = optarg;
            return true;
        case 'U':
            options.uid = user_id(optarg);
            return true;
        case 'v':
            options.verbose++;
            return true;
        case 'y':
            return true;
        case kMount:
            options.mount = optarg;
            return true;
        case kJson:
            options.json = true;
            return true;
        case kTable:
            options.table = optarg;
            return true;
        case kConcise:
            options.concise = true;
            return true;
        case kTarget:
            options.target = optarg;
            return true;
        case kExec:
            options.exec = optarg;
            return true;
        case kTree:
            options.tree = true;
            return true;
        case kHex:
            options.hex = true;
            return true;
        case kShowKeys:
            options.show_keys = true;
            return true;
        case kInactive:
            options.inactive = true;
            return true;
        case kMangleName:
            options.mangling = parse_mangling(optarg);
            return true;
        case kNoHeadings:
            options.headings = false;
            return true;
        case kHeadings:
            options.headings = std::string(optarg) != "none" && std::string(optarg) != "0";
            return true;
        case kNamePrefixes:
            options.name_prefixes = true;
            return true;
        case kUnquoted:
            options.unquoted = true;
            return true;
        case kRows:
            options.rows = true;
            return true;
        case kSeparator:
            options.separator = optarg;
            return true;
        case kCount:
            options.count = number("count", optarg, UINT64_MAX);
            return true;
        case kInterval:
            options.interval = number("interval", optarg, 1U << 31);
            return true;
        case kSetUuid:
            options.set_uuid = true;
            return true;
        case kRetry:
            options.retry = true;
            return true;
        case kDeferred:
            options.deferred = true;
            return true;
        case kNoFlush:
            options.noflush = true;
            return true;
        case kNoLockFs:
            options.nolockfs = true;
            return true;
        case kLazy:
            options.lazy = true;
            return true;
        case kPartScan:
            options.partscan = true;
            return true;
        case kSectorSize:
            options.sector_size = number32("sector size", optarg);
            return true;
        case kConfig:
            options.config = optarg;
            return true;
        case kForeground:
            options.foreground = true;
            return true;
        case kWrite:
            options.write = true;
            return true;
        case kReverse:
            options.reverse = true;
            return true;
        case kVersion:
            options.version = true;
            return true;
        case kList:
            options.list = true;
            return true;
        case kCheck:
            options.check = true;
            return true;
        case kOnto:
            options.onto = optarg;
            return true;
        case kFrom:
            options.from = number("from", optarg, UINT64_MAX);
            return true;
        case kTo:
            options.to = number("to", optarg, UINT64_MAX);
            return true;
        case kToMark:
            options.to_mark = optarg;
            return true;
        case kFindMark:
            options.find_mark = optarg;
            return true;
        case kAfter:
            options.after = optarg;
            return true;
        case kIgnored:
        case kIgnoredWithValue:
            return true;
        default:
            return false;
    }
}

// What the command will be, before it is known how to read its options.
std::string command_of(int argc, char** argv) {
    std::vector<char*> copy(argv, argv + argc);  // getopt_long puts them in order
    copy.push_back(nullptr);
    optind = 0;
    opterr = 0;
    while (getopt_long(argc, copy.data(), kShort, kLong, nullptr) != -1) {
    }
    opterr = 1;
    return optind < argc ? copy[static_cast<size_t>(optind)] : "";
}

}  // namespace

CommandLine parse_command_line(int argc, char** argv) {
    CommandLine line;
    if (const char* mode = getenv("DM_DEFAULT_NAME_MANGLING_MODE"))
        line.options.mangling = parse_mangling(mode);
    const char* letters = command_of(argc, argv) == "top" ? kShortOfTop : kShort;
    optind = 0;
    int letter, index = 0;
    while ((letter = getopt_long(argc, argv, letters, kLong, &index)) != -1)
        if (!take(letter, index, line.options)) throw Refused(EINVAL, "");
    if (optind < argc) line.command = argv[optind++];
    line.arguments.assign(argv + optind, argv + argc);
    return line;
}

}  // namespace dmfs::cli
