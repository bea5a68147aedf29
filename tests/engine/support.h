// What tests of the engine share: tasks that are started and waited for, a device
// that can be held and broken, a source of devices by name.

#pragma once

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "catch.h"
#include "engine/device.h"
#include "engine/executor.h"
#include "engine/namespace.h"
#include "engine/table.h"
#include "targets/registry.h"

namespace dmfs::test {

inline constexpr std::chrono::seconds kPatience{30};

// An executor that is not destroyed before everything spawned on it has ended.
class Running {
  public:
    explicit Running(std::unique_ptr<Executor> executor) : executor_(std::move(executor)) {}
    Running() : Running(make_pool_executor(4)) {}
    Running(Running&&) = default;
    ~Running() {
        while (executor_ && executor_->running() > 0) std::this_thread::yield();
    }
    Executor& operator*() const { return *executor_; }
    Executor* operator->() const { return executor_.get(); }
    operator Executor&() const { return *executor_; }

  private:
    std::unique_ptr<Executor> executor_;
};

// The executors there are here.
inline std::vector<std::string> executor_names() {
    std::string why_not;
    if (make_uring_executor(why_not)) return {"threads", "io_uring"};
    return {"threads"};
}

template <class T>
class Pending {
    struct Answer {
        std::mutex mutex;
        std::condition_variable changed;
        std::optional<T> value;
    };

    static Task<Status> collect(Task<T> task, std::shared_ptr<Answer> answer) {
        T value = co_await task;
        std::lock_guard guard(answer->mutex);
        answer->value = std::move(value);
        answer->changed.notify_all();
        co_return kOk;
    }

  public:
    Pending(Executor& executor, Task<T> task) : answer_(std::make_shared<Answer>()) {
        executor.spawn(collect(std::move(task), answer_));
    }
    bool done() const {
        std::lock_guard guard(answer_->mutex);
        return answer_->value.has_value();
    }
    T get() const {
        std::unique_lock lock(answer_->mutex);
        if (!answer_->changed.wait_for(lock, kPatience, [&] { return answer_->value.has_value(); }))
            throw std::runtime_error("a task did not end");
        return *answer_->value;
    }

