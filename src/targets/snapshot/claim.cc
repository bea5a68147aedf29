#include "targets/snapshot/claim.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace dmfs::snapshot {

namespace {

std::mutex mutex;
std::vector<Claim*>& claims() {
    static std::vector<Claim*> all;
    return all;
}

// Those that no claim has any more, though they still write.
std::vector<std::pair<Identity, std::weak_ptr<Cow>>>& leaving() {
    static std::vector<std::pair<Identity, std::weak_ptr<Cow>>> all;
    return all;
}

// Whether one of them has that device; forgets those that have ended.
bool still_written(const Identity& device) {
    std::erase_if(leaving(), [](const auto& each) {
        std::shared_ptr<Cow> cow = each.second.lock();
        return !cow || !cow->busy();
    });
    return std::ranges::any_of(leaving(), [&](const auto& each) { return each.first == device; });
}

}  // namespace

Claim::~Claim() {
    std::shared_ptr<Cow> gone;  // after the guard
    std::lock_guard guard(mutex);
    std::erase(claims(), this);
    gone = std::move(cow_);
    if (gone && gone->busy()) leaving().emplace_back(device_, gone);
}

void Claim::own(std::shared_ptr<Cow> cow) {
    cow_ = std::move(cow);
    gave_up_ = !cow_;
    serving_.store(cow_.get(), std::memory_order_release);
}

Claim* Claim::source() const {
    for (Claim* other : claims())
        if (waits_ && rivals(*other) && other->resumed_) return other;
    return nullptr;
}

Claim* Claim::heir() const {
    for (Claim* other : claims())
        if (cow_ && rivals(*other) && other->waits_) return other;
    return nullptr;
}

// One that is only loaded does not count: it may be replaced, by this.
bool Claim::another_merges() const {
    return merges_ && std::any_of(claims().begin(), claims().end(), [&](const Claim* other) {
               return other != this && other->origin_ == origin_ && other->merges_ &&
                      (other->resumed_ || other->resuming_);
           });
}

Outcome Claim::merging_already() {
    return Refused(EINVAL, "a snapshot of this origin is merging already",
                   "wait until that merge is done, and replace or remove its table");
}

Outcome Claim::enter() {
    std::lock_guard guard(mutex);
    if (entered_) return {};
    if (still_written(device_))
        return Refused(EBUSY, "the last snapshot with this COW device still writes there", "try again");
    size_t rivals = 0;
    const Claim* owner = nullptr;
    for (const Claim* other : claims()) {
        if (other->device_ == device_ && other->origin_ != origin_ && !other->gave_up_)
            return Refused(EBUSY, "the COW device is in use for a snapshot of another origin",
                           "a COW device of its own");
        if (!this->rivals(*other)) continue;
        rivals++;
        if (!other->resumed_)
            return Refused(EINVAL, "a table with this COW device is loaded already, and waits",
                           "resume its volume, or clear that table");
        owner = other;
    }
    if (rivals == 2)
        return Refused(EINVAL, "two tables have this COW device already",
                       "remove the volume whose snapshot is Invalid, since it was handed over");
    if (another_merges()) return merging_already();
    if (merges_ && owner != nullptr && owner->cow_ && !owner->cow_->can_merge())
        return Refused(EINVAL, "a transient store can't be merged", "a store of type P");
    waits_ = owner != nullptr;
    entered_ = true;
    claims().push_back(this);
    return {};
}

bool Claim::waits() const {
    std::lock_guard guard(mutex);
    return waits_;
}

void Claim::begin(std::shared_ptr<Cow> cow) {
    std::lock_guard guard(mutex);
    own(std::move(cow));
}

Outcome Claim::may_resume() {
    std::lock_guard guard(mutex);
    const Claim* from = source();
    if (from != nullptr && (!from->suspended_ || from->resuming_))
        return Refused(EINVAL, "the volume that has the COW device now is not suspended", "suspend it first");
    if (waits_ && from == nullptr)
        return Refused(EINVAL, "the table that had the COW device is gone", "load this one again");
    if (heir() != nullptr)
        return Refused(EINVAL, "a loaded table waits to take the COW device over",
                       "resume the volume that has that table, or clear it");
    if (!resumed_ && another_merges()) return merging_already();
    resuming_ = true;
    return {};
}

void Claim::will_not_resume() {
    std::lock_guard guard(mutex);
    resuming_ = false;
}

void Claim::suspended(bool is) {
    std::lock_guard guard(mutex);
    suspended_ = is;
    resuming_ = false;
}

void Claim::take_over() {
    std::lock_guard guard(mutex);
    if (Claim* from = source()) {
        own(std::move(from->cow_));
        from->own(nullptr);
    }
    waits_ = false;
    resumed_ = true;
}

bool Claim::hand_over() {
    std::lock_guard guard(mutex);
    Claim* to = heir();
    if (to == nullptr) return false;
    to->own(std::move(cow_));
    to->waits_ = false;
    own(nullptr);
    std::erase(claims(), this);
    return true;
}

void Claim::give_up() {
    std::shared_ptr<Cow> gone;  // after the guard
    std::lock_guard guard(mutex);
    gone = cow_;
    own(nullptr);
    std::erase(claims(), this);
}

std::shared_ptr<Cow> Claim::cow() const {
    std::lock_guard guard(mutex);
    return cow_;
}

std::shared_ptr<Cow> Claim::cow_to_be() const {
    std::lock_guard guard(mutex);
    const Claim* from = source();
    return from != nullptr ? from->cow_ : cow_;
}

}  // namespace dmfs::snapshot
