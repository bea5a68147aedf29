#include "engine/sleepers.h"

#include <cassert>

namespace dmfs {

Sleepers::Sleepers(Executor& executor)
    : executor_(executor), queue_(executor), timer_([this] { wake_due(); }) {}

Sleepers::~Sleepers() {
    assert(order_.empty());
    executor_.disarm(timer_);
}

Task<Status> Sleepers::sleep(int64_t deadline_ns, Cancel* cancel, uint64_t group) {
    Sleeper me{deadline_ns, group};
    std::function<bool()> must_wait = [&me] { return !me.awake; };
    Waiter waiter = queue_.wait(must_wait, cancel);
    me.waiter = &waiter;
    Order::iterator place;
    bool held = queue_.locked([&] {
        if (!held_) return false;
        place = order_.emplace(deadline_ns, &me);
        set_alarm();
        return true;
    });
    if (!held) co_return kOk;
    Status status = co_await waiter;
    // Who woke it has taken it out of the order.
    if (!status)
        queue_.locked([&] {
            if (!me.awake) order_.erase(place);
        });
    co_return status;
}

// Under the queue's mutex: the timer is to fire for the earliest.
void Sleepers::set_alarm() {
    if (order_.empty() || order_.begin()->first == kForever) return;
    int64_t earliest = order_.begin()->first;
    if (!alarm_set_ || earliest < alarm_ns_) {
        alarm_set_ = true;
        alarm_ns_ = earliest;
        executor_.arm(timer_, earliest);
    }
}

// They go on here, on the clock's thread: another would have to be woken for it, and on a
// kernel that does not preempt that takes milliseconds.
void Sleepers::wake_due() {
    int64_t now = executor_.now_ns();
    std::vector<std::coroutine_handle<>> woken;
    queue_.locked([&] {
        alarm_set_ = false;
        while (!order_.empty() && order_.begin()->first <= now) {
            Sleeper* due = order_.begin()->second;
            order_.erase(order_.begin());
            due->awake = true;
            if (std::coroutine_handle<> sleeper = queue_.take_locked(*due->waiter)) woken.push_back(sleeper);
        }
        set_alarm();
    });
    for (std::coroutine_handle<> sleeper : woken) sleeper.resume();  // who may destroy this
}

void Sleepers::wake(const std::function<bool(const Sleeper&)>& wanted) {
    for (auto at = order_.begin(); at != order_.end();) {
        Sleeper* sleeper = at->second;
        if (!wanted(*sleeper)) {
            ++at;
            continue;
        }
        at = order_.erase(at);
        sleeper->awake = true;
        queue_.wake_locked(*sleeper->waiter);
    }
}

void Sleepers::let_go() {
    queue_.locked([&] {
        held_ = false;
        wake([](const Sleeper&) { return true; });
    });
}

void Sleepers::hold_again() {
    queue_.locked([&] { held_ = true; });
}

void Sleepers::let_go(uint64_t group) {
    queue_.locked([&] { wake([group](const Sleeper& sleeper) { return sleeper.group == group; }); });
}

}  // namespace dmfs
