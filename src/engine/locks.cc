#include "engine/locks.h"

#include <algorithm>
#include <cassert>

namespace dmfs {

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
    waiting_.locked([&] {
        range.number = numbers_++;
        ranges_.push_back(range);
    });
    Task<Status> waiting = waiting_.until([this, range] { return is_first(range); }, cancel);
    Status status = co_await waiting;
    if (!status)
        waiting_.wake_all(kOk, [&] { remove(std::ranges::find(ranges_, range.number, &Range::number)); });
    co_return status;
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

Task<Status> Stock::take(size_t bytes, Cancel* cancel) {
    bytes = std::min(bytes, size_);
    bool taken = waiting_.locked([&] {
        if (!turns_.empty() || bytes > left_) return false;
        left_ -= bytes;
        return true;
    });
    return taken ? Task<Status>::ready(kOk) : wait(bytes, cancel);
}

Task<Status> Stock::wait(size_t bytes, Cancel* cancel) {
    const uint64_t number = waiting_.locked([this] {
        turns_.push_back(++numbers_);
        return numbers_;
    });
    auto take_in_turn = [this, bytes, number] {
        if (turns_.front() != number || bytes > left_) return false;
        left_ -= bytes;
        turns_.erase(turns_.begin());
        return true;
    };
    Task<Status> waiting = waiting_.until(take_in_turn, cancel);
    Status status = co_await waiting;
    // There may be enough for the next.
    waiting_.wake_all(kOk, [&] {
        if (!status) std::erase(turns_, number);
    });
    co_return status;
}

void Stock::give_back(size_t bytes) {
    waiting_.wake_all(kOk, [&] { left_ += std::min(bytes, size_); });
}

}  // namespace dmfs
