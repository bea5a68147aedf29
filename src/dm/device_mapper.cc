#include "dm/device_mapper.h"

#include <strings.h>

#include <condition_variable>
#include <filesystem>
#include <set>

#include "base/hide.h"
#include "crypto/keyring.h"
#include "dm/concise.h"
#include "dm/explain.h"
#include "dm/names.h"
#include "dm/snapshots.h"
#include "dm/statistics.h"
#include "engine/errand.h"
#include "engine/undo.h"
#include "targets/registry.h"

namespace dmfs {

namespace {

// How long a removal waits for a last close that is on its way.
constexpr int kClosePatienceSteps = 20;
constexpr int64_t kClosePatienceStepNs = 10'000'000;

// The words of a request, or a refusal of the first that is not among `allowed`.
Outcome check_flags(const std::vector<Word>& words, size_t from, const std::set<std::string>& allowed,
                    const std::string& line, const std::string& file) {
    for (size_t i = from; i < words.size(); i++) {
        if (allowed.contains(words[i].text)) continue;
        std::string known;
        for (const std::string& flag : allowed) known += (known.empty() ? "" : " or ") + flag;
        return Refused(EINVAL, "unknown word '" + words[i].text + "'",
                       known.empty() ? "nothing behind it" : known)
            .at(Place{file, 1, line, words[i].column, words[i].length});
    }
    return {};
}

bool has(const std::vector<Word>& words, std::string_view text) {
    for (const Word& word : words)
        if (word.text == text) return true;
    return false;
}

// The line of a message without the key that `key set KEY` has; it begins with a sector.
std::string without_key(const std::string& line, const std::vector<Word>& words) {
    std::string shown = hide_digits(line);
    if (words.size() > 3 && strcasecmp(words[1].text.c_str(), "key") == 0)
        shown = hide_part(shown, words[3].column, words[3].length);
    return shown;
}

// What can be asked of a volume's state.
constexpr const char* kRequests =
    "suspend, resume, ro, rw, remove, geometry, clear, snapshot, fork, merge, merged or drop";

std::string first_line_of(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

DeviceMapper::DeviceMapper(Executor& executor, std::string mountpoint, DeviceWords::Options options)
    : volumes_(executor), devices_(volumes_, std::move(mountpoint), options), snapshot_steps_(executor) {}

std::shared_ptr<Volume> DeviceMapper::create(const std::string& name, const std::string& uuid,
                                             std::optional<uint32_t> minor) {
    check_name(name);
    check_uuid(uuid);
    return volumes_.create(name, uuid, minor);
}

Task<Outcome> DeviceMapper::remove(std::shared_ptr<Volume> volume, bool deferred, Cancel* cancel) {
    Executor& executor = volumes_.executor();
    for (int step = 0;; step++) {
        Task<Outcome> removing = volume->remove({.deferred = deferred}, cancel);
        Outcome outcome = co_await removing;
        if (outcome || outcome.why().error() != EBUSY || step == kClosePatienceSteps) co_return outcome;
        Task<Status> pause = sleep_until(executor, executor.now_ns() + kClosePatienceStepNs);
        Status slept = co_await pause;
        if (!slept) co_return outcome;
        // Who was told of an interruption has removed nothing.
        if (is_cancelled(cancel))
            co_return Refused(EINTR, "interrupted; " + outcome.why().reason(), outcome.why().remedy());
    }
}

Task<Outcome> DeviceMapper::unmake(std::shared_ptr<Volume> volume) {
    Task<Outcome> removing = volume->remove({.deferred = true}, nullptr);
    Outcome outcome = co_await removing;
    if (!outcome && outcome.why().error() == ENXIO) co_return Outcome();  // somebody else did it
    co_return outcome;
}

Task<Outcome> DeviceMapper::replace(std::shared_ptr<Volume> volume, std::shared_ptr<Table> table,
                                    Cancel* cancel) {
    return control_errand(
        volumes_.executor(),
        [volume, table = std::move(table)](Cancel* own) mutable {
            return volume->replace(std::move(table), own);
        },
        cancel);
}

Outcome DeviceMapper::rename(Volume& volume, const std::string& name) {
    try {
        check_name(name);
    } catch (const Refused& refused) {
        return refused;
    }
    return volumes_.rename(volume, name);
}

Outcome DeviceMapper::set_uuid(Volume& volume, const std::string& uuid) {
    try {
        check_uuid(uuid);
    } catch (const Refused& refused) {
        return refused;
    }
    return volumes_.set_uuid(volume, uuid);
}

TableSource DeviceMapper::source_for(Volume& volume, const std::string& folder, DeviceSource& devices) {
    auto owner = std::make_shared<TableOwner>(volume.weak_from_this());
    return TableSource{.executor = volumes_.executor(),
                       .registry = target_registry(),
                       .devices = devices,
                       .folder = folder,
                       .writable = !volume.load_readonly(),
                       .raise_event = [owner] { owner->raise_event(); },
                       .owner = owner};
}

std::shared_ptr<Table> DeviceMapper::build(Volume& volume, const std::string& text, const std::string& folder,
                                           bool partial) {
    DevicesOf devices(devices_, volume);
    TableSource source = source_for(volume, folder, devices);
    source.partial = partial;
    return Table::build(text, source);
}

Task<Outcome> DeviceMapper::build(std::shared_ptr<Volume> volume, std::string text, std::string folder,
                                  bool partial, std::shared_ptr<Table>* table, Cancel* cancel) {
    auto built = std::make_shared<std::shared_ptr<Table>>();
    std::function<void()> building = [this, volume, text, folder, partial, built] {
        *built = build(*volume, text, folder, partial);
    };
    Task<Outcome> task = aside(volumes_.executor(), std::move(building), cancel);
    Outcome outcome = co_await task;
    if (outcome) *table = std::move(*built);
    co_return outcome;
}

Task<Outcome> DeviceMapper::set_state(std::shared_ptr<Volume> volume, std::string text, std::string folder,
                                      Cancel* cancel) {
    return control_errand(
        volumes_.executor(),
        [this, volume, text, folder](Cancel* own) { return change_state(volume, text, folder, own); },
        cancel);
}

Task<Outcome> DeviceMapper::change_state(std::shared_ptr<Volume> volume, std::string text, std::string folder,
                                         Cancel* cancel) {
    std::string line = first_line_of(text);
    std::vector<Word> words = split_words(line);
    Outcome outcome = Refused(EINVAL, "an empty request", kRequests);
    if (words.empty()) co_return outcome;
    const std::string verb = words[0].text;
    if (is_snapshot_request(verb)) {
        Task<Outcome> doing = snapshot_request(this, volume, std::move(words), std::move(folder), cancel);
        outcome = co_await doing;
        co_return outcome;
    }
    if (verb == "suspend" || verb == "resume") {
        outcome = check_flags(words, 1, {"noflush", "nolockfs"}, line, "state");
        if (!outcome) co_return outcome;
        Task<Outcome> task = verb == "suspend" ? volume->suspend(has(words, "noflush"), cancel)
                                               : volume->resume(has(words, "noflush"), cancel);
        outcome = co_await task;
        co_return outcome;
    }
    if (verb == "remove") {
        outcome = check_flags(words, 1, {"deferred"}, line, "state");
        if (!outcome) co_return outcome;
        Task<Outcome> task = remove(volume, has(words, "deferred"), cancel);
        outcome = co_await task;
        co_return outcome;
    }
    if (verb == "ro" || verb == "rw" || verb == "clear") {
        outcome = check_flags(words, 1, {}, line, "state");
        if (!outcome) co_return outcome;
        if (verb == "clear")
            volume->clear();
        else
            volume->set_load_readonly(verb == "ro");
        co_return outcome;
    }
    if (verb == "geometry") {
        uint64_t numbers[4] = {};
        for (size_t i = 0; i < 4; i++) {
            std::optional<uint64_t> number =
                words.size() == 5 ? parse_decimal(words[i + 1].text) : std::nullopt;
            if (!number || (i < 3 && *number > UINT32_MAX))
                co_return Refused(EINVAL, "no geometry", "geometry CYLINDERS HEADS SECTORS START");
            numbers[i] = *number;
        }
        co_return volume->set_geometry({static_cast<unsigned>(numbers[0]), static_cast<unsigned>(numbers[1]),
                                        static_cast<unsigned>(numbers[2]), numbers[3]});
    }
    co_return Refused(EINVAL, "unknown request '" + verb + "'", kRequests)
        .at(Place{"state", 1, line, words[0].column, words[0].length});
}

Task<Outcome> DeviceMapper::reverse(std::string text, std::string folder, std::string* answer,
                                    Cancel* cancel) {
    auto found = std::make_shared<std::string>();
    std::function<void()> looking = [this, text, folder, found] {
        *found = reverse_request(volumes_, devices_, text, folder);
    };
    Task<Outcome> task = aside(volumes_.executor(), std::move(looking), cancel);
    Outcome outcome = co_await task;
    if (outcome) *answer = std::move(*found);
    co_return outcome;
}

// A message to the device mapper itself.
Outcome DeviceMapper::ask_core(Volume& volume, const std::vector<Word>& words, const std::string& line,
                               std::string* answer) {
    try {
        std::optional<std::string> told = statistics_message(volume, words, line);
        if (!told)
            return Refused(EINVAL, "unknown message '" + words[0].text + "' to the device mapper itself",
                           "@cancel_deferred_remove, or @stats_create, _delete, _clear, _list, _print, "
                           "_print_clear, _set_aux")
                .at(Place{"message", 1, line, words[0].column, words[0].length});
        *answer = *told;
        return {};
    } catch (const Refused& refused) {
        return refused;
    }
}

Task<Outcome> DeviceMapper::message(std::shared_ptr<Volume> volume, std::string text, std::string* answer,
                                    Cancel* cancel) {
    std::vector<Word> words = split_words(std::string_view(text).substr(0, text.find('\n')));
    std::string line = without_key(first_line_of(text), words);
    answer->clear();
    std::optional<uint64_t> sector = words.empty() ? std::nullopt : parse_decimal(words[0].text);
    if (!sector || words.size() < 2) co_return Refused(EINVAL, "no message", "SECTOR WORDS...");
    words.erase(words.begin());
    if (words[0].text.starts_with('@')) {
        if (words.size() == 1 && strcasecmp(words[0].text.c_str(), "@cancel_deferred_remove") == 0)
            co_return volumes_.cancel_deferred_remove(*volume);
        co_return ask_core(*volume, words, line, answer);
    }
    Task<Outcome> task = volume->message(*sector, std::move(words), answer, cancel);
    Outcome outcome = co_await task;
    if (!outcome && !outcome.why().place().file.empty())
        outcome = outcome.why().at(Place{"message", 1, line});
    co_return outcome;
}

Task<Outcome> DeviceMapper::create_concise(std::string text, std::string folder, Cancel* cancel) {
    return control_errand(
        volumes_.executor(), [this, text, folder](Cancel* own) { return create_each(text, folder, own); },
        cancel);
}

Task<Outcome> DeviceMapper::create_each(std::string text, std::string folder, Cancel* cancel) {
    std::vector<ConciseVolume> wanted;
    Outcome outcome;
    try {
        wanted = parse_concise(text, "create");
    } catch (const Refused& refused) {
        outcome = refused;
    }
    for (size_t i = 0; i < wanted.size() && outcome; i++) {
        std::shared_ptr<Volume> volume;
        try {
            volume = create(wanted[i].name, wanted[i].uuid, wanted[i].minor);
        } catch (const Refused& refused) {
            outcome = refused;
        }
        if (!outcome || wanted[i].table.empty()) continue;
        Undo undo;
        undo.add([this, volume] { return unmake(volume); });
        Task<Outcome> whole = undo.unless_done(fill(volume, std::move(wanted[i]), folder, cancel));
        outcome = co_await whole;
    }
    co_return outcome;
}

Task<Outcome> DeviceMapper::fill(std::shared_ptr<Volume> volume, ConciseVolume wanted, std::string folder,
                                 Cancel* cancel) {
    volume->set_load_readonly(wanted.readonly);
    std::shared_ptr<Table> table;
    Task<Outcome> building = build(volume, std::move(wanted.table), folder, false, &table, cancel);
    Outcome outcome = co_await building;
    if (!outcome) co_return outcome;
    Task<Outcome> replacing = volume->replace(std::move(table), cancel);
    outcome = co_await replacing;
    co_return outcome;
}

void DeviceMapper::create_configured(const Config& config, const std::string& file,
                                     const std::string& folder) {
    for (const Config::Key& wanted : config.keys) {
        try {
            own_keyring().add(wanted.type, wanted.description,
                              read_key_file(std::filesystem::path(folder) / wanted.file));
        } catch (const Refused& refused) {
            throw Refused(refused).at(Place{file, wanted.line, {}, 0, 0});
        }
    }
    for (const Config::Volume& wanted : config.volumes) {
        try {
            static_cast<void>(create(wanted.name, wanted.uuid, wanted.minor));
        } catch (const Refused& refused) {
            throw refused.at(Place{file, wanted.line, {}, 0, 0});
        }
    }
    for (const Config::Volume* each : making_order(config)) {
        const Config::Volume& wanted = *each;
        std::shared_ptr<Volume> volume = volumes_.by_name(wanted.name);
        volume->set_load_readonly(wanted.readonly);
        if (!wanted.table.empty()) {
            DevicesOf devices(devices_, *volume);
            TableSource source = source_for(*volume, folder, devices);
            source.file = file;
            source.first_line = wanted.table_line;
            std::shared_ptr<Table> table = Table::build(wanted.table, source);
            Outcome outcome = run_now(volumes_.executor(), volume->replace(std::move(table), nullptr));
            if (!outcome) throw outcome.why().at(Place{file, wanted.line, {}, 0, 0});
        }
        if (wanted.suspended) {
            Outcome outcome = run_now(volumes_.executor(), volume->suspend(false, nullptr));
            if (!outcome) throw outcome.why().at(Place{file, wanted.line, {}, 0, 0});
        }
    }
}

namespace {

struct Finished {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
};

Task<Status> tell(Task<Outcome> task, Outcome* outcome, Finished* finished) {
    *outcome = co_await task;
    std::lock_guard guard(finished->mutex);
    finished->done = true;
    finished->changed.notify_all();
    co_return kOk;
}

}  // namespace

Outcome run_now(Executor& executor, Task<Outcome> task) {
    Outcome outcome;
    Finished finished;
    executor.spawn(tell(std::move(task), &outcome, &finished));
    std::unique_lock lock(finished.mutex);
    finished.changed.wait(lock, [&] { return finished.done; });
    return outcome;
}

}  // namespace dmfs
