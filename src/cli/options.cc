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

// What an option does. `value`: what was given with it, or nullptr.
struct Known;
using Take = void (*)(Options& options, const Known& known, const char* value);

struct Known {
    const char* name;
    char letter;  // 0: none
    int has_value;
    Take take;
};

template <auto kMember>
void set(Options& options, const Known&, const char*) {
    options.*kMember = true;
}
template <auto kMember>
void keep(Options& options, const Known&, const char* value) {
    options.*kMember = value;
}
template <auto kMember>
void count(Options& options, const Known& known, const char* value) {
    options.*kMember = number(known.name, value, UINT64_MAX);
}
template <auto kMember>
void count32(Options& options, const Known& known, const char* value) {
    options.*kMember = number32(known.name, value);
}
// A few commands' own: they read it by its name.
void own(Options& options, const Known& known, const char* value) {
    options.own[known.name] = value == nullptr ? "" : value;
}
void ignored(Options&, const Known&, const char*) {}

void no_headings(Options& options, const Known&, const char*) { options.headings = false; }
void headings(Options& options, const Known&, const char* value) {
    const std::string_view kind = value;
    options.headings = kind != "none" && kind != "0";
}
void fields(Options& options, const Known&, const char* value) {
    // mount -o a -o b; and dmsetup's last -o counts, but joining does no harm there
    options.fields = options.fields ? *options.fields + "," + value : value;
}
void force(Options& options, const Known&, const char*) {  // remove's, and mount's
    options.force = options.foreground = true;
}
void no_table(Options& options, const Known&, const char* value) {
    if (value != nullptr)
        options.count = number("count", value, UINT64_MAX);  // of top
    else
        options.no_table = true;
}

constexpr int kNone = no_argument, kValue = required_argument;

const Known kKnown[] = {
    {"mount", 0, kValue, keep<&Options::mount>},
    {"uuid", 'u', kValue, keep<&Options::uuid>},
    {"major", 'j', kValue, count32<&Options::major>},
    {"minor", 'm', kValue, count32<&Options::minor>},
    {"select", 'S', kValue, keep<&Options::select>},
    {"manglename", 0, kValue,
     [](Options& options, const Known&, const char* value) { options.mangling = parse_mangling(value); }},

    {"json", 0, kNone, set<&Options::json>},
    {"columns", 'c', kNone, set<&Options::columns>},
    {"noheadings", 0, kNone, no_headings},
    {"headings", 0, kValue, headings},
    {"nameprefixes", 0, kNone, set<&Options::name_prefixes>},
    {"unquoted", 0, kNone, set<&Options::unquoted>},
    {"rows", 0, kNone, set<&Options::rows>},
    {"options", 'o', kValue, fields},
    {"sort", 'O', kValue, keep<&Options::sort>},
    {"separator", 0, kValue, keep<&Options::separator>},
    {"count", 0, kValue, count<&Options::count>},
    {"interval", 0, kValue,
     [](Options& options, const Known& known, const char* value) {
         options.interval = number(known.name, value, 1U << 31);
     }},
    {"tree", 0, kNone, set<&Options::tree>},
    {"concise", 0, kNone, set<&Options::concise>},
    {"showkeys", 0, kNone, set<&Options::show_keys>},
    {"inactive", 0, kNone, set<&Options::inactive>},
    {"target", 0, kValue, keep<&Options::target>},
    {"exec", 0, kValue, keep<&Options::exec>},
    {"verbose", 'v', kNone, [](Options& options, const Known&, const char*) { options.verbose++; }},

    {"table", 0, kValue, keep<&Options::table>},
    {"notable", 'n', kNone, no_table},
    {"readonly", 'r', kNone, set<&Options::readonly>},
    {"read-only", 0, kNone, set<&Options::readonly>},
    {"setuuid", 0, kNone, set<&Options::set_uuid>},
    {"force", 'f', kNone, force},
    {"retry", 0, kNone, set<&Options::retry>},
    {"deferred", 0, kNone, set<&Options::deferred>},
    {"noflush", 0, kNone, set<&Options::noflush>},
    {"nolockfs", 0, kNone, set<&Options::nolockfs>},
    {"uid", 'U', kValue,
     [](Options& options, const Known&, const char* value) { options.uid = user_id(value); }},
    {"gid", 'G', kValue,
     [](Options& options, const Known&, const char* value) { options.gid = group_id(value); }},
    {"mode", 'M', kValue,
     [](Options& options, const Known&, const char* value) { options.mode = octal_mode(value); }},

    {"hex", 0, kNone, set<&Options::hex>},

    {"foreground", 0, kNone, set<&Options::foreground>},
    {"lazy", 0, kNone, set<&Options::lazy>},
    {"partscan", 0, kNone, set<&Options::partscan>},
    {"config", 0, kValue, keep<&Options::config>},
    {"sector-size", 0, kValue, count32<&Options::sector_size>},

    {"write", 0, kNone, set<&Options::write>},
    {"reverse", 0, kNone, set<&Options::reverse>},
    {"dot", 0, kNone, set<&Options::dot>},

    {"list", 0, kNone, set<&Options::list>},
    {"check", 0, kNone, set<&Options::check>},
    {"onto", 0, kValue, keep<&Options::onto>},
    {"from", 0, kValue, count<&Options::from>},
    {"to", 0, kValue, count<&Options::to>},
    {"to-mark", 0, kValue, keep<&Options::to_mark>},
    {"find-mark", 0, kValue, keep<&Options::find_mark>},
    {"after", 0, kValue, keep<&Options::after>},

    {"batch", 'b', kNone, set<&Options::batch>},
    {"delay", 'd', kValue,
     [](Options& options, const Known&, const char* value) { options.delay = seconds(value); }},
    {"svg", 0, kValue, keep<&Options::svg>},
    {"html", 0, kValue, keep<&Options::html>},
    {"root", 0, kValue, keep<&Options::root>},

    // verity's
    {"hash-offset", 0, kValue, own},
    {"no-superblock", 0, kNone, own},
    {"format", 0, kValue, own},
    {"hash", 0, kValue, own},
    {"data-block-size", 0, kValue, own},
    {"hash-block-size", 0, kValue, own},
    {"data-blocks", 0, kValue, own},
    {"salt", 0, kValue, own},
    {"ignore-corruption", 0, kNone, own},
    {"restart-on-corruption", 0, kNone, own},
    {"panic-on-corruption", 0, kNone, own},
    {"error-as-corruption", 0, kNone, own},
    {"ignore-zero-blocks", 0, kNone, own},
    {"check-at-most-once", 0, kNone, own},
    {"use-tasklets", 0, kNone, own},
    {"fec-device", 0, kValue, own},
    {"fec-offset", 0, kValue, own},
    {"fec-roots", 0, kValue, own},
    {"root-hash-file", 0, kValue, own},
    // those about COW files
    {"cow", 0, kValue, own},
    {"size", 0, kValue, own},
    {"chunk", 0, kValue, own},
    {"transient", 0, kNone, own},
    {"keep-cow", 0, kNone, own},
    {"background", 0, kNone, own},

    {"help", 'h', kNone, set<&Options::help>},
    {"version", 0, kNone, set<&Options::version>},
    {"yes", 'y', kNone, ignored},
    // Nodes under /dev, udev and read-ahead are the kernel's; dmsetup's scripts may ask for them.
    {"addnodeoncreate", 0, kNone, ignored},
    {"addnodeonresume", 0, kNone, ignored},
    {"checks", 0, kNone, ignored},
    {"noopencount", 0, kNone, ignored},
    {"noudevrules", 0, kNone, ignored},
    {"noudevsync", 0, kNone, ignored},
    {"verifyudev", 0, kNone, ignored},
    {"readahead", 0, kValue, ignored},
    {"udevcookie", 0, kValue, ignored},
};

