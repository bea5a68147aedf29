#include "fs/controls.h"

#include "base/log.h"

namespace dmfs::fs {

namespace {

// Shells and tools write a larger text in pieces of their buffers' size.
constexpr size_t kBufferSize = 4096;
constexpr size_t kMostText = 256 << 20;

bool grows(Kind kind) { return kind == Kind::table || kind == Kind::inactive || kind == Kind::create; }

// What `error` calls a request on this file.
std::string request_name(Kind kind, const std::string& text) {
    if (kind == Kind::table || kind == Kind::inactive) return "table";
    if (kind == Kind::create) return "volumes";
    if (kind == Kind::state) {
        std::vector<Word> words = split_words(text.substr(0, text.find('\n')));
        return words.empty() ? "request" : words[0].text;
    }
    return kind == Kind::message ? "message" : "uuid";
}

}  // namespace

std::string Controls::text(Node node, Volume* volume) {
    if (volume == nullptr) switch (node.kind) {
        case Kind::version: return version_text();
        case Kind::targets: return targets_text();
        case Kind::log: return log_text();
        case Kind::options: return options_text_;
        case Kind::error: break;
        default: return {};
    }
    auto kept = [&](std::map<uint64_t, std::string>& texts) {
        std::lock_guard guard(mutex_);
        auto found = texts.find(node.id);
        return found == texts.end() ? std::string() : found->second;
    };
    switch (node.kind) {
        case Kind::table: return table_text(*volume, Which::live);
        case Kind::inactive: return table_text(*volume, Which::inactive);
        case Kind::state: return state_text(*volume);
        case Kind::status: return status_text(*volume, Which::live);
        case Kind::inactive_status: return status_text(*volume, Which::inactive);
        case Kind::measure: return measure_text(*volume);
        case Kind::info: return info_text(*volume);
        case Kind::message: return kept(answers_);
        case Kind::error: return kept(errors_);
        case Kind::uuid: return volume->uuid().empty() ? "" : volume->uuid() + "\n";
        case Kind::deps: return deps_text(*volume, Which::live);
        case Kind::inactive_deps: return deps_text(*volume, Which::inactive);
        case Kind::events: return std::to_string(volume->event_number()) + "\n";
        case Kind::stats: return stats_text(*volume);
        case Kind::inflight: return inflight_text(*volume);
        case Kind::limits: return limits_text(*volume);
        default: return {};
    }
}

Task<Status> Controls::write(ControlFile* file, std::string text, uint64_t offset, std::string folder,
                             Cancel* cancel) {
    Task<Status> locking = file->writing.acquire(cancel);
    Status status = co_await locking;
    if (!status) co_return status;
    Lock::Guard guard(file->writing);
    file->folder = std::move(folder);
    if (grows(file->node.kind)) {
        if (offset == 0 && !file->held) file->written.clear();
        file->written += text;
        if (file->written.size() > kMostText) co_return Status(EFBIG);
        file->held = text.back() != '\n' || text.size() % kBufferSize == 0;
        if (file->held) co_return kOk;
        text = file->written;
        if (file->node.kind == Kind::create) file->written.clear();  // these volumes are made
    }
    std::string name = request_name(file->node.kind, text);
    Task<Outcome> applying = apply(file, std::move(text), cancel);
    Outcome outcome = co_await applying;
    co_return note(file->node.id, outcome, name);
}

Task<Status> Controls::finish(ControlFile* file, Cancel* cancel) {
    Task<Status> locking = file->writing.acquire(cancel);
    Status status = co_await locking;
    if (!status) co_return status;
    Lock::Guard guard(file->writing);
    if (!file->held) co_return kOk;
    file->held = false;
    Task<Outcome> applying = apply(file, file->written, cancel);
    Outcome outcome = co_await applying;
    co_return note(file->node.id, outcome, request_name(file->node.kind, {}));
}

Task<Outcome> Controls::apply(ControlFile* file, std::string text, Cancel* cancel) {
    Task<Outcome> task = Task<Outcome>::ready({});
    switch (file->node.kind) {
        case Kind::table: {
            Task<Outcome> replacing = dm_.replace(file->volume, std::move(text), file->folder, cancel);
            Outcome outcome = co_await replacing;
            co_return outcome;
        }
        case Kind::inactive: co_return dm_.load(*file->volume, text, file->folder);
        case Kind::state: {
            Task<Outcome> setting = dm_.set_state(file->volume, std::move(text), cancel);
            Outcome outcome = co_await setting;
            co_return outcome;
        }
        case Kind::message: {
            std::string answer;
            Task<Outcome> asking = dm_.message(file->volume, std::move(text), &answer, cancel);
            Outcome outcome = co_await asking;
            std::lock_guard guard(mutex_);
            answers_[file->node.id] = outcome ? "" : answer;
            co_return outcome;
        }
        case Kind::uuid: {
            while (!text.empty() && text.back() == '\n') text.pop_back();
            co_return dm_.set_uuid(*file->volume, text);
        }
        case Kind::create: {
            Task<Outcome> creating = dm_.create_concise(std::move(text), file->folder, cancel);
            Outcome outcome = co_await creating;
            co_return outcome;
        }
        default: co_return Refused(EPERM, "this file is only read");
    }
}

void Controls::truncate(Node node, Volume& volume) {
    if (node.kind == Kind::inactive) volume.clear();
}

Status Controls::note(uint64_t id, const Outcome& outcome, const std::string& what) {
    std::lock_guard guard(mutex_);
    if (!outcome) {
        errors_.erase(id);
        return kOk;
    }
    errors_[id] = outcome->report(what) + "\n";
    return Status(outcome->error());
}

void Controls::forget(uint64_t id) {
    std::lock_guard guard(mutex_);
    errors_.erase(id);
    answers_.erase(id);
}

}  // namespace dmfs::fs
