// Commands that change volumes which exist.

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/words.h"
#include "cli/commands.h"

namespace dmfs::cli {

namespace {

// dmsetup remove --retry: for so long, so far apart.
constexpr std::chrono::seconds kRetryTime{5};
constexpr std::chrono::milliseconds kRetryPause{200};

std::string with_flags(std::string word, const Options& options) {
    if (options.noflush) word += " noflush";
    if (options.nolockfs) word += " nolockfs";
    return word + "\n";
}

// Writes one request to `state` of every volume that was named.
int change_state(Invocation& invocation, const std::string& request) {
    const ControlClient& control = invocation.control();
    return for_each_volume(invocation, take_volumes(invocation, false), [&](const std::string& name) {
        control.write(name, "state", request);
        if (invocation.options.verbose > 0) print_info(invocation, control.info(name));
    });
}

// Replaces the table by one that fails all I/O: what stands below is let go.
void fail_all(const ControlClient& control, const std::string& name) {
    std::string text = control.read(name, "table");
    if (text.empty()) throw Refused(EINVAL, name + " has no table to replace");
    std::vector<std::string_view> lines = lines_of(text);
    std::vector<Word> last = split_words(lines.back());
    if (last.size() < 2) throw Refused(EIO, "the table of " + name + " cannot be understood");
    uint64_t end = parse_decimal(last[0].text).value_or(0) + parse_decimal(last[1].text).value_or(0);
    // What is left is no read-only volume: dmsetup loads such a table to be written.
    control.write(name, "state", "rw\n");
    control.write(name, "inactive", fmt::format("0 {} error\n", end));
    control.write(name, "state", "suspend noflush nolockfs\n");
    control.write(name, "state", "resume noflush nolockfs\n");
}

void remove_one(const ControlClient& control, const std::string& name, const Options& options) {
    if (options.force && control.info(name).live) fail_all(control, name);
    if (options.deferred) {
        control.write(name, "state", "remove deferred\n");
        return;
    }
    const auto until = std::chrono::steady_clock::now() + kRetryTime;
    while (true) {
        try {
            control.remove(name);
            return;
        } catch (const Refused& refused) {
            if (!options.retry || refused.error() != EBUSY || std::chrono::steady_clock::now() >= until)
                throw;
        }
        std::this_thread::sleep_for(kRetryPause);
    }
}

}  // namespace

int suspend(Invocation& invocation) {
    return change_state(invocation, with_flags("suspend", invocation.options));
}

int resume(Invocation& invocation) {
    return change_state(invocation, with_flags("resume", invocation.options));
}

int clear(Invocation& invocation) { return change_state(invocation, "clear\n"); }

int remove(Invocation& invocation) {
    const ControlClient& control = invocation.control();
    auto remove_it = [&](const std::string& name) { remove_one(control, name, invocation.options); };
    if (invocation.arguments.size() < 2 || invocation.options.select)
        return for_each_volume(invocation, take_volumes(invocation, false), remove_it);
    // As dmsetup: each word is looked up when its turn comes.
    std::vector<std::string> words = std::move(invocation.arguments);
    for (const std::string& word : words) {
        invocation.arguments = {word};
        int code = for_each_volume(invocation, take_volumes(invocation, false), remove_it);
        if (code != 0) return code;
    }
    return 0;
}

int remove_all(Invocation& invocation) {
    const ControlClient& control = invocation.control();
    const Options& options = invocation.options;
    std::vector<std::string> names = control.volumes();
    if (options.force)
        for (const std::string& name : names)
            if (control.info(name).live) fail_all(control, name);
    // What others stand on goes after them; what is open stays, without complaint.
    Options plain;
    for (size_t before = 0; before != names.size();) {
        before = names.size();
        std::erase_if(names, [&](const std::string& name) {
            try {
                remove_one(control, name, plain);
                return true;
            } catch (const Refused& refused) {
                if (refused.error() != EBUSY) throw;
                return false;
            }
        });
    }
    plain.deferred = true;
    if (options.deferred)
        for (const std::string& name : names) remove_one(control, name, plain);
    else if (options.force && !names.empty())
        fmt::print(stderr, "Unable to remove {} device(s).\n", names.size());
    return 0;
}

int wipe_table(Invocation& invocation) {
    const ControlClient& control = invocation.control();
    return for_each_volume(invocation, take_volumes(invocation, false),
                           [&](const std::string& name) { fail_all(control, name); });
}

int rename(Invocation& invocation) {
    // As dmsetup: with -u the request names two things, and the kernel knows neither.
    if (invocation.options.uuid && !invocation.options.set_uuid)
        throw Refused(ENXIO, "a volume is renamed by its name, not by its uuid", usage_of("rename"));
    std::string name = take_volume(invocation);
    if (invocation.arguments.empty())
        throw Refused(EINVAL, invocation.options.set_uuid ? "the uuid is missing" : "the new name is missing",
                      usage_of("rename"));
    const std::string& word = invocation.arguments.front();
    if (invocation.options.set_uuid) {
        std::string uuid = uuid_from_user(word, invocation.options.mangling);
        invocation.control().write(name, "uuid", uuid + "\n");
    } else {
        invocation.control().rename(name, new_name(invocation, word));
    }
    return 0;
}

int message(Invocation& invocation) {
    std::string name = take_volume(invocation);
    const std::vector<std::string>& words = invocation.arguments;
    if (words.size() < 2) throw Refused(EINVAL, "a message has a sector and words", usage_of("message"));
    if (!parse_decimal(words[0]))
        throw Refused(EINVAL, "'" + words[0] + "' is no sector", "where no sector is meant, 0");
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
    std::string answer = invocation.control().ask(name, "message", text + "\n");
    fmt::print("{}{}", answer, answer.empty() || answer.back() == '\n' ? "" : "\n");
    return 0;
}

int set_geometry(Invocation& invocation) {
    std::string name = take_volume(invocation);
    if (invocation.arguments.size() != 4)
        throw Refused(EINVAL, "a geometry has four numbers", usage_of("setgeometry"));
    std::string request = "geometry";
    for (const std::string& word : invocation.arguments) {
        if (!parse_decimal(word)) throw Refused(EINVAL, "'" + word + "' is no number");
        request += " " + word;
    }
    invocation.control().write(name, "state", request + "\n");
    return 0;
}

int wait(Invocation& invocation) {
    std::string name = take_volume(invocation);
    std::optional<uint64_t> seen = 0;
    if (!invocation.arguments.empty()) seen = parse_decimal(invocation.arguments.front());
    if (!seen) throw Refused(EINVAL, "'" + invocation.arguments.front() + "' is no event number");
    std::string path = invocation.control().control_path(name, "events");
    int fd = invocation.control().open(name, "events", O_RDONLY);
    // As the kernel's wait: any number but the one that was given ends it. Each read
    // but the first waits for an event.
    while (true) {
        char text[32] = {};
        ssize_t got = pread(fd, text, sizeof text - 1, 0);
        if (got < 0)
            throw Refused(errno == ENOENT || errno == ENODEV ? ENXIO : errno, "the volume went away");
        std::vector<Word> words = split_words(std::string_view(text, static_cast<size_t>(got)));
        std::optional<uint64_t> events = words.empty() ? std::nullopt : parse_decimal(words[0].text);
        if (!events) throw Refused(EIO, path + " holds no number");
        if (*events != *seen) break;
    }
    close(fd);
    if (invocation.options.verbose > 0) print_info(invocation, invocation.control().info(name));
    return 0;
}

int mangle(Invocation& invocation) {
    // A mount keeps names raw, and every form of a name leads to it: nothing is ever to be renamed.
    for (const std::string& name : take_volumes(invocation, true)) {
        std::string uuid = invocation.control().info(name).uuid;
        fmt::print("{}: {} already in correct form\n", mangle_name(name),
                   uuid.empty() ? "[no UUID]: name" : mangle_name(uuid) + ": name and UUID");
    }
    return 0;
}

int mknodes(Invocation& invocation) {
    for (const std::string& name : take_volumes(invocation, true))
        if (invocation.options.verbose > 0)
            fmt::print("{} is {}\n", shown(invocation, name), invocation.control().volume_path(name));
    return 0;
}

int udev(Invocation& invocation) {
    if (invocation.options.verbose > 0)
        fmt::print("{}: udev has no part in a dmfs mount\n", invocation.command);
    return 0;
}

}  // namespace dmfs::cli
