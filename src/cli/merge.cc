// merge: a snapshot goes back into its origin, and is gone. The mount does it; this command
// begins it, says how far it is, and ends it. Interrupted, or run again, it goes on.

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>

#include "base/units.h"
#include "cli/commands.h"
#include "cli/cow_file.h"
#include "cli/escape.h"
#include "cli/progress.h"
#include "cli/snapshot.h"

namespace dmfs::cli {

namespace {

constexpr useconds_t kPause = 50'000;

volatile sig_atomic_t interrupted = 0;

// A row of snapshot or snapshot-merge.
struct Row {
    std::string target, origin, cow;
};

std::optional<Row> row_of(const ControlClient& control, const std::string& name) {
    const std::vector<std::vector<Word>> rows = rows_of(control, name);
    if (rows.size() != 1 || rows.front().size() < 5) return std::nullopt;
    const std::vector<Word>& words = rows.front();
    if (words[2].text != "snapshot" && words[2].text != "snapshot-merge") return std::nullopt;
    return Row{words[2].text, words[3].text, words[4].text};
}

// The volume that the store is merged into by now; empty if there is none.
std::string merging_volume(const ControlClient& control, const std::string& cow) {
    for (const std::string& name : control.volumes()) {
        std::optional<Row> row = row_of(control, name);
        if (row && row->target == "snapshot-merge" && row->cow == cow) return name;
    }
    return {};
}

// Of a status "ALLOCATED/SIZE METADATA", the sectors that are still to be merged. Throws Refused
// where it is none.
uint64_t sectors_left(const ControlClient& control, const std::string& name) {
    const std::string text = control.read(name, "status");
    const std::vector<Word> words = split_words(std::string_view(text).substr(0, text.find('\n')));
    const std::string usage = words.size() > 4 ? words[3].text : "";
    std::optional<uint64_t> allocated = parse_decimal(std::string_view(usage).substr(0, usage.find('/')));
    std::optional<uint64_t> metadata = words.size() > 4 ? parse_decimal(words[4].text) : std::nullopt;
    if (!allocated || !metadata || *allocated < *metadata) {
        std::string status;
        for (size_t i = 3; i < words.size(); i++) status += (i == 3 ? "" : " ") + words[i].text;
        throw Refused(
            EIO, "the merge into '" + name + "' ended: " + status,
            status == "Merge failed"
                ? "`dmfs status`, the file .control/log and the devices tell why; once that is mended, "
                  "`dmfs suspend " +
                      name + "`, `dmfs resume " + name + "` and `dmfs merge " + name + "` go on"
                : "what the COW device had is lost; the origin is as it was");
    }
    return *allocated - *metadata;
}

std::string progress_text(uint64_t all, uint64_t left, double seconds) {
    const uint64_t done = all - left;
    std::string text = fmt::format("merge: {}% of {}", done * 100 / all, size_text(bytes_of(all)));
    if (done > 0)
        text +=
            fmt::format(", {:.0f} s left", seconds * static_cast<double>(left) / static_cast<double>(done));
    return text;
}

// False when it was interrupted. `all`: the sectors there were to merge.
bool wait_for_merge(const ControlClient& control, const std::string& name, uint64_t all) {
    Progress progress;
    const auto began = std::chrono::steady_clock::now();
    while (uint64_t left = sectors_left(control, name)) {
        if (interrupted != 0) return false;
        std::chrono::duration<double> passed = std::chrono::steady_clock::now() - began;
        if (progress.due()) progress.text(progress_text(all, std::min(all, left), passed.count()));
        usleep(kPause);
    }
    return true;
}

}  // namespace

int merge(Invocation& invocation) {
    const ControlClient& control = invocation.control();
    const CowOptions options(invocation.options);
    const std::string name = take_volume(invocation);
    const std::optional<Row> row = row_of(control, name);
    if (!row)
        throw Refused(EINVAL, "'" + name + "' is no snapshot, and nothing merges into it",
                      "a volume whose table is one row of snapshot");
    std::string into = name;
    const uint64_t sectors = sectors_left(control, name);
    if (row->target == "snapshot") {
        control.write(name, "state", "merge\n");
        into = merging_volume(control, row->cow);
        if (into.empty()) throw Refused(ENXIO, "the merge of '" + name + "' was ended by somebody else");
    }
    if (invocation.options.own.contains("background")) {
        if (invocation.options.json)
            print_json({{"volume", into}, {"merging", true}});
        else
            fmt::print("the merge into {0} has begun; `dmfs merge {0}` waits for its end\n",
                       shown(invocation, into));
        return 0;
    }
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = 1; };
    for (int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
    if (!wait_for_merge(control, into, sectors)) {
        fmt::print(stderr, "dmfs: merge: it goes on; `dmfs merge {}` waits for the end\n",
                   shown(invocation, into));
        return 130;
    }
    control.write(into, "state", "merged\n");
    std::vector<std::string> deleted;
    if (!options.keep) deleted = delete_cows(control, {row->cow});
    if (invocation.options.json) {
        print_json({{"volume", into}, {"bytes", bytes_of(sectors)}, {"deleted", deleted}});
        return 0;
    }
    fmt::print("{} has {} of changes merged into it\n", shown(invocation, into),
               size_text(bytes_of(sectors)));
    for (const std::string& file : deleted) fmt::print("deleted {}\n", file);
    return 0;
}

}  // namespace dmfs::cli
