#include "cli/top_sampler.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <utility>

#include "base/words.h"

namespace dmfs::cli {

namespace {

constexpr const char* kProgram = "dmfs-top";
constexpr std::chrono::seconds kPatience{2};

int64_t now_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

// "PID.START" of a process; empty if there is none. The start tells it from a later one.
std::string mark_of(const std::string& pid) {
    std::ifstream file("/proc/" + pid + "/stat");
    std::string text((std::istreambuf_iterator<char>(file)), {});
    size_t name_end = text.rfind(')');
    if (name_end == std::string::npos) return {};
    std::istringstream words(text.substr(name_end + 1));
    std::string word;
    for (int field = 3; field <= 22 && words >> word; field++) {  // proc(5): field 22 is the start
    }
    return pid + "." + word;
}

bool lives(const std::string& mark) {
    std::string pid = mark.substr(0, mark.find('.'));
    return parse_decimal(pid) && mark_of(pid) == mark;
}

}  // namespace

Regions::Regions(const ControlClient& control)
    : control_(control), mark_(mark_of(std::to_string(getpid()))) {}

std::optional<std::string> Regions::ask(const std::string& name, const std::string& words) {
    try {
        return control_.ask(name, "message", "0 " + words);
    } catch (const Refused&) {
        return {};
    }
}

// Removes the regions of tops that were killed. What belongs to one that runs stays.
void Regions::remove_dead(const std::string& name) {
    std::optional<std::string> list = ask(name, std::string("@stats_list ") + kProgram);
    if (!list) {
        // The first mount that knows no statistics is not asked for every volume: a refusal
        // takes the place of the last one in `error`.
        supported_ = !control_.exists(name);
        return;
    }
    for (const ListedRegion& region : parse_regions(*list))
        if (region.program == kProgram && !lives(region.aux))
            static_cast<void>(ask(name, fmt::format("@stats_delete {}", region.id)));
}

std::optional<RegionCounters> Regions::read(const std::string& name, bool empty) {
    if (!supported_ || empty) return {};
    auto known = ids_.find(name);
    if (known == ids_.end()) {
        remove_dead(name);
        if (!supported_) return {};
        std::optional<std::string> answer =
            ask(name, fmt::format("@stats_create - /1 1 precise_timestamps {} {}", kProgram, mark_));
        std::string digits = answer ? answer->substr(0, answer->find('\n')) : std::string();
        known = ids_.emplace(name, parse_decimal(digits)).first;
    }
    if (!known->second) return {};
    std::optional<std::string> answer = ask(name, fmt::format("@stats_print {}", *known->second));
    std::optional<RegionCounters> counters = answer ? parse_region(*answer) : std::nullopt;
    if (!counters) ids_.erase(known);  // somebody removed it: make it anew next time
    return counters;
}

void Regions::remove_all() {
    for (const auto& [name, id] : ids_)
        if (id) static_cast<void>(ask(name, fmt::format("@stats_delete {}", *id)));
    ids_.clear();
}

Sampler::Sampler(const ControlClient& control, std::vector<std::string> names)
    : control_(control),
      names_(std::move(names)),
      regions_(control),
      ready_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (ready_ < 0) throw Refused(errno, "cannot make an eventfd");
    thread_ = std::thread([this] { run(); });
}

Sampler::~Sampler() {
    if (!stop()) {
        fflush(stdout);
        _exit(1);  // ends the thread, too
    }
    close(ready_);
}

bool Sampler::stop() {
    {
        std::unique_lock lock(mutex_);
        stopping_ = true;
        changed_.notify_all();
        if (!changed_.wait_for(lock, kPatience, [&] { return ended_; })) return false;
    }
    if (thread_.joinable()) thread_.join();
    return true;
}

void Sampler::request() {
    std::lock_guard guard(mutex_);
    wanted_ = true;
    changed_.notify_all();
}

std::optional<Sample> Sampler::take() {
    std::lock_guard guard(mutex_);
    uint64_t count = 0;
    static_cast<void>(::read(ready_, &count, sizeof count) == 0);
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    return std::exchange(sample_, std::nullopt);
}

void Sampler::run() {
    std::unique_lock lock(mutex_);
    while (true) {
        changed_.wait(lock, [&] { return wanted_ || stopping_; });
        if (stopping_) break;
        wanted_ = false;
        lock.unlock();
        std::optional<Sample> sample;
        std::exception_ptr failure;
        try {
            sample = look();
        } catch (...) {
            failure = std::current_exception();
        }
        lock.lock();
        sample_ = std::move(sample);
        failure_ = failure;
        uint64_t one = 1;
        static_cast<void>(::write(ready_, &one, sizeof one) == 0);
    }
    lock.unlock();
    regions_.remove_all();
    lock.lock();
    ended_ = true;
    changed_.notify_all();
}

Sample Sampler::look() {
    Sample sample;
    sample.at_ns = now_ns();
    for (const std::string& name : names_.empty() ? control_.volumes() : names_) {
        try {
            VolumeCounters counters =
                parse_counters(control_.read(name, "stats"), control_.read(name, "inflight"));
            std::string state = control_.read(name, "state");
            counters.suspended = state == "suspended\n";
            counters.region = regions_.read(name, state == "empty\n");
            sample.volumes[name] = counters;
        } catch (const Refused& refused) {
            if (refused.error() != ENOENT) throw;  // removed or renamed meanwhile
        }
    }
    return sample;
}

}  // namespace dmfs::cli
