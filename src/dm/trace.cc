#include "dm/trace.h"

#include <fmt/format.h>

#include <chrono>

#include "base/files.h"
#include "base/words.h"
#include "dm/explain.h"

namespace dmfs {

namespace {

constexpr int64_t kNsOfSecond = 1'000'000'000;
constexpr size_t kMostSteps = 16;  // of a path: the rest is "..."

int64_t day_ns() { return std::chrono::system_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }

}  // namespace

Trace::Trace(std::shared_ptr<Volume> volume)
    : volume_(std::move(volume)),
      clock_offset_ns_(day_ns() - volume_->executor().now_ns()),
      readers_(volume_->executor()) {}

void Trace::ended(const WatchedRequest& request) {
    const Bio& bio = request.bio;
    pid_t process = bio.cancel != nullptr ? bio.cancel->process() : 0;
    bool wake = false;
    {
        std::lock_guard guard(mutex_);
        if (records_.size() == kMost) {
            records_.pop_front();
            lost_++;
        }
        records_.push_back({told_++, request.began_ns, request.ended_ns - request.began_ns, process,
                            request.status.error(), bio.op, bio.fua, bio.sector, bio.count,
                            request.generation, name_of(process, request.ended_ns)});
        wake = std::exchange(wanted_, false);
    }
    if (wake) readers_.wake_all();
}

// Under the mutex. The process waits for this request, so it is still there.
std::shared_ptr<const std::string> Trace::name_of(pid_t process, int64_t now_ns) {
    if (process <= 0) return nullptr;
    auto known = processes_.find(process);
    if (known != processes_.end() && now_ns - known->second.seen_ns < kNsOfSecond) return known->second.name;
    if (processes_.size() >= kMostProcesses) processes_.clear();
    auto name = std::make_shared<const std::string>(first_line("/proc/" + std::to_string(process) + "/comm"));
    processes_[process] = {name, now_ns};
    return name;
}

Task<Status> Trace::wait(Cancel* cancel) {
    auto has_some = [this] {
        std::lock_guard guard(mutex_);
        wanted_ = records_.empty() && lost_ == 0 && !stopped_;
        return !wanted_;
    };
    return readers_.until(has_some, cancel);
}

void Trace::stop() {
    {
        std::lock_guard guard(mutex_);
        stopped_ = true;
    }
    readers_.wake_all();
}

bool Trace::stopped() const {
    std::lock_guard guard(mutex_);
    return stopped_;
}

std::string Trace::take(size_t bytes) {
    std::shared_ptr<Table> table = volume_->live();
    uint64_t generation = volume_->generation();
    std::string text;
    std::unique_lock lock(mutex_);
    if (lost_ > 0) text = fmt::format("# {} lost\n", std::exchange(lost_, 0)).substr(0, bytes);
    while (!records_.empty()) {
        Record record = records_.front();
        lock.unlock();
        std::string next = line(record, table.get(), generation);
        lock.lock();
        if (text.empty() && next.size() > bytes) next = next.substr(0, bytes - 1) + "\n";
        if (text.size() + next.size() > bytes) break;
        // It may have been dropped meanwhile, or taken by another reader.
        if (records_.empty() || records_.front().number != record.number) continue;
        records_.pop_front();
        text += next;
    }
    return text;
}

std::string Trace::line(const Record& record, const Table* table, uint64_t generation) const {
    int64_t time_ns = record.began_ns + clock_offset_ns_;
    std::string name =
        record.process_name && !record.process_name->empty() ? quote_word(*record.process_name) : "-";
    // The way it took can be told as long as its table is there.
    std::string path = "-";
    if (table != nullptr && record.generation == generation)
        path = path_of(explain(*table, record.op, record.sector, record.count, kMostSteps));
    if (path.empty()) path = "-";
    return fmt::format("{}.{:06} {} {} {}{} {} {} {} {} {}\n", time_ns / kNsOfSecond,
                       time_ns % kNsOfSecond / 1000, record.process, name, dmfs::name_of(record.op),
                       record.fua ? "+fua" : "", record.sector, record.count, record.took_ns, record.error,
                       path);
}

}  // namespace dmfs