// What getopt_long answers for the first of kKnown, given by its name: no letter.
constexpr int kFirstByName = 256;

const option* long_options() {
    static const std::vector<option> all = [] {
        std::vector<option> options;
        for (const Known& known : kKnown)
            options.push_back(
                {known.name, known.has_value, nullptr, kFirstByName + static_cast<int>(&known - kKnown)});
        options.push_back({nullptr, 0, nullptr, 0});
        return options;
    }();
    return all.data();
}

// In `top`, -n has a number, as in top(1).
std::string short_options(bool of_top) {
    std::string letters = "C";  // as c
    for (const Known& known : kKnown) {
        if (known.letter == 0) continue;
        letters += known.letter;
        if (known.has_value == kValue || (of_top && known.letter == 'n')) letters += ':';
    }
    return letters;
}

// The option that getopt_long found; nullptr if it did not know it.
const Known* found(int answer) {
    if (answer >= kFirstByName) return &kKnown[answer - kFirstByName];
    if (answer == 'C') answer = 'c';
    for (const Known& known : kKnown)
        if (known.letter == answer) return &known;
    return nullptr;
}

// What the command will be, before it is known how to read its options.
std::string command_of(int argc, char** argv) {
    std::vector<char*> copy(argv, argv + argc);  // getopt_long puts them in order
    copy.push_back(nullptr);
    const std::string letters = short_options(false);
    optind = 0;
    opterr = 0;
    while (getopt_long(argc, copy.data(), letters.c_str(), long_options(), nullptr) != -1) {
    }
    opterr = 1;
    return optind < argc ? copy[static_cast<size_t>(optind)] : "";
}

}  // namespace

CommandLine parse_command_line(int argc, char** argv) {
    CommandLine line;
    if (const char* mode = getenv("DM_DEFAULT_NAME_MANGLING_MODE"))
        line.options.mangling = parse_mangling(mode);
    const std::string letters = short_options(command_of(argc, argv) == "top");
    optind = 0;
    for (int answer; (answer = getopt_long(argc, argv, letters.c_str(), long_options(), nullptr)) != -1;) {
        const Known* known = found(answer);
        if (known == nullptr) throw Refused(EINVAL, "");
        known->take(line.options, *known, optarg);
    }
    if (optind < argc) line.command = argv[optind++];
    line.arguments.assign(argv + optind, argv + argc);
    return line;
}

}  // namespace dmfs::cli
