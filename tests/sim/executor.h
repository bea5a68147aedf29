// An executor of one thread and a clock of its own. What is ready to go on goes on
// in random order, so a seed is a schedule.

#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "engine/executor.h"

namespace dmfs::sim {

using Random = std::mt19937_64;

class SimExecutor final : public Executor {
  public:
    explicit SimExecutor(Random& random) : random_(random) {}

    // What a file is asked is done when its turn comes, as what is ready to go on.
    void submit(Operation& operation) override { landing_.push_back(&operation); }
    void arm(Timer& timer, int64_t deadline_ns) override {
        disarm(timer);
        timer.deadline_ns = deadline_ns;
        timer.armed = true;
        timers_.emplace(deadline_ns, &timer);
    }
    void disarm(Timer& timer) override {
        for (auto at = timers_.lower_bound(timer.deadline_ns); timer.armed && at != timers_.end(); ++at) {
            if (at->second != &timer) continue;
            timers_.erase(at);
            break;
        }
        timer.armed = false;
    }
    void post(std::coroutine_handle<> coroutine) override { ready_.push_back(coroutine); }
    int64_t now_ns() const override { return now_; }
    std::string name() const override { return "simulated"; }

    // Resumes one coroutine, or does one operation; false if there is neither.
    bool step() {
        while (ready_.empty() && landing_.empty()) {
            if (timers_.empty()) return false;
            now_ = std::max(now_, timers_.begin()->first);
            while (!timers_.empty() && timers_.begin()->first <= now_) {
                Timer* timer = timers_.begin()->second;
                timers_.erase(timers_.begin());
                timer->armed = false;
                std::function<void()> fire = timer->fire;
                fire();
            }
            if (ready_.empty() && landing_.empty()) return true;  // who was due went on at once
        }
        const size_t chosen = random_() % (ready_.size() + landing_.size());
        if (chosen >= ready_.size()) {
            std::swap(landing_[chosen - ready_.size()], landing_.back());
            Operation& operation = *landing_.back();
            landing_.pop_back();
            operation.end(do_blocking(operation));
            return true;
        }
        std::swap(ready_[chosen], ready_.back());
        std::coroutine_handle<> next = ready_.back();
        ready_.pop_back();
        next.resume();
        return true;
    }

  private:
    Random& random_;
    int64_t now_ = 1;
    std::vector<std::coroutine_handle<>> ready_;
    std::vector<Operation*> landing_;
    std::multimap<int64_t, Timer*> timers_;  // those of one deadline in the order they came
};

template <class Result>
Task<Status> note_end(Task<Result> task, std::optional<Result>* result) {
    Result got = co_await task;
    result->emplace(std::move(got));
    co_return kOk;
}

// Runs the simulated world until `task` is done. Nothing: everybody waits.
template <class Result>
std::optional<Result> run_until_done(SimExecutor& executor, Task<Result> task) {
    std::optional<Result> result;
    executor.spawn(note_end(std::move(task), &result));
    while (!result)
        if (!executor.step()) break;
    return result;
}

}  // namespace dmfs::sim
