#include "targets/snapshot/headroom.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace dmfs::snapshot {

namespace {

constexpr Sector kEverywhere = UINT64_MAX;
constexpr Sector kLeast = 128;
constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kTries = 60;  // while somebody waits

// The device takes no room ahead: writes will tell.
bool knows_no_room(Status status) {
    const int error = status.error();
    return error == EOPNOTSUPP || error == ENOSYS || error == EINVAL || error == ENODEV;
}

}  // namespace

Headroom::Headroom(Executor& executor, std::shared_ptr<Device> device)
    : executor_(executor),
      device_(std::move(device)),
      space_(device_->space()),
      end_(space_.ahead > 0 ? 0 : kEverywhere),
      step_(space_.ahead),
      taken_(executor),
      sleepers_(executor) {}

void Headroom::begin(Sector next, Sector chunk_sectors) {
    std::lock_guard guard(mutex_);
    least_ = std::max(chunk_sectors, kLeast);
    step_ = std::max(step_, least_);
    if (end_ < next) end_ = next;
}

void Headroom::go_on(Sector next) {
    const Sector end = this->end();
    if (end == kEverywhere) return;
    {
        std::lock_guard guard(mutex_);
        if (end > next + step_ / 2 || !may_try() || end >= device_->size()) return;
        begin_taking();
    }
    executor_.spawn(take(shared_from_this()));
}

bool Headroom::is_short() const {
    std::lock_guard guard(mutex_);
    return short_since_ != 0;
}

// Taking.

Task<Status> Headroom::take(std::shared_ptr<Headroom> self) {
    Status status;
    for (bool again = true; again;) {
        const Sector count = self->next_step();
        Task<Status> reserving =
            count > 0 ? self->device_->reserve(self->end(), count) : Task<Status>::ready(kOk);
        status = co_await reserving;
        again = self->took(count, status);
    }
    co_return status;
}

Sector Headroom::next_step() const {
    const Sector size = device_->size();
    std::lock_guard guard(mutex_);
    return size > end_ ? std::min(step_, size - end_) : 0;
}

// Whether it is to be tried with less.
bool Headroom::took(Sector count, Status status) {
    bool less = false, relief = false;
    {
        std::lock_guard guard(mutex_);
        const bool full = no_room(status) || status.error() == EFBIG;
        less = full && count > least_;
        if (!status && !knows_no_room(status)) {
            if (full) step_ = std::max(count / 2, least_);
            refused_ = full ? Status(ENOSPC) : status;
            too_small_ = status.error() == EFBIG;
            const bool waits = space_.wait_ns > 0;
            next_try_ns_ = executor_.now_ns() + (less    ? 0
                                                 : waits ? std::min(space_.wait_ns / kTries, kSecond)
                                                         : kSecond);
        } else {
            end_ = status ? end_ + count : kEverywhere;
            step_ = std::clamp(2 * step_, least_, std::max(least_, space_.ahead));
            relief = std::exchange(short_since_, 0) != 0;
            too_small_ = false;
        }
        taking_ = less;
    }
    if (less) return true;
    if (relief) log_line(Severity::info, "snapshot: there is room for " + device_->name() + " again");
    taken_.wake_all();
    for (Who who : {Who::snapshot, Who::origin}) sleepers_.let_go(static_cast<uint64_t>(who));
    return false;
}

// Waiting.

// Somebody has found no room.
int64_t Headroom::patience_ends() {
    const bool in_vain = too_small_ || space_.wait_ns == 0;
    if (short_since_ == 0) {
        short_since_ = executor_.now_ns();
        log_line(Severity::error,
                 (no_room(refused_) ? "snapshot: the file system of " + device_->name() + " is full: "
                                    : "snapshot: no room can be taken for " + device_->name() + ", " +
                                          strerror(refused_.error()) + ": ") +
                     (in_vain ? "writes that need room there fail"
                              : "writes that need room there wait, for " +
                                    std::to_string(space_.wait_ns / kSecond) + " s, and then fail"));
    }
    return in_vain ? 0 : short_since_ + space_.wait_ns;
}

Task<Status> Headroom::wait(Sector needed, Who who, Cancel* cancel) {
    const std::atomic<uint64_t>& times = let_go_[static_cast<size_t>(who)];
    const uint64_t before = times;
    const uint64_t given_up = given_up_;
    auto is_given_up = [this, who, given_up] { return who == Who::origin && given_up_ != given_up; };
    std::function<bool()> must_wait = [this, is_given_up] {
        std::lock_guard guard(mutex_);
        return taking_ && !is_given_up();
    };
    while (end() < std::min(needed, device_->size())) {  // which may have been cut off
        const bool is_let_go = times != before || (who == Who::snapshot && turns_away_);
        bool tries = false;
        int64_t until = 0;
        {
            std::lock_guard guard(mutex_);
            if (is_given_up()) co_return Status(ETIMEDOUT);
            tries = may_try();
            if (tries) begin_taking();
            if (!taking_ && end() < needed) {
                const int64_t ends = patience_ends();
                if (executor_.now_ns() >= ends || is_let_go) co_return refused_;
                until = std::min(ends, next_try_ns_);
            }
        }
        if (tries) executor_.spawn(take(shared_from_this()));
        Status status;
        if (until == 0) {
            status = co_await taken_.wait(must_wait, cancel);
        } else {
            Task<Status> sleeping = sleepers_.sleep(until, cancel, static_cast<uint64_t>(who));
            status = co_await sleeping;
        }
        if (!status) co_return status;
    }
    co_return kOk;
}

void Headroom::let_go(Who who) {
    ++let_go_[static_cast<size_t>(who)];
    if (who == Who::snapshot) turns_away_ = true;
    sleepers_.let_go(static_cast<uint64_t>(who));
}

void Headroom::give_up(int64_t longer_than_ns) {
    {
        std::lock_guard guard(mutex_);
        if (!taking_ || executor_.now_ns() - taking_since_ns_ < longer_than_ns) return;
        given_up_++;
    }
    taken_.wake_all();
}

}  // namespace dmfs::snapshot
