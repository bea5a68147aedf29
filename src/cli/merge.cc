// merge: a snapshot goes back into its origin, and is gone. The mount does it; this command
// begins it, says how far it is, and ends it. Interrupted, or run again, it goes on.

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

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

std::optional<Row> row_of(const std::vector<std::vector<Word>>& rows) {
    if (rows.size() != 1 || rows.front().size() < 5) return std::nullopt;
    const std::vector<Word>& words = rows.front();
    if (words[2].text != "snapshot" && words[2].text != "snapshot-merge") return std::nullopt;
    return Row{words[2].text, words[3].text, words[4].text};
}

// The volume that the store is merged into by now; empty if there is none.
std::string merging_volume(const ControlClient& control, const std::string& cow) {
    for (const std::string& name : control.volumes()) {
        std::optional<Row> row = row_of(rows_of(control, name));
        if (row && row->target == "snapshot-merge" && row->cow == cow) return name;
    }
    return {};
}

// The sectors that are still to be merged, from a status "ALLOCATED/SIZE METADATA". Other statuses
// have no numbers, such as that of a snapshot that was full.
std::optional<uint64_t> sectors_left(const ControlClient& control, const std::string& name) {
    const std::string text = control.read(name, "status");
    const std::vector<Word> words = split_words(std::string_view(text).substr(0, text.find('\n')));
    if (words.size() < 5) return std::nullopt;
    const std::string& usage = words[3].text;
    std::optional<uint64_t> allocated = parse_decimal(std::string_view(usage).substr(0, usage.find('/')));
    std::optional<uint64_t> metadata = parse_decimal(words[4].text);
    if (!allocated || !metadata || *allocated < *metadata) return std::nullopt;
    return *allocated - *metadata;
}

std::string progress_text(uint64_t all, uint64_t left, double seconds) {
    const uint64_t done = all - left;
    std::string text =
        fmt::format("merge: {}% of {}", done * 100 / std::max<uint64_t>(all, 1), size_text(bytes_of(all)));
    if (done > 0)
        text +=
            fmt::format(", {:.0f} s left", seconds * static_cast<double>(left) / static_cast<double>(done));
    return text;
}

// False while it is under way. Throws Refused.
bool end_merge(const ControlClient& control, const std::string& name) {
    try {
        control.write(name, "state", "merged\n");
        return true;
    } catch (const Refused& refused) {
        if (refused.error() == EINPROGRESS) return false;
        throw;
    }
}

// False when it was interrupted. `all`: the sectors there were to merge, if that is known.
bool wait_for_merge(const ControlClient& control, const std::string& name, std::optional<uint64_t> all) {
    Progress progress;
    const auto began = std::chrono::steady_clock::now();
    while (true) {
        const std::optional<uint64_t> left = sectors_left(control, name);
        if (left.value_or(0) == 0 && end_merge(control, name)) return true;
        if (interrupted != 0) return false;
        std::chrono::duration<double> passed = std::chrono::steady_clock::now() - began;
        if (all && left && progress.due())
            progress.text(progress_text(*all, std::min(*all, *left), passed.count()));
        usleep(kPause);
    }
}

}  // namespace

int merge(Invocation& invocation) {
    const ControlClient& control = invocation.control();
    const std::string name = take_volume(invocation);
    const std::vector<std::vector<Word>> rows = rows_of(control, name);
    const std::optional<Row> row = row_of(rows);
    if (rows.size() == 1 && rows.front()[2].text == "snapshot-origin")
        throw Refused(EBUSY, "there are snapshots of '" + name + "'",
                      "merge one of them into it, or drop them first");
    if (!row)
        throw Refused(EINVAL, "'" + name + "' is no snapshot, and nothing merges into it",
                      "a volume whose table is one row of snapshot");
    const std::vector<OldCow> cows = old_cows(invocation, {row->cow});
    std::string into = name;
    std::optional<uint64_t> sectors = sectors_left(control, name);
    const bool begins = row->target == "snapshot";
    if (begins) {
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
    if (!begins) sectors.reset();  // what was merged before is not known
    const std::vector<std::string> deleted = delete_cows(control, cows);
    if (invocation.options.json) {
        Json answer{{"volume", into}, {"bytes", nullptr}, {"deleted", deleted}};
        if (sectors) answer["bytes"] = bytes_of(*sectors);
        print_json(answer);
        return 0;
    }
    fmt::print("{} has {} merged into it\n", shown(invocation, into),
               sectors ? size_text(bytes_of(*sectors)) + " of changes" : "the changes");
    for (const std::string& file : deleted) fmt::print("deleted {}\n", file);
    return 0;
}

}  // namespace dmfs::cli
