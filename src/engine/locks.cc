#include "engine/locks.h"

#include <algorithm>
#include <cassert>

namespace dmfs {

namespace {

// Waits until try_take(), asked under the queue's mutex, succeeds. Whoever lets go of
// something wakes all, and each tries again.
Task<Status> take_later(WaitQueue* queue, std::function<bool()> try_take, Cancel* cancel) {
    bool taken = false;
    std::function<bool()> must_wait = [&] { return !(taken = try_take()); };
    while (!taken) {
        Status status = co_await queue->wait(must_wait, cancel);
        if (!status) co_return status;
        if (!taken) taken = queue->locked(try_take);
    }
    co_return kOk;
}

}  // namespace

bool Lock::try_take() {
    if (held_) return false;
    held_ = true;
    return true;
}

Task<Status> Lock::acquire(Cancel* cancel) {
    if (waiting_.locked([this] { return try_take(); })) return Task<Status>::ready(kOk);
    return wait(cancel);
}

Task<Status> Lock::wait(Cancel* cancel) {
    std::function<bool()> must_wait = [this] { return !try_take(); };
    Status status = co_await waiting_.wait(must_wait, cancel);
    co_return status;  // good: taken above, or handed over by release()
}

void Lock::release() {
    // It stays held if somebody waits: the first of them has it now.
    waiting_.wake_one([this] { held_ = waiting_.size() > 0; });
}

// Whether none that came before it overlaps it.
bool RangeLock::is_first(const Range& range) const {
    for (const Range& other : ranges_) {
        if (other.number >= range.number) break;
        if (other.from < range.end && range.from < other.end) return false;
    }
    return true;
}

Task<Status> RangeLock::acquire(uint64_t from, uint64_t end, Cancel* cancel) {
    Range range{from, end, 0};
    bool taken = waiting_.locked([&] {
        range.number = numbers_;
        if (!is_first(range)) return false;
        numbers_++;
        ranges_.push_back(range);
        return true;
    });
    if (taken) return Task<Status>::ready(kOk);
    return wait(range, cancel);
}

Task<Status> RangeLock::wait(Range range, Cancel* cancel) {
    bool taken = waiting_.locked([&] {
        range.number = numbers_++;
        ranges_.push_back(range);
        return is_first(range);
    });
    std::function<bool()> must_wait = [&] { return !is_first(range); };
    while (!taken) {
        Status status = co_await waiting_.wait(must_wait, cancel);
        if (!status) {
            waiting_.wake_all(kOk, [&] { remove(std::ranges::find(ranges_, range.number, &Range::number)); });
            co_return status;
        }
        taken = waiting_.locked([&] { return is_first(range); });
    }
    co_return kOk;
}

void RangeLock::release(uint64_t from, uint64_t end) {
    // The first that is the same is held, since the others overlap it.
    auto same = [&](const Range& range) { return range.from == from && range.end == end; };
    waiting_.wake_all(kOk, [&] { remove(std::ranges::find_if(ranges_, same)); });
}

void RangeLock::remove(std::vector<Range>::iterator range) {
    assert(range != ranges_.end());
    ranges_.erase(range);
}

bool KeyLock::try_take(uint64_t key) { return held_.insert(key).second; }

Task<Status> KeyLock::acquire(uint64_t key, Cancel* cancel) {
    if (waiting_.locked([&] { return try_take(key); })) return Task<Status>::ready(kOk);
    return take_later(
        &waiting_, [this, key] { return try_take(key); }, cancel);
}

void KeyLock::release(uint64_t key) {
    waiting_.wake_all(kOk, [&] {
        [[maybe_unused]] size_t erased = held_.erase(key);
        assert(erased == 1);
    });
}

bool Stock::try_take(size_t bytes) {
    bytes = std::min(bytes, size_);
    if (bytes > left_) return false;
    left_ -= bytes;
    return true;
}

Task<Status> Stock::take(size_t bytes, Cancel* cancel) {
    if (waiting_.locked([&] { return try_take(bytes); })) return Task<Status>::ready(kOk);
    return take_later(
        &waiting_, [this, bytes] { return try_take(bytes); }, cancel);
}

void Stock::give_back(size_t bytes) {
    waiting_.wake_all(kOk, [&] { left_ += std::min(bytes, size_); });
}

Task<Status> Strand::away(Task<Status> task) {
    task.start();
    if (task.is_ready()) co_return std::move(task).value();
    leave();
    Status status = co_await task;
    Task<Status> back = enter();
    Status entered = co_await back;
    assert(entered.good());
    static_cast<void>(entered);
    co_return status;
}

}  // namespace dmfs