  private:
    std::shared_ptr<Answer> answer_;
};

template <class T>
Pending<T> begin(Executor& executor, Task<T> task) {
    return Pending<T>(executor, std::move(task));
}

template <class T>
T run(Executor& executor, Task<T> task) {
    return Pending<T>(executor, std::move(task)).get();
}

inline Outcome load(Volume& volume, std::shared_ptr<Table> table) {
    return run(volume.executor(), volume.load(std::move(table)));
}

inline Outcome remove(Volume& volume, bool deferred = false) {
    return run(volume.executor(), volume.remove({.deferred = deferred}, nullptr));
}

// Waits until `so`, which some other thread brings about.
inline bool soon(const std::function<bool()>& so) {
    auto end = std::chrono::steady_clock::now() + kPatience;
    while (!so()) {
        if (std::chrono::steady_clock::now() > end) return false;
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    return true;
}

// Gives whoever should not move the time to move all the same.
inline void a_moment() { std::this_thread::sleep_for(std::chrono::milliseconds(20)); }

// A sector's contents that tell where it is from.
inline void stamp(std::byte* sector, uint64_t tag, uint64_t number) {
    for (size_t i = 0; i < kSectorBytes; i += 16) {
        memcpy(sector + i, &tag, 8);
        memcpy(sector + i + 8, &number, 8);
    }
}

inline bool stamped(const std::byte* sector, uint64_t tag, uint64_t number) {
    std::byte wanted[kSectorBytes];
    stamp(wanted, tag, number);
    return memcmp(sector, wanted, kSectorBytes) == 0;
}

inline bool all_zero(const std::byte* data, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (data[i] != std::byte{0}) return false;
    return true;
}

inline Bio bio_of(Op op, Sector sector, Sector count, Memory* memory = nullptr, Cancel* cancel = nullptr) {
    Bio bio;
    bio.op = op;
    bio.sector = sector;
    bio.count = count;
    bio.memory = memory;
    bio.cancel = cancel;
    return bio;
}

// Of a device or a table.
template <class T>
Extent extent_of(T& where, Sector at) {
    Look look;
    return where.extent(at, look);
}

// Its process is killed as soon as anybody listens.
class Killed final : public Cancel {
  public:
    void about_to_wait() override { request(); }
};

// While one is there no thread can be made: each would have a larger stack than there is room for.
class NoThreads {
  public:
    NoThreads() {
        pthread_attr_t large;
        pthread_attr_init(&large);
        pthread_getattr_default_np(&before_);
        pthread_attr_setstacksize(&large, size_t{1} << 46);
        pthread_setattr_default_np(&large);
        pthread_attr_destroy(&large);
    }
    NoThreads(const NoThreads&) = delete;
    NoThreads& operator=(const NoThreads&) = delete;
    ~NoThreads() {
        pthread_setattr_default_np(&before_);
        pthread_attr_destroy(&before_);
    }

  private:
    pthread_attr_t before_;
};

// Memory whose requests are recorded, can be held back, and fail on demand.
class FakeDevice final : public Device {
  public:
    struct Seen {
        Op op;
        Sector sector, count;
        bool fua;
        friend bool operator==(const Seen&, const Seen&) = default;
    };

    // Every sector begins stamped with `tag` and its number.
    FakeDevice(Executor& executor, std::string name, Sector sectors, uint64_t tag = 0)
        : held_(executor), name_(std::move(name)), bytes_(bytes_of(sectors)), size_(sectors) {
        for (Sector s = 0; s < sectors; s++) stamp(at(s), tag, s);
        limits_.discard_granularity = 512;
        limits_.write_cache = true;
    }

    Task<Status> io(Bio bio) override {
        {
            std::lock_guard guard(mutex_);
            seen_.push_back({bio.op, bio.sector, bio.count, bio.fua});
        }
        const int only = held_op_;
        if (!holding_.load() || (only >= 0 && static_cast<int>(bio.op) != only))
            return Task<Status>::ready(act(bio));
        return act_later(bio);
    }

    Sector size() const override { return size_; }
    Limits limits() const override { return limits_; }
    Extent extent(Sector at, Look&) override {
        for (const Extent& extent : extents_)
            if (extent.end > at) return extent;
        return {true, size_};
    }
    std::string name() const override { return name_; }
    std::optional<DeviceNumber> number() const override { return number_; }
    void set_number(DeviceNumber number) { number_ = number; }
    // Of its file system it has all that is asked for, but while room_error() is one.
    Space space() const override { return space_; }
    Task<Status> reserve(Sector, Sector) override { return Task<Status>::ready(Status(room_error_)); }
    void set_space(Space space) { space_ = space; }
    std::atomic<int>& room_error() { return room_error_; }

    // From here on requests, or those of one op, wait until let_go().
    void hold(std::optional<Op> only = {}) {
        held_op_ = only ? static_cast<int>(*only) : -1;
        holding_ = true;
    }
    void let_go() {
        held_.wake_all(kOk, [this] { holding_ = false; });
    }
    size_t held() const { return held_.size(); }
    void fail(Op op, int error) { errors_[static_cast<size_t>(op)] = error; }
    // Requests that touch this sector.
    void fail_at(Op op, Sector sector, int error) {
        std::lock_guard guard(mutex_);
        bad_[{op, sector}] = error;
    }
    // Nothing fails any more.
    void mend() {
        for (auto& error : errors_) error = 0;
        std::lock_guard guard(mutex_);
        bad_.clear();
    }
    void set_size(Sector sectors) { size_ = sectors; }
    void set_extents(std::vector<Extent> extents) { extents_ = std::move(extents); }
    Limits& own_limits() { return limits_; }

    std::byte* at(Sector sector) { return bytes_.data() + bytes_of(sector); }
    // While others write.
    bool zeros(Sector sector, Sector count) {
        std::lock_guard guard(mutex_);
        return all_zero(at(sector), bytes_of(count));
    }
    std::vector<Seen> seen() const {
        std::lock_guard guard(mutex_);
        return seen_;
    }
    size_t count(Op op) const {
        size_t count = 0;
        for (const Seen& each : seen())
            if (each.op == op) count++;
        return count;
    }
    void forget() {
        std::lock_guard guard(mutex_);
        seen_.clear();
    }

  private:
    Status act(const Bio& bio) {
        if (int error = errors_[static_cast<size_t>(bio.op)]; error != 0) return Status(error);
        if (bio.end() > size_) return Status(EIO);
        std::lock_guard guard(mutex_);
        for (const auto& [place, error] : bad_)
            if (place.first == bio.op && place.second >= bio.sector && place.second < bio.end())
                return Status(error);
        if (bio.op == Op::read) memcpy(bio.data(), at(bio.sector), bio.bytes());
        if (bio.op == Op::write) memcpy(at(bio.sector), bio.data(), bio.bytes());
        if (bio.op == Op::discard || bio.op == Op::write_zeroes)
            memset(at(bio.sector), 0, bytes_of(bio.count));
        return kOk;
    }

    Task<Status> act_later(Bio bio) {
        std::function<bool()> must_wait = [this] { return holding_.load(); };
        Status status = co_await held_.wait(must_wait, bio.cancel);
        if (!status) co_return status;
        co_return act(bio);
    }

    WaitQueue held_;
    std::atomic<bool> holding_{false};
    std::atomic<int> held_op_{-1};  // -1: all
    const std::string name_;
    std::optional<DeviceNumber> number_;
    Space space_;
    std::atomic<int> room_error_{0};
    mutable std::mutex mutex_;
    std::vector<std::byte> bytes_;
    std::vector<Seen> seen_;
    std::atomic<Sector> size_;
    std::atomic<int> errors_[5]{};
    std::map<std::pair<Op, Sector>, int> bad_;
    std::vector<Extent> extents_;
    Limits limits_;
};

// Devices by name; the volumes of a namespace too, if there is one.
class FakeSource final : public DeviceSource {
  public:
    explicit FakeSource(Executor& executor, Namespace* space = nullptr)
        : executor_(executor), space_(space) {}

    // A new device, of which every sector is stamped with its place and `tag`.
    FakeDevice& add(const std::string& name, Sector sectors, uint64_t tag = 0) {
        auto device = std::make_shared<FakeDevice>(executor_, name, sectors, tag);
        devices_[name] = device;
        return *device;
    }

    std::shared_ptr<Device> open_device(const std::string& word, bool, const std::string&) override {
        if (space_ != nullptr)
            if (std::shared_ptr<Volume> volume = space_->by_name(word)) return space_->open(volume);
        auto found = devices_.find(word);
        if (found == devices_.end()) throw Refused(ENOENT, "no device " + word);
        return found->second;
    }

    std::shared_ptr<Table> table(
        const std::string& text, std::function<void()> raise_event = [] {}) {
        return Table::build(
            text, TableSource{executor_, target_registry(), *this, "/", true, std::move(raise_event)});
    }

  private:
    Executor& executor_;
    Namespace* space_;
    std::map<std::string, std::shared_ptr<Device>> devices_;
};

}  // namespace dmfs::test
