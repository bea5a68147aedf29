#include "fs/controls.h"

#include "base/log.h"
#include "base/wipe.h"
#include "dm/explain.h"
#include "dm/graph.h"
#include "dm/keyring.h"
#include "dm/snapshots.h"
#include "engine/errand.h"

namespace dmfs::fs {

namespace {

// Shells and tools write a larger text in pieces of their buffers' size.
constexpr size_t kBufferSize = 4096;
constexpr size_t kMostText = 256 << 20;
// A text that comes in very many pieces is not checked anew with each.
constexpr size_t kCheckedText = 64 << 10;

// Given back, and so wiped: a table may have keys in it. (What was applied stays until the
// last close: every close counts, and the text may go on.)
void forget_text(ControlFile& file) { std::string().swap(file.written); }

bool is_table(Kind kind) { return kind == Kind::table || kind == Kind::inactive; }

bool takes_paths(Kind kind, const std::string& text) {
    if (kind != Kind::state) return is_table(kind) || kind == Kind::create || kind == Kind::reverse;
    std::vector<Word> words = split_words(text.substr(0, text.find('\n')));
    return !words.empty() && is_snapshot_request(words[0].text);
}

// What `error` calls a request on this file.
std::string request_name(Kind kind, const std::string& text) {
    if (is_table(kind)) return "table";
    if (kind == Kind::create) return "volumes";
    if (kind == Kind::state) {
        std::vector<Word> words = split_words(text.substr(0, text.find('\n')));
        return words.empty() ? "request" : words[0].text;
    }
    for (const ControlNode& each : control_nodes())
        if (each.kind == kind) return std::string(each.name);
    return "request";
}

}  // namespace

std::string Controls::answer(Node node) {
    std::lock_guard guard(mutex_);
    auto found = answers_.find(node);
    return found == answers_.end() ? std::string() : found->second;
}

std::string Controls::last_error(uint64_t id) {
    std::lock_guard guard(mutex_);
    auto found = errors_.find(id);
    return found == errors_.end() ? std::string() : found->second;
}

std::string Controls::text(Node node, Volume* volume) {
    return volume == nullptr ? text_of_mount(node) : text_of_volume(node, *volume);
}

std::string Controls::text_of_mount(Node node) {
    switch (node.kind) {
        case Kind::version:
            return version_text();
        case Kind::targets:
            return targets_text();
        case Kind::log:
            return log_text();
        case Kind::options:
            return options_text_;
        case Kind::graph:
            return graph_text(dm_.volumes());
        case Kind::keyring:
            return keyring_text();
        case Kind::error:
            return last_error(node.id);
        case Kind::reverse:
            return answer(node);
        default:
            return {};
    }
}

std::string Controls::text_of_volume(Node node, const Volume& volume) {
    switch (node.kind) {
        case Kind::table:
            return table_text(volume, Which::live);
        case Kind::inactive:
            return table_text(volume, Which::inactive);
        case Kind::showkeys:
            return showkeys_text(volume, Which::live);
        case Kind::inactive_showkeys:
            return showkeys_text(volume, Which::inactive);
        case Kind::state:
            return state_text(volume);
        case Kind::status:
            return status_text(volume, Which::live);
        case Kind::inactive_status:
            return status_text(volume, Which::inactive);
        case Kind::measure:
            return measure_text(volume);
        case Kind::info:
            return info_text(volume);
        case Kind::message:
        case Kind::explain:
        case Kind::reverse:
            return answer(node);
        case Kind::error:
            return last_error(node.id);
        case Kind::uuid:
            return volume.uuid().empty() ? "" : volume.uuid() + "\n";
        case Kind::deps:
            return deps_text(volume, Which::live);
        case Kind::inactive_deps:
            return deps_text(volume, Which::inactive);
        case Kind::stats:
            return stats_text(volume);
        case Kind::inflight:
            return inflight_text(volume);
        case Kind::limits:
            return limits_text(volume);
        default:
            return {};
    }
}

Task<Status> Controls::write(ControlFile* file, std::string text, uint64_t offset, WriterFolder writer,
                             Cancel* cancel) {
    struct Writing {
        std::atomic<unsigned>& count;
        explicit Writing(std::atomic<unsigned>& writers) : count(writers) { count++; }
        Writing(const Writing&) = delete;
        Writing& operator=(const Writing&) = delete;
        ~Writing() { count--; }
    } now(file->writers);
    Task<Status> locking = file->writing.acquire(cancel);
    Status status = co_await locking;
    if (!status) co_return status;
    Lock::Guard guard(file->writing);
    drop(*file);
    if (takes_paths(file->node.kind, text)) {
        Task<Outcome> finding = find_folder(file, std::move(writer), cancel);
        Outcome outcome = co_await finding;
        if (!outcome) {
            spoil(*file, outcome.why());
            co_return note(file->node.id, outcome, request_name(file->node.kind, text));
        }
    }
    Task<Status> writing = write_held(file, std::move(text), offset, cancel);
    status = co_await writing;
    wipe_stack();
    drop(*file);
    co_return status;
}

// What it was is not asked again: a shell writes line by line.
Task<Outcome> Controls::find_folder(ControlFile* file, WriterFolder writer, Cancel* cancel) {
    if (writer == file->writer) co_return Outcome();
    auto found = std::make_shared<bool>(false);
    Outcome outcome;
    if (!writer.path.empty()) {
        std::function<void()> looking = [writer, found] { *found = leads_there(writer); };
        Task<Outcome> task = aside(dm_.volumes().executor(), std::move(looking), cancel);
        outcome = co_await task;
    }
    if (!outcome) co_return outcome;
    file->folder = *found ? writer.path : std::string();
    file->writer = std::move(writer);
    co_return Outcome();
}

Task<Status> Controls::write_held(ControlFile* file, std::string text, uint64_t offset, Cancel* cancel) {
    Kind kind = file->node.kind;
    if (is_table(kind) || kind == Kind::create) {
        if (offset == 0 && !file->held) {
            file->written.clear();
            file->spoiled = kOk;
            file->pieces = 0;
        }
        if (!file->spoiled) co_return file->spoiled;
        if (file->written.size() + text.size() > kMostText) co_return Status(EFBIG);
        file->written += text;
        file->held = true;
        file->pieces++;
        file->checked.reset();
    }
    if (is_table(kind)) {
        Task<Outcome> checking = check_table(file, cancel);
        Outcome outcome = co_await checking;
        if (outcome && file->checked) {
            Task<Outcome> preparing = file->checked->prepare(cancel);
            outcome = co_await preparing;
        }
        if (!outcome) spoil(*file, outcome.why());
        co_return note(file->node.id, outcome, "table");
    }
    if (kind == Kind::create) {
        bool goes_on = text.back() != '\n' || text.ends_with(",\n") || text.size() % kBufferSize == 0;
        if (goes_on) co_return kOk;
        text = std::exchange(file->written, {});
        file->held = false;
    }
    std::string name = request_name(kind, text);
    Task<Outcome> applying = apply(file, std::move(text), cancel);
    Outcome outcome = co_await applying;
    co_return note(file->node.id, outcome, name);
}

// Whether the whole lines so far can be a table, or its beginning. (bash drops what
// close(2) answers: a refusal is worth most now.)
Task<Outcome> Controls::check_table(ControlFile* file, Cancel* cancel) {
    size_t whole = file->written.rfind('\n') + 1;  // 0 if there is none
    if (whole == 0 || file->written.size() > kCheckedText) co_return Outcome();
    std::shared_ptr<Table> table;
    Task<Outcome> building =
        dm_.build(file->volume, file->written.substr(0, whole), file->folder, true, &table, cancel);
    Outcome outcome = co_await building;
    if (outcome && whole == file->written.size()) file->checked = std::move(table);
    co_return outcome;
}

// A part of the text was refused, and so is what comes after it.
void Controls::spoil(ControlFile& file, const Refused& refused) {
    forget_text(file);
    file.checked.reset();
    file.held = false;
    file.spoiled = Status(refused.error());
}

// One that was killed waits for nobody: whoever writes there now, or next, drops the text. Nor
// does one who closes beside a writer, who may wait for a device and has a close to come itself:
// a process that ends cannot be killed any more.
Task<Status> Controls::finish(ControlFile* file, bool killed, Cancel* cancel) {
    Cancel at_once;
    at_once.request();
    if (killed) file->killed = true;
    const bool waits = !killed && file->writers == 0;
    Task<Status> locking = file->writing.acquire(waits ? cancel : &at_once);
    Status status = co_await locking;
    if (!status) co_return waits ? status : kOk;
    Lock::Guard guard(file->writing);
    drop(*file);
    if (!file->held) co_return kOk;
    file->held = false;
    Task<Status> finishing = finish_held(file, cancel);
    status = co_await finishing;
    wipe_stack();
    drop(*file);
    co_return status;
}

// The text of one who was killed in the middle of it; what others write after it would be half
// a text.
void Controls::drop(ControlFile& file) {
    if (!file.killed.exchange(false) || !file.held) return;
    forget_text(file);
    file.checked.reset();
    file.held = false;
    file.spoiled = Status(EINTR);
}

Task<Status> Controls::finish_held(ControlFile* file, Cancel* cancel) {
    if (file->pieces > 1 && file->written.back() != '\n')
        co_return note(
            file->node.id,
            Refused(EINVAL, "the text came in pieces and does not end in a newline: it may be cut short",
                    "a newline at the end"),
            request_name(file->node.kind, {}));
    Task<Outcome> applying = is_table(file->node.kind)
                                 ? apply_table(file, cancel)
                                 : apply(file, std::exchange(file->written, {}), cancel);
    Outcome outcome = co_await applying;
    co_return note(file->node.id, outcome, request_name(file->node.kind, {}));
}

Task<Outcome> Controls::apply_table(ControlFile* file, Cancel* cancel) {
    std::shared_ptr<Table> table = std::move(file->checked);
    Outcome outcome;
    if (!table) {
        Task<Outcome> building = dm_.build(file->volume, file->written, file->folder, false, &table, cancel);
        outcome = co_await building;
    }
    if (!outcome) co_return outcome;
    Task<Outcome> applying = file->node.kind == Kind::inactive
                                 ? file->volume->load(std::move(table), cancel)
                                 : dm_.replace(file->volume, std::move(table), cancel);
    outcome = co_await applying;
    co_return outcome;
}

Task<Outcome> Controls::apply(ControlFile* file, std::string text, Cancel* cancel) {
    switch (file->node.kind) {
        case Kind::state: {
            Task<Outcome> setting = dm_.set_state(file->volume, std::move(text), file->folder, cancel);
            Outcome outcome = co_await setting;
            co_return outcome;
        }
        case Kind::message: {
            std::string answer;
            Task<Outcome> asking = dm_.message(file->volume, std::move(text), &answer, cancel);
            Outcome outcome = co_await asking;
            keep_answer(*file, outcome ? answer : "");
            co_return outcome;
        }
        case Kind::explain: {
            Outcome outcome;
            std::string answer;
            try {
                answer = explain_request(*file->volume, text);
            } catch (const Refused& refused) {
                outcome = refused;
            }
            keep_answer(*file, answer);
            co_return outcome;
        }
        case Kind::reverse: {
            std::string answer;
            Task<Outcome> looking = dm_.reverse(std::move(text), file->folder, &answer, cancel);
            Outcome outcome = co_await looking;
            keep_answer(*file, answer);
            co_return outcome;
        }
        case Kind::uuid: {
            while (!text.empty() && text.back() == '\n') text.pop_back();
            co_return dm_.set_uuid(*file->volume, text);
        }
        case Kind::keyring: {
            Outcome outcome;
            try {
                keyring_request(text);
            } catch (const Refused& refused) {
                outcome = refused;
            }
            co_return outcome;
        }
        case Kind::create: {
            Task<Outcome> creating = dm_.create_concise(std::move(text), file->folder, cancel);
            Outcome outcome = co_await creating;
            co_return outcome;
        }
        default:
            co_return Refused(EPERM, "this file is only read");
    }
}

void Controls::keep_answer(ControlFile& file, const std::string& answer) {
    if (file.node.id == 0 || dm_.volumes().by_id(file.node.id)) {  // else nobody forgets it
        std::lock_guard guard(mutex_);
        answers_[file.node] = answer;
    }
    std::lock_guard guard(file.mutex);
    file.answer = answer;
}

void Controls::truncate(Node node, Volume& volume) {
    if (node.kind == Kind::inactive) volume.clear();
}

Status Controls::note(uint64_t id, const Outcome& outcome, const std::string& what) {
    std::lock_guard guard(mutex_);
    if (outcome) {
        errors_.erase(id);
        return kOk;
    }
    errors_[id] = outcome.why().report(what) + "\n";
    return Status(outcome.why().error());
}

void Controls::forget(uint64_t id) {
    std::lock_guard guard(mutex_);
    errors_.erase(id);
    std::erase_if(answers_, [id](const auto& answer) { return answer.first.id == id; });
}

}  // namespace dmfs::fs
