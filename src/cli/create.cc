// create and load: tables on their way into a mount.
//
// A create that fails leaves nothing behind: the volume is made, given its uuid
// and its table, and resumed; whatever is refused removes it again, with the
// mount's own words about the table kept for the user.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <iostream>
#include <iterator>

#include "base/files.h"
#include "base/hide.h"
#include "base/words.h"
#include "cli/commands.h"
#include "dm/concise.h"

namespace dmfs::cli {

namespace {

struct NewVolume : ConciseVolume {
    bool no_table = false;
};

std::string read_stdin() {
    if (isatty(STDIN_FILENO)) fmt::print(stderr, "dmfs: reading from the terminal; Ctrl-D ends\n");
    return std::string(std::istreambuf_iterator<char>(std::cin), {});
}

bool blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Where a comment may begin: after the name of the target, which may stand glued to numbers.
size_t end_of_name(std::string_view line) {
    size_t at = 0;
    auto pass = [&](auto is) {
        while (at < line.size() && is(line[at])) at++;
    };
    for (int number = 0; number < 2; number++) {
        pass(blank);
        if (at < line.size() && (line[at] == '+' || line[at] == '-')) at++;
        pass([](char c) { return c >= '0' && c <= '9'; });
    }
    pass(blank);
    if (at < line.size() && line[at] == '#' && line.find_first_not_of(" \t\r\v\f") == at) return at;
    pass([](char c) { return !blank(c); });
    return at;
}

// The table without its comments. Lines stay where they are, so that a refusal points
// at the right one.
std::string without_comments(std::string_view text) {
    std::string out;
    for (std::string_view line : lines_of(text)) {
        size_t name = end_of_name(line);
        out += line.substr(0, name);
        out += without_comment(line.substr(name));
        out += '\n';
    }
    return out;
}

bool has_rows(std::string_view table) {
    for (char c : table)
        if (!blank(c)) return true;
    return false;
}

// From --table, from the file that an argument names, or from stdin.
std::string table_text(const Invocation& invocation, size_t file_argument) {
    if (invocation.options.table) return without_comments(*invocation.options.table);
    if (invocation.arguments.size() <= file_argument) return without_comments(read_stdin());
    const std::string& path = invocation.arguments[file_argument];
    std::string text;
    if (int error = read_whole(path, &text); error != 0)
        throw Refused(error, "cannot read the table " + hide_digits(path));
    return without_comments(text);
}

// Removes the volume again unless the work was done.
class Undo {
  public:
    Undo(const ControlClient& control, const std::string& name) : control_(control), name_(name) {}
    ~Undo() {
        if (done_) return;
        try {
            control_.remove(name_);
        } catch (const Refused&) {  // the first refusal is the one to tell
        }
    }
    Undo(const Undo&) = delete;
    Undo& operator=(const Undo&) = delete;
    void keep() { done_ = true; }

  private:
    const ControlClient& control_;
    const std::string& name_;
    bool done_ = false;
};

void set_owner(const ControlClient& control, const std::string& name, const Options& options) {
    if (!options.uid && !options.gid && !options.mode) return;
    std::string path = control.volume_path(name);
    OpenFile volume(control.open_volume(name, O_PATH));
    if (options.uid || options.gid) {
        uid_t uid = options.uid.value_or(static_cast<uid_t>(-1));
        gid_t gid = options.gid.value_or(static_cast<gid_t>(-1));
        if (fchownat(volume.fd(), "", uid, gid, AT_EMPTY_PATH) != 0)
            throw Refused(errno, "cannot change the owner of " + path);
    }
    if (options.mode && chmod(fmt::format("/proc/self/fd/{}", volume.fd()).c_str(), *options.mode) != 0)
        throw Refused(errno, "cannot change the mode of " + path);
}

void create_volume(const ControlClient& control, const NewVolume& volume, const Options& options) {
    bool load = !volume.no_table && has_rows(volume.table);
    if (volume.minor || !volume.uuid.empty()) {
        // Only the concise form carries a minor number, and a uuid from the beginning.
        ConciseVolume concise = volume;
        concise.table.clear();
        control.write("create", format_concise(concise) + "\n");
    } else {
        control.create(volume.name);
    }
    Undo undo(control, volume.name);
    if (volume.readonly) control.write(volume.name, "state", "ro\n");
    if (load) {
        control.write(volume.name, "inactive", volume.table);
        control.write(volume.name, "state", "resume\n");
    }
    set_owner(control, volume.name, options);
    undo.keep();
}

int create_concise(Invocation& invocation) {
    bool from_stdin = invocation.arguments.empty();
    std::string text = from_stdin ? read_stdin() : invocation.arguments.front();
    std::vector<ConciseVolume> volumes = parse_concise(text, "concise", true);
    for (ConciseVolume& volume : volumes) {
        volume.name = new_name(invocation, volume.name);
        try {
            create_volume(invocation.control(), NewVolume{volume, false}, invocation.options);
        } catch (const Refused& refused) {
            print_refusal(invocation, volume.name, refused);
            return 1;
        }
    }
    return 0;
}

}  // namespace

int create(Invocation& invocation) {
    const Options& options = invocation.options;
    if (options.concise) return create_concise(invocation);
    if (invocation.arguments.empty()) throw Refused(EINVAL, "a new volume needs a name", usage_of("create"));
    NewVolume volume;
    volume.name = new_name(invocation, invocation.arguments[0]);
    if (options.uuid) volume.uuid = uuid_from_user(*options.uuid, options.mangling);
    if (options.minor) {
        if (options.major.value_or(0) != 0)
            throw Refused(ENXIO, fmt::format("no major number {}", *options.major),
                          "volumes have major number 0");
        volume.minor = options.minor;
    }
    volume.readonly = options.readonly;
    volume.no_table = options.no_table;
    if (!volume.no_table) volume.table = table_text(invocation, 1);
    create_volume(invocation.control(), volume, options);
    if (options.verbose > 0) print_info(invocation, invocation.control().info(volume.name));
    return 0;
}

int load(Invocation& invocation) {
    std::string name = take_volume(invocation);
    std::string table = table_text(invocation, 0);
    if (!has_rows(table)) throw Refused(EINVAL, "the table has no lines", "START LENGTH TARGET ARGUMENTS...");
    // The kernel takes the mode with each load; the mount remembers the last one.
    invocation.control().write(name, "state", invocation.options.readonly ? "ro\n" : "rw\n");
    invocation.control().write(name, "inactive", table);
    if (invocation.options.verbose > 0) print_info(invocation, invocation.control().info(name));
    return 0;
}

}  // namespace dmfs::cli
